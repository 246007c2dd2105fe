"""The managers under the import paths of the original."""

"""What tests of xtalk, and of its plugins, are made of."""

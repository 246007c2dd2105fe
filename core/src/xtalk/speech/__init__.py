"""The interfaces of everything that hears and speaks."""

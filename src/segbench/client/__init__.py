"""Asking a server, with the standard library and NumPy alone."""

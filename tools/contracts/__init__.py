"""Promised names: others build on them; they are recorded and compared."""

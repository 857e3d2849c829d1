"""Plugins: what is added and granted, its archives, and each change of it."""

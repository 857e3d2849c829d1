"""Plugins: their processes, what the host does for them, and what they emit."""

"""Plugins: archives, grants and states; their processes, what the host does, what they emit."""

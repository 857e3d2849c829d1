"""OUTSIDE: the only layer with I/O; returns plain data in the words of the source."""

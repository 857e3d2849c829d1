"""Comparisons: a module by theme, each with functions that return lines."""

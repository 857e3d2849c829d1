"""Measures of how this project is built: sizes, qualities, and the modules that a load enters.

`python -m benchmarks.structure` prints them, `.ci/bounds.json` bounds the qualities.
"""

"""Synthetic documents with known words, in all formats and states, written byte by byte.

`python -m orchestration_demo.documents --into DIR` writes them; nothing here imports the
rest of the project.
"""

"""A second reader: recomputes from captured bytes, by docs/ alone, what the product published.

Modules other than the tests import the standard library and each other only.
"""

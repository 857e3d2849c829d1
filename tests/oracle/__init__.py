"""A second reader: recomputes by docs/ alone, of the standard library, what was published."""

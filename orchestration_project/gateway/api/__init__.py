"""The API for programs: each operation is declared once, with its models; no second truth."""

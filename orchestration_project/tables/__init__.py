"""STORAGE: every table declared once; DDL, load schema, contract and docs derive from it."""

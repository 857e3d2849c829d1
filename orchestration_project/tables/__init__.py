"""STORAGE: tables that all domains share, declared once; DDL, contract and docs follow them."""

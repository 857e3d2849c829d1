"""MEANING: rules, tables, settings and charts of each domain; no Dagster, no I/O, no clock."""

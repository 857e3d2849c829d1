"""MEANING: pure rules, one module for each domain; no Dagster, no I/O, no clock."""

"""Queries that all tables have: pages, sums, changes, days of publication, persons."""

"""Alembic migrations of our own tables, run by the warehouse."""

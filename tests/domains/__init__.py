"""Tests of the pure rules: no Dagster, no database, no network."""

"""Tests of what the tables declare, without a database."""

"""Formats of documents: a module for each reads records, and counts them apart from that."""

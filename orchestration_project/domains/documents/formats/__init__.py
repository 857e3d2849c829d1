"""Readers, one module per family of formats: bytes to a draft."""

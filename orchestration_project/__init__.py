"""Pipelines that capture outside data, prove it right and land it with its history."""

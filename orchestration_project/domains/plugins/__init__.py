"""Plugins: what plugin.yaml declares, and whether an archive of it can be used."""

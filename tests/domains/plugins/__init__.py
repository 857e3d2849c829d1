"""Rules of plugins."""

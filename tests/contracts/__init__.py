"""Rules that every domain shares."""

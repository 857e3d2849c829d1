"""Web: rules of sites that are declared as data. No network, no files."""

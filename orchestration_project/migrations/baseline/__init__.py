"""The tables and views of the first version, as data."""

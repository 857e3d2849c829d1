"""The tables and views of the baseline, as data."""

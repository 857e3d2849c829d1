"""Sources of FINRA's weekly data: its Query API (or the demo of it), or downloaded files."""

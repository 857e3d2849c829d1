"""Synthetic daily prices of the demo's symbols, in the formats of Alpha Vantage and Yahoo."""

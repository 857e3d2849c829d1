"""Sources of daily prices: Alpha Vantage, Yahoo's chart (or their demo), or files."""

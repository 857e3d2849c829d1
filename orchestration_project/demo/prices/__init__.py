"""Made-up daily prices of the demo's symbols, as Alpha Vantage and Yahoo's chart answer."""

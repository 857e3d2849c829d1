"""Response models of the API, declared once for gateway and client."""

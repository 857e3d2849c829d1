"""Embedded demo sources: programs of their own that only speak HTTP to the rest.

`python -m orchestration_demo --state-dir DIR` speaks FINRA's Query API, and beside it
as Alpha Vantage and Yahoo's chart do. Nothing here
imports the rest of the project, and nothing there imports this: they meet on the wire.
"""

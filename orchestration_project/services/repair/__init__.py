"""Repair of damaged artifacts, from copies, their sources and rows."""

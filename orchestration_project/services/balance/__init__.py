"""Recomputation of balances: what came into each stage, and where all of it went."""

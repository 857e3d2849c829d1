"""Reconciliation: what the two systems can do, and how one is brought into agreement with the other."""

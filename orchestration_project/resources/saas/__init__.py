"""Reconciliation: what both systems can do, and how they are brought into agreement."""

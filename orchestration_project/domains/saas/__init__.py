"""Reconciliation of two systems: what their records mean, and what brings them into agreement."""

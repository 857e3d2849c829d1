"""Cboe: rules as pure functions: daily market volume and formulas of its tables."""

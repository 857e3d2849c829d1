"""FINRA's rules: its calendar, the weekly contract, its audits, what is derived, what is due."""

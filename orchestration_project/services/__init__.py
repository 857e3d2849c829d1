"""Services for operations: alerts, ledger, evidence, preflight, presets, access."""

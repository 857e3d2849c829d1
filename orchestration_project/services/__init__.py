"""What operations need beside the loads: alerts, ledger, evidence, preflight, presets, access."""

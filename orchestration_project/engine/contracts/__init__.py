"""Values that pure rules and the engine share: rules, audits, rejects, frames, decimals."""

"""WHAT: one module for each domain, its assets and checks; thin, no rules, no I/O."""

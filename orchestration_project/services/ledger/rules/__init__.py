"""Rules of the ledger: a row for each run and step, and how each domain stands."""

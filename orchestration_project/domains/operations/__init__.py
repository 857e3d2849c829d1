"""Rules for watching over runs: what alerts, what is recorded of them, and how all of it stands."""

"""Rules for watching over runs: what alerts, when it is told again, and in which words."""

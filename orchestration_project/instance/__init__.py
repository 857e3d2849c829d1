"""What dagster.yaml names: where Dagster keeps its own state, and how it starts runs."""

"""Classes that dagster.yaml names: storage of Dagster's own state, and the run launcher."""

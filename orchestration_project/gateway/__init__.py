"""The door: what answers HTTP in a process of its own. It knows tables and Dagster, no pipeline."""

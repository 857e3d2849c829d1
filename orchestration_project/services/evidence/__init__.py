"""Evidence archives: written from our tables and Dagster's log, verified from the file alone."""

"""THE DOOR: login, roles and audit around Dagster's unchanged web server, in one process."""

"""Gateway in front of Dagster's unchanged web server: login, roles, audit, webhooks, metrics."""

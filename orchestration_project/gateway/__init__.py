"""The door around Dagster's unchanged web server: login, roles, audit, webhooks, metrics."""

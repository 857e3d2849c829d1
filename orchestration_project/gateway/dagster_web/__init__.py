"""Dagster's web server for the gateway, whose only package this is that uses private Dagster.

Private to Dagster 1.13: the modules `dagster._*`, `dagster_graphql`, `dagster_webserver` and
`dagster_shared`. `docs/explanation/dagster-private.md` lists the names.
"""

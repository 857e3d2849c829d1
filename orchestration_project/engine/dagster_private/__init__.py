"""The private parts of Dagster 1.13 that runs, services, the API and commands use, by subject.

Modules named `dagster._*`, and `dagster_shared`, may change in any release of Dagster. They are
imported here, in `instance/` (what dagster.yaml names) and in `gateway/dagster_web/` (its web
server), and nowhere else. `docs/explanation/dagster-private.md` lists the names, and the tests that
fail where an upgrade changes one.
"""

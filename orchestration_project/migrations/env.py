"""Runs the migrations on the connection that the warehouse gives."""

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    version_table=given["version_table"],
    literal_binds=context.is_offline_mode(),
    target_metadata=given.get("target_metadata"),
)
context.run_migrations()

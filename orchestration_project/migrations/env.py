"""Runs the migrations on the connection that the warehouse gives."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    literal_binds=context.is_offline_mode(),
    target_metadata=attributes.get("target_metadata"),
)
context.run_migrations()

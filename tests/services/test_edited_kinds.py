"""Definitions that users edit: each field has a column of the table that stores it."""

from orchestration_project.engine.contracts.flags import FLAG_KIND
from orchestration_project.services.schedules.rules.schedules import SCHEDULE_KIND
from orchestration_project.tables.operations_edits import operations_flags, operations_schedules

TABLES = ((SCHEDULE_KIND, operations_schedules), (FLAG_KIND, operations_flags))


def test_each_field_has_a_column():
    missing = [
        f"{table.name}.{name}"
        for kind, table in TABLES
        for name in kind.model.model_fields
        if name not in table.columns
    ]
    assert not missing, f"fields without a column: {missing}"

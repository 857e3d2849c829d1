"""A delivery is compared with the loaded rows of its partition."""

from datetime import date

from orchestration_project import Field, decimal
from orchestration_project.engine.own.contracts import RowDifference, compare_rows
from tests.own.declared import dataset, read

KEY = ["day", "name"]


def test_rows_are_added_changed_removed_or_unchanged_also_where_they_are_blank():
    declared = dataset(Field("n", decimal(8, 2), "x", optional=True))
    before = read(declared, b"name,n\nA,1\nB,\nC,3\nD,\n").rows
    now = read(declared, b"name,n\nA,1.00\nB,\nC,4\nE,5\n")
    assert compare_rows(now, before, KEY) == RowDifference(
        added=1, changed=1, removed=1, unchanged=2
    )


def test_an_empty_partition_has_everything_added():
    declared = dataset()
    rows = read(declared, b"name\nA\n")
    assert str(compare_rows(rows, rows.rows.clear(), KEY)) == (
        "1 rows added, 0 changed, 0 removed, 0 unchanged"
    )
    assert rows.rows["day"].to_list() == [date(2026, 1, 5)]

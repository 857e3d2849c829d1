"""Pages by key: what a cursor holds, and which rows follow it."""

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.default import DefaultDialect

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.queries.paging import cursor_after, page

WEEKLY = relation("finra_otc_weekly")
KEY = {
    "week_start": "2025-01-06",
    "tier": "T1",
    "market": "ATS",
    "symbol": "Ä'; --",
    "venue_id": "",
}


def test_the_rows_after_a_cursor_are_those_with_a_key_above_and_its_values_are_bound():
    cursor = cursor_after(WEEKLY, KEY)
    statement = page(WEEKLY, ["symbol"], [], cursor=cursor, limit=10)
    compiled = statement.compile(dialect=sqlite.dialect())
    assert KEY["symbol"] in compiled.params.values()
    assert KEY["symbol"] not in str(compiled)
    assert "ORDER BY" in str(compiled)
    assert str(compiled).count("ORDER BY") == 1


def test_a_database_that_compares_no_rows_is_asked_part_by_part():
    fences = relation("fences")
    cursor = cursor_after(fences, {"table_name": "a", "scope_key": "b"})
    statement = page(fences, ["token"], [], cursor=cursor, limit=None)
    said = str(statement.compile(dialect=DefaultDialect(), compile_kwargs={"literal_binds": True}))
    _, _, condition = said.replace("fences.", "").replace("\n", " ").rpartition("WHERE ")
    assert condition == (
        "table_name >= 'a' AND (table_name > 'a' OR table_name = 'a' AND scope_key > 'b') "
        "ORDER BY table_name, scope_key"
    )


@pytest.mark.parametrize("cursor", ["", "x", "WzFd", "W10", "bnVsbA", "Ä", "eyJhIjoxfQ"])
def test_what_is_no_cursor_of_the_table_is_refused(cursor):
    with pytest.raises(ConfigurationError, match="the cursor is none of this table"):
        page(WEEKLY, ["symbol"], [], cursor=cursor, limit=10)
    other = cursor_after(relation("blobs"), {"sha256": "ab"})
    with pytest.raises(ConfigurationError, match="the cursor is none of this table"):
        page(WEEKLY, ["symbol"], [], cursor=other, limit=10)

"""Personal columns of tables that a project declares: masked, refused, left out of exports."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import httpx
import pytest
from sqlalchemy import delete, insert, text, update

from orchestration_project import Daily, Dataset, Field, decimal, file_source
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse.own_schema import apply_changes, find_additive_changes
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.schema import HISTORY, METADATA
from orchestration_project.tables.spine import captures, load_chain, rejects

ROWS = "/tables/sample_customers"
ALL = "?columns=number,email,born_on,limit_eur"


@pytest.fixture(scope="module")
def customers(api):
    """A table with two rows, one without values."""
    declared = Dataset(
        "sample_customers",
        key=["number"],
        partitions=Daily("2026-01-01"),
        fields=[
            Field("number", int, "number of the customer"),
            Field("email", str, "address", personal=True, optional=True),
            Field("born_on", date, "birthday", personal=True, optional=True),
            Field("limit_eur", decimal(8, 2), "limit, euros", optional=True),
        ],
        source=file_source("{partition}.csv", format="csv"),
    )
    table, _ = declare_table(declared, "sample")
    known = {
        "day": date(2026, 1, 2),
        "capture_id": 1,
        "known_from": datetime(2026, 1, 3, tzinfo=UTC),
    }
    personal = {"email": "ada@example.org", "born_on": date(1990, 5, 1), "limit_eur": Decimal("9")}
    reject = {
        "capture_id": 1,
        "table_name": table.name,
        "line_number": 2,
        "byte_offset": 0,
        "record": "7,eve@example.org",
        "reason_code": "wrong_field_count",
        "reason": "too few fields",
        "run_id": "",
        "rejected_at": known["known_from"],
    }
    with api.services.warehouse.writing() as connection:
        apply_changes(connection, find_additive_changes(connection, None))
        rows = [{"number": 1, **personal}, {"number": 2, **dict.fromkeys(personal)}]
        connection.execute(insert(table), [{**row, **known} for row in rows])
        connection.execute(insert(rejects), [reject])
    yield table
    history = table.info[HISTORY]
    with api.services.warehouse.writing() as connection:
        for named_table in (table, history):
            connection.execute(text(f"DROP TABLE {named_table.name}"))
        connection.execute(delete(rejects).where(rejects.c.table_name == table.name))
    for named_table in (table, history):
        METADATA.remove(named_table)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_values_are_masked_for_all_but_admins(api, customers, role):
    masked = {"number": 1, "email": "***", "born_on": None, "limit_eur": "9.000000"}
    nothing = {"number": 2, "email": None, "born_on": None, "limit_eur": None}
    assert api.get(ROWS + ALL, role)["rows"] == [masked, nothing]
    [row] = api.get(f"{ROWS}{ALL}&where=number=1", "admin")["rows"]
    assert (row["email"], row["born_on"]) == ("ada@example.org", "1990-05-01")


@pytest.mark.parametrize(
    "wanted",
    ["where=email=ada@example.org", "where=born_on>1980-01-01", "where=email between a and b"],
)
def test_conditions_reveal_nothing(api, customers, wanted):
    assert api.get(f"{ROWS}?{wanted}", "operator")["rows"] == []


def test_order_and_groups_reveal_nothing(api, customers):
    found = api.get(f"{ROWS}{ALL}&order_by=-email", "viewer")["rows"]
    assert {row["email"] for row in found} == {"***", None}
    groups = api.get(f"{ROWS}/groups?group_by=email", "viewer")["rows"]
    assert {group["email"] for group in groups} == {"***", None}


def test_what_is_not_named_leaves_personal_columns_out(api, customers):
    assert relation(customers.name).columns([]) == [
        "day",
        "number",
        "limit_eur",
        "capture_id",
        "known_from",
    ]
    assert "email" not in api.get(ROWS, "admin")["rows"][0]
    file = api.ask("GET", f"{ROWS}?format=csv", "admin").text
    assert "ada@" not in file
    named = api.ask("GET", f"{ROWS}?format=csv&columns=email", "viewer").text
    assert named.split()[:2] == ["email", "***"]


def test_changes_are_masked_for_all_but_admins(api, customers):
    start = {
        "table_name": customers.name,
        "number": 1,
        "kind": "start",
        "payload": json.dumps({"unchained": {"rows": 2}}),
        "record_sha256": "a" * 64,
        "recorded_at": datetime(2026, 1, 3, tzinfo=UTC),
    }
    with api.services.warehouse.writing() as connection:
        connection.execute(insert(load_chain), [start])
    try:
        reset, *masked = api.get(f"{ROWS}/changes?columns=email", "operator")["changes"]
        assert reset["change"] == "reset"
        assert [change["row"]["email"] for change in masked] == ["***", None]
        _, named, _ = api.get(f"{ROWS}/changes?columns=email", "admin")["changes"]
        assert named["row"]["email"] == "ada@example.org"
        _, usual, _ = api.get(f"{ROWS}/changes", "admin")["changes"]
        assert "email" not in usual["row"]
    finally:
        with api.services.warehouse.writing() as connection:
            is_of_table = load_chain.c.table_name == customers.name
            connection.execute(delete(load_chain).where(is_of_table))


def test_differences_and_explanations_need_an_admin(api, customers):
    times = "since=2026-01-01T00:00:00Z&until=2026-01-04T00:00:00Z"
    problem = api.expect_problem("GET", f"{ROWS}/diff?{times}", "operator")
    assert (problem["status"], problem["detail"]) == (
        403,
        "sample_customers has personal columns: email, born_on",
    )
    found = api.get(f"{ROWS}/diff?{times}", "admin")["rows"]
    assert {row["number"] for row in found} == {1, 2}


def test_rejected_records_of_such_a_table_are_masked(api, customers):
    where = "?where=table_name=sample_customers"
    [row] = api.get(f"/tables/rejects{where}", "operator")["rows"]
    assert (row["record"], row["reason_code"]) == ("***", "wrong_field_count")
    [row] = api.get(f"/tables/rejects{where}", "admin")["rows"]
    assert row["record"] == "7,eve@example.org"


def test_sql_reads_personal_values_as_nothing_for_all_but_admins(api, customers):
    def ask(query: str, role: str) -> list[str]:
        params = httpx.QueryParams(query=query, format="csv")
        return api.ask("GET", f"/sql?{params}", role).text.splitlines()[1:]

    both = "SELECT number, email, born_on FROM sample_customers ORDER BY number"
    assert ask(both, "viewer") == ["1,,", "2,,"]
    assert ask(both, "admin") == ["1,ada@example.org,1990-05-01", "2,,"]
    secret = "SELECT number FROM sample_customers WHERE email LIKE 'ada%'"
    assert ask(secret, "operator") == []
    assert ask(secret, "admin") == ["1"]
    of_table = "SELECT record, reason_code FROM rejects WHERE table_name = 'sample_customers'"
    assert ask(of_table, "viewer") == [",wrong_field_count"]
    problem = api.expect_problem("GET", "/sql?query=SELECT%20*%20FROM%20access_keys", "admin")
    assert problem["status"] == 422


def test_captured_bytes_of_such_a_table_need_an_admin(api, customers, loaded):
    [capture] = api.get("/artifacts?limit=1")["captures"]
    path = f"/artifacts/{capture['sha256']}"
    assert api.ask("GET", path, "viewer").status_code == 200
    is_it = captures.c.capture_id == capture["capture_id"]
    for dataset, status in ((customers.name, 403), (capture["dataset"], 200)):
        with api.services.warehouse.writing() as connection:
            connection.execute(update(captures).where(is_it).values(dataset=dataset))
        assert api.ask("GET", path, "operator").status_code == status
        assert api.ask("GET", path, "admin").status_code == 200


def test_archives_of_evidence_need_an_admin(api, customers):
    folder = api.services.settings.state_path / "evidence"
    folder.mkdir(exist_ok=True)
    (folder / "run-1.zip").write_bytes(b"PK")
    try:
        assert api.ask("GET", "/evidence/run-1.zip", "operator").status_code == 403
        assert api.ask("GET", "/evidence/run-1.zip", "admin").status_code == 200
    finally:
        (folder / "run-1.zip").unlink()

"""The `export` command: any table or view, whole or by conditions, to a file or a pipe."""

import json
import re
import subprocess
import sys
from decimal import Decimal

import polars as pl
import pytest
from sqlalchemy import insert, select

from orchestration_project.__main__ import main
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, v_finra_otc_weekly
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.bulk import ROWS_PER_ARROW_BATCH
from orchestration_project.engine.warehouse.frames import ROWS_PER_BATCH, insert_frame
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.tables.access import access_keys, access_sessions
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import rejects
from tests import programs
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, rejected, row

WEEKLY = "finra_otc_weekly"
MAX_NUMBER = Decimal("9223372036600.775807")
HASHES = {"secret_hash", "session_hash", "identifiers", "fingerprint"}
KEY = {
    "key_id": "k",
    "secret_hash": "5ec4e7",
    "role": "viewer",
    "owner": "Ana",
    "created_at": NOON,
    "expires_at": NOON,
}
SESSION = {
    "session_hash": "5ec4e7",
    "user_name": "Ana",
    "address": "127.0.0.1",
    "created_at": NOON,
    "seen_at": NOON,
    "expires_at": NOON,
}


def export_without_failure(capfd, *arguments):
    """Return the lines of a CSV on standard output, and what was said beside it."""
    status = main(["export", *arguments])
    output, error = capfd.readouterr()
    assert status == 0, error
    return output.split("\r\n")[:-1], error


def expect_refusal(capfd, *arguments):
    """Return what is said of an export that cannot be."""
    status = main(["export", *arguments])
    output, error = capfd.readouterr()
    assert output == ""
    is_name = re.search("has no column|table or view not found", error)
    assert status == (2 if is_name else 1)
    return error


@pytest.mark.slow_after_first
def test_a_table_goes_to_standard_output_as_csv_by_key(partition_loader, capfd):
    partition_loader.write_batch(
        row("BBB", notional_usd=12_345_678, participant_name='Q "A", Inc.'),
        row("AAA", share_quantity=MAX_NUMBER, participant_name=None),
    )
    columns = "symbol,week_start,share_quantity,notional_usd,participant_name,known_from"
    lines, said = export_without_failure(capfd, WEEKLY, "--columns", columns)
    assert lines == [
        columns,
        "AAA,2025-11-10,9223372036600.775807,,,2026-01-05T12:00:00.123456Z",
        'BBB,2025-11-10,100.000000,12345678,"Q ""A"", Inc.",2026-01-05T12:00:00.123456Z',
    ]
    byte_count = sum(len(line) + 2 for line in lines)
    assert said == f"finra_otc_weekly: 2 rows, {byte_count} bytes to standard output\n"


@pytest.mark.slow_after_first
def test_an_empty_text_is_two_quotes_and_null_is_nothing(partition_loader, capfd):
    partition_loader.write_batch(row("AAA", issue_name="", mpid=None))
    assert export_without_failure(capfd, WEEKLY, "--columns", "issue_name,mpid")[0] == [
        "issue_name,mpid",
        '"",',
    ]
    assert export_without_failure(capfd, WEEKLY, "--columns", "mpid")[0] == ["mpid", ""]


@pytest.mark.slow
def test_a_csv_for_excel_begins_with_a_byte_order_mark(partition_loader, capfd, tmp_path):
    file = tmp_path / "weekly.csv"
    assert main(["export", WEEKLY, "--byte-order-mark", "--output", str(file)]) == 0
    assert f"{len(file.read_bytes())} bytes" in capfd.readouterr().err
    plain = tmp_path / "plain.csv"
    assert main(["export", WEEKLY, "--output", str(plain)]) == 0
    assert file.read_bytes() == b"\xef\xbb\xbf" + plain.read_bytes()
    capfd.readouterr()
    assert "invalid --byte-order-mark: expected --format csv, found ndjson" in expect_refusal(
        capfd, WEEKLY, "--byte-order-mark", "--format", "ndjson"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "partition_loader",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],
    indirect=True,
)
def test_every_table_and_view_can_be_exported_as_csv_and_parquet(partition_loader, capfd, tmp_path):
    partition_loader.write_batch(row("AAA", notional_usd=1), row("BBB"), rejects=rejected(3, 7))
    for name, declared in known_tables().items():
        file = tmp_path / f"{name}.parquet"
        options = ["--internal", "--format", "parquet", "--output", str(file)]
        assert main(["export", name, *options]) == 0
        found = pl.read_parquet(file)
        columns = [column.key for column in declared.columns if column.name not in HASHES]
        assert dict(found.schema) == derive_schema(declared, columns)
        statement = select(declared).order_by(*(declared.c[key] for key in key_names(declared)))
        assert found.equals(partition_loader.warehouse.frame(statement, declared).select(columns))
        capfd.readouterr()
        assert len(export_without_failure(capfd, name, "--internal")[0]) == found.height + 1


def test_internal_tables_are_exported_where_that_is_asked_for_and_hashes_of_secrets_never(
    partition_loader, capfd
):
    with partition_loader.warehouse.writing() as connection:
        connection.execute(insert(access_keys), KEY)
        connection.execute(insert(access_sessions), SESSION)
    internal = {"access_audit", "access_failures", "access_keys", "access_sessions"}
    for name in internal | {"fences", "leases", "outbox", "pending_announcements"}:
        assert f"{name} is an internal table" in expect_refusal(capfd, name)
    for name in ("access_keys", "access_sessions"):
        lines, _ = export_without_failure(capfd, name, "--internal")
        assert len(lines) == 2
        assert "hash" not in lines[0]
        assert "5ec4e7" not in "".join(lines)
        [hidden] = [column.name for column in known_tables()[name].columns if column.name in HASHES]
        for requested in (["--columns", hidden], ["--where", f"{hidden}>=5"]):
            message = expect_refusal(capfd, name, "--internal", *requested)
            assert "hashes of secrets, which are never written" in message


@pytest.mark.slow
def test_an_export_is_for_whom_the_users_umask_lets_and_its_database_for_our_user_alone(tmp_path):
    state, file = tmp_path / "state", tmp_path / "x.csv"
    status, _, error = programs.run(
        state, "orchestration_project", "export", "blobs", "--output", str(file)
    )
    assert status == 0, error
    (tmp_path / "usual").touch()
    assert file.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert [oct(path.stat().st_mode & 0o077) for path in state.glob("*.sqlite")] == ["0o0"]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_texts_of_senders_are_escaped_where_a_spreadsheet_would_calculate_them(
    partition_loader, clock, capfd, tmp_path
):
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "'=1", ""]
    deliveries = [
        NewDelivery("git", f"{number}", text, b"{}", {}, 0) for number, text in enumerate(texts)
    ]
    Inbox(partition_loader.warehouse, clock).take(deliveries)
    partition_loader.write_batch(
        row("AAA", participant_name="=2"), row("BBB", participant_name=None)
    )

    def kinds(*options):
        lines, _ = export_without_failure(capfd, "inbox", "--columns", "kind", *options)
        return lines[1:]

    plain = ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "'=1", '""']
    assert kinds() == kinds("--escape-formulas")
    assert kinds() == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "plain", "'=1", '""']
    assert kinds("--no-escape-formulas") == plain
    names = [WEEKLY, "--columns", "participant_name,share_quantity"]
    assert export_without_failure(capfd, *names)[0][1:] == ["=2,100.000000", ",100.000000"]
    assert export_without_failure(capfd, *names, "--escape-formulas")[0][1:] == [
        "'=2,100.000000",
        ",100.000000",
    ]
    file = tmp_path / "inbox.parquet"
    options = ["--format", "parquet", "--output", str(file), "--escape-formulas"]
    assert main(["export", "inbox", *options]) == 0
    assert pl.read_parquet(file)["kind"].to_list() == texts
    for option in ([], ["--escape-formulas"], ["--no-escape-formulas"]):
        assert main(["export", "inbox", "--format", "ndjson", *option]) == 0
        lines = capfd.readouterr().out.splitlines()
        assert [json.loads(line)["kind"] for line in lines] == texts
    between = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z"]
    options = ["--columns", "new_participant_name", "--format", "ndjson", "--escape-formulas"]
    assert main(["diff", WEEKLY, *between, *options]) == 0
    assert '{"new_participant_name":"=2"}' in capfd.readouterr().out.splitlines()


@pytest.mark.slow_after_first
def test_a_view_gives_dollars_with_all_their_digits(partition_loader, capfd, tmp_path):
    partition_loader.write_batch(
        row("AAA", notional_usd=2**63 - 1), row("BBB", notional_usd=1), row("CCC")
    )
    columns = ["--columns", "symbol,tier_name,notional_dollars"]
    assert export_without_failure(capfd, "v_finra_otc_weekly", *columns)[0][1:] == [
        "AAA,NMS Tier 1,9223372036854.775807",
        "BBB,NMS Tier 1,0.000001",
        "CCC,NMS Tier 1,",
    ]
    file = str(tmp_path / "view.parquet")
    main(["export", "v_finra_otc_weekly", "--format", "parquet", "--output", file])
    assert pl.read_parquet(file)["notional_dollars"].to_list() == [
        Decimal("9223372036854.775807"),
        Decimal("0.000001"),
        None,
    ]


CONDITIONS: list[tuple[list[str], list[str]]] = [
    (["symbol=AAA"], ["AAA"]),
    (["symbol!=AAA"], ["BBB", "aaa"]),
    (["symbol>=BBB", "symbol<b"], ["BBB", "aaa"]),
    (["share_quantity>100"], ["BBB", "aaa"]),
    (["share_quantity > 100 ", "share_quantity <=200"], ["BBB"]),
    ([f"week_start={MONDAY}"], ["AAA", "BBB", "aaa"]),
    (["week_start<2025-11-10"], []),
    (["known_from=2026-01-05T13:00:00.123456+01:00"], ["AAA", "BBB", "aaa"]),
    (["known_from>2026-01-05T12:00:00.123456Z"], []),
    (["issue_name="], ["BBB"]),
    (["issue_name=x' OR '1'='1"], []),
    (["notional_dollars>9.5"], ["AAA"]),
    (["notional_dollars=9.5"], ["BBB"]),
    (["notional_dollars<=10.000001"], ["AAA", "BBB"]),
    (["symbol in (AAA, aaa)"], ["AAA", "aaa"]),
    (['symbol IN ("a,b",BBB)'], ["BBB"]),
    (["notional_dollars in (9.5, 1)"], ["BBB"]),
    ([f"week_start in ({MONDAY})", "symbol!=AAA", "symbol!=BBB"], ["aaa"]),
    (["symbol=AAA", "symbol=AAA"], ["AAA"]),
    (["share_quantity between 200 and 300"], ["BBB", "aaa"]),
    (["share_quantity BETWEEN 100 and 100", "symbol between A and B"], ["AAA"]),
    (["notional_dollars between 9.5 and 10"], ["BBB"]),
    ([f"week_start between 2025-01-06 and {MONDAY}", "symbol=aaa"], ["aaa"]),
    (["(symbol in (AAA,CCC)) or (share_quantity>=300)"], ["AAA", "aaa"]),
    (["(symbol=AAA) OR (share_quantity between 150 and 250) or (tier=OTCE)"], ["AAA", "BBB"]),
    (["(symbol=AAA) or (symbol=BBB)", "(notional_dollars<10) or (tier=T2)"], ["BBB"]),
    (["(symbol=aaa)"], ["aaa"]),
    (['(symbol in ("x) or (tier=T1")) or (symbol=BBB)'], ["BBB"]),
    (['symbol in ("AAA or tier=T1")'], []),
    (["issue_name=BLACK or WHITE"], []),
    (['issue_name in ("x) or (tier=T1")'], []),
]
"""Conditions, and the symbols of the rows for which all of them hold."""


@pytest.mark.slow
def test_conditions_are_compared_by_the_columns_type_and_all_must_hold(partition_loader, capfd):
    partition_loader.write_batch(
        row("AAA", notional_usd=10_000_001),
        row("BBB", notional_usd=9_500_000, share_quantity=200, issue_name=""),
        row("aaa", share_quantity=300),
    )
    for wheres, symbols in CONDITIONS:
        options = [option for where in wheres for option in ("--where", where)]
        lines, _ = export_without_failure(
            capfd, "v_finra_otc_weekly", "--columns", "symbol", *options
        )
        assert lines == ["symbol", *symbols], wheres


SPELLINGS = [
    ["tier=T1", "symbol=AAA"],
    ["tier = T1", " symbol  =  AAA "],
    ["tier == T1", "symbol=='AAA'"],
    ["tier='T1'", 'symbol = "AAA"'],
    ["tier in ('T1','T2')", "symbol IN ( 'AAA' )"],
    ["tier in (T1, T2)", "week_start = '2025-11-10'", "symbol <> BBB"],
    ["tier != 'T2'", "share_quantity = '100'", "share_quantity==100"],
    ["share_quantity between '1' and 150", "symbol between 'AAA' and \"AAA\""],
    ["( tier = 'T1' ) or (tier='T2')", "(symbol='AAA')or( symbol = \"x, or (y)\" )"],
    ["issue_name = ' it''s \"1=1\", and (so) on '"],
    ['issue_name = " it\'s ""1=1"", and (so) on "'],
]
"""Conditions that the same row alone meets."""


@pytest.mark.slow_after_first
def test_each_spelling_of_a_condition_selects_the_same_rows(partition_loader, capfd):
    name = ' it\'s "1=1", and (so) on '
    partition_loader.write_batch(row("AAA", issue_name=name), row("BBB", share_quantity=200))
    for wheres in SPELLINGS:
        options = [option for where in wheres for option in ("--where", where)]
        lines, _ = export_without_failure(capfd, WEEKLY, "--columns", "symbol", *options)
        assert lines == ["symbol", "AAA"], wheres


REFUSED = [
    ([WEEKLY, "--where", "tier=T4"], "tier is never 'T4'\n  expected: one of T1, T2, OTCE"),
    ([WEEKLY, "--where", "tier in (T1,t1)"], "tier is never 't1'\n  expected: one of T1, T2, OTCE"),
    ([WEEKLY, "--where", "(market=ATS) or (market!=OTC)"], "expected: one of ATS, NON_ATS"),
    (["v_finra_otc_weekly", "--where", "tier=T4"], "expected: one of T1, T2, OTCE"),
    ([f"{WEEKLY}_history", "--where", "tier=T4"], "expected: one of T1, T2, OTCE"),
    (["operations_runs", "--internal", "--where", "status=SUCCES"], "did you mean SUCCESS?"),
    ([WEEKLY, "--where", "tier=T1,symbol=A"], "found: ',symbol=A' at character 8"),
    (
        [WEEKLY, "--where", "tier=T1,symbol=A"],
        "what to do: give each as its own filter: 'tier=T1' and 'symbol=A'",
    ),
    ([WEEKLY, "--where", "symbol=A & tier=T1"], "found: 'tier=T1' at character 12"),
    ([WEEKLY, "--where", "symbol=A tier = T1"], "found: 'tier = T1' at character 10"),
    ([WEEKLY, "--where", "symbol=A and tier in (T1)"], "found: 'tier in (T1)' at character 14"),
    ([WEEKLY, "--where", "symbol=A,B"], "put a text with commas, parentheses or operators in"),
    ([WEEKLY, "--where", "symbol=='A"], "closing quote not found"),
    ([WEEKLY, "--where", "symbol='A' B"], "found: 'B' at character 12"),
    ([WEEKLY, "--where", "symbol=>A"], "found: '>A' at character 8"),
    ([WEEKLY, "--where", "symbol in (A,)"], "found: ')' at character 14"),
    ([WEEKLY, "--where", "symbol in (A"], "found: the end at character 13"),
    ([WEEKLY, "--where", "symbol is null"], "found: 'symbol is null' at character 1"),
    ([WEEKLY, "--where", "symbol=NULL"], "NULL meets no condition; the text stands in quotes"),
    ([WEEKLY, "--where", "trade_count='x'"], "expected: a whole number of 64 bits"),
    (["finra_symbol_week", "--where", "hhi_lower<1_0"], "expected: a number"),
    (["finra_otc_wekly"], "table or view not found: 'finra_otc_wekly'"),
    (["finra_otc_wekly"], "what to do: did you mean finra_otc_weekly?"),
    (["sqlite_master"], "table or view not found: 'sqlite_master'"),
    ([WEEKLY, "--columns", "symbl"], "finra_otc_weekly has no column 'symbl'"),
    ([WEEKLY, "--columns", "symbol,tier,symbol"], "a column of finra_otc_weekly is named tw"),
    ([WEEKLY, "--where", "symbl=A"], "did you mean symbol?"),
    ([WEEKLY, "--where", "1=1; DROP TABLE blobs"], "finra_otc_weekly has no column '1'"),
    ([WEEKLY, "--where", "symbol LIKE 'A%'"], "invalid condition"),
    ([WEEKLY, "--where", "symbol in ()"], "invalid condition"),
    ([WEEKLY, "--where", "symbol in AAA"], "invalid condition"),
    ([WEEKLY, "--where", "share_quantity in (1,x)"], "expected: a number with at most 6 decimals"),
    (
        [WEEKLY, "--where", "tier=T1", "--where", "tier=T2"],
        "tier=T1 and tier=T2 never both hold\n  expected: one of them, or either: "
        "'tier in (T1,T2)'",
    ),
    (
        [WEEKLY, "--where", "symbol in (A,B) or venue_id=X"],
        "write '(symbol in (A,B)) or (venue_id=X)'",
    ),
    (
        [WEEKLY, "--where", "trade_count between 1 and 5 or tier=T1"],
        "write '(trade_count between 1 and 5) or (tier=T1)'",
    ),
    ([WEEKLY, "--where", "tier=T1 and symbol=A"], "what to do: give each as its own filter"),
    ([WEEKLY, "--where", "(tier=T1) or (symbl=A)"], "did you mean symbol?"),
    ([WEEKLY, "--where", "(tier=T1) or (trade_count=x)"], "expected: a whole number of 64 bits"),
    ([WEEKLY, "--where", "(tier=T1) or (1=1; --)"], "finra_otc_weekly has no column '1'"),
    ([WEEKLY, "--where", "(tier=T1) and (symbol=A)"], "invalid condition"),
    ([WEEKLY, "--where", "((tier=T1))"], "invalid condition"),
    ([WEEKLY, "--where", "(tier=T1) or (tier=T2"], "invalid condition"),
    ([WEEKLY, "--where", "()"], "invalid condition"),
    (
        [WEEKLY, "--where", "trade_count between 5 and 1"],
        "'trade_count between 1 and 5'",
    ),
    ([WEEKLY, "--where", "trade_count between 1 and 2 and 3"], "invalid condition"),
    ([WEEKLY, "--where", "week_start between 2025-11-10 and x"], "a date such as 2025-11-10"),
    (["access_keys", "--internal", "--where", "(role=a) or (secret_hash=b)"], "never written"),
    ([WEEKLY, "--order-by", "symbol,-symbl"], "did you mean symbol?"),
    (["access_keys", "--internal", "--order-by", "secret_hash"], "which are never written"),
    (["acess_keys"], "expected: a name that `orchestrate tables` lists"),
    ([WEEKLY, "--where", "week_start=2025-W46-1"], "expected: a date such as 2025-11-10"),
    ([WEEKLY, "--where", "week_start=2025-02-30"], "expected: a date such as 2025-11-10"),
    ([WEEKLY, "--where", "trade_count=1.5"], "expected: a whole number of 64 bits"),
    ([WEEKLY, "--where", f"trade_count={2**63}"], "expected: a whole number of 64 bits"),
    ([WEEKLY, "--where", "known_from>2026-01-05"], "expected: an ISO time with its zone"),
    (["finra_symbol_week", "--where", "hhi_lower<nan"], "expected: a number"),
    (["v_finra_otc_weekly", "--where", "notional_dollars=1e3"], "expected: a number with at m"),
    ([WEEKLY, "--where", "symbol=\udcff"], "expected: text in UTF-8"),
    ([WEEKLY, "--format", "parquet"], "parquet is not written to standard output"),
    ([WEEKLY, "--format", "xlsx"], "xlsx is not written to standard output"),
    ([WEEKLY, "--output", "x.json"], "invalid --output x.json: no format has the suffix .json"),
    ([WEEKLY, "--output", "x.json"], "what to do: did you mean .jsonl?"),
    ([WEEKLY, "--output", "/nowhere/x.csv"], "/nowhere/x.csv cannot be written"),
    ([WEEKLY, "--output", "/tmp/not_there/"], "/tmp/not_there/ is a folder"),  # noqa: S108 - never made
    ([WEEKLY, "--output", "/dev/null", "--force"], "/dev/null is not a file"),
]
"""Arguments, and what is in the message that refuses them."""


@pytest.mark.slow_after_first
def test_what_cannot_be_exported_is_a_clear_message(partition_loader, capfd):
    for arguments, message in REFUSED:
        assert message in expect_refusal(capfd, *arguments), arguments


@pytest.mark.slow_after_first
def test_a_file_that_is_there_stays_unless_force_is_said(partition_loader, capfd, tmp_path):
    partition_loader.write_batch(row("AAA"))
    file = tmp_path / "out.csv"
    file.write_text("mine")
    arguments = [WEEKLY, "--columns", "symbol", "--output", str(file)]
    assert f"{file} is there already" in expect_refusal(capfd, *arguments)
    assert file.read_text() == "mine"
    assert main(["export", *arguments, "--force"]) == 0
    assert file.read_bytes() == b"symbol\r\nAAA\r\n"
    assert capfd.readouterr().err == f"finra_otc_weekly: 1 rows, 13 bytes to {file}\n"


def test_a_table_is_a_workbook_that_pandas_reads_with_every_digit(
    partition_loader, capfd, tmp_path
):
    import pandas as pd

    partition_loader.write_batch(
        row("AAA", notional_usd=2**63 - 1, issue_name="=1+1"),
        row("BBB", notional_usd=1, share_quantity=MAX_NUMBER),
        row("NA", issue_name=None),
    )
    columns = "symbol,week_start,share_quantity,notional_dollars,issue_name,known_from"
    file = tmp_path / "weekly.xlsx"
    options = ["--columns", columns, "--format", "xlsx", "--output", str(file)]
    assert main(["export", "v_finra_otc_weekly", *options]) == 0
    said = f"v_finra_otc_weekly: 3 rows, {file.stat().st_size} bytes to {file}\n"
    assert capfd.readouterr().err == said
    found = pd.read_excel(file, keep_default_na=False, dtype=object, engine="openpyxl")
    known, monday = "2026-01-05T12:00:00.123456Z", pd.Timestamp(MONDAY)
    assert found.columns.to_list() == columns.split(",")
    assert found.to_numpy().tolist() == [
        ["AAA", monday, 100, "9223372036854.775807", "=1+1", known],
        ["BBB", monday, "9223372036600.775807", 0.000001, "BBB Inc. Common Stock", known],
        ["NA", monday, 100, "", "", known],
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("html", "<tr><td>AAA</td><td>100.000000</td><td>'=&lt;b&gt;|</td></tr>"),
        ("md", r"| AAA | 100.000000 | '=&lt;b&gt;\| |"),
    ],
)
def test_a_table_to_read_goes_to_standard_output_with_its_texts_escaped(
    partition_loader, capfd, form, line
):
    partition_loader.write_batch(row("AAA", participant_name="=<b>|"))
    columns = ["--columns", "symbol,share_quantity,participant_name"]
    assert main(["export", WEEKLY, *columns, "--format", form, "--escape-formulas"]) == 0
    assert line in capfd.readouterr().out.splitlines()


@pytest.mark.slow_on_postgresql
def test_rows_are_sorted_by_columns_and_limited_and_null_comes_last(partition_loader, capfd):
    partition_loader.write_batch(
        row("AAA", notional_usd=9_000_000),
        row("BBB", notional_usd=10_000_000),
        row("CCC"),
        row("DDD", notional_usd=10_000_000),
    )

    def symbols(*options: str) -> list[str]:
        shown = ["--columns", "symbol", *options]
        return export_without_failure(capfd, "v_finra_otc_weekly", *shown)[0][1:]

    assert symbols("--order-by", "-notional_dollars") == ["BBB", "DDD", "AAA", "CCC"]
    assert symbols("--order-by", "notional_dollars,-symbol") == ["AAA", "DDD", "BBB", "CCC"]
    assert symbols("--order-by", "-symbol", "--limit", "2") == ["DDD", "CCC"]
    assert symbols("--limit", "0") == []
    at = ["--as-of", "2026-02-01T00:00:00Z", "--order-by=-symbol", "--limit=1"]
    assert export_without_failure(capfd, WEEKLY, "--columns", "symbol", *at)[0] == ["symbol", "DDD"]


@pytest.mark.slow_on_postgresql
def test_the_suffix_of_a_file_decides_its_format_unless_one_is_named(
    partition_loader, capfd, tmp_path
):
    partition_loader.write_batch(row("AAA", notional_usd=2**63 - 1, issue_name=None))
    columns = ["--columns", "symbol,notional_dollars,issue_name,known_from"]
    line = (
        '{"symbol":"AAA","notional_dollars":"9223372036854.775807","issue_name":null,'
        '"known_from":"2026-01-05T12:00:00.123456Z"}\n'
    )
    for name in ("rows.ndjson", "rows.JSONL"):
        file = tmp_path / name
        assert main(["export", "v_finra_otc_weekly", *columns, "--output", str(file)]) == 0
        assert file.read_text() == line
    parquet = tmp_path / "rows.parquet"
    assert main(["export", WEEKLY, "--output", str(parquet)]) == 0
    assert pl.read_parquet(parquet).height == 1
    arrow = tmp_path / "rows.arrow"
    assert main(["export", WEEKLY, "--output", str(arrow)]) == 0
    assert pl.read_ipc(arrow).equals(pl.read_parquet(parquet))
    other = tmp_path / "other.parquet"
    assert main(["export", WEEKLY, "--output", str(other), "--format", "csv"]) == 0
    assert other.read_text().startswith("week_start,tier,")
    capfd.readouterr()
    assert main(["export", WEEKLY, "--where", "symbol=ZZZ", "--format", "ndjson"]) == 0
    assert capfd.readouterr().out == ""


def test_an_export_of_nothing_has_a_header_and_types(partition_loader, capfd, tmp_path):
    assert export_without_failure(capfd, "rejects", "--columns", "line_number")[0] == [
        "line_number"
    ]
    file = tmp_path / "empty.parquet"
    assert main(["export", WEEKLY, "--format", "parquet", "--output", str(file)]) == 0
    found = pl.read_parquet(file)
    assert (dict(found.schema), found.height) == (derive_schema(finra_otc_weekly), 0)


OF_POSTGRESQL = [0, ROWS_PER_BATCH, ROWS_PER_BATCH, 1]
OF_SQLITE = [0, ROWS_PER_ARROW_BATCH - 1, *[ROWS_PER_ARROW_BATCH] * 3, 2]
"""Rows of the batches of two times ROWS_PER_BATCH rows and one; the first is for the types."""


@pytest.mark.slow_on_postgresql
def test_more_rows_than_a_batch_come_in_batches_one_after_the_other(partition_loader, tmp_path):
    count = 2 * ROWS_PER_BATCH + 1
    many = pl.select(
        capture_id=pl.int_range(count, dtype=pl.Int64),
        table_name=pl.lit(WEEKLY),
        line_number=pl.lit(2, dtype=pl.Int64),
        byte_offset=pl.lit(0, dtype=pl.Int64),
        record=pl.lit("|"),
        reason_code=pl.lit("blank_symbol"),
        reason=pl.lit("blank"),
        run_id=pl.lit("run"),
        rejected_at=pl.lit(NOON).dt.cast_time_unit("us"),
    )
    with partition_loader.warehouse.writing() as connection:
        insert_frame(connection, rejects, many)
    statement = select(rejects).order_by(rejects.c.capture_id)
    with partition_loader.warehouse.batches(statement, rejects) as batches:
        heights = [batch.height for batch in batches]
    assert heights == (OF_SQLITE if partition_loader.warehouse.file else OF_POSTGRESQL)
    assert sum(heights) == count
    file = tmp_path / "many.parquet"
    assert main(["export", "rejects", "--format", "parquet", "--output", str(file)]) == 0
    assert pl.read_parquet(file).equals(many)


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path, prepared, clock):
    state_dir = tmp_path / "state"
    url = prepared.sqlite(state_dir / "demo.sqlite")
    with Warehouse(url, clock=clock) as warehouse:
        warehouse.prepare(holds="demo")
        PartitionLoader(warehouse, tmp_path / "artifacts").write_batch(
            *(row(f"S{n}") for n in range(2000))
        )
    process = programs.start(state_dir, "orchestration_project", "export", WEEKLY)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith("week_start,tier,")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(30)) == ("", 141)
    process.stderr.close()


@pytest.mark.slow_on_postgresql
def test_a_standard_error_that_is_closed_does_not_make_it_fail(
    partition_loader, tmp_path, monkeypatch
):
    partition_loader.write_batch(row("AAA"))
    file = tmp_path / "rows.csv"
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it after 2>&-
    assert main(["export", WEEKLY, "--columns", "symbol", "--output", str(file)]) == 0
    assert file.read_bytes() == b"symbol\r\nAAA\r\n"
    assert main(["export", WEEKLY, "--columns", "symbol", "--output", str(file)]) == 1
    sys.stderr.close()  # what it has in the place of the one that is closed


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_sql_writes_the_rows_of_a_query_now_or_as_of_a_time(partition_loader, capfd):
    partition_loader.write_batch(row("AAA"))
    query = "SELECT symbol, '=1+1' AS formula FROM finra_otc_weekly"
    assert main(["sql", query]) == 0
    assert capfd.readouterr().out == "symbol,formula\r\nAAA,'=1+1\r\n"
    command = [sys.executable, "-m", "orchestration_project", "sql", "-"]
    options = ["--format", "ndjson", "--no-escape-formulas"]
    ended = subprocess.run([*command, *options], input=query, capture_output=True, text=True)  # noqa: S603 - our own program
    assert json.loads(ended.stdout) == {"symbol": "AAA", "formula": "=1+1"}
    count = "SELECT count(*) AS n FROM finra_otc_weekly"
    assert main(["sql", count, "--as-of", "2020-01-01T00:00:00Z"]) == 0
    assert capfd.readouterr().out == "n\r\n0\r\n"
    assert main(["sql", count, "--as-of", "2020-01-01"]) == 1
    assert "invalid --as-of" in capfd.readouterr().err
    assert main(["sql", "SELECT secret_hash FROM access_keys"]) == 1
    assert "access_keys.secret_hash, which holds hashes" in capfd.readouterr().err


def test_the_view_is_declared_with_the_key_of_its_table():
    assert key_names(v_finra_otc_weekly.table) == key_names(finra_otc_weekly)

"""The file of exports: strict, checked against the tables, and its messages short."""

import pytest

from orchestration_project.engine.contracts.exports import (
    DatabaseTarget,
    LoadRange,
    name_secrets,
    read_exports,
)
from orchestration_project.errors import ConfigurationError
from tests.resources.weeks import NOON

GOOD = """
targets:
  mart: {kind: database}
exports:
  weekly: {table: finra_otc_weekly, where: ['tier in (T1,T2)'], columns: [symbol, week_start]}
  changes: {table: finra_otc_weekly, incremental: true, target: mart}
"""


def is_cron(text: str) -> bool:
    return len(text.split()) == 5


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError, match=r"^invalid exports") as refused:
        read_exports(text, is_cron)
    return refused.value.found


def test_an_export_is_read_with_its_target_and_defaults():
    found = read_exports(GOOD, is_cron)
    assert found["weekly"].target is None
    assert found["weekly"].export.file_format == "parquet"
    assert isinstance(found["changes"].target, DatabaseTarget)
    assert found["changes"].export.write_disposition == "append"
    assert read_exports("", is_cron) == read_exports("exports: {}\ntargets:", is_cron) == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a: {table: nope}", "line 1: exports.a.table: table or view not found: 'nope'"),
        ("a: {table: landings, colour: red}", "exports.a.colour: unknown name"),
        ("a: {table: landings, schedule: daily}", "exports.a.schedule: expected a cron"),
        ("a: {table: landings, timezone: Mars/Base}", "exports.a.timezone: expected a time zone"),
        ("a: {table: landings, timezone: ../UTC}", "exports.a.timezone: expected a time zone"),
        ("a: {table: landings, columns: [run]}", "no column 'run', expected one of group_id, "),
        ("a: {table: landings, columns: [run]}", ", landed_at, did you mean run_id?"),
        ("a: {table: landings, where: ['run = 1']}", "exports.a.where: "),
        ('a: {table: landings, timezone: "U\\0C"}', "exports.a.timezone: expected a time zone"),
        ("a: {table: fences}", "exports.a.table: expected a table that is not internal"),
        ("a: {table: landings, incremental: true}", "landings keeps no history"),
        ("a: {table: access_keys, internal: true, columns: [secret_hash]}", "hashes of secrets"),
        ("a: {table: access_keys, internal: true, where: [secret_hash=a]}", "hashes of secrets"),
        ("a: {table: landings, columns: [nope]}", "has no column 'nope'"),
        ("a: {table: landings, where: [rows_added=x]}", "cannot be compared with rows_added"),
        ("a: {table: landings, target: mart}", "expected one of artifacts, found 'mart'"),
        ("a: {table: landings, target_table: x}", "expected with a database as target only"),
        ("a: {table: landings, format: xlsx}", "exports.a.format: expected"),
        ("a: {table: landings, alert_after_hours: -1}", "exports.a.alert_after_hours"),
        ("a: {table: landings, format: ndjson, escape_formulas: true}", "expected with csv only"),
        ("a: {table: landings, format: ndjson, byte_order_mark: true}", "expected with csv only"),
        ("a: {table: landings, byte_order_mark: true}", "a.byte_order_mark: expected with csv"),
        ("A: {table: landings}", "exports: 'A': expected a name of at most 40 characters"),
        ("1: {table: landings}", "exports: 1: expected a name"),
        ('"a\\0b": {table: landings}', r"exports: 'a\x00b': expected a name"),
        ("a: {table: landings}, a: {table: fences}", "a stands there twice"),
        ("a", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: str, expected: str):
    braces = f"{{{line}}}" if ":" in line else line
    assert expected in problem(f"exports: {braces}")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{kind: ftp}", "Input tag 'ftp'"),
        ("{kind: s3, url: https://x}", "targets.mart.s3.url"),
        ("{kind: s3, url: 's3://key:secret@bucket/x'}", "targets.mart.s3.url"),
        ("{kind: webhook, url: 'https://user:password@x.example.org/'}", "mart.webhook.url"),
        ("{kind: webhook, url: 'https://x.example.org/?token=abc'}", "mart.webhook.url"),
        ("{kind: webhook, secret: abc}", "targets.mart.webhook.secret: unknown name"),
        ("{kind: database, url: 'postgresql://x'}", "targets.mart.database.url: unknown name"),
        ("{kind: database, database_schema: 'a; b'}", "database_schema"),
    ],
)
def test_a_target_has_no_secret_and_nothing_unknown(target: str, expected: str):
    assert expected in problem(f"targets: {{mart: {target}}}")


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", ""),
        ("format: csv", "format: expected parquet with a folder, found csv"),
        ("escape_formulas: true", "escape_formulas: expected with csv only"),
        ("byte_order_mark: true", "byte_order_mark: expected with csv only"),
        (
            "incremental: true",
            "incremental: expected false: a folder has all rows, of which only changed files are "
            "written",
        ),
        ("write: replace", "write: expected with a database as target only"),
    ],
)
def test_a_folder_takes_all_rows_as_parquet(more: str, found: str):
    target = "targets: {mart: {kind: folder, path: /srv/mart}}\n"
    text = f"{target}exports: {{a: {{table: finra_otc_weekly, target: mart, {more}}}}}"
    if found:
        assert problem(text) == f"line 2: exports.a.{found}"
    else:
        assert read_exports(text, is_cron)["a"].export.file_format == "parquet"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("format: csv", "expected no format"),
        ("incremental: true, write: replace", "expected append"),
    ],
)
def test_a_database_takes_no_file(more: str, expected: str):
    text = f"exports: {{a: {{table: finra_otc_weekly, target: mart, {more}}}}}"
    assert expected in problem(f"targets: {{mart: {{kind: database}}}}\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        f"exports:\n  {'n' * 10_000}:\n    table: landings",
        f"exports:\n  ? {'n' * 10_000}\n  : {{table: landings}}",
        f"targets:\n  ? {'n' * 10_000}\n  : {{kind: database}}",
        f"exports: {{a: {{table: {'t' * 10_000}}}}}",
        f"exports: {{a: {{table: landings, columns: [{'c' * 10_000}]}}}}",
        f"exports: {{a: {{table: landings, where: [{'c' * 10_000}]}}}}",
        f"exports: {{a: {{table: landings, schedule: {'* ' * 5_000}}}}}",
        f"exports: {{a: {{table: landings, target: {'t' * 10_000}}}}}",
        "exports: \0",
        "exports: \ud800",
        "[]",
        "exports: [",
        "? [a]\n: b",
    ],
)
def test_whatever_the_file_has_it_is_refused_in_few_words(text: str):
    assert len(problem(text)) < 1_000


def test_all_problems_of_a_file_are_shown_at_once():
    text = """targets:
  mart: {kind: ftp}
exports:
  a: {table: nope}
  b: {table: landings, format: xls}
  c: {table: landings, target: mart}
  d: {table: landings, schedule: daily}
"""
    lines = [part.partition(":")[0] for part in problem(text).split("; ") if "line" in part]
    assert sorted(lines) == ["line 2", "line 4", "line 5", "line 7"]


def test_a_version_names_loads_and_declaration():
    loads = LoadRange(None, NOON)
    assert LoadRange.of_version(loads.version("abc")) == (loads, "abc")
    later = LoadRange(NOON, NOON.replace(hour=13))
    assert LoadRange.of_version(later.version("abc")) == (later, "abc")
    one, other = read_exports(GOOD, is_cron)["weekly"], read_exports(GOOD, is_cron)["changes"]
    assert one.definition_sha256 != other.definition_sha256
    moved = GOOD.replace("target: mart}", "target: mart, schedule: 0 6 * * *}")
    assert read_exports(moved, is_cron)["changes"].definition_sha256 == other.definition_sha256


def test_the_hash_of_a_declaration_stays_the_same_across_releases():
    """Another one would export all rows again after an upgrade."""
    assert read_exports(GOOD, is_cron)["weekly"].definition_sha256 == (
        "7c21da3f61ba8ad6b55bccda1e763839a734da5eb7aaf9313ceaf65799e65a4a"
    )


def test_secrets_of_a_target_are_in_variables_of_its_name():
    assert name_secrets("partner") == ("EXPORT_URL_PARTNER", "EXPORT_SECRET_PARTNER")

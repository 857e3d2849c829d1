"""plugin.yaml: what it may say, and what is refused with its place."""

import json
from typing import Any

import pytest

from orchestration_project.domains.plugins.manifest import (
    MAX_MANIFEST_BYTES,
    read_manifest,
    stored_manifest,
)
from orchestration_project.errors import ConfigurationError
from tests.plugin_files import manifest


def expect_refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_manifest(text)
    assert refused.value.what == "invalid plugin.yaml"
    assert "add the plugin again" in refused.value.remedy
    return refused.value.found


def permissions(**fields: Any) -> dict[str, Any]:
    return {"permissions": {"tables": ["items"]} | fields}


def test_a_manifest_has_all_that_it_says_and_is_stored_without_loss():
    written = """
id: rss
version: 1.2.3-rc.1
publisher: example.org
kind: action
entry: src/main.py
requires: ">=0.1,<2"
description: Reads feeds.
schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}
partitions: {start: 2026-11-01}
permissions:
  hosts: [{host: "example.org:8443", methods: [GET, POST]}]
  secrets: [{name: TOKEN, host: "example.org:8443"}]
  reads: [{name: projects, table: mqtt_projects, columns: [project_id], filters: [status]}]
  tables: [items]
  topics: [plugins/rss/new]
  endpoints: [{name: items}]
  pages: [markdown, svg]
  folders: [drop]
  actions: [{name: post, host: "example.org:8443"}]
budget: {seconds: 5, memory_mib: 64, requests: 1, bytes: 2, rows: 3}
config_schema: {type: object}
row_schemas: {items: {type: object, properties: {title: {type: string}}}}
"""
    read = read_manifest(written)
    assert (read.asset_name, read.job_name) == ("plugins/rss", "plugins_rss")
    assert [read.supports(version) for version in ("0.1.0", "1.9", "2.0", "0.0.9")] == [
        *(True, True, False, False)
    ]
    assert read.permissions.reads[0].max_rows == 1_000
    assert stored_manifest(json.loads(json.dumps(read.as_json))) == read


def test_a_manifest_without_optional_fields_may_do_nothing():
    read = read_manifest(json.dumps(manifest(permissions=None, row_schemas=None)))
    assert not any(read.permissions.model_dump().values())
    assert (read.schedule, read.partitions, read.budget.seconds) == (None, None, 60)


@pytest.mark.parametrize(
    ("fields", "place", "expected"),
    [
        ({"surprise": 1}, "surprise", "unknown name"),
        (permissions(network=True), "permissions.network", "unknown name"),
        ({"budget": {"cores": 4}}, "budget.cores", "unknown name"),
        ({"id": None}, "id", "expected a value"),
        ({"id": "Rss"}, "id", "expected text to match"),
        ({"id": "rss\n"}, "id", "expected text to match"),
        ({"id": "a" * 41}, "id", "expected text to match"),
        ({"id": "rows"}, "the file", "a name of the project"),
        ({"version": "1.0"}, "version", "expected text to match"),
        ({"version": "01.0.0"}, "version", "expected text to match"),
        ({"version": 1}, "version", "expected a string"),
        ({"kind": "virus"}, "kind", "expected 'source', 'report' or 'action'"),
        ({"entry": "../main.py"}, "entry", "expected text to match"),
        ({"entry": "a/../../main.py"}, "the file", "invalid entry"),
        ({"entry": "main.sh"}, "the file", "invalid entry"),
        ({"requires": "newest"}, "the file", "invalid requires"),
        ({"schedule": {"cron": "@daily"}}, "schedule.cron", "expected text to match"),
        ({"schedule": {"cron": "0 6 * * *", "timezone": "../x"}}, "schedule", "invalid timezone"),
        ({"partitions": {"start": 5}}, "partitions.start", "expected a date"),
        ({"budget": {"seconds": 3_601}}, "budget.seconds", "expected a number less"),
        ({"budget": {"memory_mib": True}}, "budget.memory_mib", "expected an integer"),
        (permissions(hosts=[{"host": "EXAMPLE.org"}]), "permissions.hosts.0.host", "to match"),
        (permissions(hosts=[{"host": "a.org/x"}]), "permissions.hosts.0.host", "to match"),
        (permissions(hosts=[{"host": "a.org"}, {"host": "a.org"}]), "permissions.hosts", "once"),
        (permissions(hosts=[{"host": "a.org", "methods": ["CONNECT"]}]), "methods", "'GET'"),
        (permissions(secrets=[{"name": "T", "host": "a.org"}]), "permissions", "invalid host"),
        (permissions(topics=["plugins/other/new"]), "the file", "below plugins/rss/"),
        (permissions(topics=["peopleforce>jira"]), "permissions.topics.0", "to match"),
        (permissions(pages=["html"]), "permissions.pages.0", "'markdown' or 'svg'"),
        (permissions(tables=["items", "more"]), "the file", "invalid row_schemas"),
        ({"row_schemas": {"items": {"type": "thing"}}}, "the file", "row_schemas.items"),
        ({"row_schemas": {"items": {"$ref": "https://a.org/x"}}}, "the file", "row_schemas.items"),
        ({"row_schemas": {"items": {"$schema": "draft-04"}}}, "the file", "invalid $schema"),
        (
            permissions(hosts=[{"host": "a.org"}], actions=[{"name": "post", "host": "a.org"}]),
            *("the file", "expected kind: action"),
        ),
        (
            {"wheels": [{"file": "../a.whl", "sha256": "0" * 64}]},
            *("wheels.0.file", "expected text to match"),
        ),
    ],
)
def test_an_invalid_field_is_named_with_what_is_expected(
    fields: dict[str, Any], place: str, expected: str
):
    found = expect_refusal(json.dumps(manifest(**fields), indent=1))
    assert place in found
    assert expected in found


def test_a_file_that_is_not_yaml_is_refused_with_its_line():
    assert expect_refusal("id: [").startswith("line 1: invalid YAML")
    assert "id stands there twice" in expect_refusal("id: a\nid: b")
    assert "expected a mapping" in expect_refusal("- id")
    assert "expected a mapping" in expect_refusal("")
    assert "invalid YAML" in expect_refusal("id: a\x00b")
    assert "invalid YAML" in expect_refusal("id: !!python/object/apply:os.system ['x']")


def test_a_file_that_grows_when_it_is_read_is_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in ("ab", "bc", "cd")]
    assert (
        expect_refusal("\n".join(lines))
        == "line 2: invalid YAML: found an alias, expected its value"
    )
    assert expect_refusal("x" * (MAX_MANIFEST_BYTES + 1)).startswith("expected at most")
    deep = "line 1: invalid YAML: expected values of at most 50 levels"
    assert expect_refusal("[" * MAX_MANIFEST_BYTES) == deep
    assert expect_refusal("[" * 50 + "]" * 50) not in {deep, ""}

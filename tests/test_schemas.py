"""The JSON Schemas of YAML files: editors find them, the shipped files keep them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.presets import read_preset
from orchestration_project.settings import PROJECT_ROOT

SCHEMAS = {
    file.name.partition(".")[0]: Draft202012Validator(json.loads(file.read_text()))
    for file in (PROJECT_ROOT / "config/schemas").glob("*.schema.json")
}
PRESETS = sorted((PROJECT_ROOT / "config/presets").glob("*.yaml"))
FILES = [
    PROJECT_ROOT / f"config/{name}.yaml"
    for name in (
        *("alerts", "checks", "exports", "prices", "slo", "webhooks"),
        *("sites/shop", "sites/shop_api", "sites/showroom"),
    )
]
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")

SOME_ALERT_RULES = """
rules:
  - name: to the data team
    match: {domain: finra, kind: [held_back, check], severity: warning}
    channels: [data]
    window_hours: 4
    digest_above: 5
    recovered: false
"""
SOME_SOURCES = """
sources:
  github: {scheme: github, job: events_webhooks, requests_per_second: 50, max_attempts: 5}
  hr: {scheme: peopleforce, in_order: false, delivery_id: {field: data.id}}
"""

SOME_EXPORTS = """
targets:
  lake: {kind: s3, url: s3://bucket/prefix}
  mart: {kind: database, database_schema: exports}
  partner: {kind: webhook, url: https://partner.example.org/hooks}
exports:
  weekly_t1: {table: v_finra_otc_weekly, where: [tier=T1], format: csv, escape_formulas: true}
  changes: {table: finra_otc_weekly, incremental: true, target: mart, schedule: 0 6 * * *}
"""


@pytest.mark.parametrize("file", [*FILES, *PRESETS], ids=lambda file: file.name)
def test_a_shipped_file_names_its_schema_and_keeps_it(file: Path):
    text = file.read_text()
    named = MODELINE.match(text)
    assert named
    path = (file.parent / named[1]).resolve()
    validator = SCHEMAS[path.name.partition(".")[0]]
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    ("schema", "text"),
    [("alerts", SOME_ALERT_RULES), ("exports", SOME_EXPORTS), ("webhooks", SOME_SOURCES)],
)
def test_what_the_how_to_pages_show_keeps_its_schema(schema: str, text: str):
    assert list(SCHEMAS[schema].iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    ("schema", "text", "path"),
    [
        ("alerts", "rules: [{name: a, window: 4}]", ["rules", 0]),
        (
            "alerts",
            "rules: [{name: a, match: {severity: loud}}]",
            ["rules", 0, "match", "severity"],
        ),
        ("checks", "prices_daily: {jump_ratio: 0}", ["prices_daily", "jump_ratio"]),
        ("checks", "prices: {}", []),
        ("preset", "ops: {finra_otc_weekly_load: {config: {allow_conflicts: true}}}", None),
        ("preset", "ops: {finra_otc_weekly_load: {config: {full: maybe}}}", None),
        ("exports", "exports: {a: {colour: red, table: x}}", ["exports"]),
        ("exports", "targets: {a: {kind: ftp}}", ["targets"]),
        ("preset", "ops: {unknown: {}}", ["ops"]),
        ("prices", "bloomberg: {}", []),
        ("webhooks", "sources: {a: {scheme: none}}", ["sources"]),
    ],
)
def test_a_schema_refuses_what_the_project_refuses(schema: str, text: str, path):
    [error] = SCHEMAS[schema].iter_errors(yaml.safe_load(text))
    if path is not None:
        assert list(error.absolute_path) == path


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.name)
def test_the_line_of_the_schema_is_not_part_of_a_presets_description(file: Path):
    preset, _ = read_preset(file.stem, file.read_text(), REGISTRY.preset_targets)
    assert preset.description
    assert "schema" not in preset.description

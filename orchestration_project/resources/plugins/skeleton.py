"""The skeleton of a new plugin: it works as it is, offline, and has a test."""

import re
from collections.abc import Mapping

from orchestration_project.domains.plugins.manifest import ID, MANIFEST_FILE, RESERVED_IDS
from orchestration_project.errors import ConfigurationError

MANIFEST = """id: {id}
version: 0.1.0
publisher: example.org
kind: source
entry: main.py
requires: ">=0.1"
description: One row per record of records.json.
permissions:
  # hosts: [{{host: example.org, methods: [GET]}}]
  tables: [records]
budget: {{seconds: 30, memory_mib: 128, requests: 10, bytes: 1000000, rows: 1000}}
config_schema:
  type: object
  additionalProperties: false
  properties:
    max_records: {{type: integer, minimum: 1}}
row_schemas:
  records:
    type: object
    required: [title]
    properties:
      title: {{type: string, minLength: 1}}
"""
MAIN = '''"""Emits a row for each record; nothing else of the host can be reached."""

import json
from pathlib import Path

from records import rows_of

from plugin import start

RECORDS = Path(__file__).with_name("records.json")

with start() as run:
    records = json.loads(RECORDS.read_text())  # or run.fetch("https://example.org/…").json()
    rows = rows_of(records, run.config.get("max_records"))
    run.log(f"{len(rows)} records")
    run.emit("records", rows)
'''
RECORDS = '''"""Rules of the records: pure functions, which the test calls."""


def rows_of(records, max_records=None):
    """Return key and payload of each record, at most so many."""
    return [(str(each["id"]), {"title": each["title"]}) for each in records[:max_records]]
'''
TEST = '''"""Run it with: python -m pytest"""

import json
from pathlib import Path

from records import rows_of

RECORDS = json.loads(Path(__file__).with_name("records.json").read_text())


def test_each_record_is_a_row():
    assert rows_of(RECORDS) == [("1", {"title": "First"}), ("2", {"title": "Second"})]


def test_a_run_can_be_bounded():
    assert rows_of(RECORDS, 1) == [("1", {"title": "First"})]
'''
DATA = '[{"id": 1, "title": "First"}, {"id": 2, "title": "Second"}]\n'


def skeleton_files(name: str) -> Mapping[str, str]:
    """Return the files of a new plugin.

    Args:
        name: Its name; hyphens become underscores in its ID.

    Raises:
        ConfigurationError: It cannot be an ID.
    """
    plugin_id = name.replace("-", "_")
    if not re.fullmatch(ID, plugin_id) or plugin_id in RESERVED_IDS:
        raise ConfigurationError(
            f"invalid name {name[:60]!r}: expected lower-case letters, digits and hyphens, "
            "e.g. my-source"
        )
    return {
        MANIFEST_FILE: MANIFEST.format(id=plugin_id),
        "main.py": MAIN,
        "records.py": RECORDS,
        "records.json": DATA,
        "test_records.py": TEST,
    }

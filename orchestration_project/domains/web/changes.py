"""Changes of items between two loads, field by field."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from orchestration_project.domains.web.item_fields import value_text

CHANGES: Mapping[str, Any] = {
    "site": pl.String(),
    "item_key": pl.String(),
    "field": pl.String(),
    "kind": pl.String(),
    "before": pl.String(),
    "after": pl.String(),
}
"""Columns of changes, without their time and cause."""

WHOLE_ITEM = ""
"""Field of an item that was added or removed."""


def item_changes(
    replaced: pl.DataFrame, written: pl.DataFrame, *, with_added: bool
) -> pl.DataFrame:
    """Return the changes that a load of items made, in the order of key and field.

    Args:
        replaced: Rows of `web_items` that were changed or removed.
        written: Rows that are new or changed.
        with_added: Whether new items count; those of a site's first load do not.
    """
    before, after = _read_payloads(replaced), _read_payloads(written)
    rows: list[tuple[Any, ...]] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None:
            rows += (
                (*key, *change) for change in _compare_fields(json.loads(old), json.loads(new))
            )
        elif old is not None:
            rows.append((*key, WHOLE_ITEM, "removed", None, None))
        elif with_added:
            rows.append((*key, WHOLE_ITEM, "added", None, None))
    return pl.DataFrame(rows, CHANGES, orient="row")


def _read_payloads(rows: pl.DataFrame) -> Mapping[tuple[str, str], str]:
    expected_frame = rows.select("site", "item_key", "payload")
    return {(site, key): payload for site, key, payload in expected_frame.iter_rows()}


def _compare_fields(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, str, str | None, str | None]]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, "changed", _find_text(old, name), _find_text(new, name)


def _find_text(payload: Mapping[str, Any], name: str) -> str | None:
    return value_text(payload[name]) if name in payload else None

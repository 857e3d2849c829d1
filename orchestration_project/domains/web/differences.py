"""Differences of items: which were added, removed, or changed, and in which fields."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Change = Literal["added", "changed", "removed"]

MAX_VALUE_SHOWN = 200


class FieldDifference(NamedTuple):
    """A field of an item that differs.

    Attributes:
        item_key: Key of the item.
        change: added, changed or removed.
        field: Name of the field; empty: the whole item was added or removed.
        before: Value as JSON; empty: none.
        after: Value as JSON; empty: none.
    """

    item_key: str
    change: Change
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class ItemDiff:
    """Differences between two states of the items of a site.

    Attributes:
        added: Keys of items that the later state alone has.
        removed: Keys of items that the earlier state alone has.
        changed: Names of the fields that differ, by key.
        unchanged_count: Items that are equal.
        rows: A row for each added or removed item, and for each changed field, by key.
    """

    added: Sequence[str]
    removed: Sequence[str]
    changed: Mapping[str, Sequence[str]]
    unchanged_count: int
    rows: Sequence[FieldDifference]

    @property
    def is_empty(self) -> bool:
        """Whether both states are equal."""
        return not self.rows

    @property
    def in_words(self) -> str:
        """Item counts by change."""
        return (
            f"{len(self.added)} items added, {len(self.changed)} changed, "
            f"{len(self.removed)} removed, {self.unchanged_count} unchanged"
        )


def compare_items(
    before: Mapping[str, str], after: Mapping[str, str], *, replaces_all: bool = True
) -> ItemDiff:
    """Return how items differ.

    Args:
        before: Payloads as canonical JSON by key, of the earlier state.
        after: The same of the later state.
        replaces_all: Whether items that ``after`` lacks are removed.
    """
    changed: dict[str, Sequence[str]] = {}
    rows: list[FieldDifference] = []
    removed = sorted(before.keys() - after.keys()) if replaces_all else []
    added = sorted(after.keys() - before.keys())
    for key in sorted({*after, *removed}):
        if key not in before:
            rows.append(FieldDifference(key, "added", "", "", shown(after[key])))
        elif key not in after:
            rows.append(FieldDifference(key, "removed", "", shown(before[key]), ""))
        elif before[key] != after[key]:
            fields = list(_compare_fields(key, json.loads(before[key]), json.loads(after[key])))
            changed[key] = [field.field for field in fields]
            rows += fields
    unchanged_count = len(before.keys() & after.keys()) - len(changed)
    return ItemDiff(added, removed, changed, unchanged_count, rows)


def _compare_fields(
    key: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[FieldDifference]:
    for name in sorted({*before, *after}):
        old, new = (json_of(entry[name]) if name in entry else "" for entry in (before, after))
        if old != new:
            yield FieldDifference(key, "changed", name, shown(old), shown(new))


def json_of(value: Any) -> str:
    """Return a value as canonical JSON."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def shown(text: str) -> str:
    """Return a text, cut to `MAX_VALUE_SHOWN` characters."""
    return text if len(text) <= MAX_VALUE_SHOWN else f"{text[: MAX_VALUE_SHOWN - 1]}…"

"""Differences of items: added, removed, and changed with their fields."""

import json

from orchestration_project.domains.web.differences import compare_items

BEFORE = {
    "A": json.dumps({"name": "a", "price": "1.00"}),
    "B": json.dumps({"name": "b", "tags": ["x"]}),
    "C": json.dumps({"name": "c"}),
}
AFTER = {
    "A": json.dumps({"name": "a", "price": "1.50"}),
    "B": json.dumps({"name": "b", "stock": 0}),
    "D": json.dumps({"name": "d"}),
}


def test_items_differ_by_key_and_field():
    found = compare_items(BEFORE, AFTER)
    assert (found.added, found.removed, found.unchanged_count) == (["D"], ["C"], 0)
    assert found.changed == {"A": ["price"], "B": ["stock", "tags"]}
    assert [tuple(row) for row in found.rows] == [
        ("A", "changed", "price", '"1.00"', '"1.50"'),
        ("B", "changed", "stock", "", "0"),
        ("B", "changed", "tags", '["x"]', ""),
        ("C", "removed", "", '{"name": "c"}', ""),
        ("D", "added", "", "", '{"name": "d"}'),
    ]
    assert found.in_words == "1 items added, 2 changed, 1 removed, 0 unchanged"


def test_items_that_a_partial_state_lacks_are_not_removed():
    found = compare_items(BEFORE, {"A": BEFORE["A"]}, replaces_all=False)
    assert found.is_empty
    assert (found.removed, found.unchanged_count) == ([], 1)


def test_long_values_are_cut():
    [row] = compare_items({}, {"A": "x" * 1000}).rows
    assert len(row.after) == 200

"""Edits of definitions by name: what one makes of another, and which are refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration_project.engine.contracts.edits import (
    Action,
    EditConflictError,
    Stored,
)
from orchestration_project.engine.contracts.flags import FLAG_KIND, Flag, require_unexpired
from orchestration_project.errors import ConfigurationError, UnknownNameError

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
ADA = FLAG_KIND.read({"name": "layout", "owner": "ada", "share": 0.5})
STORED = Stored(ADA, 3, "eve", NINE)


def edited(
    action: Action, *, before: Stored[Flag] | None = STORED, version: int | None = 3, **fields: Any
) -> Flag | None:
    return FLAG_KIND.edited(action, "layout", before, fields, version)


def test_a_new_definition_has_the_name_of_its_edit_and_a_changed_one_its_other_fields():
    assert edited(Action.CREATE, before=None, version=None, owner="ada", share=0.5) == ADA
    changed = edited(Action.CHANGE, owner="bob")
    assert changed == ADA.model_copy(update={"owner": "bob"})
    assert edited(Action.CHANGE, name="layout") == ADA
    assert edited(Action.DELETE, owner="bob") is None


def test_a_name_that_is_taken_is_refused_with_its_version():
    with pytest.raises(EditConflictError, match="the flag layout exists") as refused:
        edited(Action.CREATE, owner="bob")
    assert refused.value.expected == "a name that no flag has"
    assert refused.value.found == "version 3, by eve"
    assert refused.value.remedy == "change it, or choose another name"


@pytest.mark.parametrize("action", [Action.CHANGE, Action.DELETE])
def test_a_name_that_nothing_has_is_refused(action: Action):
    with pytest.raises(UnknownNameError, match="flag not found: 'layout'") as refused:
        edited(action, before=None)
    assert refused.value.remedy == "list the flags, or create it"


@pytest.mark.parametrize(
    ("version", "what", "found"),
    [
        (2, "the flag layout was edited meanwhile", "2; "),
        (None, "the edit of layout names no expected_version", "None; "),
    ],
)
def test_an_edit_of_another_version_is_refused_with_who_made_the_present_one(
    version: int | None, what: str, found: str
):
    for action in (Action.CHANGE, Action.DELETE):
        with pytest.raises(EditConflictError) as refused:
            edited(action, version=version, owner="bob")
        assert refused.value.what == what
        assert refused.value.expected == "expected_version 3"
        assert refused.value.found == f"{found}eve made version 3 at 2026-03-02 09:00 UTC"


def test_another_name_and_an_invalid_field_are_refused():
    with pytest.raises(ConfigurationError, match="its name cannot change") as renamed:
        edited(Action.CHANGE, name="design")
    assert renamed.value.expected == "layout"
    with pytest.raises(ConfigurationError, match="invalid flag") as invalid:
        edited(Action.CHANGE, share=2, colour="red")
    assert "share: " in invalid.value.found
    assert "; colour: unknown name" in invalid.value.found
    assert invalid.value.expected.startswith("name and owner, e.g. {name: new_layout")


def test_a_difference_has_the_fields_that_change_or_all_of_a_new_or_deleted_definition():
    bob = ADA.model_copy(update={"owner": "bob"})
    assert FLAG_KIND.difference(ADA, bob) == [
        {"field": "owner", "before": '"ada"', "after": '"bob"'}
    ]
    assert FLAG_KIND.difference(ADA, ADA) == []
    new, deleted = FLAG_KIND.difference(None, ADA), FLAG_KIND.difference(ADA, None)
    assert [row["field"] for row in new] == list(Flag.model_fields)
    assert {row["before"] for row in new} == {row["after"] for row in deleted} == {""}
    assert {row["field"]: row["after"] for row in new}["share"] == "0.5"
    assert {row["field"]: row["before"] for row in deleted}["expires_at"] == "null"


def test_a_flag_that_has_expired_is_no_valid_one():
    ended = FLAG_KIND.read(
        {"name": "layout", "owner": "ada", "expires_at": "2026-03-02T10:00:00+01:00"}
    )
    require_unexpired(ended, NINE.replace(hour=8))
    with pytest.raises(ConfigurationError, match="expected expires_at after now") as refused:
        require_unexpired(ended, NINE)
    assert refused.value.expected == "a time after 2026-03-02 09:00 UTC, or null"
    assert refused.value.found == "2026-03-02 09:00 UTC"

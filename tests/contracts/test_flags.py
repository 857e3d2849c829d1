"""Flags: stable by SHA-256 of flag and key, off when expired or missing, and what is wrong."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.engine.contracts.flags import (
    FLAG_KIND,
    Flag,
    FlagSet,
    FlagUse,
    compute_position,
    find_problems,
    group_uses,
    require_unused,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def flag(name: str = "new_layout", **fields: Any) -> Flag:
    return FLAG_KIND.read({"name": name, "owner": "ada", **fields})


@pytest.mark.parametrize(
    ("key", "digest"),  # printf 'new_layout\0KEY' | sha256sum | cut -c 1-16
    [
        ("2026-03-02", 0x1C18944F187BE15A),
        ("2026-03-03", 0x73EF828DECB7EA28),
        ("T1|2026-02-09", 0x79B6A51D727455A4),
        ("http://shop.demo/product/1", 0x2D1CF842BE075EDF),
    ],
)
def test_a_position_is_the_start_of_the_sha256_of_flag_nul_and_key(key: str, digest: int):
    assert compute_position("new_layout", key) == digest
    share = digest / 2**64
    assert not flag(share=share - 0.001).holds_for(key)
    assert flag(share=share + 0.001).holds_for(key)


def test_a_share_holds_for_about_so_many_keys_and_a_larger_one_only_adds_keys():
    keys = [f"item {number}" for number in range(10_000)]
    held: set[str] = set()
    for share in (0.0, 0.01, 0.1, 0.5, 0.9, 1.0):
        present = flag(share=share)
        found = {key for key in keys if present.holds_for(key)}
        assert abs(len(found) / len(keys) - share) < 0.015
        assert held <= found
        held = found
    assert held == set(keys)


@settings(max_examples=40)
@given(st.text(), st.floats(0, 1))
def test_no_key_fails(key: str, share: float):
    assert flag(share=1).holds_for(key)
    assert not flag(share=0).holds_for(key)
    content = b"new_layout\0" + key.encode("utf-8", "surrogatepass")
    part = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    if abs(part - share) > 1e-9:
        assert flag(share=share).holds_for(key) == (part < share)


def test_listed_keys_are_on_and_an_expired_or_missing_flag_is_off():
    flags = {
        "listed": flag("listed", listed_keys=["2026-03-02"]),
        "over": flag("over", share=1.0, expires_at=NOW.isoformat()),
        "until": flag("until", share=1.0, expires_at=(NOW + timedelta(seconds=1)).isoformat()),
    }
    found = FlagSet(flags, NOW)
    assert not found.why_off("listed", "2026-03-02")
    assert found.why_off("listed", "2026-03-03") == "the flag listed is off for 2026-03-03"
    assert found.why_off("over", "x") == "the flag over of ada expired at 2026-03-02 09:00 UTC"
    assert not found.why_off("until", "x")
    assert "does not exist" in found.why_off("nope", "x")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"share": 1.5}, "share"),
        ({"share": -0.1}, "share"),
        ({"share": float("nan")}, "share"),
        ({"share": "half"}, "share"),
        ({"share": True}, "share"),
        ({"listed_keys": "2026-03-02"}, "listed_keys"),
        ({"listed_keys": [""]}, "listed_keys"),
        ({"listed_keys": ["x"] * 501}, "listed_keys"),
        ({"owner": ""}, "owner"),
        ({"owner": None}, "owner"),
        ({"expires_at": "2026-12-31"}, "expires_at: expected a time"),
        ({"expires_at": 20261231}, "expires_at: expected a time"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at: expected a time"),
        ({"name": "New"}, "name"),
        ({"colour": "red"}, "colour: unknown name"),
        ({"owner": "a\0b"}, "without NUL"),
        ({"owner": "\ud800"}, "owner"),
    ],
)
def test_an_invalid_flag_is_refused_by_name(fields: dict[str, Any], found: str):
    with pytest.raises(ConfigurationError) as refused:
        flag(**{"name": "new_layout", **fields})
    assert found in str(refused.value)


def test_a_secret_is_refused():
    hide("a secret of this process")
    with pytest.raises(ConfigurationError, match="invalid flag") as refused:
        flag(owner="a secret of this process")
    assert "expected no secret" in refused.value.found


def test_expired_unused_and_missing_flags_are_named_with_their_owner_and_users():
    flags = [
        flag("good", share=0.5),
        flag("old", owner="bob", expires_at="2026-03-01T12:00:00+01:00"),
        flag("idle", owner="eve"),
    ]
    uses = group_uses(
        [
            FlagUse("old", "site shop"),
            FlagUse("good", "schedule nightly"),
            FlagUse("goood", "site shop"),
            FlagUse("goood", "schedule weekly"),
            FlagUse("sharing", "job sync"),
        ]
    )
    assert find_problems(flags, uses, NOW) == [
        "old of bob expired at 2026-03-01 11:00 UTC: it is off",
        "nothing uses idle of eve",
        "goood does not exist, so it is off for schedule weekly, site shop; did you mean good?",
        "sharing does not exist, so it is off for job sync",
    ]
    require_unused("idle", uses)
    with pytest.raises(EditConflictError, match="good is in use") as refused:
        require_unused("good", uses)
    assert refused.value.found == "schedule nightly"


def test_the_expiry_of_a_flag_is_shown_in_utc():
    expired = flag(expires_at="2026-03-01T12:00:00+05:00")
    flags = FlagSet({expired.name: expired}, NOW)
    assert flags.why_off(expired.name, "a") == (
        "the flag new_layout of ada expired at 2026-03-01 07:00 UTC"
    )


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (10, ", ".join(f"site {number:02}" for number in range(10))),
        (11, ", ".join(f"site {number:02}" for number in range(10)) + " and 1 more"),
    ],
)
def test_a_flag_in_use_is_not_deleted_and_ten_users_are_named(count: int, shown: str):
    uses = {"new_layout": [f"site {number:02}" for number in range(count)]}
    with pytest.raises(EditConflictError, match="the flag new_layout is in use") as refused:
        require_unused("new_layout", uses)
    assert refused.value.found == shown
    assert refused.value.expected == "a flag that nothing uses"

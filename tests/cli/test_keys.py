"""The command `keys`: who has this shell decides who comes through the gateway."""

import re

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.cli.ui import first_key
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.access import Keys
from orchestration_project.settings import load_settings
from orchestration_project.tables.access import access_audit
from tests import databases

MADE = re.compile(
    r"This key is shown only now, and holds for (\d+) days:\n  op_([0-9a-f]{12})_\S{43}\n"
)


@pytest.fixture
def say(demo_settings, capsys):
    """Run the command and return its status and what it says."""

    def said(*arguments: str) -> tuple[int, str, str]:
        status = main(["keys", *arguments])
        spoken = capsys.readouterr()
        return status, spoken.out, spoken.err

    return said


def expect_key(said: tuple[int, str, str]) -> str:
    status, output, error = said
    found = MADE.fullmatch(output)
    assert found, output
    assert (status, error) == (0, "")
    return found[2]


def listed(said: tuple[int, str, str]) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in said[1].splitlines()]


def test_a_key_is_made_listed_rotated_and_revoked(say, demo_settings):
    first = expect_key(say("create", "--role", "operator", "--owner", "the loader", "--days", "7"))
    second = expect_key(say("rotate", first, "--overlap-hours", "1"))
    status, output, _ = say("revoke", second)
    assert (status, output) == (0, f"revoked {second} of the loader\n")
    headings, *rows = listed(say("list"))
    assert headings == ["id", "role", "owner", "last used (UTC)", "ends (UTC)", "state"]
    shown = {row[0]: (*row[1:4], row[5]) for row in rows}
    assert shown == {
        first: ("operator", "the loader", "never", "valid"),
        second: ("operator", "the loader", "never", "revoked"),
    }
    audit = access_audit.c
    found = databases.rows(
        databases.sqlite_url(demo_settings.state_path),
        select(audit.operation, audit.target, audit.address).order_by(audit.happened_at),
    )
    assert found == [
        ("keys create", first, "shell"),
        ("keys rotate", f"{first} by {second}", "shell"),
        ("keys revoke", second, "shell"),
    ]


def test_a_key_that_is_not_there_or_was_revoked_is_named(say):
    status, output, error = say("revoke", "0123456789ab")
    assert (status, output) == (2, "")
    assert error.startswith("key not found: '0123456789ab'\n")
    key_id = expect_key(say("create", "--role", "viewer", "--owner", "x"))
    assert say("revoke", key_id)[0] == 0
    assert say("rotate", key_id)[2].startswith(f"the key {key_id} was revoked\n")


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["create", "--owner", "x"], ["create", "--role", "boss", "--owner", "x"], ["rotate"]),
        *(["create", "--role", "viewer", "--owner", name] for name in ("a\nb", "\x1b[31m", " ")),
        *(["rotate", "x", "--overlap-hours", hours] for hours in ("nan", "-1", "99999999")),
    ],
)
def test_what_it_needs_is_said(say, arguments: list[str]):
    with pytest.raises(SystemExit) as ended:
        say(*arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["create", "--role", "viewer", "--owner", "x", "--days", "abc"],
            "'--days': 'abc' is not a valid integer range",
        ),
        (
            ["rotate", "x", "--overlap-hours", "abc"],
            "'--overlap-hours': 'abc' is not a valid float range",
        ),
    ],
)
def test_an_invalid_number_is_refused_with_what_is_expected(
    say, capsys, arguments: list[str], message: str
):
    with pytest.raises(SystemExit):
        say(*arguments)
    assert message in capsys.readouterr().err


def test_the_first_start_on_this_machine_makes_a_key_and_later_ones_none(demo_settings):
    assert first_key(demo_settings, "10.0.0.1") is None
    other_ways = [{"gateway_auth": "off"}, {"oidc_discovery_url": "https://x"}]
    for other_way in other_ways:
        assert first_key(demo_settings.model_copy(update=other_way), "127.0.0.1") is None
    key = first_key(load_settings(), "127.0.0.1")
    assert key
    assert first_key(demo_settings, "127.0.0.1") is None
    made = select(access_audit.c.operation, access_audit.c.target, access_audit.c.address)
    found = databases.rows(databases.sqlite_url(demo_settings.state_path), made)
    assert found == [("keys create", key.key_id, "shell")]
    with open_warehouse(demo_settings) as warehouse:
        [stored] = Keys(warehouse, Clock()).listed()
        assert (stored.key_id, stored.role) == (key.key_id, Role.ADMIN)
        Keys(warehouse, Clock()).revoke(key.key_id)
    assert first_key(demo_settings, "127.0.0.1") is None  # it was taken back on purpose

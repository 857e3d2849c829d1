"""The command `access review`: who may do what, with known answers."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from getpass import getuser

import pytest
from sqlalchemy import insert

from orchestration_project.__main__ import main
from orchestration_project.domains.plugins.tables import plugins_publishers
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.access import Access, Keys
from orchestration_project.services.access.rules.credentials import LoginLimits
from orchestration_project.services.access.rules.members import Member, read_rules
from orchestration_project.settings import load_settings
from tests.commands import run_without_failure

VIEWER = "all domains: read, without personal columns"
OPERATOR = f"{VIEWER}; launch, retry, replay and cancel runs; switch automation"
ROLES = "admin=eve@example.org,operator=group:=data,viewer=@example.org,viewer=*"
LIMITS = LoginLimits(timedelta(hours=8), timedelta(hours=24))
THEN = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def review(demo_settings, capsys):
    """Run the command and return what it writes."""

    def reviewed(*options: str) -> str:
        run_without_failure("access", "review", *options)
        return capsys.readouterr().out

    return reviewed


@pytest.fixture
def with_oidc(monkeypatch):
    for name, value in {
        "OIDC_DISCOVERY_URL": "https://id.example.org/.well-known/openid-configuration",
        "OIDC_CLIENT_ID": "ours",
        "OIDC_CLIENT_SECRET": "a secret of the provider",
        "OIDC_ROLES": ROLES,
    }.items():
        monkeypatch.setenv(name, value)


def of_kinds(rows, *kinds: str) -> list[dict]:
    return [row for row in rows if row["kind"] in kinds]


def test_valid_keys_have_role_creator_last_use_and_expiry(review, capsys):
    for owner, role in (("ada", "operator"), ("bob", "viewer")):
        assert main(["keys", "create", "--owner", owner, "--role", role, "--days", "7"]) == 0
    ids = re.findall(r"op_([0-9a-f]{12})_", capsys.readouterr().out)
    assert main(["keys", "revoke", ids[1]]) == 0
    assert main(["keys", "rotate", ids[0]]) == 0
    rotated = re.findall(r"op_([0-9a-f]{12})_", capsys.readouterr().out)[0]
    with open_warehouse(load_settings()) as warehouse:
        access = Access(warehouse, Clock(), LIMITS)
        access.note_use(Principal("ada", Role.OPERATOR, "key", rotated))
        [key] = [
            stored_key
            for stored_key in Keys(warehouse, Clock()).listed()
            if stored_key.key_id == rotated
        ]
    assert of_kinds(json.loads(review("--json")), "key") == [
        {
            "principal": f"ada ({rotated})",
            "kind": "key",
            "role": "operator",
            "permissions": OPERATOR,
            "granted_at": key.created_at.isoformat(timespec="seconds"),
            "granted_by": getuser(),
            "last_used_at": (key.last_used_at or THEN).isoformat(timespec="seconds"),
            "expires_at": key.expires_at.isoformat(timespec="seconds"),
        }
    ]


def test_rules_and_sessions_of_openid_connect_are_listed_by_their_present_role(review, with_oidc):
    clock = Clock()
    with open_warehouse(load_settings()) as warehouse:
        access = Access(warehouse, clock, LIMITS, read_rules(ROLES.split(",")))
        for member in (
            Member("1", "ada@example.org", ["=data"]),
            Member("2", "bob@example.com"),
        ):
            who = Principal(member.name, Role.ADMIN, "session")
            token = access.begin(who, "10.0.0.1", member=member)
        ended = access.begin(
            Principal("gone@example.org", Role.ADMIN, "session"),
            "10.0.0.1",
            member=Member("3", "gone@example.org"),
        )
        access.end(ended)
    assert token
    rows = json.loads(review("--json"))
    names = ("principal", "kind", "role", "granted_by")
    assert [tuple(row[name] for name in names) for row in rows if "OIDC" in row["kind"]] == [
        ("eve@example.org", "OIDC address", "admin", "setting OIDC_ROLES"),
        ("=data", "OIDC group", "operator", "setting OIDC_ROLES"),
        ("@example.org", "OIDC domain", "viewer", "setting OIDC_ROLES"),
        ("*", "OIDC, anybody", "viewer", "setting OIDC_ROLES"),
        ("ada@example.org", "OIDC session", "operator", "setting OIDC_ROLES"),
        ("bob@example.com", "OIDC session", "viewer", "setting OIDC_ROLES"),
    ]


def test_senders_publishers_databases_and_a_missing_login_are_listed(
    review, demo_settings, monkeypatch, tmp_path
):
    sources = tmp_path / "webhooks.yaml"
    sources.write_text(
        "sources:\n  git: {scheme: github, job: events_webhooks}\n  unset: {scheme: github}\n"
    )
    monkeypatch.setenv("WEBHOOKS_FILE", str(sources))
    monkeypatch.setenv("WEBHOOK_SECRET_GIT", "a secret that is long enough for it")
    monkeypatch.setenv("GATEWAY_AUTH", "off")
    monkeypatch.setenv("ANALYST_DATABASE_URL", "postgresql://reader:hidden@127.0.0.1/none")
    publishers = [
        {"publisher": name, "public_key": "x", "state": state, "changed_by": "eve"}
        for name, state in (("acme", "trusted"), ("other", "revoked"))
    ]
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(
            insert(plugins_publishers), [row | {"changed_at": THEN} for row in publishers]
        )
    output = review("--json")
    assert "hidden" not in output
    names = ("principal", "kind", "permissions", "granted_at", "granted_by")
    admin = "all domains: read, also personal columns; launch, retry, replay and cancel runs; "
    admin += "switch automation; erase, delete and wipe; edit presets, flags and plugins"
    assert [tuple(row[name] for name in names) for row in json.loads(output)] == [
        ("anybody on this machine", "no login", admin, None, "setting GATEWAY_AUTH"),
        (
            *("git", "webhook sender", "deliver to /hooks/git, which starts events_webhooks"),
            *(None, "setting WEBHOOK_SECRET_GIT"),
        ),
        ("acme", "plugin publisher", "sign plugins", "2026-01-05T12:00:00+00:00", "eve"),
        (
            *("reader", "database role"),
            *("all domains: read tables by SQL, without personal columns", None),
            "setting ANALYST_DATABASE_URL",
        ),
    ]


@pytest.mark.parametrize("owner", ["=1+1", "+1", "-1", "@SUM(1)", 'plain, "quoted"'])
def test_the_csv_has_no_formula(review, capsys, owner: str, with_oidc):
    assert main(["keys", "create", "--owner", owner, "--role", "viewer"]) == 0
    capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(review("--csv"))))
    [key] = of_kinds(rows, "key")
    shown = key["principal"].rpartition(" (")[0]
    assert shown == (owner if owner.startswith("plain") else f"'{owner}")
    assert [row["principal"] for row in of_kinds(rows, "OIDC group", "OIDC domain")] == [
        "'=data",
        "'@example.org",
    ]
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]


def test_the_table_has_a_row_for_each_principal(review):
    assert main(["keys", "create", "--owner", "ada", "--role", "viewer"]) == 0
    _, headings, row = review().rpartition("principal")
    assert re.split("  +", row.splitlines()[0].strip()) == [
        *("kind", "role", "may", "since (UTC)", "granted by", "last used (UTC)", "expires (UTC)"),
    ]
    assert (headings, row.splitlines()[1].split()[0]) == ("principal", "ada")


def test_json_and_csv_are_not_combined(review):
    with pytest.raises(SystemExit) as ended:
        review("--json", "--csv")
    assert ended.value.code == 2

"""`orchestrate access review`: who may do what, as a table, as JSON or as CSV."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, show_rows
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.services.access.review import AccessGrant
    from orchestration_project.settings import Settings

HEADINGS = {
    "principal": "principal",
    "kind": "kind",
    "role": "role",
    "permissions": "may",
    "granted_at": "since (UTC)",
    "granted_by": "granted by",
    "last_used_at": "last used (UTC)",
    "expires_at": "expires (UTC)",
}

DATABASES = {
    "database_url": "all domains: read and write all tables",
    "analyst_database_url": "all domains: read tables by SQL, without personal columns",
    "dagster_database_url": "read and write runs and events of Dagster",
}
"""Permissions of the role in each setting of a database."""


@click.group(cls=Group)
def access() -> None:
    """Access: who may do what."""


@access.command(has_json=True)
@click.option("--csv", "is_csv", is_flag=True, help="Write CSV, formulas escaped by '.")
def review(is_csv: bool) -> int:
    """List who may do what: keys, OpenID Connect, webhook senders, plugins and databases.

    Only what is valid now. Users with a shell on a host have all rights and are not listed.
    """
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.settings import load_settings

    if is_csv and OUTPUT.is_json:
        raise click.UsageError("expected one of: --csv, --json")
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        rows = [_format_grant(grant) for grant in _iterate_grants(settings, warehouse)]
    if is_csv:
        _write_csv(rows)
    else:
        show_rows(rows, HEADINGS)
    return 0


def _iterate_grants(settings: "Settings", warehouse: "Warehouse") -> Iterator["AccessGrant"]:
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.contracts.roles import PERMISSIONS_OF_ROLE, Role
    from orchestration_project.services.access import Keys
    from orchestration_project.services.access.review import (
        AccessGrant,
        list_key_grants,
        list_member_grants,
        list_rule_grants,
    )
    from orchestration_project.services.access.rules.members import read_rules

    clock = Clock()
    now = clock.now()
    if settings.gateway_auth == "off":
        yield AccessGrant(
            principal="anybody on this machine",
            kind="no login",
            role=Role.ADMIN.value,
            permissions=PERMISSIONS_OF_ROLE[Role.ADMIN],
            granted_by="setting GATEWAY_AUTH",
        )
    yield from list_key_grants(warehouse, Keys(warehouse, clock).listed(), now)
    if settings.oidc_discovery_url:
        rules, domains = read_rules(settings.oidc_roles), settings.oidc_allowed_domains
        idle = timedelta(minutes=settings.session_idle_minutes)
        yield from list_rule_grants(rules)
        yield from list_member_grants(warehouse, rules, domains, idle, now)
    yield from _iterate_senders(settings)
    for module in _import_modules():
        yield from module.read_grants(warehouse)
    yield from _iterate_databases(settings)


def _import_modules() -> Iterator[Any]:
    """Yield the modules `grants` of domains; they read what a domain grants, on or off.

    They are found by name, as their registration would need all definitions.
    """
    from importlib import import_module

    from orchestration_project import resources

    for folder in resources.__path__:
        for file in sorted(Path(folder).glob("*/grants.py")):
            yield import_module(f"{resources.__name__}.{file.parent.name}.{file.stem}")


def _iterate_senders(settings: "Settings") -> Iterator["AccessGrant"]:
    from orchestration_project.engine.contracts.webhooks.sources import name_secrets
    from orchestration_project.services.access.review import AccessGrant
    from orchestration_project.services.inbox.senders import read_senders

    for sender in read_senders(settings).values():
        if sender.keys:
            job = f", which starts {sender.declared.job}" if sender.declared.job else ""
            yield AccessGrant(
                principal=sender.name,
                kind="webhook sender",
                permissions=f"deliver to /hooks/{sender.name}{job}",
                granted_by=f"setting {name_secrets(sender.name)[0]}",
            )


def _iterate_databases(settings: "Settings") -> Iterator["AccessGrant"]:
    from sqlalchemy import make_url

    from orchestration_project.services.access.review import AccessGrant

    for name, permissions in DATABASES.items():
        secret = getattr(settings, name)
        user = make_url(secret.get_secret_value()).username if secret else None
        if user:
            yield AccessGrant(
                principal=user,
                kind="database role",
                permissions=permissions,
                granted_by=f"setting {name.upper()}",
            )


def _format_grant(grant: "AccessGrant") -> dict[str, Any]:
    times = ("granted_at", "last_used_at", "expires_at")
    values = asdict(grant)
    return {
        name: value.isoformat(timespec="seconds") if name in times and value else value
        for name, value in ((name, values[name]) for name in HEADINGS)
    }


def _write_csv(rows: Sequence[dict[str, Any]]) -> None:
    import polars as pl

    from orchestration_project.services.export import escape_formulas

    if sys.stdout is None:  # closed before this process started
        raise ConfigurationError(
            "standard output cannot be written", found="it is closed", remedy="redirect it"
        )
    frame = pl.DataFrame(rows, schema=dict.fromkeys(HEADINGS, pl.String))
    escaped = escape_formulas(frame, list(HEADINGS))
    sys.stdout.write(escaped.write_csv(line_terminator="\r\n"))
    sys.stdout.flush()

"""The commands that operate: the UI and its gateway, verify, alerts and keys."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command, Group
from orchestration_project.cli.console import OUTPUT, emit_or, note, preview, show_rows
from orchestration_project.cli.loads import DAY
from orchestration_project.engine.contracts.roles import Role

if TYPE_CHECKING:
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.services.access import KeyFacts
    from orchestration_project.services.access.rules.credentials import Key

Function = Callable[..., Any]

MAX_DAYS = 3650
KEY_HEADINGS = {
    "key_id": "id",
    "role": "role",
    "owner": "owner",
    "shown_last_used": "last used (UTC)",
    "ends": "ends (UTC)",
    "state": "state",
}

CHECK_HEADINGS = {"name": "check", "state": "state", "message": "message"}

days_option = click.option(
    "--days",
    type=click.IntRange(1, MAX_DAYS),
    default=90,
    show_default=True,
    help="Validity in days.",
)
key_argument = click.argument("key_id", metavar="KEY_ID")


def _add_address_options(function: Function) -> Function:
    """Add ``--host`` and ``--port``."""
    host = click.option(
        "--host", default="127.0.0.1", show_default=True, help="Address to serve on."
    )
    port = click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=3000,
        show_default=True,
        help="Port to serve on.",
    )
    return host(port(function))


@click.command(cls=Command)
@_add_address_options
@click.option(
    "--watch",
    is_flag=True,
    help="Load the code again when a source in defs/ changes; in a checkout, the package too.",
)
def ui(host: str, port: int, watch: bool) -> int:
    """Serve Dagster's UI, with its daemon, until Ctrl-C or SIGTERM.

    All programs that it started then end. Runs in progress fail, and are retried at the next start.
    """
    note("checking settings, database and port")
    from orchestration_project.cli.ui import serve_ui

    return serve_ui(host, port, has_sources=watch)


@click.command(cls=Command)
@click.option(
    "-w",
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="A workspace.yaml.",
)
@_add_address_options
def gateway(workspace: Path, host: str, port: int) -> int:
    """Serve Dagster's UI behind its login, without daemon and code server.

    `ui` starts it too. Run it alone where other means start daemon and code server.
    DAGSTER_HOME names the instance.
    """
    from orchestration_project.cli.gateway import serve_gateway

    return serve_gateway(workspace, host, port)


@click.command(cls=Command, has_json=True)
@click.option("--send-test", is_flag=True, help="Send each alert channel a test message.")
@click.option("--chain", is_flag=True, help="Compare loaded tables with their signed chains alone.")
@click.option("--heads", metavar="FILE", help="Exported chain heads that must still be there.")
@click.option(
    "--export-heads",
    metavar="TARGET",
    help="File, s3:// folder or https:// address that gets the chain heads if all tables fit.",
)
@click.option(
    "--balance", is_flag=True, help="Recompute all equations of what came in and went out alone."
)
@click.option(
    "--production", is_flag=True, help="Check settings and state against the production checklist."
)
@click.option("--table", metavar="TABLE", help="With --balance: equations of this table alone.")
@click.option("--from", "first", type=DAY, help="With --balance: from this UTC day on.")
@click.option("--to", "last", type=DAY, help="With --balance: up to this UTC day.")
def verify(
    send_test: bool,
    chain: bool,
    heads: str | None,
    export_heads: str | None,
    balance: bool,
    production: bool,
    table: str | None,
    first: datetime | None,
    last: datetime | None,
) -> int:
    """Check that everything a load needs is ready. Exit status 1 if something failed.

    Checks sources, database, artifact store, disk, clocks, alerts, daemon and code server. Shows
    which settings changed since they were last verified. With --chain, checks loaded tables against
    the records of their loads instead, and names the first record that does not fit. With
    --balance, counts instead that what came into each stage is what went out of it. With
    --production, judges instead each line of the production checklist as ok, warning, failed or
    unknown; failed alone is exit status 1.
    """
    is_chain = chain or heads is not None or export_heads is not None
    if balance and (is_chain or send_test):
        raise click.UsageError("--balance excludes --chain, --heads, --export-heads, --send-test")
    if production and (balance or is_chain or send_test):
        raise click.UsageError(
            "--production excludes --balance, --chain, --heads, --export-heads, --send-test"
        )
    if first and last and first > last:
        raise click.UsageError("invalid --from: expected a day up to that of --to, found a later")
    if balance:
        from orchestration_project.cli.verify_balance import verify_balance

        return verify_balance(table, first, last)
    if table or first or last:
        raise click.UsageError("--table, --from and --to need --balance")
    if production:
        return _verify_production()
    if is_chain:
        from orchestration_project.cli.verify_chain import verify_chain

        return verify_chain(heads, export_heads)
    from orchestration_project.cli.verify import verify as verify_all

    return verify_all(send_test=send_test)


def _verify_production() -> int:
    """Judge and show the production checklist; return 1 if a check failed."""
    from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.services.production import check_production
    from orchestration_project.settings import load_settings

    checks = check_production(load_settings(), Clock())
    rows = [{**check._asdict(), "message": check.message} for check in checks]
    is_failed = any(check.state == "failed" for check in checks)
    if OUTPUT.is_json:
        emit({"is_ready": not is_failed, "checks": rows})
        return int(is_failed)
    show_rows(rows, CHECK_HEADINGS)
    for check in checks:
        if check.remedy:
            echo(f"\n{check.name}: {check.state}\n  what to do: {check.remedy}")
    return int(is_failed)


@click.group(cls=Group)
def alerts() -> None:
    """Open alerts, the channels that receive them, and the rules that route them."""


@alerts.command("list", has_json=True)
def list_alerts() -> int:
    """List open alerts, and messages that wait for delivery."""
    from orchestration_project.cli import alerts as actions

    return actions.list_open()


@alerts.command("close", has_dry_run=True)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def close_alerts(ids: tuple[str, ...]) -> int:
    """Close alerts by the IDs, or their beginnings, that `alerts list` shows."""
    from orchestration_project.cli import alerts as actions

    return actions.close(ids)


@alerts.command("test", has_json=True, has_dry_run=True)
def test_alerts() -> int:
    """Send a test message to every channel. Exit status 1 if one refused it."""
    from orchestration_project.cli import alerts as actions

    return actions.test_channels()


@alerts.command("check", has_json=True)
def check_alerts() -> int:
    """Check alerts.yaml and the channels, without sending anything."""
    from orchestration_project.cli import alerts as actions

    return actions.check_rules()


@alerts.command("watch", has_json=True, has_dry_run=True)
@click.option(
    "--because",
    default="",
    metavar="TEXT",
    help="Alert that Dagster's daemon ended, with this reason.",
)
def watch_alerts(because: str) -> int:
    """Check daemon, queue and disk once from outside the daemon, and send alerts.

    For cron: exit status 1 if something is wrong.
    """
    from orchestration_project.cli import alerts as actions

    return actions.watch_once(because)


def _name(_: click.Context, __: click.Parameter, text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise click.BadParameter("expected printable characters in one line")
    return text


@click.group(cls=Group)
def keys() -> None:
    """API keys: people enter one at /login, programs send one in a header.

    KEY_ID is the middle part of a key, op_<id>_<secret>.
    """


@keys.command(has_json=True, has_dry_run=True)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="Role of the key.",
)
@click.option("--owner", required=True, callback=_name, help="Person or program that uses it.")
@days_option
def create(role: str, owner: str, days: int) -> int:
    """Create a key and show it once."""
    if OUTPUT.is_dry_run:
        preview(f"a key of {owner} with the role {role} would be valid for {days} days")
        return 0
    with _open_database() as warehouse:
        from orchestration_project.services.access import Keys

        made_key = Keys(warehouse, _make_clock()).create(
            owner=owner, role=Role(role), lasts=timedelta(days=days)
        )
        _record(warehouse, "create", made_key.key_id)
    _show(made_key, days)
    return 0


@keys.command("list", has_json=True)
def list_keys() -> int:
    """List all keys, without their secrets."""
    with _open_database() as warehouse:
        from orchestration_project.services.access import Keys

        clock = _make_clock()
        show_rows([_build_row(key, clock) for key in Keys(warehouse, clock).listed()], KEY_HEADINGS)
    return 0


@keys.command(has_json=True, has_dry_run=True)
@key_argument
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, MAX_DAYS * 24),
    default=0,
    show_default=True,
    help="Hours for which the old key stays valid.",
)
@days_option
def rotate(key_id: str, overlap_hours: float, days: int) -> int:
    """Replace a key by a new one with the same role and owner."""
    if overlap_hours != overlap_hours:  # NaN is neither below nor above a limit
        raise click.BadParameter("expected a number of hours", param_hint="--overlap-hours")
    if OUTPUT.is_dry_run:
        preview(f"the key {key_id} would be replaced; it stays valid for {overlap_hours} h")
        return 0
    with _open_database() as warehouse:
        from orchestration_project.services.access import Keys

        made_key = Keys(warehouse, _make_clock()).rotate(
            key_id, lasts=timedelta(days=days), overlap=timedelta(hours=overlap_hours)
        )
        _record(warehouse, "rotate", f"{key_id} by {made_key.key_id}")
    _show(made_key, days)
    return 0


@keys.command(has_json=True, has_dry_run=True)
@key_argument
def revoke(key_id: str) -> int:
    """Revoke a key and end its sessions."""
    if OUTPUT.is_dry_run:
        preview(f"the key {key_id} would be revoked")
        return 0
    with _open_database() as warehouse:
        from orchestration_project.services.access import Keys

        key = Keys(warehouse, _make_clock()).revoke(key_id)
        _record(warehouse, "revoke", key.key_id)
    emit_or(
        {"key_id": key.key_id, "owner": key.owner, "state": "revoked"},
        f"revoked {key.key_id} of {key.owner}",
    )
    return 0


def _open_database() -> "Warehouse":
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.settings import load_settings

    return open_warehouse(load_settings())


def _make_clock() -> "Clock":
    from orchestration_project.engine.connections.clock import Clock

    return Clock()


def _record(warehouse: "Warehouse", action: str, target: str) -> None:
    from orchestration_project.services.access.review import record_in_shell

    record_in_shell(warehouse, _make_clock(), f"keys {action}", target)


def _show(key: "Key", days: int) -> None:
    emit_or(
        {"key_id": key.key_id, "key": str(key), "days": days},
        f"This key is shown only now, and holds for {days} days:\n  {key}",
    )


def _build_row(key: "KeyFacts", clock: "Clock") -> dict[str, Any]:
    state = "valid" if key.expires_at > clock.now() else "expired"
    return {
        "key_id": key.key_id,
        "role": key.role.value,
        "owner": key.owner,
        "last_used": key.last_used_at,
        "shown_last_used": key.last_used_at or "never",
        "ends": key.expires_at,
        "state": "revoked" if key.revoked_at else state,
    }

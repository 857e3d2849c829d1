"""`orchestrate backup` and `orchestrate restore`."""

from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, emit_or, note, preview, progress
from orchestration_project.engine.contracts.backups import Manifest, format_names
from orchestration_project.errors import ConfigurationError, ContractError

if TYPE_CHECKING:
    from orchestration_project.resources.operations.restores import Restore
    from orchestration_project.settings import Settings


@click.command(cls=Command, has_json=True, has_dry_run=True)
@click.option(
    "--to",
    "place",
    required=True,
    metavar="DIR",
    help="Folder or s3:// URL. Artifacts that an earlier backup there has are not copied again.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(1, 36500),
    metavar="N",
    help="Remove older backups of DIR afterwards, but the latest; default: keep all.",
)
def backup(place: str, keep_days: int | None) -> int:
    """Back up both databases, the artifact store and the choice of domains, while programs run.

    Does not have: .env, secrets, the files of config/. Returns 1 if the store lacks artifacts that
    the database names.
    """
    from orchestration_project.engine.environment import open_clock, open_warehouse
    from orchestration_project.instance.operations_backup import open_installation
    from orchestration_project.resources.operations.backup_objects import (
        open_place,
        read_place,
        refuse_nested,
    )
    from orchestration_project.resources.operations.backup_retention import remove_old_backups
    from orchestration_project.resources.operations.backups import back_up
    from orchestration_project.settings import load_settings

    settings = load_settings()
    _refuse_stack(settings)
    installation, target = open_installation(settings), open_place(place, "--to")
    refuse_nested(target, installation.store, "--to")
    if OUTPUT.is_dry_run:
        place_contents = read_place(target)
        preview(
            f"{installation.project.shown_url}, {installation.dagster_storage.shown_url} and "
            f"{installation.store.url} would be backed up to {target.url}, which has "
            f"{len(place_contents.complete)} backups"
        )
        return 0
    with open_warehouse(settings) as warehouse:
        result = back_up(installation, warehouse, target, open_clock(settings))
    if keep_days is not None:
        started_at = datetime.fromisoformat(result.manifest.started_at)
        removed = remove_old_backups(target, started_at - timedelta(days=keep_days))
        note(f"{len(removed.backup_ids)} old backups removed, {removed.artifact_bytes} bytes")
    if result.unfinished:
        note(f"without manifest, so killed or under way: {format_names(result.unfinished)}")
    manifest = result.manifest
    emit_or(
        {
            **_describe_backup(manifest),
            "location": target.url,
            "copied_count": result.copied_count,
            "copied_bytes": result.copied_bytes,
        },
        f"backup {manifest.backup_id} in {target.url}",
        f"{_count_rows(manifest)} rows, {manifest.database_bytes} bytes of databases",
        f"{manifest.object_count} artifacts, {manifest.object_bytes} bytes; "
        f"{result.copied_count} copied now",
        f"SHA-256 of its manifest: {manifest.sha256}",
    )
    if manifest.missing:
        note(
            f"{len(manifest.missing)} artifacts that the database names are not in the store: "
            f"{format_names(manifest.missing)}. Repair them from earlier backups: "
            f"`orchestrate artifacts repair --from {target.url}`."
        )
    return int(bool(manifest.missing))


@click.command(cls=Command, has_json=True, has_dry_run=True)
@click.option(
    "--from", "place", required=True, metavar="DIR", help="Folder or s3:// URL of backups."
)
@click.option("--backup", "backup_id", metavar="ID", help="The backup; default: the latest.")
@click.option(
    "--check", is_flag=True, help="Read back every artifact, blob and run after the restore."
)
@click.option(
    "--other-installation", is_flag=True, help="Accept the backup of another installation."
)
def restore(place: str, backup_id: str | None, check: bool, other_installation: bool) -> int:
    """Restore a backup into empty databases and an empty store; compare rows with its manifest.

    Stop all programs before. A restore that was killed can be repeated.
    """
    from orchestration_project.instance.operations_backup import open_installation
    from orchestration_project.resources.operations.backup_objects import open_place, refuse_nested
    from orchestration_project.resources.operations.restores import open_restore
    from orchestration_project.settings import load_settings
    from orchestration_project.settings.chosen import replace_stored

    settings = load_settings()
    source = open_place(place, "--from")
    installation = open_installation(settings)
    refuse_nested(source, installation.store, "--from")
    opened = open_restore(source, backup_id, installation)
    opened.refuse(None if other_installation else _read_own_id(settings))
    manifest = opened.manifest
    if OUTPUT.is_dry_run:
        preview(
            f"backup {manifest.backup_id} would be restored: {_count_rows(manifest)} rows, "
            f"{manifest.object_count} artifacts",
            **_describe_backup(manifest),
        )
        return 0
    result = opened.run(progress)
    opened.check_rows()
    if manifest.domains:
        replace_stored(settings, manifest.domains)
    checked = _check_contents(opened, settings) if check else {}
    _record(opened, settings, is_verified=check)
    emit_or(
        {**_describe_backup(manifest), "copied_count": result.copied_count, "checked": checked},
        f"restored backup {manifest.backup_id} of {manifest.started_at}",
        f"{_count_rows(manifest)} rows and {manifest.object_count} artifacts are as its manifest "
        "says",
        *(f"checked: {count} {name}" for name, count in checked.items()),
    )
    if manifest.missing:
        note(f"the store lacked these artifacts at the backup: {format_names(manifest.missing)}")
    return 0


def _read_own_id(settings: "Settings") -> str | None:
    """Return the ID of the installation to restore into; None: it has no tables, or no ID."""
    from orchestration_project.engine.environment import open_unprepared_warehouse
    from orchestration_project.resources.operations.backups import installation_id

    with open_unprepared_warehouse(settings) as warehouse:
        return installation_id(warehouse, make=False) if warehouse.version() else None


def _check_contents(opened: "Restore", settings: "Settings") -> dict[str, int]:
    """Read back artifacts, blobs and runs; return how many of each.

    Raises:
        ContractError: One is missing or changed.
    """
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_upgraded_warehouse
    from orchestration_project.instance.storage import open_instance
    from orchestration_project.services.inventory import take_inventory

    artifact_count = opened.check_artifacts()
    with open_upgraded_warehouse(settings) as warehouse:  # the backup may be of an older release
        inventory = take_inventory(warehouse, open_store(settings), read_all=True)
    missing = sorted({*inventory.found.missing} - {*opened.manifest.missing})
    if missing or inventory.changed:
        raise ContractError(
            "the restored store lacks blobs that the database names, or has changed ones",
            expected="every blob under its SHA-256",
            found=f"missing: {format_names(missing) or 'none'}; "
            f"changed: {format_names(inventory.changed) or 'none'}",
            remedy="restore another backup: --backup ID",
        )
    expected = opened.manifest.dagster_storage.row_counts.get("runs", 0)
    with open_instance() as instance:
        run_count = instance.get_runs_count()
        for run in instance.get_runs(limit=1):
            instance.all_logs(run.run_id)
    if run_count != expected:
        raise ContractError(
            "Dagster does not list the runs of the backup",
            expected=f"{expected} runs",
            found=f"{run_count} runs",
            remedy="restore another backup: --backup ID",
        )
    return {"artifacts": artifact_count, "blobs": inventory.read_count, "runs": run_count}


def _record(opened: "Restore", settings: "Settings", *, is_verified: bool) -> None:
    """Record the backup in the restored database and, if it was verified, beside the backup."""
    from orchestration_project.engine.environment import open_clock, open_upgraded_warehouse
    from orchestration_project.resources.operations.backups import note_verification, record_backup

    now = open_clock(settings).now()
    with closing(open_upgraded_warehouse(settings)) as warehouse:
        record_backup(
            warehouse, opened.manifest, opened.place.url, now, now if is_verified else None
        )
    if is_verified and not note_verification(opened.place, opened.manifest, now):
        note(f"{opened.place.url} cannot be written: its installation will not see that")


def _count_rows(manifest: Manifest) -> int:
    databases = (manifest.project, manifest.dagster_storage)
    return sum(sum(database.row_counts.values()) for database in databases)


def _refuse_stack(settings: "Settings") -> None:
    """Refuse a STATE_DIR of `stack` without its settings: an empty database would be backed up."""
    file = settings.stack_settings_file
    if settings.database_url is None and file.exists():
        raise ConfigurationError(
            "the databases of `stack` are not in the settings",
            expected=f"DATABASE_URL and DAGSTER_DATABASE_URL, as in {file}",
            found="none",
            remedy=f"while it runs: `orchestrate --env-file {file} backup --to DIR`",
        )


def _describe_backup(manifest: Manifest) -> dict[str, Any]:
    return {
        "backup_id": manifest.backup_id,
        "installation_id": manifest.installation_id,
        "release": manifest.release,
        "started_at": manifest.started_at,
        "row_count": _count_rows(manifest),
        "database_bytes": manifest.database_bytes,
        "object_count": manifest.object_count,
        "object_bytes": manifest.object_bytes,
        "missing": list(manifest.missing),
        "manifest_sha256": manifest.sha256,
    }

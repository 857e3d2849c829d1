"""Commands of `plugins`: add, review, grant, enable and stop plugins; trust publishers."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, echo, emit, emit_or, note, preview, show_rows
from orchestration_project.errors import ConfigurationError, ContractError

if TYPE_CHECKING:
    from orchestration_project.resources.plugins.changes import PluginChange
    from orchestration_project.resources.plugins.edits import PluginEdits
    from orchestration_project.resources.plugins.reviewing import Review
    from orchestration_project.resources.plugins.state import StoredPlugin

HEADINGS = {
    "id": "plugin",
    "version": "version",
    "kind": "kind",
    "state": "state",
    "share": "share",
    "publisher": "publisher",
    "signature": "signature",
    "reason": "reason",
}
CHANGE_HEADINGS = {
    "permission": "permission",
    "name": "name",
    "change": "change",
    "granted": "granted",
    "asked": "asked for",
}
AUDIT_HEADINGS = {
    "version_number": "change",
    "action": "action",
    "version": "version",
    "state": "state",
    "edited_by": "by",
    "at": "at (UTC)",
}
PERMISSIONS = {
    "hosts": "host",
    "secrets": "secret",
    "reads": "read",
    "tables": "table",
    "topics": "topic",
    "endpoints": "endpoint",
    "pages": "page",
    "actions": "action",
}
"""Option of `grant` by kind of permission; folders are given with the folder of the host."""

ID = click.argument("plugin_id", metavar="ID")
PATH = click.Path(path_type=Path)


@click.group(cls=Group)
def plugins() -> None:
    """Plugins: third-party code in processes of its own, which can do only what was granted."""


@plugins.command("list", has_json=True)
def list_plugins() -> int:
    """List plugins with their state."""
    from orchestration_project.resources.plugins.state import read_plugins

    with _open_edits() as (_, warehouse), warehouse.reading() as connection:
        rows = [_render_plugin(plugin) for plugin in read_plugins(connection)]
    if OUTPUT.is_json:
        emit(rows)
    elif not rows:
        echo("no plugin; add one with `orchestrate plugins add FILE`")
    else:
        show_rows(rows, HEADINGS)
    return 0


@plugins.command("show", has_json=True)
@ID
def show(plugin_id: str) -> int:
    """Show the permissions that a plugin requests, compared with its grant, and each change."""
    from orchestration_project.resources.plugins.state import changes_of, read_plugin, read_versions

    with _open_edits() as (_, warehouse), warehouse.reading() as connection:
        stored = read_plugin(connection, plugin_id)
        audit = read_versions(connection, plugin_id)
    changes = [change._asdict() for change in changes_of(stored)]
    if OUTPUT.is_json:
        emit({**_render_plugin(stored), "permissions": changes, "changes": audit})
        return 0
    show_rows([_render_plugin(stored)], HEADINGS)
    show_rows(changes, CHANGE_HEADINGS)
    show_rows(audit, AUDIT_HEADINGS)
    return 0


@plugins.command("add", has_json=True, has_dry_run=True)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--sha256", metavar="HEX", help="Expected SHA-256 of the archive.")
@click.option("--unsigned", is_flag=True, help="Accept a plugin without a trusted signature.")
def add(path: Path, sha256: str | None, unsigned: bool) -> int:
    """Verify and unpack an archive or folder, and show what it asks for."""
    import hashlib

    from orchestration_project.resources.plugins.store import read_given

    _require_sha256(path, sha256)
    files, content = read_given(path)
    hexdigest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and hexdigest != sha256.lower():
        raise _build_hash_error(sha256, hexdigest)
    with _open_edits() as (edits, _):
        if OUTPUT.is_dry_run:
            review = edits.review(files, allow_unsigned=unsigned)
            _show_review(review, "would be added")
            return 0
        stored, review = edits.add(files, _change(), allow_unsigned=unsigned)
    _show_review(review, stored.state)
    if stored.state == "added":
        note(f"grant it with `orchestrate plugins grant {stored.id}`, then enable it")
    return 0


@plugins.command("grant", has_json=True, has_dry_run=True)
@ID
@click.option("--hosts", "--host", "hosts", multiple=True, metavar="HOST", help="Host to grant.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="Secret to grant.")
@click.option("--read", "reads", multiple=True, metavar="NAME", help="Named query to grant.")
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Row set to grant.")
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Topic to grant.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="NAME", help="Endpoint to grant.")
@click.option("--page", "pages", multiple=True, metavar="FORMAT", help="Format of pages to grant.")
@click.option("--action", "actions", multiple=True, metavar="NAME", help="Action to grant.")
@click.option(
    "--folder", "folders", multiple=True, metavar="NAME=PATH", help="Folder of the host to grant."
)
@click.option("--reason", default="", metavar="TEXT", help="Reason, for a second person.")
def grant(plugin_id: str, folders: tuple[str, ...], reason: str, **given: tuple[str, ...]) -> int:
    """Grant all that a plugin asks for, or only the named permissions if one is named."""
    paths = dict(_parse_folder(folder) for folder in folders)
    if OUTPUT.is_dry_run:
        preview(f"would be granted: {plugin_id}", plugin=plugin_id, permissions=given)
        return 0
    names: dict[str, Any] = dict(given)
    is_chosen = any(names.values())
    with _open_edits() as (edits, _):
        stored = edits.grant(
            *(plugin_id, _change()),
            given={**names, "folders": list(paths)} if is_chosen else {},
            folders=paths,
            reason=reason,
        )
    return _show_state(stored)


@plugins.command("enable", has_json=True, has_dry_run=True)
@ID
@click.option("--share", type=float, metavar="N", help="Share of partitions, 0 to 1.")
@click.option(
    "--partition", "keys", multiple=True, metavar="KEY", help="Partition that it always runs for."
)
def enable(plugin_id: str, share: float | None, keys: tuple[str, ...]) -> int:
    """Let a granted plugin run, for all or a stable share of its partitions."""
    if OUTPUT.is_dry_run:
        preview(f"would be enabled: {plugin_id}", plugin=plugin_id, share=share)
        return 0
    with _open_edits() as (edits, _):
        stored = edits.enable(plugin_id, _change(), share=share, listed_keys=list(keys) or None)
    note(stored.next_step)
    return _show_state(stored)


REASON = click.option("--reason", default="", metavar="TEXT", help="Why, for the audit.")


@plugins.command("disable", has_json=True, has_dry_run=True)
@ID
@REASON
def disable(plugin_id: str, reason: str) -> int:
    """Stop a plugin at once: its running processes end within a second."""
    if OUTPUT.is_dry_run:
        preview(f"would be disabled: {plugin_id}", plugin=plugin_id)
        return 0
    with _open_edits() as (edits, _):
        change = _change()
        return _show_state(edits.disable(plugin_id, change, reason or f"by {change.by}"))


@plugins.command("refuse", has_json=True, has_dry_run=True)
@ID
@REASON
def refuse(plugin_id: str, reason: str) -> int:
    """Refuse a plugin after a review."""
    if OUTPUT.is_dry_run:
        preview(f"would be refused: {plugin_id}", plugin=plugin_id)
        return 0
    with _open_edits() as (edits, _):
        change = _change()
        return _show_state(edits.refuse(plugin_id, change, reason or f"by {change.by}"))


@plugins.command("remove", has_json=True, has_dry_run=True)
@ID
def remove(plugin_id: str) -> int:
    """Remove a plugin; its rows and the record of its changes stay."""
    if OUTPUT.is_dry_run:
        preview(f"would be removed: {plugin_id}", plugin=plugin_id)
        return 0
    with _open_edits() as (edits, _):
        stored = edits.remove(plugin_id, _change())
    emit_or({"plugin": stored.id, "state": "removed"}, f"removed: {stored.id} {stored.version}")
    return 0


@plugins.command("publishers", has_json=True)
def publishers() -> int:
    """List publishers, and whether their signatures are trusted."""
    from orchestration_project.resources.plugins.grants import read_publishers

    with _open_edits() as (_, warehouse), warehouse.reading() as connection:
        rows = [
            {name: str(row[name]) for name in ("publisher", "state", "public_key", "changed_by")}
            for row in read_publishers(connection)
        ]
    if OUTPUT.is_json:
        emit(rows)
    elif not rows:
        echo("no publisher is trusted; trust one with `orchestrate plugins trust`")
    else:
        show_rows(rows, {"publisher": "publisher", "state": "state", "public_key": "public key"})
    return 0


@plugins.command("trust", has_dry_run=True)
@click.argument("publisher")
@click.argument("key")
def trust(publisher: str, key: str) -> int:
    """Trust the signatures of a publisher by its Ed25519 public key, Base64."""
    if OUTPUT.is_dry_run:
        preview(f"would be trusted: {publisher}", publisher=publisher)
        return 0
    with _open_edits() as (edits, _):
        edits.trust(publisher, key, _change())
    echo(f"trusted: {publisher}")
    return 0


@plugins.command("revoke", has_dry_run=True)
@click.argument("publisher")
def revoke(publisher: str) -> int:
    """Trust a publisher no more, and disable its plugins."""
    if OUTPUT.is_dry_run:
        preview(f"would be revoked: {publisher}", publisher=publisher)
        return 0
    with _open_edits() as (edits, _):
        disabled = edits.revoke(publisher, _change())
    echo(f"revoked: {publisher}; disabled plugins: {', '.join(disabled) or 'none'}")
    return 0


@plugins.command("keygen", has_dry_run=True)
@click.argument("file", type=PATH)
def keygen(file: Path) -> int:
    """Make a key that signs plugins, and print its public key."""
    import base64
    import secrets

    from orchestration_project.domains.plugins.signatures import public_key_of

    if OUTPUT.is_dry_run:
        preview(f"would be written: {file}", file=str(file))
        return 0
    private_key = secrets.token_bytes(32)
    with _guard_path(file):
        file.touch(mode=0o600, exist_ok=False)
        file.write_bytes(base64.b64encode(private_key) + b"\n")
    echo(public_key_of(private_key))
    return 0


@plugins.command("sign", has_dry_run=True)
@click.argument("folder", type=PATH)
@click.option("--key", required=True, type=PATH, metavar="FILE", help="Key of `keygen`.")
def sign(folder: Path, key: Path) -> int:
    """Write plugin.sig into the folder of a plugin."""
    from orchestration_project.domains.plugins.signatures import SIGNATURE_FILE, read_key
    from orchestration_project.domains.plugins.signatures import sign as signature_of
    from orchestration_project.resources.plugins.store import read_given

    files, _ = read_given(folder)
    with _guard_path(key):
        content = signature_of(files, read_key(key.read_text("ascii", "replace")))
    if OUTPUT.is_dry_run:
        preview(f"would be written: {folder / SIGNATURE_FILE}", file=str(folder / SIGNATURE_FILE))
        return 0
    (folder / SIGNATURE_FILE).write_bytes(content)
    echo(f"signed: {folder}")
    return 0


@plugins.command("new", has_dry_run=True)
@click.argument("name")
@click.option("--output", type=PATH, metavar="FOLDER", help="Folder to make.  [default: the name]")
def new(name: str, output: Path | None) -> int:
    """Write the skeleton of a plugin that works, with a test."""
    from orchestration_project.resources.plugins.skeleton import skeleton_files

    folder = output or Path(name)
    files = skeleton_files(name)
    if OUTPUT.is_dry_run:
        preview(f"would be written: {folder}", files=sorted(files))
        return 0
    with _guard_path(folder):
        folder.mkdir(parents=True)
        for path, text in files.items():
            (folder / path).write_text(text, encoding="utf-8")
    echo(f"written: {folder}; next: orchestrate plugins add {folder} --unsigned")
    return 0


@contextmanager
def _open_edits() -> "Iterator[tuple[PluginEdits, Any]]":
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.resources.plugins.edits import PluginEdits
    from orchestration_project.settings import load_settings

    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        yield PluginEdits(settings, warehouse, open_store(settings)), warehouse


@contextmanager
def _guard_path(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be used", found=error.strerror or type(error).__name__
        ) from error


def _change() -> "PluginChange":
    from orchestration_project.engine.environment import open_clock
    from orchestration_project.resources.plugins.changes import PluginChange
    from orchestration_project.settings import load_settings

    return PluginChange(getpass.getuser(), open_clock(load_settings()).now())


def _require_sha256(path: Path, expected: str | None) -> None:
    """Compare the hash of an archive with the expected one, before anything of it is read."""
    import hashlib

    if expected is None or not path.is_file():
        return
    with _guard_path(path), path.open("rb") as file:
        hexdigest = hashlib.file_digest(file, "sha256").hexdigest()
    if hexdigest != expected.lower():
        raise _build_hash_error(expected, hexdigest)


def _build_hash_error(expected: str, found: str) -> ContractError:
    return ContractError(
        "the archive is not the expected one",
        expected=f"SHA-256 {expected[:100]}",
        found=found,
        remedy="get the archive and its hash from the publisher again",
    )


def _parse_folder(text: str) -> tuple[str, str]:
    name, mark, path = text.partition("=")
    if not mark or not name or not path:
        raise ConfigurationError(
            f"invalid --folder {text!r:.100}: expected NAME=PATH, e.g. drop=/srv/drop"
        )
    return name, path


def _render_plugin(stored: "StoredPlugin") -> dict[str, Any]:
    return {
        **{name: getattr(stored, name) for name in ("id", "version", "kind", "state", "share")},
        "publisher": stored.publisher,
        "signature": "trusted" if stored.is_signed else "unsigned",
        "sha256": stored.sha256,
        "reason": stored.reason or "",
        "version_number": stored.version_number,
    }


def _show_state(stored: "StoredPlugin") -> int:
    emit_or(_render_plugin(stored), f"{stored.state}: {stored.id} {stored.version}")
    return 0


def _show_review(review: "Review", state: str) -> None:
    manifest = review.manifest
    changes = [change._asdict() for change in review.changes]
    advice = [each._asdict() for each in review.advice]
    if OUTPUT.is_json:
        emit(
            {
                "plugin": manifest.id,
                "version": manifest.version,
                "state": state,
                "sha256": review.sha256,
                "is_signed": review.is_signed,
                "needs_grant": review.needs_grant,
                "permissions": changes,
                "advice": advice,
            }
        )
        return
    signature = "signed by" if review.is_signed else "unsigned, claims to be of"
    echo(f"{state}: {manifest.id} {manifest.version}, {signature} {manifest.publisher}")
    echo(f"sha256: {review.sha256}")
    show_rows(changes, CHANGE_HEADINGS)
    if advice:
        echo("\nto read before a grant; the limits are enforced whatever stands there:")
        show_rows(advice, {"file": "file", "line": "line", "what": "what"})

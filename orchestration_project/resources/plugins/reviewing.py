"""Reviews of plugins: what an archive requests, and whether it may be added at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from orchestration_project import release
from orchestration_project.domains.plugins.advice import Advice, advise
from orchestration_project.domains.plugins.archives import (
    Files,
    canonical_sha256,
    manifest_in,
    with_wheels,
)
from orchestration_project.domains.plugins.manifest import Manifest, version_key
from orchestration_project.domains.plugins.permissions_diff import (
    PermissionChange,
    compare,
    is_wider,
)
from orchestration_project.domains.plugins.signatures import SIGNATURE_FILE, verify
from orchestration_project.domains.plugins.tables import plugins_publishers
from orchestration_project.engine.contracts.cron import read_cron
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.plugins.state import (
    StoredPlugin,
    UnknownPluginError,
    read_plugin,
)
from orchestration_project.tables.catalogue import internal_tables, relation


class PluginConflictError(ConfigurationError):
    """The plugin has another state or version than the edit expects."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """Facts for the decision on a grant.

    Attributes:
        manifest: Its manifest.
        sha256: Hash of its canonical archive.
        is_signed: Whether a trusted publisher signed it.
        changes: Its permissions and budget, compared with the granted ones.
        advice: What of its code to look at.
        before: The stored plugin of the same ID; None: it is new.
        needs_grant: Whether it requests more than was granted.
    """

    manifest: Manifest
    sha256: str
    is_signed: bool
    changes: Sequence[PermissionChange]
    advice: Sequence[Advice]
    before: StoredPlugin | None
    needs_grant: bool


def reviewed(connection: Connection, given: Files, *, allow_unsigned: bool) -> Review:
    """Verify the files of a plugin, and return what it requests; nothing is written.

    Args:
        connection: Its transaction.
        given: The files, as `read_given` returns them.
        allow_unsigned: Whether the plugin may come without a trusted signature.

    Raises:
        ConfigurationError: plugin.yaml is invalid, of another version of the project or older
            than the stored one, or names what does not exist.
        ContractError: The signature, a wheel or the publisher is refused.
    """
    manifest = manifest_in(given)
    is_signed = _is_signed(connection, given, manifest, allow_unsigned)
    files = with_wheels(given, manifest)
    sha256 = canonical_sha256(files)
    _require_usable(manifest)
    try:
        before = read_plugin(connection, manifest.id)
    except UnknownPluginError:
        before = None
    if before is not None:
        _require_newer(before, manifest, sha256)
    grant = before.grant if before else None
    changes = compare(
        *(grant and grant.permissions, manifest.permissions),
        *(grant and grant.budget, manifest.budget),
    )
    return Review(
        manifest=manifest,
        sha256=sha256,
        is_signed=is_signed,
        changes=changes,
        advice=advise(files),
        before=before,
        needs_grant=grant is None or is_wider(changes),
    )


def _is_signed(
    connection: Connection, files: Files, manifest: Manifest, allow_unsigned: bool
) -> bool:
    """Whether a trusted publisher signed the files.

    Raises:
        ContractError: The publisher was revoked, the signature is another's, or there is none and
            none of that is allowed.
    """
    publisher = read_publisher(connection, manifest.publisher)
    if publisher.get("state") == "revoked":
        raise revoked_error(manifest.publisher)
    if publisher and SIGNATURE_FILE in files:
        verify(files, publisher["public_key"], manifest.publisher)
        return True
    if not allow_unsigned:
        name = "no plugin.sig" if SIGNATURE_FILE not in files else "a publisher without a key"
        raise ContractError(
            f"the plugin {manifest.id} is not signed by a trusted publisher",
            expected=f"a signature of {manifest.publisher}, whose key is trusted",
            found=name,
            remedy="run `orchestrate plugins trust` with the publisher's key, or add it with "
            "--unsigned once you have read its code",
        )
    return False


def _require_usable(manifest: Manifest) -> None:
    """Make sure that this project can run the plugin.

    Raises:
        ConfigurationError: It is for other versions, or names a table, column or time that the
            project does not have.
    """
    if not manifest.supports(release()):
        raise ConfigurationError(
            f"the plugin {manifest.id} is not for this version of the project",
            expected=manifest.requires,
            found=release(),
            remedy="get a version of the plugin for this release",
        )
    if manifest.schedule is not None:
        try:
            read_cron(manifest.schedule.cron)
        except ValueError as error:
            raise ConfigurationError(
                f"invalid schedule.cron: {error}",
                expected="five fields, e.g. 0 6 * * *",
                remedy="correct plugin.yaml",
            ) from error
    for read in manifest.permissions.reads:
        if read.table in internal_tables():
            raise ConfigurationError(
                f"invalid table {read.table!r} of the query {read.name}: it is for the project's "
                "own work",
                remedy="read another table",
            )
        relation(read.table).columns([*dict.fromkeys([*read.columns, *read.filters])])


def _require_newer(before: StoredPlugin, manifest: Manifest, sha256: str) -> None:
    """Make sure that a plugin replaces an older version of itself.

    Raises:
        ConfigurationError: The ID is another publisher's, or the stored version is newer.
    """
    if before.publisher != manifest.publisher:
        raise PluginConflictError(
            f"the ID {manifest.id} is taken",
            expected=f"a plugin of {before.publisher}",
            found=f"one of {manifest.publisher}",
            remedy="change the id in plugin.yaml, or remove the other plugin",
        )
    if version_key(manifest.version) < version_key(before.version):
        raise PluginConflictError(
            f"the plugin {manifest.id} would become older",
            expected=f"version {before.version} or newer",
            found=manifest.version,
            remedy="remove it first, if the older version is what you want",
        )
    if manifest.version == before.version and sha256 != before.sha256:
        raise PluginConflictError(
            f"version {manifest.version} of the plugin {manifest.id} has other files",
            expected="a new version for each change",
            remedy="raise the version in plugin.yaml",
        )


def read_publisher(connection: Connection, publisher: str) -> Mapping[str, Any]:
    """Return the row of a publisher; empty: it is unknown."""
    row_query = select(plugins_publishers).where(plugins_publishers.c.publisher == publisher)
    row = connection.execute(row_query).mappings().first()
    return {} if row is None else {str(name): value for name, value in row.items()}


def revoked_error(publisher: str) -> ContractError:
    """Return the error of what a revoked publisher made."""
    return ContractError(
        f"the key of the publisher {publisher} was revoked",
        expected="a trusted publisher",
        remedy="get the publisher's new key, and run `orchestrate plugins trust`",
    )

"""Manifests of backups: what a backup holds, and what a restore refuses.

A backup is a manifest with the parts that it names: the tables of two databases, and the list of
the artifacts. It is complete when its manifest is stored, which is last.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from orchestration_project.errors import ConfigurationError, ContractError

FORMAT = 1
"""Format of the manifest; a reader refuses another one."""

BACKUPS, OBJECTS = "backups/", "objects/"
"""Folders of a place of backups: one folder for each backup, and the artifacts of all of them."""

MANIFEST, OBJECT_LIST, VERIFIED = "manifest.json", "objects.jsonl", "verified.json"

SQLITE, POSTGRESQL = "sqlite", "postgresql"

MAX_NAMED = 5
"""Names that a message quotes; it counts the others."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

INVALID = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""Errors of reading an invalid manifest."""


@dataclass(frozen=True)
class Part:
    """A stored file of a backup.

    Attributes:
        name: Its path below the backup's folder.
        sha256: SHA-256 of its bytes, hex.
        byte_count: Its size.
        row_counts: Rows by table.
        columns: Columns of the one table, in order; empty for a file of SQLite.
        sequences: Last value by column of the table that PostgreSQL numbers.
    """

    name: str
    sha256: str
    byte_count: int
    row_counts: Mapping[str, int] = field(default_factory=dict[str, int])
    columns: Sequence[str] = ()
    sequences: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class DatabaseBackup:
    """A database: its kind (sqlite or postgresql), the version of its tables, and its parts."""

    kind: str
    version: str
    parts: Sequence[Part]

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by table, summed over the files that have it."""
        counts: dict[str, int] = {}
        for part in self.parts:
            for table, count in part.row_counts.items():
                counts[table] = counts.get(table, 0) + count
        return counts

    @property
    def byte_count(self) -> int:
        """Bytes of all parts."""
        return sum(part.byte_count for part in self.parts)


@dataclass(frozen=True)
class Manifest:
    """A complete backup.

    Attributes:
        backup_id: UTC time of its start and 8 random hex digits.
        installation_id: The installation that it is of.
        data: What the database holds, demo or real.
        release: Version of the program that made it.
        dagster: Version of Dagster.
        started_at: UTC time of its start, ISO 8601.
        project: The project's database.
        dagster_storage: Dagster's runs, events and schedules.
        objects: The list of artifacts, a part without tables.
        object_count: Number of artifacts.
        object_bytes: Their bytes.
        missing: Artifacts that the database names and the store lacked.
        domains: Domains and datasets that were added, and with a minus removed ones; empty: none
            was, or an earlier release made the backup.
    """

    backup_id: str
    installation_id: str
    data: str
    release: str
    dagster: str
    started_at: str
    project: DatabaseBackup
    dagster_storage: DatabaseBackup
    objects: Part
    object_count: int
    object_bytes: int
    missing: Sequence[str] = ()
    domains: Sequence[str] = ()

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON: sorted keys, no spaces, ASCII.

        Without a choice of domains it has the bytes that earlier releases wrote.
        """
        content = {"format": FORMAT, **asdict(self)}
        if not self.domains:
            del content["domains"]
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON: it stands for the whole backup."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def parts(self) -> Iterator[Part]:
        """All parts: of both databases, and the list of artifacts."""
        yield from self.project.parts
        yield from self.dagster_storage.parts
        yield self.objects

    @property
    def database_bytes(self) -> int:
        """Bytes of both databases."""
        return self.project.byte_count + self.dagster_storage.byte_count


class StoredArtifact(NamedTuple):
    """An artifact in a backup: name in the store, size in bytes, SHA-256 of the stored bytes."""

    name: str
    byte_count: int
    sha256: str


def build_backup_id(now: datetime, random_hex: str) -> str:
    """Return an ID that sorts by time, e.g. 20261126T134500Z-0123abcd.

    Args:
        now: An aware time.
        random_hex: At least 8 random hex digits.
    """
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random_hex[:8]}"


def is_backup_id(text: str) -> bool:
    """Whether a folder's name is the ID of a backup."""
    return _ID.fullmatch(text) is not None


def read_manifest(content: bytes, backup_id: str) -> Manifest:
    """Read the manifest of the backup ``backup_id``.

    Raises:
        ContractError: It is not a manifest, or not the canonical one of that backup.
        ConfigurationError: It has another format.
    """
    try:
        document = json.loads(content)
        form = document.pop("format")
        if form == FORMAT:
            manifest = _parse_manifest(document)
            if manifest.to_json() == content and manifest.backup_id == backup_id:
                return manifest
            raise ValueError("not the canonical JSON of this backup")
    except INVALID as error:
        raise ContractError(
            f"the manifest of the backup {backup_id} cannot be read",
            expected="the bytes that `orchestrate backup` stored",
            found=f"{type(error).__name__}: {error}",
            remedy="restore another backup: --backup ID",
        ) from error
    raise ConfigurationError(
        f"the backup {backup_id} has a format that this release cannot read",
        expected=f"format {FORMAT}",
        found=f"format {form!r}",
        remedy="restore it with the release that made it",
    )


def _parse_manifest(found: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        backup_id=_check_text(found["backup_id"]),
        installation_id=_check_text(found["installation_id"]),
        data=_check_text(found["data"]),
        release=_check_text(found["release"]),
        dagster=_check_text(found["dagster"]),
        started_at=_check_text(found["started_at"]),
        project=_parse_database(found["project"]),
        dagster_storage=_parse_database(found["dagster_storage"]),
        objects=_parse_part(found["objects"]),
        object_count=_count(found["object_count"]),
        object_bytes=_count(found["object_bytes"]),
        missing=[_check_name(name) for name in found["missing"]],
        domains=[_check_text(name) for name in found.get("domains", ())],
    )
    if datetime.fromisoformat(manifest.started_at).tzinfo is None:
        raise ValueError("a time without zone")
    return manifest


def _parse_database(found: dict[str, Any]) -> DatabaseBackup:
    kind, version = _check_text(found["kind"]), _check_text(found["version"])
    if kind not in (SQLITE, POSTGRESQL) or found.keys() != {"kind", "version", "parts"}:
        raise ValueError(f"a database of the kind {kind!r}")
    return DatabaseBackup(kind, version, [_parse_part(each) for each in found["parts"]])


def _parse_part(found: dict[str, Any]) -> Part:
    if not _SHA256.fullmatch(found["sha256"]):
        raise ValueError("a part without SHA-256")
    return Part(
        _check_name(found["name"]),
        found["sha256"],
        _count(found["byte_count"]),
        {_check_table(name): _count(count) for name, count in found["row_counts"].items()},
        [_check_text(name) for name in found["columns"]],
        {_check_text(name): _count(value) for name, value in found["sequences"].items()},
    )


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value


def _check_table(name: str) -> str:
    if not _TABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a table")
    return name


def _check_name(value: object) -> str:
    """Return a path below a folder; nothing that leads out of it."""
    name = _check_text(value)
    steps = name.split("/")
    if "\0" in name or "\\" in name or any(step in ("", ".", "..") for step in steps):
        raise ValueError(f"{name!r} is not a path below a folder")
    return name


def name_backup_object(sha256: str) -> str:
    """Return the name in a place of backups of the artifacts with this content."""
    return f"{OBJECTS}{sha256[:2]}/{sha256}"


def encode_artifact_line(artifact: StoredArtifact) -> bytes:
    """Return the line of the list of artifacts, a JSON list."""
    return json.dumps(artifact, separators=(",", ":")).encode() + b"\n"


def read_artifact_lines(lines: Iterable[bytes]) -> Iterator[StoredArtifact]:
    """Yield the artifacts of a list.

    Raises:
        ContractError: A line is not one of `encode_artifact_line`.
    """
    for number, line in enumerate(lines, start=1):
        try:
            name, byte_count, sha256 = json.loads(line)
            if not _SHA256.fullmatch(sha256):
                raise ValueError("no SHA-256")
            yield StoredArtifact(_check_name(name), _count(byte_count), sha256)
        except INVALID as error:
            raise ContractError(
                f"line {number} of the list of artifacts cannot be read",
                expected="a JSON list of name, bytes and SHA-256",
                found=f"{type(error).__name__}: {error}",
                remedy="restore another backup: --backup ID",
            ) from error


def refuse_newer(manifest: Manifest, newest: str, known: Iterable[str]) -> None:
    """Refuse the tables of a newer release.

    Args:
        manifest: The backup's.
        newest: Version of the tables that this release knows, such as 0045.
        known: Tables that it knows.

    Raises:
        ConfigurationError: The backup has a newer version; the tables are named.
    """
    if manifest.project.version <= newest:
        return
    unknown = sorted(manifest.project.row_counts.keys() - set(known))
    tables = f", with {format_names(unknown)} that it does not know" if unknown else ""
    raise ConfigurationError(
        "the backup was made by a newer release than this one",
        expected=f"tables of version {newest} or older",
        found=f"version {manifest.project.version} of release {manifest.release}{tables}",
        remedy=f"install release {manifest.release} and restore with it",
    )


def refuse_older(manifest: Manifest, oldest: str, commit: str) -> None:
    """Refuse the tables of a version that no script migrates any more.

    Args:
        manifest: The backup's.
        oldest: First version of the tables that this release can make, such as 0086.
        commit: Commit that has the versions before it.

    Raises:
        ConfigurationError: The backup has an older version.
    """
    if manifest.project.version < oldest:
        raise ConfigurationError(
            "invalid version of the backup's tables: it is from before the first release",
            expected=f"version {oldest} or newer",
            found=f"version {manifest.project.version} of release {manifest.release}",
            remedy=f"restore and migrate with commit {commit} (`git checkout {commit}`, "
            "`make .venv/installed`, `orchestrate restore`, `orchestrate migrate`), and then run "
            "`orchestrate migrate` of this release",
        )


def refuse_foreign(manifest: Manifest, installation_id: str | None, data: str) -> None:
    """Refuse the backup of another installation, or of other data.

    Args:
        manifest: The backup's.
        installation_id: The ID of this installation; None: it has none yet, or any is accepted.
        data: What DATA_PROFILE says that the database holds, demo or real.

    Raises:
        ConfigurationError: One of the two differs.
    """
    if installation_id not in (None, manifest.installation_id):
        raise ConfigurationError(
            "the backup is of another installation",
            expected=f"installation {installation_id}",
            found=f"installation {manifest.installation_id}, backup {manifest.backup_id}",
            remedy="correct --from, or take it over on purpose: --other-installation",
        )
    if data != manifest.data:
        raise ConfigurationError(
            f"the backup holds {manifest.data} data, and DATA_PROFILE says {data}",
            expected=f"a backup of {data} data",
            found=manifest.backup_id,
            remedy=f"set DATA_PROFILE={manifest.data} and restore again",
        )


def compare_sizes(
    expected: Mapping[str, int], found: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """Return the names that are not found, and those of another size, both sorted.

    Args:
        expected: Size in bytes by name.
        found: The same of what is there.
    """
    missing = sorted(expected.keys() - found.keys())
    changed = sorted(name for name in expected.keys() & found if expected[name] != found[name])
    return missing, changed


def format_names(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    number = len(names) - MAX_NAMED
    remaining_text = f" and {number} more" if number > 0 else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:MAX_NAMED]) + remaining_text


def compare_row_counts(expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """Return a text for each table whose number of rows differs: ``runs: 3 instead of 4``."""
    return [
        f"{table}: {found.get(table, 0)} instead of {count}"
        for table, count in sorted(expected.items())
        if found.get(table, 0) != count
    ]

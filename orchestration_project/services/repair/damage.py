"""Damaged artifacts: found, recorded, and read for a repair."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, update

from orchestration_project.engine.blob_repair import find_file_problem, find_problem
from orchestration_project.engine.captures import name_blob
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.repair import Outcome, Problem
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.recovery import RecordedCapture
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import UnknownNameError
from orchestration_project.tables.operations_artifacts import (
    operations_damaged_artifacts as damaged,
)
from orchestration_project.tables.operations_artifacts import (
    operations_exports,
    operations_removals,
)
from orchestration_project.tables.spine import blobs, captures

OPEN = ("damaged", "lost")
"""States of artifacts that a repair tries: what is lost may be in a store that is set later."""

FOUND_WHOLE = Outcome("repaired", None, "it was found whole")

EXPORTS = "exports/"
"""Prefix of the names of exported files in the artifact store."""

MAX_BATCH_HASHES = 500


@dataclass(frozen=True)
class DamagedArtifact:
    """An artifact that must have the bytes of a SHA-256, and has not.

    Attributes:
        name: Its name in the store.
        sha256: SHA-256 of the bytes, hex; of captured bytes as they were received.
        problem: How it differs.
        blob: Captured bytes; None: the object is a file that is stored as it is.
        byte_count: Size of the bytes.
    """

    name: str
    sha256: str
    problem: Problem
    blob: Blob | None
    byte_count: int

    @classmethod
    def of_blob(cls, blob: Blob, problem: Problem) -> "DamagedArtifact":
        """Return captured bytes that are damaged."""
        return cls(blob.storage_uri, blob.sha256, problem, blob, blob.byte_count)

    @property
    def names(self) -> Collection[str]:
        """Names under which a store may have its bytes: in a pack or file, or as a blob alone."""
        return {self.name} if self.blob is None else {self.name, name_blob(self.sha256)}

    def as_found(self, problem: Problem) -> "DamagedArtifact":
        """Return it with the problem that it has now."""
        return replace(self, problem=problem)


def record_damage(
    connection: Connection, found: Sequence[DamagedArtifact], *, at: datetime, run_id: str
) -> None:
    """Record the findings of a verification; an artifact that is known to be lost stays so."""
    if not found:
        return
    state: dict[str, object] = {
        **dict.fromkeys(("repaired_from", "reason", "loss")),
        "state": "damaged",
        "changed_at": at,
        "run_id": run_id,
    }
    names = ("name", "sha256", "problem")
    keys = [{name: getattr(damaged_artifact, name) for name in names} for damaged_artifact in found]
    insert_absent(
        connection, damaged, [{**state, **key, "attempt_count": 0, "found_at": at} for key in keys]
    )
    bound = [{f"of_{name}": value for name, value in key.items()} for key in keys]
    query = update(damaged).where(
        damaged.c.name == bindparam("of_name"), damaged.c.sha256 == bindparam("of_sha256")
    )
    connection.execute(query.values(problem=bindparam("of_problem"), found_at=at), bound)
    closed = query.where(
        *(damaged.c.state != text for text in OPEN)
    )  # NOT IN takes one row at a time
    connection.execute(closed.values(state), bound)


def record_outcome(
    connection: Connection,
    artifact: DamagedArtifact,
    outcome: Outcome,
    loss: str | None,
    *,
    at: datetime,
    run_id: str,
) -> None:
    """Record how a repair of an artifact ended."""
    record_damage(connection, [artifact], at=at, run_id=run_id)
    connection.execute(
        update(damaged)
        .where(damaged.c.name == artifact.name, damaged.c.sha256 == artifact.sha256)
        .values(
            state=outcome.state,
            repaired_from=outcome.way,
            reason=outcome.reason,
            loss=loss,
            attempt_count=damaged.c.attempt_count + 1,
            changed_at=at,
            run_id=run_id,
        )
    )


def open_damage(warehouse: Warehouse) -> list[DamagedArtifact]:
    """Return the artifacts that are recorded as damaged or lost, and that the tables still name.

    A blob that was moved to another object since is returned with that one's name.
    """
    columns = (damaged.c.name, damaged.c.sha256, damaged.c.problem)
    row_query = select(*columns).where(damaged.c.state.in_(OPEN)).order_by(*columns[:2])
    with warehouse.reading() as connection:
        rows = connection.execute(row_query).all()
        named = list(_find_named(connection, [(row.name, row.sha256) for row in rows]))
    problems = {(row.name, row.sha256): row.problem for row in rows}
    return [
        damaged_artifact.as_found(
            problems.get((damaged_artifact.name, damaged_artifact.sha256), damaged_artifact.problem)
        )
        for damaged_artifact in named
    ]


def _find_named(
    connection: Connection, keys: Sequence[tuple[str, str]]
) -> Iterator[DamagedArtifact]:
    hashes = sorted({sha256 for name, sha256 in keys if name.startswith("blobs/")})
    for start in range(0, len(hashes), MAX_BATCH_HASHES):
        for blob in read_blobs(connection, hashes[start : start + MAX_BATCH_HASHES]).values():
            yield DamagedArtifact.of_blob(blob, "missing")
    files = sorted({name for name, _ in keys if not name.startswith("blobs/")})
    for start in range(0, len(files), MAX_BATCH_HASHES):
        yield from iterate_files(connection, files[start : start + MAX_BATCH_HASHES])


def iterate_files(
    connection: Connection, names: Sequence[str] | None = None
) -> Iterator[DamagedArtifact]:
    """Yield the exported files in the artifact store that the tables name, all or some.

    Their problem is not known yet.
    """
    row = operations_exports.c
    like = row.artifact.like(f"{EXPORTS}%") if names is None else row.artifact.in_(names)
    is_there = row.artifact.not_in(select(operations_removals.c.name))
    row_query = select(row.artifact, row.sha256, row.byte_count).where(like, is_there).distinct()
    for name, sha256, byte_count in connection.execute(row_query.order_by(row.artifact)):
        yield DamagedArtifact(name, sha256, "missing", None, byte_count)


def find_damaged_files(
    warehouse: Warehouse, artifacts: ArtifactStore, *, read_all: bool
) -> list[DamagedArtifact]:
    """Return the exported files that are missing, or have other bytes.

    Args:
        warehouse: Names them.
        artifacts: The store.
        read_all: Read each; else only their sizes are compared.

    Raises:
        TransientError: The store or the database does not answer.
    """
    with warehouse.reading() as connection:
        files = list(iterate_files(connection))
    damaged_artifacts: list[DamagedArtifact] = []
    for file in files:
        if not read_all:
            stored = artifacts.found(file.name)
            if stored is not None and stored.byte_count == file.byte_count:
                continue
        problem = find_file_problem(artifacts, file.name, file.sha256, file.byte_count)
        damaged_artifacts += [file.as_found(problem)] if problem else []
    return damaged_artifacts


def find_named_blobs(
    warehouse: Warehouse, sha256: Sequence[str] = (), dataset: str | None = None
) -> list[DamagedArtifact]:
    """Return captured bytes by SHA-256, and those of a dataset; their problem is not known yet.

    Raises:
        ConfigurationError: Nothing was captured with such a SHA-256, or of that dataset.
    """
    named = check_named(warehouse, sha256, dataset)
    if dataset is not None:
        with warehouse.reading() as connection:
            rows = connection.execute(_select_blobs(dataset)).all()
        named |= {row.sha256: Blob(*row) for row in rows}
    return [DamagedArtifact.of_blob(named[name], "missing") for name in sorted(named)]


def check_named(
    warehouse: Warehouse, sha256: Sequence[str], dataset: str | None
) -> dict[str, Blob]:
    """Make sure that captured bytes are known by SHA-256, and their dataset by name.

    Raises:
        ConfigurationError: Nothing was captured with such a SHA-256, or of that dataset.
    """
    hashes = [name.strip().lower() for name in sha256]
    with warehouse.reading() as connection:
        named = dict(read_blobs(connection, hashes)) if hashes else {}
        if missing := [name for name in hashes if name not in named]:
            raise UnknownNameError(
                f"invalid sha256 {missing[0][:80]!r}: expected the SHA-256 of captured bytes, 64 "
                f"hexadecimal digits, e.g. {'0f' * 32}",
                remedy="find it in operations_damaged_artifacts or with `artifacts list`",
            )
        if dataset is not None and not connection.execute(_select_blobs(dataset).limit(1)).first():
            raise UnknownNameError(
                f"invalid dataset {dataset[:80]!r}: expected a dataset of the table captures, "
                "e.g. weeklySummary",
                remedy="find it with `artifacts list`",
            )
    return named


def _select_blobs(dataset: str) -> Select[Any]:
    hashes = select(captures.c.sha256).where(captures.c.dataset == dataset)
    columns = [blobs.c[name] for name in Blob._fields]
    return select(*columns).where(blobs.c.sha256.in_(hashes))


def read_captures(warehouse: Warehouse, artifact: DamagedArtifact) -> list[RecordedCapture]:
    """Return the captures that have the bytes of an artifact, the latest first; of a file none."""
    if artifact.blob is None:
        return []
    names = ("capture_id", "source", "dataset", "partition_key", "group_id", "url", "request")
    columns = [captures.c[name] for name in (*names, "http_status", "fetched_at", "sha256")]
    statement = (
        select(*columns, blobs.c.byte_count)
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(captures.c.sha256 == artifact.sha256, captures.c.erased_at.is_(None))
        .order_by(captures.c.fetched_at.desc(), captures.c.capture_id)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(statement).mappings().all()
    return [RecordedCapture(**{**row, "request": _request(row["request"])}) for row in rows]


def _request(text: str) -> Mapping[str, Any]:
    document = json.loads(text)
    return document if isinstance(document, dict) else {}


def count_damage(warehouse: Warehouse) -> Mapping[str, int]:
    """Return the number of recorded artifacts by state."""
    row_query = select(damaged.c.state, func.count()).group_by(damaged.c.state)
    with warehouse.reading() as connection:
        return dict(connection.execute(row_query).all())


def open_rows(warehouse: Warehouse, limit: int) -> list[Mapping[str, Any]]:
    """Return the rows of artifacts that are not repaired, the lost ones first, in text columns."""
    names = ("sha256", "problem", "state", "reason", "loss")
    statement = (
        select(damaged.c.name.label("artifact"), *(damaged.c[name] for name in names))
        .where(damaged.c.state.in_(OPEN))
        .order_by(damaged.c.state.desc(), damaged.c.name, damaged.c.sha256)
        .limit(limit)
    )
    with warehouse.reading() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def close_repaired(
    warehouse: Warehouse,
    artifacts: ArtifactStore,
    damaged_now: Sequence[DamagedArtifact],
    *,
    at: datetime,
    run_id: str,
) -> None:
    """Record those as repaired that a verification did not find, and that are whole by now.

    Raises:
        TransientError: The store or the database does not answer.
    """
    known_pairs = {
        (damaged_artifact.name, damaged_artifact.sha256) for damaged_artifact in damaged_now
    }
    whole: list[DamagedArtifact] = []
    for damaged_artifact in open_damage(warehouse):
        is_known = (damaged_artifact.name, damaged_artifact.sha256) in known_pairs
        if not is_known and inspect_artifact(artifacts, damaged_artifact) is None:
            whole.append(damaged_artifact)
    with warehouse.writing() as connection:
        for damaged_artifact in whole:
            record_outcome(connection, damaged_artifact, FOUND_WHOLE, None, at=at, run_id=run_id)


def inspect_artifact(artifacts: ArtifactStore, artifact: DamagedArtifact) -> Problem | None:
    """Return how an artifact differs now, None if it is whole.

    Raises:
        TransientError: The store does not answer.
    """
    if artifact.blob is not None:
        return find_problem(artifacts, artifact.blob)
    return find_file_problem(artifacts, artifact.name, artifact.sha256, artifact.byte_count)

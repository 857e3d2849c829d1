"""Repair of damaged artifacts, one after the other: each outcome is recorded before the next."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from io import BytesIO
from typing import BinaryIO

from sqlalchemy import update

from orchestration_project.engine.blob_repair import (
    find_file_problem,
    find_problem,
    put_blob,
    put_file,
    set_aside,
)
from orchestration_project.engine.captures import BlobError, Captures, name_blob
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.repair import (
    WAYS,
    Attempt,
    Outcome,
    Problem,
    Result,
    Way,
    derive_outcome,
)
from orchestration_project.engine.packs import Blob, hash_of_pack
from orchestration_project.engine.recovery import (
    RecordedCapture,
    Recovery,
    RecoveryEnvironment,
    RenderedAgain,
)
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
)
from orchestration_project.services.repair.copies import ArtifactCopy
from orchestration_project.services.repair.damage import (
    FOUND_WHOLE,
    DamagedArtifact,
    inspect_artifact,
    read_captures,
    record_outcome,
)
from orchestration_project.services.repair.losses import describe_loss
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.spine import blobs

REASON_CHARACTERS = 300

RenderFile = Callable[[str], AbstractContextManager[RenderedAgain | None]]
"""Gives a file with the rows of an exported file, by its name; None: it cannot be rendered."""


@dataclass(frozen=True)
class Repaired:
    """End of the repair of an artifact, or of its dry run.

    Attributes:
        artifact: The artifact, with the problem that it had.
        outcome: Its end; None: a dry run.
        ways: Ways that apply to it.
        loss: What is lost, sentences; None: it is not lost.
    """

    artifact: DamagedArtifact
    outcome: Outcome | None
    ways: Sequence[Way]
    loss: str | None = None


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """Repairs artifacts from a copy, their sources and rows.

    Attributes:
        artifacts: The store with damaged objects.
        copy: A copy of it; None: none is named.
        recoveries: Ways to read captured bytes again.
        environment: Surroundings of these: the database that names the artifacts, and its time.
        render: Renders exported files again.
        run_id: Dagster run.
    """

    artifacts: ArtifactStore
    copy: ArtifactCopy | None
    recoveries: Sequence[Recovery]
    environment: RecoveryEnvironment
    render: RenderFile
    run_id: str
    _copied: dict[str, Problem | None] = field(default_factory=dict[str, Problem | None])

    def plan(self, found: Sequence[DamagedArtifact]) -> Iterator[Repaired]:
        """Yield those that are damaged, with the ways that apply; nothing is changed or requested.

        Raises:
            TransientError: The store or the database does not answer.
        """
        for damaged_artifact in found:
            if problem := inspect_artifact(self.artifacts, damaged_artifact):
                yield Repaired(
                    damaged_artifact.as_found(problem),
                    None,
                    _list_ways(self._attempts(damaged_artifact)),
                )

    def repair(self, found: Sequence[DamagedArtifact]) -> Iterator[Repaired]:
        """Repair each that is damaged, record how it ended, and yield it.

        One that is whole by now is recorded as repaired.

        Raises:
            TransientError: The store or the database does not answer; what was repaired before
                stays recorded.
            ConfigurationError: The store cannot be written.
        """
        for damaged_artifact in found:
            problem = inspect_artifact(self.artifacts, damaged_artifact)
            if problem is not None:
                ended = self._repaired(damaged_artifact.as_found(problem))
            elif (
                self._copied.get(damaged_artifact.name, "missing") is None
            ):  # with another blob of its pack
                ended = Repaired(
                    damaged_artifact, derive_outcome([Attempt("copy", "repaired")]), ["copy"]
                )
            else:
                ended = Repaired(damaged_artifact, FOUND_WHOLE, [])
            if ended.outcome is not None:
                self._record(ended.artifact, ended.outcome, ended.loss)
            if ended.ways or problem is not None:
                yield ended

    def _record(self, artifact: DamagedArtifact, outcome: Outcome, loss: str | None) -> None:
        at = self.environment.clock.now()
        with self.environment.warehouse.writing() as connection:
            record_outcome(connection, artifact, outcome, loss, at=at, run_id=self.run_id)

    def _attempts(self, artifact: DamagedArtifact) -> Sequence[tuple[Way, Callable[[], Attempt]]]:
        """Return the ways that apply, in their order, with the function that tries each."""
        attempts: list[tuple[Way, Callable[[], Attempt]]] = []
        if self.copy is not None:
            attempts.append(("copy", partial(self._from_copy, self.copy, artifact)))
        if artifact.blob is None:
            return [*attempts, ("derived", partial(self._from_rendering, artifact))]
        recoveries = self._recoveries_of(read_captures(self.environment.warehouse, artifact))
        for recovery, capture in sorted(recoveries, key=lambda each: WAYS.index(each[0].way)):
            attempt = partial(self._from_recovery, artifact.blob, recovery, capture)
            attempts.append((recovery.way, attempt))
        return attempts

    def _recoveries_of(
        self, recorded: Sequence[RecordedCapture]
    ) -> Iterator[tuple[Recovery, RecordedCapture]]:
        """Yield the recoveries that apply, each with the latest capture that it applies to."""
        for recovery in self.recoveries:
            for capture in recorded:
                if recovery.applies(capture, self.environment.settings):
                    yield recovery, capture
                    break

    def _repaired(self, artifact: DamagedArtifact) -> Repaired:
        attempts = self._attempts(artifact)
        ended_attempts: list[Attempt] = []
        for way, attempt in attempts:
            ended_attempts.append(_try_way(way, attempt))
            if ended_attempts[-1].result in ("repaired", "rederived"):
                break
        outcome, loss = derive_outcome(ended_attempts), None
        if outcome.state == "lost":
            loss = describe_loss(self.environment.warehouse, artifact)
        return Repaired(artifact, outcome, _list_ways(attempts), loss)

    def _from_copy(self, copy: ArtifactCopy, artifact: DamagedArtifact) -> Attempt:
        """Store the whole object of the copy; of a pack that it lacks, the blob alone."""
        blob, problems = artifact.blob, set[Problem]()
        if blob is None or blob.byte_offset is not None:
            problem = self._copy_object(copy, artifact)
            if problem is None and inspect_artifact(self.artifacts, artifact) is None:
                return Attempt("copy", "repaired")
            problems.add(problem or "changed")
        if blob is not None:
            alone = blob._replace(storage_uri=name_blob(blob.sha256), byte_offset=None)
            for key in dict.fromkeys((blob, alone)):
                for name in copy.find_names(key.storage_uri):
                    other = key._replace(storage_uri=name)
                    problem = find_problem(copy.store, other)
                    if problem is None:
                        with Captures(copy.store).open(other) as body:
                            return self._put_blob(blob, body, "copy")
                    problems.add(problem)
        if problems == {"missing"}:
            return Attempt("copy", "absent")
        return Attempt("copy", "failed" if "unreadable" in problems else "other_bytes")

    def _copy_object(self, copy: ArtifactCopy, artifact: DamagedArtifact) -> Problem | None:
        """Store a pack or file of the copy, once for all blobs in it; return how that one differs.

        None: it was whole.
        """
        name = artifact.name
        if name not in self._copied:
            sha256 = artifact.sha256 if artifact.blob is None else hash_of_pack(name)
            problem: Problem | None = "missing"
            for other in copy.find_names(name):
                problem = find_file_problem(copy.store, other, sha256, 0)
                if problem is None:
                    with copy.store.open(other) as file:
                        self._put_file(name, sha256, file)
                    break
            self._copied[name] = problem
        return self._copied[name]

    def _from_recovery(self, blob: Blob, recovery: Recovery, capture: RecordedCapture) -> Attempt:
        body = recovery.read(capture, self.environment)
        if body is None:
            return Attempt(recovery.way, "absent")
        if hashlib.sha256(body).hexdigest() != blob.sha256:
            return Attempt(recovery.way, "other_bytes", f"{len(body)} bytes")
        return self._put_blob(blob, BytesIO(body), recovery.way)

    def _from_rendering(self, artifact: DamagedArtifact) -> Attempt:
        with self.render(artifact.name) as opened_span:
            if opened_span is None:
                return Attempt("derived", "absent", "its export is declared otherwise by now")
            opened_span.file.seek(0)
            if opened_span.sha256 == artifact.sha256:
                self._put_file(artifact.name, opened_span.sha256, opened_span.file)
                return Attempt("derived", "repaired")
            if not opened_span.has_same_rows:
                return Attempt("derived", "other_bytes")
            self._put_file(
                opened_span.name,
                opened_span.sha256,
                opened_span.file,
            )
            with _separate_errors(self.artifacts):
                set_aside(self.artifacts, artifact.name, self._day)
        row = operations_exports.c
        values = {
            "artifact": opened_span.name,
            "sha256": opened_span.sha256,
            "byte_count": opened_span.byte_count,
        }
        pair = (row.artifact == artifact.name, row.sha256 == artifact.sha256)
        with self.environment.warehouse.writing() as connection:
            connection.execute(update(operations_exports).where(*pair).values(values))
        return Attempt("derived", "rederived", f"as {opened_span.name}")

    @property
    def _day(self) -> date:
        return self.environment.clock.today("UTC")

    def _put_file(self, name: str, sha256: str, body: BinaryIO) -> None:
        with _separate_errors(self.artifacts):
            put_file(self.artifacts, name, sha256, body, self._day)

    def _put_blob(self, blob: Blob, body: BinaryIO, way: Way) -> Attempt:
        """Store the verified bytes of a blob, and record where they are."""
        with _separate_errors(self.artifacts):
            stored = put_blob(self.artifacts, blob, body, self._day)
        pair = (blobs.c.sha256 == blob.sha256, blobs.c.storage_uri == blob.storage_uri)
        names = ("stored_byte_count", "storage_uri", "byte_offset")
        values = {name: getattr(stored, name) for name in names}
        values["stored_at"] = self.environment.clock.now()
        with self.environment.warehouse.writing() as connection:
            connection.execute(update(blobs).where(*pair).values(values))
        return Attempt(way, "repaired")


class StoreError(ConfigurationError):
    """The store with damaged objects cannot be written, so that no repair goes on."""


@contextmanager
def _separate_errors(store: ArtifactStore) -> Iterator[None]:
    """Separate errors of the store that is repaired from those of the way that has the bytes."""
    try:
        yield
    except ConfigurationError as error:
        raise StoreError(
            f"artifacts cannot be repaired: {error.what}",
            expected=error.expected or f"a store that we may write at {store.url}",
            found=error.found,
            remedy=error.remedy,
        ) from error


RESULTS: Mapping[type[OrchestrationError], Result] = {
    BlobError: "other_bytes",
    SourceError: "absent",
    ContractError: "absent",
}
"""Results by the errors of ways; after another one, a later attempt may succeed."""


def _try_way(way: Way, attempt: Callable[[], Attempt]) -> Attempt:
    try:
        return attempt()
    except StoreError:
        raise
    except OrchestrationError as error:
        reason = ": ".join(filter(None, (error.what, error.found)))[:REASON_CHARACTERS]
        for kind, result in RESULTS.items():
            if isinstance(error, kind):
                return Attempt(way, result, reason)
        return Attempt(way, "failed", reason)
    except OSError as error:
        return Attempt(way, "failed", f"{type(error).__name__}: {error.strerror}")


def _list_ways(attempts: Sequence[tuple[Way, Callable[[], Attempt]]]) -> Sequence[Way]:
    return list(dict.fromkeys(way for way, _ in attempts))

"""Repair of damaged artifacts, one after the other: each outcome is recorded before the next."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from typing import BinaryIO

from sqlalchemy import update

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.repair import (
    Attempt,
    Outcome,
    Result,
    Way,
    outcome_of,
    ways_of,
)
from orchestration_project.engine.blob_repair import (
    problem_of,
    put_blob,
    put_file,
    restore_pack,
    set_aside,
)
from orchestration_project.engine.captures import (
    STREAM_BYTES,
    BlobError,
    Captures,
    blob_name,
    hash_file,
)
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.recovery import (
    RecordedCapture,
    Recovery,
    RecoveryEnvironment,
    RenderedAgain,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
)
from orchestration_project.services.repair.damage import (
    FOUND_WHOLE,
    DamagedArtifact,
    captures_of,
    problem_now,
    record_outcome,
)
from orchestration_project.services.repair.losses import loss_of
from orchestration_project.tables.operations import operations_exports
from orchestration_project.tables.spine import blobs

HELD_BYTES = 32 * 2**20
"""Bytes of an artifact that are held in memory; those of a larger one are in a file meanwhile."""

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
    """Repairs artifacts from a second store, their sources and rows.

    Attributes:
        warehouse: The database that names them.
        artifacts: The store with damaged objects.
        second_store: A copy of it; None: there is none.
        recoveries: Ways to read captured bytes again.
        environment: Surroundings of these.
        render: Renders exported files again.
        clock: The database's time.
        run_id: Dagster run.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    second_store: ArtifactStore | None
    recoveries: Sequence[Recovery]
    environment: RecoveryEnvironment
    render: RenderFile
    clock: Clock
    run_id: str
    _packs: dict[str, bool] = field(default_factory=dict[str, bool])

    def plan(self, found: Sequence[DamagedArtifact]) -> Iterator[Repaired]:
        """Yield those that are damaged, with the ways that apply; nothing is changed or asked.

        Raises:
            TransientError: The store or the database does not answer.
        """
        for each in found:
            if problem := problem_now(self.artifacts, each):
                yield Repaired(each.as_found(problem), None, self._ways(each))

    def repair(self, found: Sequence[DamagedArtifact]) -> Iterator[Repaired]:
        """Repair each that is damaged, record how it ended, and yield it.

        One that is whole by now is recorded as repaired.

        Raises:
            TransientError: The store or the database does not answer; what was repaired before
                stays recorded.
            ConfigurationError: The store cannot be written.
        """
        for each in found:
            problem = problem_now(self.artifacts, each)
            if problem is not None:
                ended = self._repaired(each.as_found(problem))
            elif self._packs.get(each.name):  # for another blob in it
                outcome = outcome_of([Attempt("second_store", "repaired")])
                ended = Repaired(each, outcome, ["second_store"])
            else:
                ended = Repaired(each, FOUND_WHOLE, [])
            self._record(ended)
            if ended.ways or problem is not None:
                yield ended

    def _record(self, ended: Repaired) -> None:
        if ended.outcome is None:
            return
        with self.warehouse.writing() as connection:
            record_outcome(
                connection,
                ended.artifact,
                ended.outcome,
                ended.loss,
                at=self.clock.now(),
                run_id=self.run_id,
            )

    def _captures(self, artifact: DamagedArtifact) -> list[RecordedCapture]:
        if artifact.blob is None:
            return []
        with self.warehouse.reading() as connection:
            return captures_of(connection, artifact.sha256)

    def _ways(self, artifact: DamagedArtifact) -> list[Way]:
        chosen = {each.way for each, _ in self._recoveries_of(self._captures(artifact))}
        return ways_of(
            has_second_store=self.second_store is not None,
            has_source="source" in chosen,
            has_derivation="derived" in chosen or artifact.blob is None,
        )

    def _recoveries_of(
        self, recorded: Sequence[RecordedCapture]
    ) -> Iterator[tuple[Recovery, RecordedCapture]]:
        """Yield the ways that apply, each with the latest capture that it applies to."""
        for recovery in self.recoveries:
            for capture in recorded:
                if recovery.applies(capture, self.environment.settings):
                    yield recovery, capture
                    break

    def _repaired(self, artifact: DamagedArtifact) -> Repaired:
        recorded = self._captures(artifact)
        attempts: list[Attempt] = []
        ways = self._ways(artifact)
        for way in ways:
            attempts += self._tried(artifact, way, recorded)
            if attempts and attempts[-1].result in ("repaired", "rederived"):
                break
        outcome = outcome_of(attempts)
        loss = None
        if outcome.state == "lost":
            loss = self._loss(artifact, recorded)
        return Repaired(artifact, outcome, ways, loss)

    def _loss(self, artifact: DamagedArtifact, recorded: Sequence[RecordedCapture]) -> str:
        if artifact.blob is None:
            return f"The exported file {artifact.name} is lost; its rows are in the database."
        with self.warehouse.reading() as connection:
            return loss_of(connection, recorded)

    def _tried(
        self, artifact: DamagedArtifact, way: Way, recorded: Sequence[RecordedCapture]
    ) -> list[Attempt]:
        """Try a way; what it has is stored only if it has the right bytes."""
        if way == "second_store":
            return [self._from_second_store(artifact)]
        if artifact.blob is None:
            return [self._from_rendering(artifact)]
        attempts: list[Attempt] = []
        for recovery, capture in self._recoveries_of(recorded):
            if recovery.way == way:
                attempts.append(self._from_recovery(artifact, artifact.blob, recovery, capture))
                if attempts[-1].result == "repaired":
                    break
        return attempts

    def _from_second_store(self, artifact: DamagedArtifact) -> Attempt:
        store = self.second_store
        if store is None:
            raise AssertionError("a way that does not apply is not tried")
        try:
            if artifact.blob is not None:
                return self._blob_of(store, artifact.blob)
            with store.open(artifact.name) as file, _spooled(file) as body:
                return self._put_file(artifact, body, "second_store")
        except FileNotFoundError:
            return Attempt("second_store", "absent")
        except StoreError:
            raise
        except (OrchestrationError, OSError) as error:
            return Attempt("second_store", _result_of(error), _reason_of(error))

    def _blob_of(self, store: ArtifactStore, blob: Blob) -> Attempt:
        """Take a blob from the second store: with its pack, or as an object of its own."""
        if self._restored_pack(blob) and problem_of(self.artifacts, blob) is None:
            return Attempt("second_store", "repaired")
        own = blob._replace(storage_uri=blob_name(blob.sha256), byte_offset=None)
        found = [each for each in dict.fromkeys((blob, own)) if store.found(each.storage_uri)]
        for each in found:
            with suppress(BlobError), Captures(store).open(each) as file, _spooled(file) as body:
                return self._put_blob(blob, body, "second_store")
        return Attempt("second_store", "other_bytes" if found else "absent")

    def _restored_pack(self, blob: Blob) -> bool:
        if blob.byte_offset is None or self.second_store is None:
            return False
        if blob.storage_uri not in self._packs:
            with _storing(self.artifacts):
                self._packs[blob.storage_uri] = restore_pack(
                    self.artifacts, self.second_store, blob.storage_uri, self._day
                )
        return self._packs[blob.storage_uri]

    def _from_recovery(
        self, artifact: DamagedArtifact, blob: Blob, recovery: Recovery, capture: RecordedCapture
    ) -> Attempt:
        try:
            body = recovery.read(capture, self.environment)
        except (OrchestrationError, OSError) as error:
            return Attempt(recovery.way, _result_of(error), _reason_of(error))
        if body is None:
            return Attempt(recovery.way, "absent")
        if hashlib.sha256(body).hexdigest() != artifact.sha256:
            return Attempt(recovery.way, "other_bytes", f"{len(body)} bytes")
        return self._put_blob(blob, BytesIO(body), recovery.way)

    def _from_rendering(self, artifact: DamagedArtifact) -> Attempt:
        try:
            with self.render(artifact.name) as found:
                if found is None:
                    return Attempt("derived", "absent", "its export is declared otherwise by now")
                if found.sha256 != artifact.sha256 and found.has_same_rows:
                    return self._put_instead(artifact, found)
                return self._put_file(artifact, found.file, "derived")
        except StoreError:
            raise
        except (OrchestrationError, OSError) as error:
            return Attempt("derived", _result_of(error), _reason_of(error))

    @property
    def _day(self) -> date:
        return self.clock.today("UTC")

    def _put_file(self, artifact: DamagedArtifact, body: BinaryIO, way: Way) -> Attempt:
        body.seek(0)
        if hash_file(body)[0] != artifact.sha256:
            return Attempt(way, "other_bytes")
        with _storing(self.artifacts):
            put_file(self.artifacts, artifact.name, artifact.sha256, body, self._day)
        return Attempt(way, "repaired")

    def _put_instead(self, artifact: DamagedArtifact, found: RenderedAgain) -> Attempt:
        """Store a file with the same rows in other bytes, and record it as that of the export."""
        with _storing(self.artifacts):
            put_file(self.artifacts, found.name, found.sha256, found.file, self._day)
            set_aside(self.artifacts, artifact.name, self._day)
        row = operations_exports.c
        values = {"artifact": found.name, "sha256": found.sha256, "byte_count": found.byte_count}
        own = (row.artifact == artifact.name, row.sha256 == artifact.sha256)
        with self.warehouse.writing() as connection:
            connection.execute(update(operations_exports).where(*own).values(values))
        return Attempt("derived", "rederived", f"as {found.name}")

    def _put_blob(self, blob: Blob, body: BinaryIO, way: Way) -> Attempt:
        """Store the verified bytes of a blob, and record where they are."""
        with _storing(self.artifacts):
            stored = put_blob(self.artifacts, blob, body, self._day)
        own = (blobs.c.sha256 == blob.sha256, blobs.c.storage_uri == blob.storage_uri)
        names = ("stored_byte_count", "storage_uri", "byte_offset")
        values = {name: getattr(stored, name) for name in names}
        values["stored_at"] = self.clock.now()  # the second store gets it, too
        with self.warehouse.writing() as connection:
            connection.execute(update(blobs).where(*own).values(values))
        return Attempt(way, "repaired")


class StoreError(ConfigurationError):
    """The store with damaged objects cannot be written, so that no repair goes on."""


@contextmanager
def _storing(store: ArtifactStore) -> Iterator[None]:
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


@contextmanager
def _spooled(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give the bytes of a stream as a file that can be read twice, in bounded memory."""
    with tempfile.SpooledTemporaryFile(HELD_BYTES) as body:
        while chunk := file.read(STREAM_BYTES):
            body.write(chunk)
        body.seek(0)
        yield body  # pyright: ignore[reportReturnType] - it has what BinaryIO needs here


RESULTS: Mapping[type[OrchestrationError], Result] = {
    BlobError: "other_bytes",
    SourceError: "absent",
    ContractError: "absent",
}
"""Results by the errors of ways; after another one, a later attempt may succeed."""


def _result_of(error: Exception) -> Result:
    for kind, result in RESULTS.items():
        if isinstance(error, kind):
            return result
    return "failed"


def _reason_of(error: Exception) -> str:
    if isinstance(error, OrchestrationError):
        return ": ".join(filter(None, (error.what, error.found)))[:REASON_CHARACTERS]
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else ""

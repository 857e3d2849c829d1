"""Damaged artifacts for tests: faults by name, and repairs without connections."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore, FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.recovery import (
    RecordedCapture,
    Recovery,
    RecoveryEnvironment,
    RenderedAgain,
)
from orchestration_project.services.inventory import take_inventory
from orchestration_project.services.repair.copies import ArtifactCopy
from orchestration_project.services.repair.damage import DamagedArtifact, record_damage
from orchestration_project.services.repair.repairing import RenderFile, Repaired, Repairs
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.operations_artifacts import operations_damaged_artifacts
from tests.resources.weeks import PartitionLoader


def one_bit(content: bytes) -> bytes:
    """Return bytes of which the last one has another bit."""
    return content[:-1] + bytes([content[-1] ^ 1])


FAULTS: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "changed": one_bit,
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "zeros": lambda content: bytes(len(content)),
}
"""Faults of an object, by what they leave of its bytes; None: nothing."""

PROBLEMS = {"empty": "truncated", "zeros": "changed"}


def damage(store: ArtifactStore, name: str, fault: str) -> None:
    """Damage an object of a store."""
    left = FAULTS[fault](store.get(name))
    if left is None:
        store.delete(name)
    else:
        store.put(name, left)


def from_source(bodies: dict[str, Any], *, source: str = "demo") -> Recovery:
    """Return a way to bytes by URL; an exception in the place of bytes is raised."""

    def read(capture: RecordedCapture, _: RecoveryEnvironment) -> bytes | None:
        found = bodies.get(capture.url)
        if isinstance(found, Exception):
            raise found
        return found

    return Recovery(way="source", applies=lambda each, _: each.source == source, read=read)


def no_rendering(_: str) -> AbstractContextManager[RenderedAgain | None]:
    """Render nothing."""
    return nullcontext(None)


@dataclass
class RepairStores:
    """A database with captures, their store and a copy of it."""

    partition_loader: PartitionLoader
    store: ArtifactStore
    clock: Clock
    second: ArtifactStore | ArtifactCopy | None = None
    recoveries: list[Recovery] = field(default_factory=list[Recovery])

    def repairs(self, render: RenderFile = no_rendering) -> Repairs:
        """Return what repairs the store."""
        warehouse, copy = self.partition_loader.warehouse, self.second
        if copy is not None and not isinstance(copy, ArtifactCopy):
            copy = ArtifactCopy(copy)

        def opened(name: str) -> Any:
            raise AssertionError(f"nothing opens {name}")

        environment = RecoveryEnvironment(
            settings=load_shared_settings(), warehouse=warehouse, clock=self.clock, open=opened
        )
        return Repairs(
            artifacts=self.store,
            copy=copy,
            recoveries=self.recoveries,
            environment=environment,
            render=render,
            run_id="repair",
        )

    def verify(self) -> list[DamagedArtifact]:
        """Verify all blobs, and record those that are damaged."""
        found = take_inventory(self.partition_loader.warehouse, self.store, read_all=True).damaged
        damaged = [DamagedArtifact.of_blob(*each) for each in found]
        with self.partition_loader.warehouse.writing() as connection:
            record_damage(connection, damaged, at=self.clock.now(), run_id="verify")
        return damaged

    def repaired(self) -> Sequence[Repaired]:
        """Verify all, and repair what is damaged."""
        return list(self.repairs().repair(self.verify()))

    def rows(self) -> list[dict[str, Any]]:
        """Return the recorded damage."""
        with self.partition_loader.warehouse.reading() as connection:
            found = connection.execute(select(operations_damaged_artifacts)).mappings()
            return [dict(row) for row in found]

    @property
    def captures(self) -> Captures:
        """The captures of the store."""
        return Captures(self.store)


def copy_all(store: ArtifactStore, folder: Path) -> FolderStore:
    """Return a copy of a store, with the same objects."""
    other = FolderStore(folder)
    for stored_object in store.listed():
        other.put(stored_object.name, store.get(stored_object.name))
    return other

"""Origins of a dataset's partitions: deliveries of its source, or recorded ones.

How a delivery is validated and loaded does not belong here; that is in `engine/loader.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Protocol

import polars as pl

from orchestration_project.engine.captures import Capture, limit_memory
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.contract import Drift, detect_drift, merge_fields
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.dataset import LoadSpec
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.replay import replay_plan
from orchestration_project.engine.source import Source, SourceVersion
from orchestration_project.engine.warehouse import (
    Delivery,
    Derivation,
    RecordedDelivery,
    ScopeState,
    SupersededError,
    Warehouse,
)
from orchestration_project.engine.warehouse.derived_partitions import write_derived
from orchestration_project.engine.warehouse.fencing import read_fence
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.engine.warehouse.target import WriteDisposition
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.spine import source_fields

Read = Callable[[list[Capture]], Delivery]
"""Reads a delivery; appends everything that came to the list, also what cannot be used."""


@dataclass(frozen=True)
class FieldList:
    """Findings about the fields that a source lists; ``listed_count`` None: it lists none."""

    differences: Sequence[Drift] = ()
    listed_count: int | None = None


@dataclass(frozen=True)
class PendingDelivery:
    """A delivery that is to be read.

    Attributes:
        state: What is loaded of its partition.
        intended: What is recorded of it where it cannot be read whole.
        read: Reads it.
        is_loaded: Whether it need not be read: the source has what is loaded.
        loads_same_rows: Whether it is loaded also where its rows are the loaded ones.
        write_disposition: How it is written; None: as the dataset says.
        made_of: Recorded deliveries that are validated one by one and loaded as this one.
        recorded: All recorded deliveries that it is read from.
    """

    state: ScopeState
    intended: Delivery
    read: Read
    is_loaded: bool = False
    loads_same_rows: bool = False
    write_disposition: WriteDisposition | None = None
    made_of: Sequence[RecordedDelivery] = ()
    recorded: Sequence[RecordedDelivery] = ()


class Deliveries(Protocol):
    """Origin of a dataset's partitions."""

    @property
    def name(self) -> str:
        """Name of the source in errors."""
        ...

    @property
    def full(self) -> bool:
        """Whether partitions that are loaded, or have no data by calendar, are read anyway."""
        ...

    def open(self) -> FieldList:
        """Open the place to read from, and compare the fields that it lists with the declared ones.

        Raises:
            OrchestrationError: It cannot be opened, or does not answer.
            ContractError: A declared field is missing.
        """
        ...

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the delivery of a partition, which is read later.

        Raises:
            ConfigurationError: It must not replace what is loaded.
            OrchestrationError: The source does not say which version it has.
        """
        ...


@dataclass(frozen=True)
class SourceDeliveries:
    """Deliveries that a source has now.

    Attributes:
        resource: The Dagster resource that gives the source; opened by `open`.
        force: Whether they may replace what was loaded from another source.
        full: Whether they are read although the source has the version that is loaded.
        done: Partitions that this run has loaded before: ``full`` does not read them again.
    """

    dataset: LoadSpec[Any, Any]
    resource: object
    warehouse: Warehouse
    clock: Clock
    force: bool = False
    full: bool = False
    done: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        """The source."""
        return self.dataset.source_of(self.resource)

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    def open(self) -> FieldList:
        """Open the source, and compare the fields that it lists with the declared ones."""
        open_all(self.resource)
        dataset, source = self.dataset, self.source
        listed = source.fields()
        if listed is None:
            return FieldList()
        seen_frame = remember_fields(
            self.warehouse, self.clock, listed, source=source.name, dataset=dataset.source_dataset
        )
        known_names = dataset.known_fields
        field_list = FieldList(detect_drift(seen_frame, known_names), len(listed))
        field_names = [
            difference.field_name
            for difference in field_list.differences
            if difference.what == "missing"
        ]
        if field_names:
            raise ContractError(
                f"{dataset.source_dataset} lacks {', '.join(field_names)}: "
                "it is not the dataset that we know",
                expected=", ".join(known_names),
                found=", ".join(sorted(listed))[:1000],
                remedy="compare the source's list of fields with the declaration in "
                f"{dataset.declared_in}; nothing was requested and nothing loaded",
            )
        return field_list

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the delivery that the source has of a partition now.

        A source that gives versions is asked for that first: if it is the loaded one, nothing is
        read; if not, what is read is loaded.
        """
        source = self.source
        key = self.dataset.partitioning.key_of(partition)
        state = self.warehouse.state(self.dataset.table, key)
        self._refuse_other_source(key, state.source, source)
        version = source.version(partition)
        if version is None:
            unknown = SourceVersion("", self.dataset.source_dataset)
            read = partial(self._extract, source, partition)
            return PendingDelivery(state, _build_delivery(source, unknown, ()), read)
        versions = chain([version], iter(partial(source.version, partition), None))
        return PendingDelivery(
            state,
            _build_delivery(source, version, ()),
            partial(_extract_version, source, partition, versions),
            is_loaded=self._is_loaded(key, state, source.name, version),
            loads_same_rows=True,
        )

    def _extract(self, source: Source, partition: Partition, kept: list[Capture]) -> Delivery:
        extraction = source.extract(partition, kept)
        version = SourceVersion(
            extraction.version, self.dataset.source_dataset, extraction.record_total
        )
        return _build_delivery(source, version, extraction.captures)

    def _is_loaded(self, key: str, state: ScopeState, source: str, version: SourceVersion) -> bool:
        """Whether a version is the loaded one, and that is enough."""
        loaded = (state.source, state.source_version, state.rule_version)
        present = (source, version.text, self.dataset.rule_version)
        return loaded == present and (not self.full or key in self.done)

    def _refuse_other_source(self, key: str, loaded: str | None, source: Source) -> None:
        if loaded in (None, source.name) or self.force:
            return
        setting, table_name = self.dataset.source_setting, self.dataset.table.name
        what = key if setting else f"{key} of {table_name}"
        raise ConfigurationError(
            f"{what} was loaded from another source",
            expected=f"more from {loaded}",
            found=f"{setting}={source.name}" if setting else f"source {source.name}",
            remedy=f"set {setting or 'the source'} back, use another DATABASE_URL, or replace the "
            "partition by allow_conflicts: true in the run's config",
        )


def _extract_version(
    source: Source, partition: Partition, versions: Iterator[SourceVersion], kept: list[Capture]
) -> Delivery:
    """Read the next of ``versions``: the first is the one that was requested already."""
    version = next(versions)
    return _build_delivery(source, version, source.extract_version(partition, version, kept))


def _build_delivery(
    source: Source, version: SourceVersion, captures: Sequence[Capture]
) -> Delivery:
    return Delivery(
        source=source.name,
        dataset=version.dataset,
        source_version=version.text,
        record_total=version.record_total,
        scope=version.scope,
        captures=captures,
    )


@dataclass(frozen=True)
class RecordedDeliveries:
    """Recorded deliveries of a dataset: a replay, which does not ask the source.

    Attributes:
        group_id: This delivery; None: the latest of each partition that was read whole. Where that
            is of a part, such as one market, the latest of each other part comes with it.
        allow_older: Whether it may replace what was fetched later.
    """

    dataset: LoadSpec[Any, Any]
    warehouse: Warehouse
    artifacts: ArtifactStore
    group_id: str | None = None
    allow_older: bool = False

    @property
    def full(self) -> bool:
        """Whether the source is asked, too: it is not."""
        return False

    @property
    def name(self) -> str:
        """Artifact store that they are read from, without a request to the source."""
        return "captures"

    def open(self) -> FieldList:
        """Open nothing: the loader has opened database and artifact store."""
        return FieldList()

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the recorded delivery of a partition.

        Raises:
            ConfigurationError: There is none, or it is older than what is loaded.
        """
        key = self.dataset.partitioning.key_of(partition)
        plan = replay_plan(
            self.warehouse,
            self.dataset.table,
            key,
            group_id=self.group_id,
            allow_older=self.allow_older,
        )

        def read(_: list[Capture]) -> Delivery:
            captures = limit_memory(plan.captures(self.warehouse, self.artifacts))
            return replace(plan.delivery, captures=captures)

        return PendingDelivery(
            plan.state,
            plan.delivery,
            read,
            write_disposition=plan.write_disposition,
            made_of=plan.made_of if plan.are_separate else (),
            recorded=plan.made_of,
        )


def remember_fields(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], *, source: str, dataset: str
) -> pl.DataFrame:
    """Record which fields (name and type) a source lists now; return all that is known of them.

    Runs of one dataset start together and list the same fields: a run that another one overtook
    reads again what that wrote, so that one of them goes on each time.
    """
    while True:
        with suppress(SupersededError):
            return _update_fields(warehouse, clock, listed, source, dataset)


def _update_fields(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], source: str, dataset: str
) -> pl.DataFrame:
    key, scope = f"{source}|{dataset}", {"source": source, "dataset": dataset}
    with warehouse.writing() as connection:
        token, _ = read_fence(connection, source_fields, key)
        seen_frame, now = read_scope(connection, source_fields, scope), clock.now()
        rows = merge_fields(seen_frame, listed, source=source, dataset=dataset, at=now)
        version = f"{len(listed)} fields"
        write_derived(
            connection, [Derivation(source_fields, key, scope, token, version, rows)], now
        )
    return rows

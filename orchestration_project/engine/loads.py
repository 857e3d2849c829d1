"""A run's partitions and options, its loads one by one or in batches, and its equations."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import dagster as dg
from pydantic import Field
from sqlalchemy import Connection, delete

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Acceptance
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.job_options import (
    LOAD,
    ONLY,
    REPLAY,
    Full,
    MaxRejectRatio,
    Moment,
    find_mapping,
)
from orchestration_project.engine.contracts.partition_tags import Dimensions, list_partitions
from orchestration_project.engine.contracts.pipelines import EVERY_DAY, KnownPartitions
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    Warehouse,
)
from orchestration_project.engine.warehouse.balancing import build_balance_row
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
)
from orchestration_project.tables.conditions import read_moment
from orchestration_project.tables.spine import balances


def read_partition_keys(
    tags: Mapping[str, str], definition: dg.PartitionsDefinition | None
) -> list[str]:
    """Return the partitions that a run with these tags requests, of assets that have some.

    Raises:
        ConfigurationError: The tags disagree or name no partition.
    """
    if definition is None:
        raise AssertionError("partitions are requested only of what has partitions")
    return list_partitions(tags, _read_dimensions(definition))


def find_time_windows(
    definition: dg.PartitionsDefinition | None,
) -> dg.TimeWindowPartitionsDefinition | None:
    """Return the partitions by time, or their one dimension that is by time; None: none is."""
    if isinstance(definition, dg.MultiPartitionsDefinition):
        dimensions = [dimension.partitions_def for dimension in definition.partitions_defs]
    else:
        dimensions = [definition]
    periods = [
        dimension
        for dimension in dimensions
        if isinstance(dimension, dg.TimeWindowPartitionsDefinition)
    ]
    return periods[0] if len(periods) == 1 else None


def build_known_partitions(
    name: str,
    definition: dg.PartitionsDefinition | None,
    keys: Sequence[str],
    first_setting: str = "",
) -> KnownPartitions:
    """Return the partitions ``keys`` of a job, with the calendar of their definition."""
    periods = find_time_windows(definition)
    return KnownPartitions(
        name,
        keys,
        cron=periods.cron_schedule if periods is not None else EVERY_DAY,
        first_setting=first_setting,
        is_ended=periods is not None and periods.end is not None,
    )


def _read_dimensions(definition: dg.PartitionsDefinition) -> Dimensions:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return {
            partitions_def.name: partitions_def.partitions_def.get_partition_keys()
            for partitions_def in definition.partitions_defs
        }
    return {"": definition.get_partition_keys()}


Taken = TypeVar("Taken")
Loaded = TypeVar("Loaded", covariant=True)
Done = TypeVar("Done")

PiecesOf = Callable[[Sequence[str]], Sequence[str]]
"""Returns the pieces of work that make up partitions."""


class Load(Protocol[Taken, Loaded]):
    """How a partition is loaded; the next one is taken while the present one loads."""

    @property
    def where(self) -> Mapping[str, str]:
        """Context of errors besides partition and run, such as asset and source."""
        ...

    def ready(self) -> None:
        """Open all resources; a failure here concerns all partitions."""
        ...

    def take(self, key: str) -> Taken:
        """Fetch and check the partition ``key``; writes nothing that is published."""
        ...

    def write_batch(self, taken: Taken) -> Loaded:
        """Write ``taken``, whole or not at all."""
        ...


class BatchLoad(Protocol[Taken, Loaded]):
    """Loads the pieces of partitions, several together."""

    @property
    def where(self) -> Mapping[str, str]:
        """Context of errors besides piece and run, such as asset and source."""
        ...

    def ready(self) -> None:
        """Open all resources; a failure here concerns all pieces."""
        ...

    @property
    def pieces(self) -> PiecesOf:
        """Return the pieces that make up the run's partitions, once the load is ready."""
        ...

    def batches(self, keys: Sequence[str]) -> Iterator[Taken]:
        """Fetch and check pieces, and yield those that load together; publishes nothing.

        The next batch is taken while the present one loads.
        """
        ...

    def write_batch(self, taken: Taken) -> Mapping[str, Loaded | OrchestrationError]:
        """Write a batch, each of its pieces whole or not at all; return how each ended."""
        ...


@contextmanager
def naming(**where: object) -> Iterator[None]:
    """Note in a defect, an exception that is none of ours, where it happened."""
    try:
        yield
    except OrchestrationError:
        raise
    except BaseException as defect:
        context = ", ".join(f"{name}={value}" for name, value in where.items())
        defect.add_note(f"where: {context}")
        raise


@dataclass(frozen=True)
class SingleItemLoad(Generic[Taken, Loaded]):
    """A load of single pieces, each a batch of its own.

    Attributes:
        load: The load.
        run_id: Dagster's run, for who looks for a defect.
        name: What a piece is called.
        pieces: The pieces that make up partitions; each is one of its own.
    """

    load: Load[Taken, Loaded]
    run_id: str
    name: str = "partition"
    pieces: PiecesOf = lambda partitions: partitions

    @property
    def where(self) -> Mapping[str, str]:
        """As the load says."""
        return self.load.where

    def ready(self) -> None:
        """Open the resources of the load."""
        self.load.ready()

    def batches(self, keys: Sequence[str]) -> Iterator[tuple[str, Taken | OrchestrationError]]:
        """Take each piece, or yield the error that keeps it from loading."""
        for key in keys:
            yield key, self._caught(key, lambda key=key: self.load.take(key))

    def write_batch(
        self, taken: tuple[str, Taken | OrchestrationError]
    ) -> Mapping[str, Loaded | OrchestrationError]:
        """Load a piece."""
        key, delivery = taken
        if isinstance(delivery, OrchestrationError):
            return {key: delivery}
        return {key: self._caught(key, lambda: self.load.write_batch(delivery))}

    def _caught(self, key: str, act: Callable[[], Done]) -> Done | OrchestrationError:
        try:
            with naming(**{self.name: key, "run": self.run_id}, **self.load.where):
                return act()
        except OrchestrationError as error:
            return error


@dataclass(frozen=True)
class ItemResult(Generic[Loaded]):
    """Result of one partition of a run, or of one piece of its work: loaded, or an error.

    A partition that several pieces make up may be both: some of them loaded, others quarantined.
    ``is_reported``: an earlier attempt of the step has reported the error.
    """

    partition_key: str
    loaded: Loaded | None = None
    error: OrchestrationError | None = None
    is_reported: bool = False


SHA256 = re.compile("[0-9a-f]{64}")


class ReplayOptions(JobOptions):
    """Options that a replay of recorded deliveries takes.

    An applied preset fills in what is None. `ONLY` names the kind of run that an option is for.
    """

    max_reject_ratio: MaxRejectRatio = None
    accept_sha256: str | None = Field(
        default=None,
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        description="SHA-256 of a delivery that is_complete has quarantined and that is loaded all "
        "the same; the error and the table audits have it.",
    )
    accept_reason: str | None = Field(
        default=None,
        examples=["the source has shortened its list"],
        description="Reason why the delivery of accept_sha256 is right, stored with its audit.",
    )
    accept_until: Moment = Field(
        default=None,
        examples=["2026-03-02T18:00:00Z"],
        description="Time from which accept_sha256 is not applied any more. Default: no end.",
    )
    group_id: str | None = Field(
        default=None,
        json_schema_extra={ONLY: REPLAY},
        examples=["finra_otc_weekly:T1|2025-11-10#2"],
        description="Replay only: the recorded delivery to replay. Default: each partition's "
        "latest, and of a symbol all that make it up.",
    )
    allow_older: bool = Field(
        default=False,
        json_schema_extra={ONLY: REPLAY},
        description="Replay only: replay a delivery also where newer data is loaded.",
    )

    @property
    def acceptance(self) -> Acceptance | None:
        """The delivery that is loaded although it is not complete.

        Raises:
            ConfigurationError: One of the two options is missing, the hash is not a SHA-256, or
                ``accept_until`` has passed.
        """
        sha256, reason = self.accept_sha256, (self.accept_reason or "").strip()
        if sha256 is None and not reason:
            return None
        if sha256 is None or not reason or not SHA256.fullmatch(sha256):
            raise ConfigurationError(
                "invalid accept_sha256: expected 64 hexadecimal digits and an accept_reason",
                found=f"accept_sha256 {sha256!r}, accept_reason {reason!r}",
                remedy="take the SHA-256 from the error of the quarantined delivery, and give a "
                "reason",
            )
        if self.accept_until and read_moment(self.accept_until) <= Clock().now():
            raise ConfigurationError(
                "the acceptance has expired",
                expected="a run before accept_until",
                found=self.accept_until,
                remedy="accept the delivery again",
            )
        return Acceptance(sha256, reason)


class LoadOptions(ReplayOptions):
    """How a run loads its partitions, or replays recorded deliveries of them."""

    full: Full = None
    allow_conflicts: bool = Field(
        default=False,
        json_schema_extra={ONLY: LOAD},
        description="Load also what conflicts with loaded data: replace rows of another source, "
        "and load a file with the bytes or the rows of another partition.",
    )
    replay: bool = Field(
        default=False,
        description="Load recorded deliveries again, without a request to the source.",
    )


def _select_options_of(kind: str, model: type[LoadOptions]) -> list[str]:
    """Return the options that mean nothing to the other kind of run."""
    return [
        name
        for name, field in model.model_fields.items()
        if field.json_schema_extra == {ONLY: kind}
    ]


def refuse_unused_options(given: Mapping[str, Any], model: type[LoadOptions]) -> None:
    """Make sure that a load gives no option of a replay, and a replay none of a load.

    Raises:
        ConfigurationError: It does.
    """
    kind, other = (REPLAY, LOAD) if given.get("replay") else (LOAD, REPLAY)
    other_names = _select_options_of(other, model)
    if unused := [name for name in other_names if given.get(name)]:
        raise ConfigurationError(
            f"invalid {', '.join(unused)}: expected no option of a {other} in a {kind}",
            found=f"replay: {str(kind == REPLAY).lower()}",
            remedy="correct the run's config: replay: true loads recorded deliveries",
        )


def is_replay(run_config: Mapping[str, Any]) -> bool:
    """Whether a run of this config loads recorded deliveries, and asks no source."""
    ops = find_mapping(run_config, "ops")
    return any(find_mapping(ops, op, "config").get("replay") is True for op in ops)


# -- equations of a run ----------------------------------------------------------------------------

PLACES = (
    "loaded",
    "unchanged",
    "not_published",
    "no_data",
    "not_asked",
    "quarantined",
    "refused",
    "failed",
)
"""Ends of a partition; `refused`: its data or its settings cannot be used; `failed`: any other
error, or the run ended before it."""

REFUSALS = (SourceError, ContractError, ConfigurationError)
"""Errors that another attempt does not mend."""


def classify_error(error: OrchestrationError) -> str:
    """Return where a partition with an error went."""
    if isinstance(error, QuarantinedError):
        return "quarantined"
    return "refused" if isinstance(error, REFUSALS) else "failed"


def build_partition_balance(
    keys: Sequence[str], ended: Mapping[str, str], *, is_early: bool
) -> Balance:
    """Return the equation of a run's partitions.

    Args:
        keys: Those that it was asked for.
        ended: The place of each that ended, one of `PLACES`.
        is_early: Whether an error ended the run.
    """
    counts = Counter(ended.values())
    if is_early:
        counts["failed"] += len(set(keys) - ended.keys())
    return Balance("partitions", len(keys), _order_counts(PLACES, counts))


def build_piece_balance(
    name: str, keys: Sequence[str], outcomes: Sequence[ItemResult[Any]], *, is_early: bool
) -> Balance:
    """Return the equation of the pieces, called ``name``, of a run's partitions."""
    counts = Counter(
        classify_error(outcome.error) if outcome.error else "ended" for outcome in outcomes
    )
    if is_early:
        counts["failed"] += len(set(keys) - {outcome.partition_key for outcome in outcomes})
    places = ("ended", "quarantined", "refused", "failed")
    return Balance(f"{name}s", len(keys), _order_counts(places, counts))


def _order_counts(places: Sequence[str], counts: Counter[str]) -> Mapping[str, int]:
    return {name: counts[name] for name in places if counts[name]}


def record_run_balances(
    warehouse: Warehouse, table_name: str, run_id: str, made: Sequence[Balance], at: datetime
) -> None:
    """Store the equations of a run that loads a table; the last attempt of a run counts."""
    rows = [
        build_balance_row(balance, table_name=table_name, subject=run_id, run_id=run_id, at=at)
        for balance in made
    ]
    with warehouse.writing() as connection:
        _delete_earlier(connection, table_name, run_id)
        insert_frame(connection, balances, build_frame(rows, balances))


def _delete_earlier(connection: Connection, table_name: str, run_id: str) -> None:
    pair = (balances.c.table_name == table_name, balances.c.subject == run_id)
    connection.execute(delete(balances).where(*pair))

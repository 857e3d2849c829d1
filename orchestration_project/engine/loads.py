"""How a run's pieces are loaded: one by one, in batches, or replayed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import dagster as dg
from pydantic import Field

from orchestration_project.domains.operations.partition_tags import Dimensions, asked_partitions
from orchestration_project.errors import ConfigurationError, OrchestrationError, naming


def partition_keys(
    tags: Mapping[str, str], definition: dg.PartitionsDefinition | None
) -> list[str]:
    """Return the partitions that a run with these tags was asked for, of assets that have some.

    Raises:
        ConfigurationError: The tags disagree or name no partition.
    """
    if definition is None:
        raise AssertionError("partitions are asked for only of what has partitions")
    return asked_partitions(tags, _dimensions(definition))


def _dimensions(definition: dg.PartitionsDefinition) -> Dimensions:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return {
            each.name: each.partitions_def.get_partition_keys()
            for each in definition.partitions_defs
        }
    return {"": definition.get_partition_keys()}


Taken = TypeVar("Taken")
Loaded = TypeVar("Loaded", covariant=True)
Done = TypeVar("Done")

PiecesOf = Callable[[Sequence[str]], Sequence[str]]
"""Returns the pieces of work that make up partitions."""


class Load(Protocol[Taken, Loaded]):
    """How a partition is loaded; the next one is taken while the present one lands."""

    @property
    def where(self) -> Mapping[str, str]:
        """What an error should name besides partition and run, such as asset and source."""
        ...

    def ready(self) -> None:
        """Open what is used; what cannot be opened is no single partition's failure."""
        ...

    def take(self, key: str) -> Taken:
        """Fetch and check the partition ``key``; writes nothing that is published."""
        ...

    def land(self, taken: Taken) -> Loaded:
        """Write what was taken, whole or not at all."""
        ...


class BatchLoad(Protocol[Taken, Loaded]):
    """How what makes up partitions is loaded, several pieces together."""

    @property
    def where(self) -> Mapping[str, str]:
        """What an error should name besides piece and run, such as asset and source."""
        ...

    def ready(self) -> None:
        """Open what is used; what cannot be opened is no single piece's failure."""
        ...

    @property
    def pieces(self) -> PiecesOf:
        """Return the pieces that make up the run's partitions, once the load is ready."""
        ...

    def batches(self, keys: Sequence[str]) -> Iterator[Taken]:
        """Fetch and check pieces, and yield those that land together; publishes nothing.

        The next batch is taken while the present one lands.
        """
        ...

    def land(self, taken: Taken) -> Mapping[str, Loaded | OrchestrationError]:
        """Write a batch, each of its pieces whole or not at all; return how each ended."""
        ...


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
        """Open what the load uses."""
        self.load.ready()

    def batches(self, keys: Sequence[str]) -> Iterator[tuple[str, Taken | OrchestrationError]]:
        """Take each piece, or yield the error that keeps it from landing."""
        for key in keys:
            yield key, self._caught(key, lambda key=key: self.load.take(key))

    def land(
        self, taken: tuple[str, Taken | OrchestrationError]
    ) -> Mapping[str, Loaded | OrchestrationError]:
        """Land a piece."""
        key, found = taken
        if isinstance(found, OrchestrationError):
            return {key: found}
        return {key: self._caught(key, lambda: self.load.land(found))}

    def _caught(self, key: str, act: Callable[[], Done]) -> Done | OrchestrationError:
        try:
            with naming(**{self.name: key, "run": self.run_id}, **self.load.where):
                return act()
        except OrchestrationError as error:
            return error


@dataclass(frozen=True)
class ItemResult(Generic[Loaded]):
    """How one partition of a run ended, or one piece of its work: loaded, or held back by an error.

    A partition that several pieces make up may be both: some of them loaded, others held back.
    """

    partition_key: str
    loaded: Loaded | None = None
    error: OrchestrationError | None = None


class ReplayConfig(dg.Config):
    """Which deliveries a replay takes."""

    group_id: str | None = Field(
        default=None,
        description="Of a replay: this delivery, such as finra_otc_weekly:T1|2025-11-10#2; "
        "without it, each partition's latest, and of a symbol all that make it up.",
    )
    allow_older: bool = Field(
        default=False,
        description="Of a replay: also where what is landed was fetched later.",
    )


OF_REPLAYS = tuple(ReplayConfig.model_fields)


def refuse_strange(
    config: ReplayConfig,
    run: str,
    *,
    is_replay: bool,
    replays: str,
    of_loads: Sequence[str],
    of_replays: Sequence[str] = OF_REPLAYS,
) -> None:
    """Make sure that a config says nothing that means nothing to its run.

    Args:
        config: The run's.
        run: What it means nothing to, such as ``the job prices_daily``.
        is_replay: Whether the run is a replay.
        replays: What replays, such as a job's name.
        of_loads: Options of loads alone.
        of_replays: Options of replays alone.

    Raises:
        ConfigurationError: It does.
    """
    strange = of_loads if is_replay else of_replays
    if given := [name for name in strange if getattr(config, name)]:
        raise ConfigurationError(
            f"{', '.join(given)} means nothing to {run}",
            expected=f"{' and '.join(of_replays)} for {replays}; {' and '.join(of_loads)} for a "
            "load",
            remedy="correct the run's config, or launch the other job",
        )

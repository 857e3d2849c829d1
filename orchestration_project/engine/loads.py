"""What a load is to the runner: of single partitions, or of pieces of them that land together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from orchestration_project.errors import OrchestrationError, naming

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
class OneByOne(Generic[Taken, Loaded]):
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
class Outcome(Generic[Loaded]):
    """How one partition of a run ended, or one piece of its work: loaded, or held back by an error.

    A partition that several pieces make up may be both: some of them loaded, others held back.
    """

    partition_key: str
    loaded: Loaded | None = None
    error: OrchestrationError | None = None

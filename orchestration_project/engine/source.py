"""Protocol of a source of partitions, and its implementation for a folder of delimited files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple, Protocol

from orchestration_project.connections.clock import Clock
from orchestration_project.connections.files import file_bytes
from orchestration_project.contracts.delimited import read_header, row_count, unfinished_line
from orchestration_project.contracts.partitioning import Partition, Partitioning
from orchestration_project.contracts.parts import Part
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.engine.captures import Capture, Captures, rows_version
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    TransientError,
    UnavailableError,
)


class PartitionList(NamedTuple):
    """The partitions that a source has now, oldest first, and values that are not known."""

    known: Sequence[Partition]
    unknown_values: Sequence[str] = ()


@dataclass(frozen=True)
class SourceVersion:
    """The state in which a source has a partition; an equal ``text`` is an equal state.

    Attributes:
        text: Identifies the state.
        dataset: What the source calls the dataset that has the partition.
        record_total: How many rows the source promises; None: it promises none.
        scope: Further conditions, where the source has a part of the partition only.
    """

    text: str
    dataset: str
    record_total: int | None = None
    scope: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """A partition as it was read from its source.

    Attributes:
        captures: What makes it up, in order.
        version: Identifies this state of the source, such as a hash of the rows.
        record_total: How many rows the source promised; None: it promises none.
    """

    captures: Sequence[Capture]
    version: str
    record_total: int | None = None


class Source(Protocol):
    """Source of a dataset's partitions; a class of a domain implements it."""

    @property
    def name(self) -> str:
        """Source name in captures and loads, such as api, files or demo."""
        ...

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that can be read now.

        Args:
            since: The first day of interest: a source need not list what is older. None: the
                latest partitions will do.

        Raises:
            OrchestrationError: The source does not answer, or cannot be used.
        """
        ...

    def fields(self) -> Mapping[str, str] | None:
        """Return the type of each field that it lists, by name; None: it lists none."""
        return None

    def version(self, partition: Partition) -> SourceVersion | None:
        """Return the present state of a partition, cheaply; None: only reading it shows that.

        Raises:
            OrchestrationError: As `extract`.
        """
        return None

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read a partition; append all that was fetched to ``captures``, usable or not.

        Raises:
            MovedError: The source changed meanwhile: the read is repeated.
            TransientError: It did not answer in full: another attempt may help.
            SourceError: The source lacks the partition, it is empty, or it cannot be used.
        """
        ...

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        """Read a partition in the state that `version` returned; return what makes it up.

        Raises:
            MovedError: It is in another state by now: the read is repeated with that one.
            OrchestrationError: As `extract`.
        """
        return self.extract(partition, captures).captures


class Folder:
    """The folder that ``setting`` names."""

    def __init__(self, path: Path, setting: str) -> None:
        self.path = path
        self.setting = setting

    def names(self) -> list[str]:
        """Return the names of what is in it, sorted.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            return sorted(each.name for each in self.path.iterdir())
        except OSError as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> ConfigurationError:
        """Return the error that the folder cannot be read."""
        return ConfigurationError(
            f"{self.setting} cannot be read",
            expected=f"a readable folder at {self.path}",
            found=str(error),
            remedy=f"correct {self.setting} or the folder's permissions",
        )

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, as `file_bytes`."""
        return file_bytes(self.path, name, setting=self.setting)


def refuse_empty(name: str, capture: Capture, columns: Sequence[str]) -> None:
    """Refuse a file without rows."""
    if not capture.row_count:
        _refuse_what_is_no_text(capture.body, columns)
        raise SourceError(
            f"the file {name} holds no rows",
            expected="a header and at least one row",
            found=f"{len(capture.body)} bytes",
            remedy="download it again",
        )


def _refuse_what_is_no_text(body: bytes, columns: Sequence[str]) -> None:
    """Raise the error of a body without rows that is not delimited text either."""
    if body:
        read_header(Part(1, body), body.removesuffix(b"\n"), columns)


def refuse_cut(name: str, capture: Capture) -> None:
    """Refuse a file that ends within a line, as one does that is still being copied."""
    if rest := unfinished_line(capture.body):
        raise TransientError(
            f"the file {name} ends within a line",
            expected="a last line with as many fields as the header",
            found=in_ascii(rest, 400),
            remedy="if it is still being copied, wait (better: copy it under another name and "
            "rename it then); otherwise download it again",
        )


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder with a delimited file for each partition, called ``<table>_<value>_<yyyymmdd>.csv``.

    Attributes:
        folder: The folder.
        dataset: What the source calls the dataset.
        partitioning: Which partitions there are, and how their files are called.
        field_names: What each header must name.
    """

    folder: Folder
    captures: Captures
    clock: Clock
    dataset: str
    partitioning: Partitioning
    field_names: Sequence[str]

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "files"

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that have a file."""
        return PartitionList(sorted(self.partitioning.partitions_in(self.folder.names())))

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read the partition's file."""
        name = self.partitioning.file_name(partition)
        if name not in self.folder.names():
            raise UnavailableError(
                f"no file holds {self.partitioning.table_name} of {partition.label}",
                expected=f"{name} in {self.folder.path}",
                found="none",
                remedy="put the file into the folder",
            )
        body = self.folder.read(name)
        capture = self.captures.keep(
            body,
            url=f"file:{name}",
            request={"file": name},
            row_count=row_count(body),
            fetched_at=self.clock.now(),
        )
        captures.append(capture)
        refuse_empty(name, capture, self.field_names)
        refuse_cut(name, capture)
        return Extraction([capture], rows_version(self.dataset, self.captures, [capture]))

"""A folder of downloaded weekly files."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.files import MANIFEST, WeeklyFile, identify
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.delimited import count_data_rows
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.source import Folder, SourceVersion, refuse_cut, refuse_empty
from orchestration_project.errors import MovedError, UnavailableError
from orchestration_project.resources.finra.source import FinraSource

DATASET = "weekly download"


class FinraFiles(FinraSource):
    """Reads `FINRA_FILES_DIR`; each file is complete for one market of one partition."""

    def __init__(self, folder: Path, captures: Captures, clock: Clock) -> None:
        self._folder = Folder(folder, "FINRA_FILES_DIR")
        self._captures = captures
        self._clock = clock

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "files"

    def published(self, *, since: date | None = None) -> Sequence[tuple[str, str]]:
        """Return (week, tier) of every partition that has a file."""
        return sorted(
            {
                (file.week_start.isoformat(), file.tier)
                for file in self._files()
                if since is None or file.week_start >= since
            }
        )

    def maybe_changed(
        self, known: Collection[TierWeek], *, since: date, until: date
    ) -> Sequence[TierWeek]:
        """Return all that have a file: a file's dates say nothing sure, and its hash is cheap."""
        tier_weeks = {TierWeek(file.tier, file.week_start) for file in self._files()}
        return sorted(tier_weeks.intersection(known))

    def list_fields(self) -> None:
        """Return nothing: each file has a header of its own, which is judged when it is read."""
        return

    def read_again(self, name: str) -> bytes:
        """Return the bytes of a file that was captured; nothing is stored.

        Raises:
            SourceError: It cannot be read, or is gone.
        """
        return self._folder.read(name)

    def version(self, partition: Partition) -> SourceVersion:
        """Hash the partition's files."""
        return _build_version(
            (file.market, hashlib.sha256(self._folder.read(file.name)).hexdigest())
            for file in self._files_of(partition.day, partition.value)
        )

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        """Read the partition's files, a part for each market."""
        parts: list[Capture] = []
        for file in self._files_of(partition.day, partition.value):
            parts.append(self._keep(file))
            captures.append(parts[-1])
            refuse_empty(file.name, parts[-1], FILE_FIELDS)
            refuse_cut(file.name, parts[-1])
        read = _build_version((str(part.market), part.sha256) for part in parts)
        for source_version in (read, self.version(partition)):
            if source_version != version:
                raise MovedError(
                    "the files changed while they were read",
                    expected=version.text,
                    found=source_version.text,
                    remedy="nothing: they are read again; if it goes on, see what writes them",
                )
        return parts

    def _keep(self, file: WeeklyFile) -> Capture:
        body = self._folder.read(file.name)
        return self._captures.keep(
            body,
            url=f"file:{file.name}",
            request={"market": file.market},
            row_count=count_data_rows(body),
            fetched_at=self._clock.now(),
            market=file.market,
        )

    def _files_of(self, week_start: date, tier: str) -> Sequence[WeeklyFile]:
        files = self._index().get((week_start, tier))
        if not files:
            raise UnavailableError(
                f"no file holds {tier}, week {week_start}",
                expected=f"a file of that week in {self._folder.path}",
                found="none",
                remedy=f"download it into the folder, or list it in {MANIFEST}",
            )
        return files

    def _files(self) -> list[WeeklyFile]:
        return [file for files in self._index().values() for file in files]

    def _index(self) -> Mapping[tuple[date, str], Sequence[WeeklyFile]]:
        names = self._folder.names()
        try:
            text = self._folder.read(MANIFEST).decode("utf-8-sig") if MANIFEST in names else None
        except UnicodeDecodeError as error:
            raise self._folder.unusable(error) from error
        return _group_by_partition(tuple(name for name in names if name != MANIFEST), text)


@lru_cache(maxsize=1)
def _group_by_partition(
    names: tuple[str, ...], manifest: str | None
) -> Mapping[tuple[date, str], Sequence[WeeklyFile]]:
    """Return the files of each partition: one scan of the folder serves all partitions."""
    files: dict[tuple[date, str], list[WeeklyFile]] = {}
    for weekly_file in identify(names, manifest):
        files.setdefault((weekly_file.week_start, weekly_file.tier), []).append(weekly_file)
    return files


def _build_version(hashes: Iterable[tuple[str, str]]) -> SourceVersion:
    """Return the state that consists of these files, as (market, SHA-256)."""
    files = list(hashes)
    text = ", ".join(f"{market} {sha256[:16]}" for market, sha256 in files)
    markets = tuple(market for market, _ in files)
    return SourceVersion(f"{DATASET}: {text}", DATASET, None, scope={"market": markets})

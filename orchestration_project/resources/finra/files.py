"""A folder of downloaded weekly files."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from orchestration_project.contracts import SourceName, in_ascii
from orchestration_project.domains.finra.files import MANIFEST, WeeklyFile, identify
from orchestration_project.domains.finra.parsing import row_count
from orchestration_project.errors import ConfigurationError, MovedError, SourceError
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra.source import SourceVersion

DATASET = "weekly download"


class FinraFiles:
    """Reads `FINRA_FILES_DIR`; each file is complete for one market of one partition."""

    name: SourceName = "files"

    def __init__(self, folder: Path, captures: Captures, clock: Clock) -> None:
        self._folder = folder
        self._captures = captures
        self._clock = clock

    def published(self) -> Sequence[tuple[str, str]]:
        """Return (week, tier) of every partition that has a file."""
        return sorted({(file.week_start.isoformat(), file.tier) for file in self._files()})

    def version(self, week_start: date, tier: str) -> SourceVersion:
        """Hash the partition's files."""
        return _version(
            (file.market, hashlib.sha256(self._bytes(file)).hexdigest())
            for file in self._files_of(week_start, tier)
        )

    def fetch(
        self, week_start: date, tier: str, version: SourceVersion, kept: list[Capture]
    ) -> Sequence[Capture]:
        """Read the partition's files, a part for each market."""
        captures: list[Capture] = []
        for file in self._files_of(week_start, tier):
            captures.append(self._captures.keep(self._fetched(file)))
            kept.append(captures[-1])
            _refuse_empty(file, captures[-1])
            _refuse_cut_off(file, captures[-1])
        found = _version((str(each.fetched.market), each.sha256) for each in captures)
        if found != version:
            raise MovedError(
                "the files changed while they were read",
                expected=version.text,
                found=found.text,
                remedy="nothing: they are read again",
            )
        return captures

    def _fetched(self, file: WeeklyFile) -> Fetched:
        body = self._bytes(file)
        return Fetched(
            body=body,
            url=f"file:{file.name}",
            request={"market": file.market},
            response_headers={},
            http_status=None,
            row_count=row_count(body),
            fetched_at=self._clock.now(),
            market=file.market,
        )

    def _files_of(self, week_start: date, tier: str) -> list[WeeklyFile]:
        files = [
            file for file in self._files() if (file.week_start, file.tier) == (week_start, tier)
        ]
        if not files:
            raise SourceError(
                f"no file holds {tier}, week {week_start}",
                expected=f"a file of that week in {self._folder}",
                found="none",
                remedy=f"download it into the folder, or list it in {MANIFEST}",
            )
        return files

    def _files(self) -> list[WeeklyFile]:
        try:
            names = sorted(path.name for path in self._folder.iterdir())
            manifest = self._folder / MANIFEST
            text = manifest.read_text("utf-8-sig") if MANIFEST in names else None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                "FINRA_FILES_DIR cannot be read",
                expected=f"a readable folder at {self._folder}",
                found=str(error),
                remedy="correct FINRA_FILES_DIR or the folder's permissions",
            ) from error
        return identify([name for name in names if name != MANIFEST], text)

    def _bytes(self, file: WeeklyFile) -> bytes:
        try:
            return (self._folder / file.name).read_bytes()
        except OSError as error:
            raise SourceError(
                f"the file {file.name} cannot be read",
                expected="a readable file",
                found=str(error.strerror),
                remedy="correct its permissions",
            ) from error


def _version(hashes: Iterable[tuple[str, str]]) -> SourceVersion:
    """Return the state that consists of these files, as (market, SHA-256)."""
    files = list(hashes)
    text = ", ".join(f"{market} {sha256[:16]}" for market, sha256 in files)
    markets = tuple(market for market, _ in files)
    return SourceVersion(f"{DATASET}: {text}", DATASET, None, scope={"market": markets})


def _refuse_empty(file: WeeklyFile, capture: Capture) -> None:
    if not capture.fetched.row_count:
        raise SourceError(
            f"the file {file.name} holds no rows",
            expected="a header and at least one row",
            found=f"{len(capture.fetched.body)} bytes",
            remedy="download it again",
        )


def _refuse_cut_off(file: WeeklyFile, capture: Capture) -> None:
    """Refuse a download that broke off; one whose last line is whole cannot be told from others.

    No audit would notice, for a file promises no number of rows: all later rows would be removed.
    """
    header, *_, last = capture.fetched.body.split(b"\n")
    if last and last.count(b"|") < header.count(b"|"):
        raise SourceError(
            f"the file {file.name} ends in the middle of a line",
            expected="a last line with as many fields as the header",
            found=in_ascii(last, 200),
            remedy="download it again",
        )

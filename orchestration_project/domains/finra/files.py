"""Week, tier and market of a downloaded weekly file.

A file does not say (it has no week column, and `lastUpdateDate` names none): its name says, or a
line of `manifest.csv` with the columns file, tier, week_start, market.
"""

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from orchestration_project.domains.finra.calendar import TIERS, week_published_on
from orchestration_project.domains.finra.tables.weekly import MARKETS
from orchestration_project.errors import ConfigurationError

FILE_NAME = re.compile(r"finra_otc_weekly_(otc|tier1|tier2)_(\d{8})\.csv")
TIER_OF_NAME = {"otc": "OTCE", "tier1": "T1", "tier2": "T2"}
MANIFEST = "manifest.csv"
MANIFEST_COLUMNS = ["file", "tier", "week_start", "market"]


@dataclass(frozen=True, order=True)
class WeeklyFile:
    """A downloaded file and what it holds: all of one market in one week of one tier."""

    week_start: date
    tier: str
    market: str
    name: str


def identify(names: Sequence[str], manifest: str | None) -> list[WeeklyFile]:
    """Return the week, tier and market of each weekly file among ``names``.

    ``manifest`` is the text of `manifest.csv`; what it lists need not follow the naming. Other
    files whose names do not end in .csv are none of ours.

    Raises:
        ConfigurationError: A file is neither listed nor named by the rule, is listed but absent,
            or shares its week, tier and market with another.
    """
    listed = _read_manifest(manifest) if manifest is not None else {}
    absent = sorted(set(listed) - set(names))
    if absent:
        raise ConfigurationError(
            f"{MANIFEST} lists files that are not in FINRA_FILES_DIR: {', '.join(absent)}",
            remedy="add the files or take their lines out",
        )
    ours = [name for name in names if name in listed or name.lower().endswith(".csv")]
    files = sorted(listed.get(name) or _parse_name(name) for name in ours)
    for one, other in itertools.pairwise(files):
        if (one.week_start, one.tier, one.market) == (other.week_start, other.tier, other.market):
            raise ConfigurationError(
                f"two files hold the {one.market} market of {one.tier} in the week of "
                f"{one.week_start}: {one.name} and {other.name}",
                remedy="leave only the newer one in FINRA_FILES_DIR",
            )
    return files


def _parse_name(name: str) -> WeeklyFile:
    match = FILE_NAME.fullmatch(name)
    if match is None:
        raise ConfigurationError(
            f"cannot find the week of the file {name}",
            expected="finra_otc_weekly_<otc|tier1|tier2>_<publication date, yyyymmdd>.csv, "
            f"or a line in {MANIFEST} ({','.join(MANIFEST_COLUMNS)})",
            remedy=f"rename the file or list it in {MANIFEST}",
        )
    tier = TIER_OF_NAME[match[1]]
    try:
        published = date.fromisoformat(match[2])
    except ValueError:
        published = None
    week = week_published_on(published, tier) if published else None
    if week is None:
        raise ConfigurationError(
            f"the file {name} names {match[2]}, on which no week of {tier} is published",
            expected="the date on which FINRA published the week (a Monday, after a holiday a "
            "Tuesday)",
            remedy=f"rename the file or list it in {MANIFEST}",
        )
    return WeeklyFile(week, tier, "ATS", name)


def _read_manifest(manifest: str) -> dict[str, WeeklyFile]:
    lines = csv.DictReader(
        manifest.removeprefix("\ufeff").splitlines(),  # as Excel marks UTF-8
        strict=True,
    )
    try:
        return _read_lines(lines)
    except csv.Error as error:
        # what was read last ends on the line before
        raise _build_line_error(f"line {lines.line_num + 1}", str(error)) from None


def _read_lines(lines: "csv.DictReader[str]") -> dict[str, WeeklyFile]:
    if lines.fieldnames != MANIFEST_COLUMNS:
        raise _build_line_error("the header", ",".join(lines.fieldnames or []))
    listed: dict[str, WeeklyFile] = {}
    for line in lines:
        where = f"line {lines.line_num}"
        file = _parse_line(where, [line[name] or "" for name in MANIFEST_COLUMNS])
        if None in line:
            raise _build_line_error(where, f"more than {len(MANIFEST_COLUMNS)} fields")
        if file.name in listed:
            raise _build_line_error(where, f"{file.name} is listed twice")
        listed[file.name] = file
    return listed


def _parse_line(where: str, fields: Sequence[str]) -> WeeklyFile:
    name, tier, week, market = fields
    try:
        week_start = date.fromisoformat(week)
    except ValueError:
        raise _build_line_error(where, f"week_start {week}") from None
    if week_start.isoformat() != week:
        raise _build_line_error(where, f"week_start {week}")
    if week_start.weekday() != 0:
        raise _build_line_error(where, f"week_start {week} is a {week_start:%A}")
    if not name or tier not in TIERS or market not in MARKETS:
        raise _build_line_error(where, f"file {name}, tier {tier}, market {market}")
    return WeeklyFile(week_start, tier, market, name)


def _build_line_error(where: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"{MANIFEST} cannot be read: {where}",
        expected=f"{','.join(MANIFEST_COLUMNS)}; tier {'|'.join(TIERS)}, week_start a Monday as "
        f"yyyy-mm-dd, market {'|'.join(MARKETS)}",
        found=found,
        remedy=f"correct {MANIFEST} in FINRA_FILES_DIR",
    )

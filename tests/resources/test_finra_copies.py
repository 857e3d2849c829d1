"""Files that are delivered as another week, tier or market than theirs."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.tables.spine import audits, captures
from tests.resources.weeks import PartitionLoader, StoppedClock, WeekLoader, week_load, week_replay

HEADER = "|".join(FILE_FIELDS)
MONDAY, NEXT = "2025-11-10", "2025-11-17"


def lines(count: int = 100, *, shares: int = 1000, tier: str = "OTC") -> list[str]:
    """Return lines of as many symbols, of which the first trades ``shares``."""
    quantities = [shares, *(700 + number for number in range(1, count))]
    return [
        f"{tier}|S{number:03}|Name {number}|OTC LINK ATS|OTCN|{quantity}|7|2025-12-15"
        for number, quantity in enumerate(quantities)
    ]


def text(some: Sequence[str], end: str = "\n") -> bytes:
    return end.join([HEADER, *some, ""]).encode()


BODY = text(lines())


class Folder:
    """A folder of files, listed by their week, and the load of it."""

    def __init__(self, warehouse: Warehouse, below: Path) -> None:
        self.path = below / "files"
        self.path.mkdir()
        self.listed: dict[str, tuple[str, str, str]] = {}
        self.partition_loader = PartitionLoader(warehouse, below / "artifacts")
        store = FolderStore(below / "artifacts")
        self.place = (warehouse, store, below)
        self.files = FinraFiles(self.path, Captures(store), StoppedClock())

    def put(
        self, name: str, body: bytes, *, tier: str = "OTCE", week: str = MONDAY, market: str = "ATS"
    ) -> None:
        (self.path / name).write_bytes(body)
        self.listed[name] = (tier, week, market)
        self._list()

    def remove(self, name: str) -> None:
        (self.path / name).unlink()
        del self.listed[name]
        self._list()

    def _list(self) -> None:
        rows = [",".join([name, *scope]) for name, scope in self.listed.items()]
        text = "\n".join(["file,tier,week_start,market", *rows])
        (self.path / "manifest.csv").write_text(text)

    def take_up(self, tier: str = "OTCE", week: str = MONDAY, **how: Any) -> str:
        load = self.load(**how)
        return str(load.write_batch(load.take(f"{tier}|{week}")))

    def load(self, **how: Any) -> WeekLoader:
        return week_load(self.files, *self.place, **how)

    def replay(self, week: str = MONDAY, **how: Any) -> str:
        replay = week_replay(*self.place, **how)
        return str(replay.write_batch(replay.take(f"OTCE|{week}")))

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Return the number of rows of each week, tier and market."""
        found = self.partition_loader.rows(finra_otc_weekly, "week_start", "tier", "market")
        keys = [(week.isoformat(), tier, market) for week, tier, market in found]
        return {key: keys.count(key) for key in keys}


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Folder:
    """A folder of which the file of OTCE's ATS in the week of `MONDAY` is loaded."""
    folder = Folder(warehouse, tmp_path)
    folder.put("one.csv", BODY)
    folder.take_up()
    return folder


LOADED = {(MONDAY, "OTCE", "ATS"): 100}

REFORMATTED: dict[str, bytes] = {
    "the_same_bytes": BODY,
    "windows_line_ends": text(lines(), "\r\n"),
    "no_final_newline": BODY.rstrip(b"\n"),
    "other_order": text(lines()[::-1]),
    "a_rejected_line_more": text(lines(400)).replace(b"|S399|", b"||"),
}


ELSEWHERE: list[dict[str, str]] = [
    {"week": "2024-01-08"},
    {"market": "NON_ATS"},
    {"week": NEXT, "market": "NON_ATS"},
    {"tier": "T2"},
]

CASES = [
    *(({"week": NEXT}, case) for case in REFORMATTED),
    *((scope, "the_same_bytes") for scope in ELSEWHERE),
]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(  # the look-up itself is tested on both below
    "warehouse", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize(("scope", "case"), CASES, ids=str)
def test_a_file_of_another_week_tier_or_market_is_quarantined_with_both_names(
    warehouse: Warehouse, tmp_path: Path, scope: dict[str, str], case: str
):
    folder = Folder(warehouse, tmp_path)
    body = REFORMATTED[case]
    original = text(lines(399)) if case == "a_rejected_line_more" else BODY
    if scope.get("tier"):  # a description that names no tier
        original = body = BODY.replace(b"OTC|", b"OTC Equity|")
    folder.put("one.csv", original)
    folder.take_up()
    loaded = folder.counts()
    folder.remove("one.csv")
    folder.put("two.csv", body, **scope)
    requested = {name: value for name, value in scope.items() if name != "market"}
    with pytest.raises(QuarantinedError, match="is quarantined by is_not_a_copy") as refusal:
        folder.take_up(**requested)
    own = f"{scope.get('tier', 'OTCE')}|{scope.get('week', MONDAY)} {scope.get('market', 'ATS')}"
    what = "bytes" if body == original else "rows"
    said = f"file:two.csv ({own}) has the {what} of file:one.csv (OTCE|{MONDAY} ATS)"
    assert said in refusal.value.found
    assert "allow_conflicts: true" in refusal.value.expected
    assert folder.counts() == loaded
    (count,) = loaded.values()
    assert folder.take_up(**requested, force=True).startswith(f"{count} rows added")


@pytest.mark.slow
def test_one_file_for_both_markets_of_a_week_is_quarantined(folder: Folder):
    folder.put("two.csv", BODY, market="NON_ATS")
    said = (
        rf"file:two.csv \(OTCE\|{MONDAY} NON_ATS\) has the bytes of "
        rf"file:one.csv \(OTCE\|{MONDAY} ATS\)"
    )
    with pytest.raises(QuarantinedError, match=said):
        folder.take_up()
    assert folder.counts() == LOADED
    folder.put("two.csv", text(lines()[::-1]), market="NON_ATS")
    with pytest.raises(QuarantinedError, match=said.replace("bytes", "rows")):
        folder.take_up()
    folder.take_up(force=True)
    assert folder.counts() == {**LOADED, (MONDAY, "OTCE", "NON_ATS"): 100}


@pytest.mark.slow
def test_the_evidence_names_both_files_and_a_forced_one_says_so(folder: Folder):
    folder.put("two.csv", BODY, week=NEXT)
    with pytest.raises(QuarantinedError):
        folder.take_up(week=NEXT)
    folder.take_up(week=NEXT, force=True)
    rows = folder.partition_loader.rows(
        audits, "name", "partition_key", "outcome", "found", "offenders"
    )
    first, held, forced = [row[1:] for row in rows if row[0] == "is_not_a_copy"]
    assert first == (f"OTCE|{MONDAY}", "passed", "0", "[]")
    assert (held[1], forced[1]) == ("failed", "not_applicable")
    assert forced[2] == f"{held[2]}; loaded by allow_conflicts"
    assert json.loads(held[3]) == [
        {
            "file": "file:two.csv",
            "scope": f"OTCE|{NEXT} ATS",
            "same": "bytes",
            "original_file": "file:one.csv",
            "original_scope": f"OTCE|{MONDAY} ATS",
        }
    ]


@pytest.mark.slow_on_postgresql
def test_a_replaced_file_is_still_recognized_as_a_copy(folder: Folder):
    folder.put("one.csv", text(lines(shares=999)))
    folder.take_up()
    folder.put("stale.csv", BODY, week=NEXT)
    with pytest.raises(QuarantinedError, match=r"has the bytes of file:one\.csv"):
        folder.take_up(week=NEXT)


@pytest.mark.slow_on_postgresql
def test_a_misnamed_file_that_was_never_loaded_is_not_a_copy(folder: Folder):
    body = text(lines(shares=5, tier="NMS Tier 2"))
    folder.put("two.csv", body, week=NEXT)
    with pytest.raises(QuarantinedError, match="holds_only_its_week_and_tier"):
        folder.take_up(week=NEXT)
    folder.put("two.csv", body, tier="T2", week=NEXT)
    assert folder.take_up("T2", NEXT).startswith("100 rows added")


Change = Callable[[Folder], object]

LOADED_AGAIN: dict[str, tuple[Change, str]] = {
    "the_same": (lambda folder: None, "unchanged"),
    "in_full": (lambda folder: folder.take_up(full=True), "unchanged"),
    "in_other_line_ends": (
        lambda folder: folder.put("one.csv", text(lines(), "\r\n")),
        "0 rows added",
    ),
    "restated": (
        lambda folder: folder.put("one.csv", text(lines(shares=999))),
        "0 rows added, 1 changed",
    ),
    "with_its_other_market": (
        lambda folder: folder.put("two.csv", text(lines(shares=3)), market="NON_ATS"),
        "100 rows added",
    ),
}


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(("change", "said"), LOADED_AGAIN.values(), ids=LOADED_AGAIN)
def test_a_week_is_no_copy_of_itself(folder: Folder, change: Change, said: str):
    change(folder)
    assert folder.take_up().startswith(said)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_two_markets_that_changed_places_are_no_copies(folder: Folder):
    other = text(lines(shares=3))
    folder.put("two.csv", other, market="NON_ATS")
    folder.take_up()
    folder.put("one.csv", other)
    folder.put("two.csv", BODY, market="NON_ATS")
    assert folder.take_up().startswith("0 rows added, 2 changed")


@pytest.mark.slow_on_postgresql
def test_weeks_that_differ_in_quantity_or_dates_are_both_loaded(folder: Folder):
    folder.put("two.csv", text([*lines()[:-1], lines()[-1].replace("|7|", "|8|")]), week=NEXT)
    folder.take_up(week=NEXT)
    folder.put("three.csv", BODY.replace(b"2025-12-15", b"2025-12-29"), week="2025-11-24")
    folder.take_up(week="2025-11-24")
    assert list(folder.counts().values()) == [100, 100, 100]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_changes_no_load_and_a_copy_stays_quarantined(
    folder: Folder,
):
    folder.put("two.csv", BODY, week=NEXT)
    with pytest.raises(QuarantinedError):
        folder.take_up(week=NEXT)
    assert folder.replay().startswith("unchanged")
    with pytest.raises(QuarantinedError, match="is_not_a_copy"):
        folder.replay(NEXT)
    folder.take_up(week=NEXT, force=True)
    for week in (MONDAY, NEXT):
        assert folder.replay(week).startswith("unchanged")
        assert folder.take_up(week=week, full=True).startswith("0 rows added, 0 changed")


@pytest.mark.slow_on_postgresql
def test_one_of_two_equal_files_loaded_at_once_is_quarantined(folder: Folder):
    later = ("2025-11-24", "2025-12-01")
    for name, week in zip(("two.csv", "three.csv"), later, strict=True):
        folder.put(name, text(lines(shares=5)), week=week)
    load = folder.load()
    taken = [load.take(f"OTCE|{week}") for week in later]
    together = threading.Barrier(2)

    def write_batch(one: Any) -> bool:
        together.wait(timeout=20)
        with suppress(QuarantinedError):
            return load.write_batch(one).write_result is not None
        return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(write_batch, taken)) == [False, True]


@pytest.mark.slow
def test_a_file_too_large_to_be_held_is_compared_range_by_range(folder: Folder):
    folder.put("two.csv", text(lines()[::-1]), week=NEXT)
    with pytest.raises(QuarantinedError, match=r"has the rows of file:one\.csv"):
        folder.take_up(week=NEXT, rows_at_once=40)
    folder.put("two.csv", text([*lines()[:-1], lines(101)[-1]]), week=NEXT)
    assert folder.take_up(week=NEXT, rows_at_once=40).startswith("100 rows added")


@pytest.mark.slow
def test_a_week_of_many_is_found_by_a_look_up(folder: Folder):
    start = date.fromisoformat(MONDAY)
    for number in range(1, 12):
        week = (start - timedelta(weeks=number)).isoformat()
        folder.put("earlier.csv", text(lines(shares=5000 + number)), week=week)
        folder.take_up(week=week)
    folder.put("two.csv", text(lines(shares=5007)[::-1]), week=NEXT)
    said = rf"file:earlier.csv \(OTCE\|{start - timedelta(weeks=7)} ATS\)"
    with pytest.raises(QuarantinedError, match=said):
        folder.take_up(week=NEXT)
    assert folder.partition_loader.count(captures) == 13

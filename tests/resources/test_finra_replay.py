"""Weeks taken up again from the bytes that were kept of them, on both databases."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import select

from orchestration_project.domains.finra.contract import FILE_FIELDS, RULE_VERSION
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.captures import BlobError, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import HeldBackError
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.tables.spine import (
    audits,
    blobs,
    captures,
    deliveries,
    fences,
    landings,
    pending_announcements,
    rejects,
)
from tests import databases
from tests.resources.weeks import MONDAY, NOON, Desk, row, week_load, week_replay

KEY = f"T1|{MONDAY}"
FILE = "finra_otc_weekly_tier1_20251201.csv"
GROUP = f"finra_otc_weekly:{KEY}#"


def text_of(**shares: int) -> str:
    lines = [f"NMS Tier 1|{symbol}|Inc|Xats|XATS|{n}|1|2025-12-01" for symbol, n in shares.items()]
    return "\n".join(["|".join(FILE_FIELDS), *lines]) + "\n"


class Office:
    """Loads the week from a file that tests rewrite, and replays it without that file."""

    def __init__(self, desk: Desk, clock: Clock, folder: Path) -> None:
        self.desk, self.files = desk, folder / "files"
        self.files.mkdir()
        self.store = FolderStore(folder / "artifacts")
        self.place = (desk.warehouse, self.store, folder)
        finra = FinraFiles(self.files, Captures(self.store), clock)
        self.loading = week_load(finra, *self.place, run_id="loading")

    def load(self, text: str, market: str = "ATS"):
        """Load a file that is gone afterwards, as where loaded files are moved away."""
        (self.files / FILE).write_text(text)
        lines = ["file,tier,week_start,market", f"{FILE},T1,{MONDAY},{market}"]
        (self.files / "manifest.csv").write_text("\n".join(lines))
        taken = self.loading.take(KEY)
        for file in self.files.iterdir():
            file.unlink()
        return self.loading.land(taken)

    def older_rules(self, text: str, quantity: int, market: str) -> None:
        """Land a file's one row as rules that are older had read it."""
        capture = self.desk.capture(
            text.encode(), request={"market": market}, market=market, url=f"file:{market}.csv"
        )
        self.desk.land(
            row("AAA", share_quantity=quantity, market=market),
            target=self.desk.target(rule_version="older", run_id="loading"),
            captures=[capture],
            source="files",
            source_version=f"weekly download: {market} {capture.sha256[:16]}",
            scope={"market": (market,)},
        )

    def replay(self, group: int | None = None, *, allow_older: bool = False, **limits):
        group_id = None if group is None else f"{GROUP}{group}"
        replay = week_replay(
            *self.place, group_id, allow_older=allow_older, run_id="replaying", **limits
        )
        return replay.land(replay.take(KEY))

    def contents(self):
        found = databases.stored(self.desk.warehouse)
        del found[pending_announcements.name]
        return found


@pytest.fixture
def office(desk, clock, tmp_path) -> Office:
    return Office(desk, clock, tmp_path)


@pytest.mark.slow_on_postgresql
def test_a_replay_by_the_same_rules_writes_nothing_and_says_so(office):
    office.load(text_of(AAA=100, BBB=5))
    before = office.contents()
    replayed = office.replay()
    assert (str(replayed), replayed.landed) == ("unchanged; source files", None)
    assert replayed.row_counts["finra_otc_weekly"] == 2
    assert office.contents() == before


@pytest.mark.slow_on_postgresql
def test_a_replay_by_newer_rules_is_a_restatement_of_ours(office, clock):
    desk = office.desk
    body = text_of(AAA=100, BBB=5).encode()
    capture = desk.capture(body, request={"market": "ATS"}, market="ATS", url="file:a.csv")
    desk.land(
        row("AAA", share_quantity=1),
        target=desk.target(rule_version="older", run_id="loading"),
        captures=[capture],
        source="files",
        scope={"market": ("ATS",)},
    )
    clock.at = NOON + timedelta(days=7)
    replayed = office.replay()
    landed = replayed.landed
    assert landed
    (change,) = replayed.changes
    assert change.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS, was corrected by newer rules of ours: 1 of 1 rows changed"
    )
    assert replayed.figures
    assert (replayed.figures.rows, replayed.row_counts["finra_venue_week"]) == (2, 1)
    assert replayed.preview
    assert replayed.preview.recent_shares[-1] == 105
    assert (landed.change_cause, landed.rows_added, landed.rows_changed) == ("ours", 1, 1)
    assert desk.quantities() == {"AAA": 100, "BBB": 5}
    assert desk.rows(
        finra_otc_weekly_history, "share_quantity", "known_to", "change_cause", "rule_version"
    ) == [(1, clock.at, "ours", RULE_VERSION)]
    assert desk.rows(deliveries, "group_id", "outcome", "replay_of", "run_id", "rule_version") == [
        (f"{GROUP}1", "landed", None, "loading", "older"),
        (f"{GROUP}2", "landed", f"{GROUP}1", "replaying", RULE_VERSION),
    ]
    assert str(office.replay()) == "unchanged; source files"


@pytest.mark.slow_on_postgresql
def test_each_replayed_row_leads_to_the_bytes_and_to_the_run_that_fetched_them(office, clock):
    office.load(text_of(AAA=100))
    clock.at = NOON + timedelta(days=1)
    office.load(text_of(AAA=7))
    clock.at = NOON + timedelta(days=2)
    office.replay(1, allow_older=True)
    with office.desk.warehouse.reading() as connection:
        found = connection.execute(
            select(captures, blobs.c.byte_count, blobs.c.stored_byte_count, blobs.c.storage_uri)
            .join(blobs, blobs.c.sha256 == captures.c.sha256)
            .join(finra_otc_weekly, finra_otc_weekly.c.capture_id == captures.c.capture_id)
        ).one()
    assert (found.group_id, found.run_id, found.fetched_at) == (f"{GROUP}3", "loading", NOON)
    body = Captures(office.store).read(
        Blob(found.sha256, found.byte_count, found.stored_byte_count, found.storage_uri)
    )
    assert body.decode() == text_of(AAA=100)
    assert office.desk.count(blobs) == 2


@pytest.mark.slow_on_postgresql
def test_an_older_delivery_is_published_again_only_when_asked_and_history_says_so(office, clock):
    desk = office.desk
    office.load(text_of(AAA=100))
    clock.at = NOON + timedelta(days=1)
    office.load(text_of(AAA=7))
    before = office.contents()
    with pytest.raises(ConfigurationError, match="#1 is older than what is landed") as refusal:
        office.replay(1)
    assert f"{GROUP}2 or a later" in str(refusal.value)
    assert office.contents() == before

    clock.at = NOON + timedelta(days=2)
    older = office.replay(1, allow_older=True)
    (change,) = older.changes
    assert change.sentence.startswith(f"T1, week {MONDAY}, market=ATS, was set back to an earlier")
    assert desk.quantities() == {"AAA": 100}
    assert desk.rows(finra_otc_weekly_history, "share_quantity", "known_to", "change_cause") == [
        (100, NOON + timedelta(days=1), "source"),
        (7, clock.at, "ours"),
    ]
    assert str(office.replay()) == "unchanged; source files"
    clock.at = NOON + timedelta(days=3)
    office.replay(2)  # forward again needs no leave
    assert desk.quantities() == {"AAA": 7}
    assert desk.rows(landings, "change_cause") == [("first",), ("source",), ("ours",), ("source",)]


@pytest.mark.slow_on_postgresql
def test_a_partition_that_was_held_back_lands_once_the_limit_allows_it(office):
    desk = office.desk
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    assert desk.quantities() == {}
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.replay()
    office.replay(max_reject_ratio=0.5)
    assert desk.quantities() == {"AAA": 100}
    assert desk.rows(deliveries, "outcome", "replay_of") == [
        ("held_back", None),
        ("held_back", f"{GROUP}1"),
        ("landed", f"{GROUP}1"),
    ]
    assert desk.count(rejects) == 3
    assert {run for (run,) in desk.rows(captures, "run_id")} == {"loading"}
    assert desk.count(audits) == 3 * 16


def test_what_a_stricter_limit_refuses_is_not_said_to_be_unchanged(office):
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    office.replay(max_reject_ratio=0.5)
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.replay()
    assert office.desk.quantities() == {"AAA": 100}


@pytest.mark.slow_on_postgresql
def test_a_replay_is_compared_with_the_weeks_before_and_warns_as_a_load_does(office):
    desk = office.desk
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    for weeks in range(1, 5):
        earlier = replace(desk, week_start=MONDAY - weeks * timedelta(days=7))
        earlier.land(*(row(f"S{number}", market="ATS") for number in range(50)))
    replayed = office.replay(max_reject_ratio=0.5)
    assert replayed.landed
    assert "is_of_usual_size" in replayed.landed.warnings
    assert "; unusual: is_of_usual_size" in str(replayed)


def test_bytes_that_could_not_be_checked_are_kept_and_refused_again_without_a_trace(office):
    with pytest.raises(ContractError):
        office.load("symbol;shares\nAAA;1\n")
    assert office.desk.rows(deliveries, "outcome", "part_count") == [("refused", 1)]
    before = office.contents()
    with pytest.raises(ContractError):
        office.replay()
    assert office.contents() == before


def blob_of(office):
    [(name,)] = office.desk.rows(blobs, "storage_uri")
    return name


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (None, "no such blob"),
        (b"rubbish", "no zstd"),
        (zstandard.compress(b"short"), "another size"),
        (zstandard.compress(text_of(AAA=900).encode()), "bytes whose SHA-256 is"),
        (zstandard.compress(text_of(AAA=100).encode()) + b"more", "no zstd"),
    ],
)
def test_a_blob_that_is_gone_or_changed_is_named_and_nothing_lands(office, tmp_path, stored, found):
    office.load(text_of(AAA=100))
    name = blob_of(office)
    path = tmp_path / "artifacts" / name
    path.unlink() if stored is None else path.write_bytes(stored)
    before = office.contents()
    with pytest.raises(BlobError, match=name) as error:
        office.replay()
    assert error.value.found.startswith(found)
    assert office.contents() == before


@pytest.mark.parametrize("group", [None, 7])
def test_a_delivery_that_there_is_not_is_refused_with_those_that_there_are(office, group):
    if group:
        office.load(text_of(AAA=100))
    with pytest.raises(ConfigurationError, match="has no delivery to replay") as refusal:
        office.replay(group)
    assert refusal.value.found == (f"{GROUP}1" if group else "none since this version records them")


@pytest.mark.slow_on_postgresql
def test_a_load_after_a_replay_says_that_nothing_changed(office):
    office.load(text_of(AAA=100))
    office.replay()
    assert str(office.load(text_of(AAA=100))) == "unchanged; source files"
    assert office.desk.rows(fences, "token") == [(1,)]


def shares_by_market(desk):
    found = desk.rows(finra_otc_weekly, "market", "symbol", "share_quantity")
    return {(market, symbol): quantity for market, symbol, quantity in found}


@pytest.mark.slow_on_postgresql
def test_a_week_whose_markets_came_one_by_one_is_replayed_as_a_whole(office, clock):
    office.older_rules(text_of(AAA=100), 1, "ATS")
    office.older_rules(text_of(AAA=20), 2, "NON_ATS")
    clock.at = NOON + timedelta(days=7)
    replayed = office.replay()
    (change,) = replayed.changes
    assert change.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS+NON_ATS, was corrected by newer rules of ours: 2 of 2 rows"
    )
    assert shares_by_market(office.desk) == {("ATS", "AAA"): 100, ("NON_ATS", "AAA"): 20}
    history = office.desk.rows(finra_otc_weekly_history, "market", "change_cause", "known_to")
    assert history == [("ATS", "ours", clock.at), ("NON_ATS", "ours", clock.at)]
    before = office.contents()
    assert str(office.replay()) == "unchanged; source files"
    assert office.contents() == before


@pytest.mark.slow_on_postgresql
def test_a_replay_of_markets_that_came_one_by_one_writes_nothing_by_the_same_rules(office):
    office.load(text_of(AAA=100))
    office.load(text_of(AAA=20, BBB=5), "NON_ATS")
    before = office.contents()
    for group in (None, 1, 2):
        assert str(office.replay(group)) == "unchanged; source files"
    assert office.contents() == before


@pytest.mark.slow_on_postgresql
def test_a_market_alone_is_replayed_in_its_own_place(office, clock):
    office.older_rules(text_of(AAA=100), 1, "ATS")
    office.older_rules(text_of(AAA=20), 2, "NON_ATS")
    clock.at = NOON + timedelta(days=7)
    landed = office.replay(1).landed
    assert landed
    assert (landed.change_cause, landed.rows_changed) == ("ours", 1)
    assert shares_by_market(office.desk) == {("ATS", "AAA"): 100, ("NON_ATS", "AAA"): 2}


@pytest.mark.slow_on_postgresql
def test_of_a_market_that_came_twice_a_replay_takes_what_came_last(office):
    office.load(text_of(AAA=100))
    office.load(text_of(AAA=20), "NON_ATS")
    office.load(text_of(AAA=101))
    office.load(text_of(AAA=21), "NON_ATS")
    office.replay()
    assert shares_by_market(office.desk) == {("ATS", "AAA"): 101, ("NON_ATS", "AAA"): 21}
    with pytest.raises(ConfigurationError, match="#1 is older than what is landed") as refusal:
        office.replay(1)
    assert f"{GROUP}3 or a later" in str(refusal.value)


@pytest.mark.slow_on_postgresql
def test_of_markets_one_that_was_held_back_lands_with_what_is_landed_of_the_other(office):
    office.load(text_of(AAA=100))
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.load(text_of(AAA=20) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n", "NON_ATS")
    office.replay(max_reject_ratio=0.5)
    assert shares_by_market(office.desk) == {("ATS", "AAA"): 100, ("NON_ATS", "AAA"): 20}


@pytest.mark.slow_on_postgresql
def test_an_older_delivery_that_is_held_back_stands_in_the_way_of_no_replay(office):
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    office.replay(max_reject_ratio=0.5)
    office.load(text_of(AAA=7))
    with pytest.raises(HeldBackError, match="has_few_rejects"):
        office.replay(1, allow_older=True)
    assert str(office.replay()) == "unchanged; source files"
    assert office.desk.quantities() == {"AAA": 7}


@pytest.mark.slow_on_postgresql
def test_a_replay_of_several_markets_lets_an_older_one_of_each_be_known_for_older(office, clock):
    for quantity, market in [(1, "ATS"), (2, "NON_ATS"), (3, "NON_ATS")]:
        office.older_rules(text_of(AAA=10 * quantity), quantity, market)
        clock.at += timedelta(days=1)
    for group in (1, None):
        assert office.replay(group).landed
        clock.at += timedelta(days=1)
    published = {("ATS", "AAA"): 10, ("NON_ATS", "AAA"): 30}
    assert shares_by_market(office.desk) == published
    with pytest.raises(ConfigurationError, match="#2 is older than what is landed"):
        office.replay(2)
    assert str(office.replay(3)) == "unchanged; source files"
    assert shares_by_market(office.desk) == published

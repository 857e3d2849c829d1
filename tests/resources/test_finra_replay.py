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
from orchestration_project.engine.warehouse import QuarantinedError
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
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, row, week_load, week_replay

KEY = f"T1|{MONDAY}"
FILE = "finra_otc_weekly_tier1_20251201.csv"
GROUP = f"finra_otc_weekly:{KEY}#"


def text_of(**shares: int) -> str:
    lines = [f"NMS Tier 1|{symbol}|Inc|Xats|XATS|{n}|1|2025-12-01" for symbol, n in shares.items()]
    return "\n".join(["|".join(FILE_FIELDS), *lines]) + "\n"


class ReplayLoads:
    """Loads the week from a file that tests rewrite, and replays it without that file."""

    def __init__(self, partition_loader: PartitionLoader, clock: Clock, folder: Path) -> None:
        self.partition_loader, self.files = partition_loader, folder / "files"
        self.files.mkdir()
        self.store = FolderStore(folder / "artifacts")
        self.place = (partition_loader.warehouse, self.store, folder)
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
        return self.loading.write_batch(taken)

    def older_rules(self, text: str, quantity: int, market: str) -> None:
        """Load a file's one row as rules that are older had read it."""
        capture = self.partition_loader.capture(
            text.encode(), request={"market": market}, market=market, url=f"file:{market}.csv"
        )
        self.partition_loader.write_batch(
            row("AAA", share_quantity=quantity, market=market),
            target=self.partition_loader.target(rule_version="older", run_id="loading"),
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
        return replay.write_batch(replay.take(KEY))

    def contents(self):
        found = databases.stored(self.partition_loader.warehouse)
        del found[pending_announcements.name]
        return found


@pytest.fixture
def replay_loads(partition_loader, clock, tmp_path) -> ReplayLoads:
    return ReplayLoads(partition_loader, clock, tmp_path)


@pytest.mark.slow_on_postgresql
def test_a_replay_by_the_same_rules_writes_nothing_and_says_so(replay_loads):
    replay_loads.load(text_of(AAA=100, BBB=5))
    before = replay_loads.contents()
    replayed = replay_loads.replay()
    assert (str(replayed), replayed.write_result) == ("unchanged; source files", None)
    assert replayed.row_counts["finra_otc_weekly"] == 2
    assert replay_loads.contents() == before


@pytest.mark.slow_on_postgresql
def test_a_replay_by_newer_rules_is_a_restatement_of_ours(replay_loads, clock):
    partition_loader = replay_loads.partition_loader
    body = text_of(AAA=100, BBB=5).encode()
    capture = partition_loader.capture(
        body, request={"market": "ATS"}, market="ATS", url="file:a.csv"
    )
    partition_loader.write_batch(
        row("AAA", share_quantity=1),
        target=partition_loader.target(rule_version="older", run_id="loading"),
        captures=[capture],
        source="files",
        scope={"market": ("ATS",)},
    )
    clock.at = NOON + timedelta(days=7)
    replayed = replay_loads.replay()
    loaded = replayed.write_result
    assert loaded
    (change,) = replayed.changes
    assert change.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS, was corrected by newer rules of ours: 1 of 1 rows changed"
    )
    assert replayed.figures
    assert (replayed.figures.rows, replayed.row_counts["finra_venue_week"]) == (2, 1)
    assert replayed.preview
    assert replayed.preview.recent_shares[-1] == 105
    assert (loaded.change_cause, loaded.rows_added, loaded.rows_changed) == ("ours", 1, 1)
    assert partition_loader.quantities() == {"AAA": 100, "BBB": 5}
    assert partition_loader.rows(
        finra_otc_weekly_history, "share_quantity", "known_to", "change_cause", "rule_version"
    ) == [(1, clock.at, "ours", RULE_VERSION)]
    assert partition_loader.rows(
        deliveries, "group_id", "outcome", "replay_of", "run_id", "rule_version"
    ) == [
        (f"{GROUP}1", "landed", None, "loading", "older"),
        (f"{GROUP}2", "landed", f"{GROUP}1", "replaying", RULE_VERSION),
    ]
    assert str(replay_loads.replay()) == "unchanged; source files"


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_each_replayed_row_leads_to_the_bytes_and_to_the_run_that_fetched_them(replay_loads, clock):
    replay_loads.load(text_of(AAA=100))
    clock.at = NOON + timedelta(days=1)
    replay_loads.load(text_of(AAA=7))
    clock.at = NOON + timedelta(days=2)
    replay_loads.replay(1, allow_older=True)
    with replay_loads.partition_loader.warehouse.reading() as connection:
        found = connection.execute(
            select(captures, blobs.c.byte_count, blobs.c.stored_byte_count, blobs.c.storage_uri)
            .join(blobs, blobs.c.sha256 == captures.c.sha256)
            .join(finra_otc_weekly, finra_otc_weekly.c.capture_id == captures.c.capture_id)
        ).one()
    assert (found.group_id, found.run_id, found.fetched_at) == (f"{GROUP}3", "loading", NOON)
    body = Captures(replay_loads.store).read(
        Blob(found.sha256, found.byte_count, found.stored_byte_count, found.storage_uri)
    )
    assert body.decode() == text_of(AAA=100)
    assert replay_loads.partition_loader.count(blobs) == 2


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_older_delivery_is_published_again_only_when_asked_and_history_says_so(
    replay_loads, clock
):
    partition_loader = replay_loads.partition_loader
    replay_loads.load(text_of(AAA=100))
    clock.at = NOON + timedelta(days=1)
    replay_loads.load(text_of(AAA=7))
    before = replay_loads.contents()
    with pytest.raises(ConfigurationError, match="#1 is older than what is loaded") as refusal:
        replay_loads.replay(1)
    assert f"{GROUP}2 or a later" in str(refusal.value)
    assert replay_loads.contents() == before

    clock.at = NOON + timedelta(days=2)
    older = replay_loads.replay(1, allow_older=True)
    (change,) = older.changes
    assert change.sentence.startswith(f"T1, week {MONDAY}, market=ATS, was set back to an earlier")
    assert partition_loader.quantities() == {"AAA": 100}
    assert partition_loader.rows(
        finra_otc_weekly_history, "share_quantity", "known_to", "change_cause"
    ) == [
        (100, NOON + timedelta(days=1), "source"),
        (7, clock.at, "ours"),
    ]
    assert str(replay_loads.replay()) == "unchanged; source files"
    clock.at = NOON + timedelta(days=3)
    replay_loads.replay(2)  # forward again needs no leave
    assert partition_loader.quantities() == {"AAA": 7}
    assert partition_loader.rows(landings, "change_cause") == [
        ("first",),
        ("source",),
        ("ours",),
        ("source",),
    ]


@pytest.mark.slow_on_postgresql
def test_a_quarantined_partition_loads_once_the_limit_allows_it(replay_loads):
    partition_loader = replay_loads.partition_loader
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    assert partition_loader.quantities() == {}
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.replay()
    replay_loads.replay(max_reject_ratio=0.5)
    assert partition_loader.quantities() == {"AAA": 100}
    assert partition_loader.rows(deliveries, "outcome", "replay_of") == [
        ("held_back", None),
        ("held_back", f"{GROUP}1"),
        ("landed", f"{GROUP}1"),
    ]
    assert partition_loader.count(rejects) == 3
    assert {run for (run,) in partition_loader.rows(captures, "run_id")} == {"loading"}
    assert partition_loader.count(audits) == 3 * 16


@pytest.mark.slow_after_first
def test_what_a_stricter_limit_refuses_is_not_said_to_be_unchanged(replay_loads):
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    replay_loads.replay(max_reject_ratio=0.5)
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.replay()
    assert replay_loads.partition_loader.quantities() == {"AAA": 100}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_is_compared_with_the_weeks_before_and_warns_as_a_load_does(replay_loads):
    partition_loader = replay_loads.partition_loader
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    for weeks in range(1, 5):
        earlier = replace(partition_loader, week_start=MONDAY - weeks * timedelta(days=7))
        earlier.write_batch(*(row(f"S{number}", market="ATS") for number in range(50)))
    replayed = replay_loads.replay(max_reject_ratio=0.5)
    assert replayed.write_result
    assert "is_of_usual_size" in replayed.write_result.warnings
    assert "; unusual: is_of_usual_size" in str(replayed)


@pytest.mark.slow_after_first
def test_bytes_that_could_not_be_checked_are_kept_and_refused_again_without_a_trace(replay_loads):
    with pytest.raises(ContractError):
        replay_loads.load("symbol;shares\nAAA;1\n")
    assert replay_loads.partition_loader.rows(deliveries, "outcome", "part_count") == [
        ("refused", 1)
    ]
    before = replay_loads.contents()
    with pytest.raises(ContractError):
        replay_loads.replay()
    assert replay_loads.contents() == before


def blob_of(replay_loads):
    [(name,)] = replay_loads.partition_loader.rows(blobs, "storage_uri")
    return name


@pytest.mark.slow_after_first
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
def test_a_lost_or_changed_blob_is_named_and_nothing_is_loaded(
    replay_loads, tmp_path, stored, found
):
    replay_loads.load(text_of(AAA=100))
    name = blob_of(replay_loads)
    path = tmp_path / "artifacts" / name
    path.unlink() if stored is None else path.write_bytes(stored)
    before = replay_loads.contents()
    with pytest.raises(BlobError, match=name) as error:
        replay_loads.replay()
    assert error.value.found.startswith(found)
    assert replay_loads.contents() == before


@pytest.mark.slow_after_first
@pytest.mark.parametrize("group", [None, 7])
def test_a_delivery_that_there_is_not_is_refused_with_those_that_there_are(replay_loads, group):
    if group:
        replay_loads.load(text_of(AAA=100))
    with pytest.raises(ConfigurationError, match="has no delivery to replay") as refusal:
        replay_loads.replay(group)
    assert refusal.value.found == (f"{GROUP}1" if group else "none since this version records them")


@pytest.mark.slow_on_postgresql
def test_a_load_after_a_replay_says_that_nothing_changed(replay_loads):
    replay_loads.load(text_of(AAA=100))
    replay_loads.replay()
    assert str(replay_loads.load(text_of(AAA=100))) == "unchanged; source files"
    assert replay_loads.partition_loader.rows(fences, "token") == [(1,)]


def shares_by_market(partition_loader):
    found = partition_loader.rows(finra_otc_weekly, "market", "symbol", "share_quantity")
    return {(market, symbol): quantity for market, symbol, quantity in found}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_week_whose_markets_came_one_by_one_is_replayed_as_a_whole(replay_loads, clock):
    replay_loads.older_rules(text_of(AAA=100), 1, "ATS")
    replay_loads.older_rules(text_of(AAA=20), 2, "NON_ATS")
    clock.at = NOON + timedelta(days=7)
    replayed = replay_loads.replay()
    (change,) = replayed.changes
    assert change.sentence.startswith(
        f"T1, week {MONDAY}, market=ATS+NON_ATS, was corrected by newer rules of ours: 2 of 2 rows"
    )
    assert shares_by_market(replay_loads.partition_loader) == {
        ("ATS", "AAA"): 100,
        ("NON_ATS", "AAA"): 20,
    }
    history = replay_loads.partition_loader.rows(
        finra_otc_weekly_history, "market", "change_cause", "known_to"
    )
    assert history == [("ATS", "ours", clock.at), ("NON_ATS", "ours", clock.at)]
    before = replay_loads.contents()
    assert str(replay_loads.replay()) == "unchanged; source files"
    assert replay_loads.contents() == before


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_of_markets_that_came_one_by_one_writes_nothing_by_the_same_rules(replay_loads):
    replay_loads.load(text_of(AAA=100))
    replay_loads.load(text_of(AAA=20, BBB=5), "NON_ATS")
    before = replay_loads.contents()
    for group in (None, 1, 2):
        assert str(replay_loads.replay(group)) == "unchanged; source files"
    assert replay_loads.contents() == before


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_market_alone_is_replayed_in_its_own_place(replay_loads, clock):
    replay_loads.older_rules(text_of(AAA=100), 1, "ATS")
    replay_loads.older_rules(text_of(AAA=20), 2, "NON_ATS")
    clock.at = NOON + timedelta(days=7)
    loaded = replay_loads.replay(1).write_result
    assert loaded
    assert (loaded.change_cause, loaded.rows_changed) == ("ours", 1)
    assert shares_by_market(replay_loads.partition_loader) == {
        ("ATS", "AAA"): 100,
        ("NON_ATS", "AAA"): 2,
    }


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_of_a_market_that_came_twice_a_replay_takes_what_came_last(replay_loads):
    replay_loads.load(text_of(AAA=100))
    replay_loads.load(text_of(AAA=20), "NON_ATS")
    replay_loads.load(text_of(AAA=101))
    replay_loads.load(text_of(AAA=21), "NON_ATS")
    replay_loads.replay()
    assert shares_by_market(replay_loads.partition_loader) == {
        ("ATS", "AAA"): 101,
        ("NON_ATS", "AAA"): 21,
    }
    with pytest.raises(ConfigurationError, match="#1 is older than what is loaded") as refusal:
        replay_loads.replay(1)
    assert f"{GROUP}3 or a later" in str(refusal.value)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_quarantined_market_loads_with_the_rows_of_the_other(replay_loads):
    replay_loads.load(text_of(AAA=100))
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.load(text_of(AAA=20) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n", "NON_ATS")
    replay_loads.replay(max_reject_ratio=0.5)
    assert shares_by_market(replay_loads.partition_loader) == {
        ("ATS", "AAA"): 100,
        ("NON_ATS", "AAA"): 20,
    }


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_older_quarantined_delivery_prevents_no_replay(replay_loads):
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.load(text_of(AAA=100) + "NMS Tier 1||Inc|Xats|XATS|1|1|2025-12-01\n")
    replay_loads.replay(max_reject_ratio=0.5)
    replay_loads.load(text_of(AAA=7))
    with pytest.raises(QuarantinedError, match="has_few_rejects"):
        replay_loads.replay(1, allow_older=True)
    assert str(replay_loads.replay()) == "unchanged; source files"
    assert replay_loads.partition_loader.quantities() == {"AAA": 7}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_replay_of_several_markets_lets_an_older_one_of_each_be_known_for_older(
    replay_loads, clock
):
    for quantity, market in [(1, "ATS"), (2, "NON_ATS"), (3, "NON_ATS")]:
        replay_loads.older_rules(text_of(AAA=10 * quantity), quantity, market)
        clock.at += timedelta(days=1)
    for group in (1, None):
        assert replay_loads.replay(group).write_result
        clock.at += timedelta(days=1)
    published = {("ATS", "AAA"): 10, ("NON_ATS", "AAA"): 30}
    assert shares_by_market(replay_loads.partition_loader) == published
    with pytest.raises(ConfigurationError, match="#2 is older than what is loaded"):
        replay_loads.replay(2)
    assert str(replay_loads.replay(3)) == "unchanged; source files"
    assert shares_by_market(replay_loads.partition_loader) == published

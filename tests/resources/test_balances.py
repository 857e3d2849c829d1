"""What came in is what went out: planted faults of a load are found, and nothing loads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestration_project.catalog.cboe import VOLUME
from orchestration_project.catalog.fx import RATES
from orchestration_project.domains.finra.anomaly_bands import BandLimits
from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.balance import NOT_COUNTED, Balance, UnbalancedError
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.deliveries import SourceDeliveries
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse, prepare
from orchestration_project.errors import ContractError
from orchestration_project.resources.finra.datasets import engine_dataset
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.tables.spine import audits, balances, deliveries
from tests.expecting import expect_present, expect_type
from tests.resources.weeks import (
    LIMITS,
    MONDAY,
    PartitionLoader,
    frame,
    in_ranges,
    rejected,
    row,
    week_load,
)

KEY = f"T1|{MONDAY}"
FILE = "finra_otc_weekly_tier1_20251201.csv"
GROUP = f"finra_otc_weekly:{KEY}#"
HEADER = "|".join(FILE_FIELDS)

Pieces = Iterable[Sequence[Part]]


def text_of(**shares: int) -> str:
    lines = [f"NMS Tier 1|{symbol}|Inc|Xats|XATS|{n}|1|2025-12-01" for symbol, n in shares.items()]
    return "\n".join([HEADER, *lines]) + "\n"


@dataclass(frozen=True, kw_only=True)
class FaultyDataset(WeeklyDataset):
    """The weekly data, with a fault before or after its validation."""

    limits: BandLimits = LIMITS
    spoil_pieces: Callable[[Pieces], Pieces] = field(default=lambda pieces: pieces)
    spoil_rows: Callable[[Validated], Validated] = field(default=lambda validated: validated)

    def validate(self, partition, pieces, **options):
        return self.spoil_rows(super().validate(partition, self.spoil_pieces(pieces), **options))


class Loader:
    """Loads the week from a file that tests rewrite."""

    def __init__(self, partition_loader: PartitionLoader, folder: Path) -> None:
        self.partition_loader, self.files = partition_loader, folder / "files"
        self.files.mkdir()
        store = FolderStore(folder / "artifacts")
        self.source = FinraFiles(self.files, Captures(store), Clock())
        self.loading = week_load(
            self.source, partition_loader.warehouse, store, folder, max_reject_ratio=0.6
        )

    def load(self, text: str, **faults):
        (self.files / FILE).write_text(text)
        loader, dataset = self.loading, FaultyDataset(**faults)
        deliveries = expect_type(loader.deliveries, SourceDeliveries)
        origin = replace(deliveries, dataset=dataset)
        loader = replace(loader, dataset=dataset, deliveries=origin)
        return loader.write_batch(loader.take(KEY))

    def balances(self, number: int):
        names = ("equation", "came_in", "went_to", "state")
        own = balances.c.subject == f"{GROUP}{number}"
        statement = select(*(balances.c[name] for name in names)).where(own)
        return {
            name: rest
            for name, *rest in self.partition_loader.warehouse.frame(statement, balances).rows()
        }


@pytest.fixture
def loader(partition_loader: PartitionLoader, tmp_path: Path) -> Loader:
    return Loader(partition_loader, tmp_path)


@pytest.mark.slow_after_first
def test_a_load_records_its_equations_with_its_rows(loader):
    text = text_of(AAA=1, BBB=2) + "NMS Tier 1||Inc|Xats|XATS|3|1|2025-12-01\n"
    loaded = loader.load(text).write_result
    assert loader.balances(1) == {
        "bytes": [len(text), f'{{"read": {len(text)}}}', "balanced"],
        "records": [3, '{"rows": 2, "rejects": 1}', "balanced"],
        "rows_after": [2, '{"added": 2, "changed": 0, "unchanged": 0}', "balanced"],
        "rows_before": [
            0,
            '{"changed": 0, "unchanged": 0, "removed_by_replace_scope": 0}',
            "balanced",
        ],
        "rows_delivered": [2, '{"added": 2, "changed": 0, "unchanged": 0}', "balanced"],
    }
    assert str(loaded.balances[1]) == "records: 3 = 2 rows + 1 rejects"


@pytest.mark.slow_after_first
def test_a_later_delivery_counts_what_it_changes_and_removes(loader):
    loader.load(text_of(AAA=1, BBB=2, CCC=3))
    loader.load(text_of(AAA=1, BBB=7, DDD=4))
    recorded = loader.balances(2)
    assert recorded["rows_before"][:2] == [
        3,
        '{"changed": 1, "unchanged": 1, "removed_by_replace_scope": 1}',
    ]
    assert recorded["rows_after"][:2] == [3, '{"added": 1, "changed": 1, "unchanged": 1}']


def without_last_line(pieces: Pieces) -> Pieces:
    for parts in pieces:
        yield [replace(part, body=part.body[: part.body[:-1].rindex(b"\n") + 1]) for part in parts]


def twice(pieces: Pieces) -> Pieces:
    for parts in pieces:
        yield [*parts, *(replace(part, part_number=2) for part in parts)]


def keep_first_row(validated: Validated) -> Validated:
    return replace(validated, rows=validated.rows.head(1))


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("faults", "found"),
    [
        ({"spoil_pieces": without_last_line}, "records: 3 != 2 rows + 0 rejects"),
        ({"spoil_pieces": twice}, "records: 3 != 6 rows + 0 rejects"),
        ({"spoil_rows": keep_first_row}, "records: 3 != 1 rows + 0 rejects"),
    ],
    ids=["a_parser_that_loses_a_line", "a_doubled_page", "a_filter_without_a_name"],
)
def test_records_that_went_nowhere_quarantine_a_delivery(loader, faults, found):
    with pytest.raises(QuarantinedError, match=r"quarantined by .*balances") as error:
        loader.load(text_of(AAA=1, BBB=2, CCC=3), **faults)
    assert found in error.value.found
    assert loader.partition_loader.count(finra_otc_weekly) == 0
    assert loader.balances(1)["records"][2] == "unbalanced"
    row = audits.c
    statement = select(row.outcome, row.severity).where(row.name == "balances")
    assert loader.partition_loader.warehouse.frame(statement, audits).rows() == [
        ("failed", "error")
    ]


@pytest.mark.slow_after_first
def test_a_named_filter_balances(loader):
    def filter_rows(validated: Validated) -> Validated:
        return replace(keep_first_row(validated), filtered={"others": 2})

    loader.load(text_of(AAA=1, BBB=2, CCC=3), spoil_rows=filter_rows)
    assert loader.balances(1)["records"][:2] == [3, '{"rows": 1, "rejects": 0, "others": 2}']


def test_a_piece_that_is_not_read_is_missing_in_bytes(loader):
    def read_nothing(pieces: Pieces) -> Pieces:
        yield [Part(1, HEADER.encode(), "ATS")]

    text = text_of(AAA=1)
    with pytest.raises(QuarantinedError) as error:
        loader.load(text, spoil_pieces=read_nothing)
    assert f"bytes: {len(text)} != 0 read" in error.value.found


LOSE_IN_SQLITE = """
CREATE TRIGGER lose BEFORE INSERT ON finra_otc_weekly WHEN NEW.symbol = 'BBB'
BEGIN SELECT RAISE(IGNORE); END
"""
LOSE_IN_POSTGRESQL = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN IF NEW.symbol = 'BBB' THEN RETURN NULL; END IF; RETURN NEW; END$$;
CREATE TRIGGER lose BEFORE INSERT ON finra_otc_weekly FOR EACH ROW EXECUTE FUNCTION lose()
"""
LOSE_NO_MORE = "DROP TRIGGER lose ON finra_otc_weekly; DROP FUNCTION lose()"
"""Other tests use the schema after this one."""


@contextmanager
def row_loss(warehouse: Warehouse) -> Iterator[None]:
    """Have the database drop a row of each load in silence."""
    with warehouse.writing() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql(LOSE_IN_SQLITE if is_sqlite else LOSE_IN_POSTGRESQL)
    try:
        yield
    finally:
        if not is_sqlite:
            with warehouse.writing() as connection:
                connection.exec_driver_sql(LOSE_NO_MORE)


def test_a_row_that_the_write_drops_undoes_the_load(loader):
    with (
        row_loss(loader.partition_loader.warehouse),
        pytest.raises(UnbalancedError, match="does not balance") as error,
    ):
        loader.load(text_of(AAA=1, BBB=2))
    assert error.value.found == "rows_after: 1 != 2 added + 0 changed + 0 unchanged"
    assert loader.partition_loader.count(finra_otc_weekly) == 0
    assert loader.balances(1)["rows_after"][2] == "unbalanced"
    outcome = loader.partition_loader.warehouse.frame(select(deliveries.c.outcome), deliveries)
    assert outcome.rows() == [("refused",)]


def test_a_stage_that_fails_again_has_the_equations_of_its_latest_failure(partition_loader):
    subject = balances.c.subject.like("batch-1%")
    shown = select(balances.c.equation, balances.c.came_in, balances.c.subject).where(subject)
    error = UnbalancedError("a batch does not balance")
    error.table_name, error.subject, error.run_id = "events", "batch-1", "run-1"
    for came_in in (4, 5):
        error.balances = [Balance("rows", came_in, {"added": 3}), Balance("bytes", 7, {"kept": 7})]
        with pytest.raises(UnbalancedError), partition_loader.warehouse.writing():
            raise error
    (failed,) = partition_loader.warehouse.frame(shown, balances).rows()
    assert failed[:2] == ("rows", 5)
    assert failed[2].startswith("batch-1")


def lose_range(validated: Validated) -> Validated:
    ranges = expect_present(validated.ranges)
    return replace(validated, ranges=replace(ranges, places=ranges.places[:-1]))


@pytest.mark.slow_after_first
def test_a_range_of_rows_that_is_never_written_undoes_the_load(partition_loader):
    of_week = {"tier": "T1", "week_start": MONDAY}
    rows = [row(symbol, **of_week) for symbol in ("AAA", "BBB", "CCC")]
    partition_loader.write_batch(*rows)
    rows[0] = row("AAA", **of_week, share_quantity=7)
    validated = in_ranges(Validated(frame(rows), rejected()))
    batch = prepare(partition_loader.target(), partition_loader.delivery(version="v2"), validated)
    with pytest.raises(UnbalancedError) as error:
        partition_loader.warehouse.write_batch(
            replace(batch, validated=lose_range(batch.validated))
        )
    stayed = "1 changed + 1 unchanged"
    assert error.value.found.split("; ") == [
        f"rows_delivered: 3 != 0 added + {stayed}",
        f"rows_before: 3 != {stayed} + 0 removed_by_replace_scope",
        f"rows_after: 3 != 0 added + {stayed}",
    ]
    assert partition_loader.count(finra_otc_weekly) == 3


def test_a_refused_delivery_is_not_counted(loader):
    with pytest.raises(ContractError, match="header"):
        loader.load("some|other|header\n1|2|3\n")
    assert loader.balances(1) == {"records": [None, "{}", "not_counted"]}


@pytest.mark.parametrize("declared", DATASETS, ids=lambda declared: declared.name)
def test_each_declared_dataset_counts_its_records(declared):
    assert engine_dataset(declared).count_records is not NOT_COUNTED


def test_a_dataset_must_say_how_its_records_are_counted():
    assert all(
        dataset.count_records is not NOT_COUNTED for dataset in (RATES, VOLUME, FaultyDataset())
    )
    given = {attribute.name: getattr(RATES, attribute.name) for attribute in fields(RATES)}
    del given["count_records"]
    with pytest.raises(TypeError, match="count_records"):
        Dataset(**given)

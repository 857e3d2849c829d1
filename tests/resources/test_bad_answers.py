"""Answers that are not as FINRA's should be: what is said of each, and what is kept of it."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.tables.spine import rejects
from tests.bad_input import EVERY_ROW, REJECTS, error_or_outcome, promise, watched
from tests.faulty_server import FaultyServer, Reply, Request, dripping, endless
from tests.http_clients import make_client
from tests.prepared import Prepared
from tests.resources.finra_server import TIER, TOKEN_PATH, WEEK, Finra, is_page, record
from tests.resources.weeks import PartitionLoader, StoppedClock, WeekLoader, week_load

KEY, LATER = f"{TIER}|{WEEK}", "2026-01-02"
TOTAL = {"summaryTypeCode": "ATS_W_SMBL", "MPID": None, "firmCRDNumber": None}
SYMBOLS = [f"S{number:03}" for number in range(300)]

Change = Callable[[Finra], object]
Answer = Callable[[Reply], Any]


def week(**first: object) -> list[dict[str, object]]:
    """Return a restated week: a firm's row and the total of each symbol, ``first`` of the first."""
    rows = [record(symbol, **kind) for symbol in SYMBOLS for kind in ({}, TOTAL)]
    return [rows[0] | first, *rows[1:], record("NEW", lastUpdateDate=LATER), record("NEW", **TOTAL)]


def rows(*more: dict[str, object], **first: object) -> Change:
    def change(finra: Finra) -> None:
        finra.rows = [*week(**first), *more]

    return change


def answers(answer: Answer, *, on_pages: bool = True) -> Change:
    def change(finra: Finra) -> None:
        finra.spoil = lambda requested, reply: (
            answer(reply) if is_page(requested) is on_pages else reply
        )

    return change


def probes(answer: Answer) -> Change:
    """Spoil the answers to the question for a week's state, not the list of weeks."""

    def spoil(requested: Request, reply: Reply) -> Any:
        return answer(reply) if requested.method == "POST" and not is_page(requested) else reply

    def change(finra: Finra) -> None:
        finra.spoil = spoil

    return change


def with_body(change: Callable[[bytes], bytes], **headers: str) -> Answer:
    return lambda reply: Reply(reply.status, reply.headers | headers, change(reply.body))


def with_length(of: Callable[[int], int]) -> Answer:
    def answer(reply: Reply) -> Iterator[bytes]:
        changed = Reply(200, reply.headers | {"Content-Length": str(of(len(reply.body)))})
        return iter([changed.raw() + reply.body])

    return answer


def shifts(finra: Finra) -> None:
    """Have a row come twice and another never, as when rows move while pages are turned."""

    def shift(reply: Reply) -> Reply:
        header, *lines = reply.body.split(b"\n")
        return Reply(200, reply.headers, b"\n".join([header, lines[0], lines[0], *lines[2:]]))

    answers(shift)(finra)


def moves(finra: Finra) -> None:
    """Restate the week at each page."""
    versions = iter(range(100))

    def move(reply: Reply) -> Reply:
        finra.rows = [*week(), *(record(f"T{n}") for n in range(next(versions) + 1))]
        return reply

    answers(move)(finra)


CASES: dict[str, Change] = {
    "extra_field": answers(
        with_body(lambda body: b"\n".join(b"x|" + line for line in body.split(b"\n")))
    ),
    "renamed_field": answers(with_body(lambda body: body.replace(b"firmCRDNumber", b"firmCrd", 1))),
    "windows_lines": answers(with_body(lambda body: body.replace(b"\n", b"\r\n"))),
    "html_page": answers(with_body(lambda _: b"<html>Access Denied</html>")),
    "gateway_timeout": answers(lambda _: Reply(504, {}, b"<html>504 Gateway Time-out</html>")),
    "redirect": answers(lambda _: Reply(302, {"Location": "https://login.example/?token=abc"})),
    "anonymous_401": answers(lambda _: Reply(401, {}, b'{"message": "try again later"}')),
    "html_403": answers(lambda _: Reply(403, {}, b"<html>Access Denied</html>")),
    "compressed": answers(with_body(gzip.compress, **{"Content-Encoding": "gzip"})),
    "compression_garbage": answers(with_body(lambda _: b"\x1f\x8b\x08 junk\n\n")),
    "content_length_too_long": answers(with_length(lambda length: length + 9)),
    "content_length_too_short": answers(with_length(lambda length: length - 900)),
    "slow_drip": answers(lambda reply: dripping(reply.raw(), 0.05)),
    "body_without_end": answers(lambda _: endless()),
    "json_that_ends_early": probes(with_body(lambda body: body[:-5])),
    "nan_in_json": probes(with_body(lambda _: b'[{"lastUpdateDate": NaN}]')),
    "half_a_character_in_json": probes(
        with_body(lambda body: body.replace(b'Date": "', b'Date": "\\ud800'))
    ),
    "nested_without_end": probes(with_body(lambda _: b"[" * 100_000)),
    "error_in_the_body": answers(with_body(lambda _: b'{"statusCode": 500}')),
    "no_record_total": answers(with_body(lambda body: body, **{"Record-Total": ""})),
    "page_cut_short": answers(with_body(lambda body: body.rpartition(b"\n")[0])),
    "paging_that_shifts": shifts,
    "restated_again_and_again": moves,
    "implausible_quantities": rows(
        *(
            record("ODD", totalWeeklyShareQuantity=0, totalWeeklyTradeCount=5) | kind
            for kind in ({}, TOTAL)
        ),
        *(
            record("NIL", totalWeeklyShareQuantity=0, totalWeeklyTradeCount=0) | kind
            for kind in ({}, TOTAL)
        ),
    ),
    "row_without_a_symbol": rows(record(None)),
    "unknown_summary_type": rows(record("S000", summaryTypeCode="ATS_D_SMBL")),
    "nan_amount": rows(totalNotionalSum="NaN"),
    "amount_of_1e308": rows(totalNotionalSum="1e308"),
    "nan_quantity": rows(totalWeeklyShareQuantity="NaN"),
    "row_of_another_tier": answers(
        with_body(lambda body: body.replace(b"|T1|", b"|NMS|", 1).replace(b"|T1|", b"|NA|", 1))
    ),
    "totals_that_differ": rows(totalWeeklyShareQuantity=99),
    "week_withdrawn": lambda finra: setattr(
        finra, "published", {"weeklySummary": [(WEEK, "NMS")], "weeklySummaryHistoric": []}
    ),
}


@contextmanager
def opened(
    below: Path, finra: Finra, deadline_seconds: float = 20.0
) -> Iterator[tuple[Callable[[], WeekLoader], PartitionLoader]]:
    """Give a load of FINRA's, as each run makes one."""
    store = FolderStore(below / "artifacts")
    with (
        Warehouse(f"sqlite:///{below}/x.sqlite", clock=StoppedClock()) as warehouse,
        FaultyServer(finra) as server,
        make_client(
            below,
            "finra_api",
            use_environment=False,
            deadline_seconds=deadline_seconds,
            max_body_bytes=2_000_000,
        ) as http,
    ):
        warehouse.prepare(holds="real")

        def load() -> WeekLoader:
            api = FinraApi(
                QueryApi(
                    http,
                    Captures(store),
                    StoppedClock(),
                    name="api",
                    api_url=server.url,
                    token_url=server.url + TOKEN_PATH,
                    credentials=None,
                    concurrent_requests=4,
                )
            )
            return week_load(api, warehouse, store, below)

        yield load, PartitionLoader(warehouse, below / "artifacts")


def load_once(load: WeekLoader) -> object:
    return load.write_batch(load.take(KEY))


@pytest.fixture
def tables(prepared: Prepared, tmp_path: Path) -> None:
    """Make the database's tables, in less time than migrations take."""
    prepared.sqlite(tmp_path / "x.sqlite")


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("case", CASES)
def test_a_bad_answer_is_reported_and_kept_as_documented(case: str, tmp_path: Path):
    finra = Finra([record("S000"), record("S000", **TOTAL)])
    deadline_seconds = 0.7 if case == "slow_drip" else 20.0  # one that is waited for
    with opened(tmp_path, finra, deadline_seconds) as (load, partition_loader):
        load_once(load())
        finra.rows = week()
        CASES[case](finra)
        with watched(partition_loader) as kept:
            message = error_or_outcome(lambda: load_once(load()))
        message += " ".join(reason for (reason,) in partition_loader.rows(rejects, "reason"))
        promised = promise(case)
        assert (promised.is_seen_in(message), kept()) == (True, promised.kept), message
        assert (len(partition_loader.quantities()) >= 300) is (kept() in (EVERY_ROW, REJECTS))

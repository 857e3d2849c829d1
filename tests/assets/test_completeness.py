"""A remnant does not replace a whole: rates of the ECB as Dagster loads them, from a server."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.definitions import defs
from orchestration_project.domains.fx.tables import fx_rates_daily
from orchestration_project.tables.spine import audits
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request
from tests.runs import expect_failure, metadata_by_partition

DAYS = [f"2026-02-{day:02}" for day in (16, 17, 18, 19, 20, 23, 24)]
WHOLE = [f"{first}X{second}" for first in "ABCD" for second in "ABCD"]
"""Sixteen codes."""


class Ecb:
    """The ECB's documents, in which a test decides which currencies a day has."""

    def __init__(self) -> None:
        self.days: dict[str, Sequence[str]] = dict.fromkeys(DAYS[:5], WHOLE)

    def __call__(self, request: Request) -> Reply:
        days = "".join(
            f"<Cube time='{day}'>"
            + "".join(f"<Cube currency='{code}' rate='1.5'/>" for code in codes)
            + "</Cube>"
            for day, codes in self.days.items()
        )
        return Reply(body=f"<Envelope><Cube>{days}</Cube></Envelope>".encode())


@pytest.fixture
def ecb(demo_settings, prepared, set_clock, tmp_path, monkeypatch) -> Iterator[Ecb]:
    """The source of the rates of a database for real data."""
    ecb = Ecb()
    (tmp_path / "finra").mkdir()
    with FaultyServer(ecb) as server:
        for name, value in {
            "DATABASE_URL": prepared.sqlite(tmp_path / "warehouse.sqlite"),
            "FINRA_SOURCE": "files",
            "FINRA_FILES_DIR": f"{tmp_path}/finra",
            "FX_SOURCE": "api",
            "FX_API_URL": server.url,
            "FX_FIRST_DAY": "2026-02-02",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        set_clock("2026-02-25T12:00:00+00:00")
        yield ecb


@pytest.fixture
def url(ecb, tmp_path) -> str:
    return f"sqlite:///{tmp_path}/warehouse.sqlite"


def run(instance: dg.DagsterInstance, *days: str, **config: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("fx_rates_daily").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"fx_rates_daily_load": {"config": config}}},
        tags={
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        },
    )


def counts(url: str) -> dict[str, int]:
    day = fx_rates_daily.c.rate_date
    found = databases.rows(url, select(day, func.count()).group_by(day).order_by(day))
    return {str(day): count for day, count in found}


@pytest.mark.slow
def test_a_remnant_is_quarantined_and_loaded_once_it_is_accepted_by_its_sha256(
    ecb: Ecb, url, instance, capfd
):
    assert run(instance, DAYS[0], DAYS[4]).success
    ecb.days = {**ecb.days, DAYS[0]: WHOLE[:3]}  # a well-formed remnant
    said = expect_failure(run(instance, DAYS[0]), "fx_rates_daily_load")
    assert "is quarantined by is_complete" in said
    assert "at least 13 of the 16 loaded keys" in said
    assert "accept_sha256" in said
    assert set(counts(url).values()) == {16}
    [sha256] = re.findall(r"SHA-256 ([0-9a-f]{64})", said)

    ecb.days = {**ecb.days, DAYS[0]: WHOLE[:2]}
    other = run(instance, DAYS[0], accept_sha256=sha256, accept_reason="a shorter list")
    assert "2 of them in 2 rows" in expect_failure(other, "fx_rates_daily_load")
    ecb.days = {**ecb.days, DAYS[0]: WHOLE[:3]}
    options = ["--accept", sha256, "--reason", "the ECB has shortened its list"]
    assert main(["load", "fx_rates_daily", DAYS[0], *options]) == 0
    assert "13 removed" in capfd.readouterr().out
    assert counts(url)[DAYS[0]] == 3
    found = select(audits.c.outcome, audits.c.found).where(
        audits.c.name == "is_complete", audits.c.found.contains("accepted")
    )
    assert databases.rows(url, found) == [
        ("passed", "3 of them in 3 rows; accepted: the ECB has shortened its list")
    ]


@pytest.mark.slow
def test_a_first_delivery_is_compared_with_the_partitions_around_it(ecb: Ecb, url, instance):
    assert run(instance, DAYS[0], DAYS[4]).success  # first deliveries beside none are loaded
    ecb.days = {**ecb.days, DAYS[5]: WHOLE[:3], DAYS[6]: WHOLE[:14]}
    said = expect_failure(run(instance, DAYS[5], DAYS[6]), "fx_rates_daily_load")
    assert "at least 11 rows; the 5 nearest partitions have about 16" in said
    assert counts(url) == {**dict.fromkeys(DAYS[:5], 16), DAYS[6]: 14}
    [sha256] = re.findall(r"SHA-256 ([0-9a-f]{64})", said)
    accepted = run(instance, DAYS[5], accept_sha256=sha256, accept_reason="a shorter list")
    assert metadata_by_partition(accepted)["rates_daily"][DAYS[5]]["dagster/row_count"] == 3
    ecb.days = {**ecb.days, "2026-02-25": WHOLE[:3], DAYS[6]: WHOLE[:14]}
    options = {"accept_sha256": sha256, "accept_reason": "a shorter list"}
    expired = run(instance, DAYS[5], **options, accept_until="2026-01-01T00:00:00Z")
    assert "the acceptance has expired" in expect_failure(expired, "fx_rates_daily_load")
    in_time = run(instance, DAYS[5], **options, accept_until="2999-01-01T00:00:00Z")
    assert in_time.success
    refused = run(instance, DAYS[5], accept_sha256=sha256)
    assert "invalid accept_sha256" in expect_failure(refused, "fx_rates_daily_load")


@pytest.mark.slow
def test_a_replay_of_a_quarantined_remnant_loads_it_only_once_it_is_accepted(
    ecb: Ecb, url, instance, capfd
):
    assert run(instance, DAYS[0]).success
    ecb.days = {**ecb.days, DAYS[0]: WHOLE[:3]}
    said = expect_failure(run(instance, DAYS[0]), "fx_rates_daily_load")
    [sha256] = re.findall(r"SHA-256 ([0-9a-f]{64})", said)
    assert main(["replay", "--table", "fx_rates_daily", DAYS[0]]) == 1
    assert "is quarantined by is_complete" in capfd.readouterr().out
    assert counts(url)[DAYS[0]] == 16
    options = ["--accept", sha256, "--reason", "the list is shorter"]
    assert main(["replay", "--table", "fx_rates_daily", DAYS[0], *options]) == 0
    assert counts(url)[DAYS[0]] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        "completeness: {min_key_ratio: 0.1}",
        "completeness: {sigma: 5}\nfx_rates_daily: {completeness: {min_key_ratio: 0.1}}",
    ],
)
def test_the_limits_of_a_dataset_are_those_of_checks_yaml(
    ecb: Ecb, url, instance, tmp_path, monkeypatch: pytest.MonkeyPatch, limits: str
):
    assert run(instance, DAYS[0]).success
    ecb.days = {**ecb.days, DAYS[0]: WHOLE[:3]}
    assert not run(instance, DAYS[0]).success
    (tmp_path / "limits.yaml").write_text(limits)
    monkeypatch.setenv("CHECKS_FILE", str(tmp_path / "limits.yaml"))
    assert run(instance, DAYS[0]).success
    assert counts(url)[DAYS[0]] == 3


def test_a_rate_that_the_source_states_as_not_available_is_a_row_without_a_rate(
    ecb: Ecb, url, instance, monkeypatch: pytest.MonkeyPatch
):
    assert run(instance, DAYS[0]).success
    reply = Ecb.__call__

    def with_gap(self: Ecb, request: Request) -> Reply:
        body = reply(self, request).body
        return Reply(body=body.replace(b"currency='AXA' rate='1.5'", b"currency='AXA' rate='N/A'"))

    monkeypatch.setattr(Ecb, "__call__", with_gap)
    loaded = metadata_by_partition(run(instance, DAYS[0]))["rates_daily"][DAYS[0]]
    assert (loaded["rows_changed"], loaded["rows_removed"]) == (1, 0)
    without = select(fx_rates_daily.c.currency_code).where(fx_rates_daily.c.rate.is_(None))
    assert databases.rows(url, without) == [("AXA",)]

"""A process is killed while it exports: the target has each change once, and lacks none."""

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import PROJECT_ROOT
from tests import databases
from tests.faults.export_writer import installed
from tests.faults.matrix import case_name, strikes
from tests.postgres import new_database
from tests.programs import kill_after
from tests.resources.weeks import NOON, StoppedClock

pytestmark = pytest.mark.faults

MAX_SECONDS, HOURS = 0.4, 1_000
"""Time until a process is killed, and hours of its clock that it cannot use up until then."""

KILLS_SHARE = 4
"""One kill in so many of the campaign's: each process imports the project again."""

CHANGES = text("SELECT export_id, change, symbol, share_quantity FROM changes")


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while changes are exported"), ids=case_name
)
def test_a_target_has_each_change_once_whenever_its_exporter_is_killed(
    fault, database, campaign, prepared, server, tmp_path, monkeypatch
):
    random = campaign.random(fault.name, database)
    if database == "postgresql":
        url = new_database(server(database), f"exporter_{uuid4().hex}")
        mart = new_database(server(database), f"mart_{uuid4().hex}")
    else:
        url, mart = prepared.sqlite(tmp_path / "tables.sqlite"), f"sqlite:///{tmp_path}/mart.sqlite"
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("EXPORT_URL_MART", mart)
    clock = StoppedClock(NOON)
    with Warehouse(url, clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        place = installed(warehouse, clock, tmp_path)
        for number in range(max(1, campaign.kills // KILLS_SHARE)):
            command = [sys.executable, "-m", "tests.faults.export_writer", url, str(tmp_path)]
            writer = subprocess.Popen(  # noqa: S603 - this project's
                [*command, str(HOURS * number)], stdout=subprocess.PIPE, cwd=PROJECT_ROOT
            )
            assert writer.stdout is not None
            assert writer.stdout.readline(), writer.wait()
            kill_after(writer.pid, random.uniform(0, MAX_SECONDS))
            writer.communicate()
            clock.at = NOON + timedelta(hours=HOURS * (number + 1) - 1)
            place.run_count = HOURS * number  # another run's id each time
            while (result := place.export()).outcome == "delivered":
                pass
            assert result.outcome == "unchanged", result
            recorded = place.recorded()
            assert all(delivery["delivered_at"] for delivery in recorded)
            assert [delivery["from_load"] for delivery in recorded[1:]] == [
                delivery["to_load"] for delivery in recorded[:-1]
            ]
            rows = databases.rows(mart, CHANGES)
            counts = Counter(row[0] for row in rows)
            assert counts == Counter(
                {
                    f"weekly/{delivery['to_load'].isoformat()}": delivery["row_count"]
                    for delivery in recorded
                }
            )
            assert follow_and_check_changes(rows) == present(warehouse)


def follow_and_check_changes(rows: list[tuple[str, str, str, object]]) -> dict[str, Decimal]:
    """Return the rows that a reader has who follows all changes in their order."""
    found: dict[str, Decimal] = {}
    for _, change, symbol, quantity in sorted(rows):
        if change == "removed":
            del found[symbol]
        else:
            assert (symbol in found) == (change == "changed")
            found[symbol] = Decimal(str(quantity))
    return found


def present(warehouse: Warehouse) -> dict[str, Decimal]:
    wanted = select(finra_otc_weekly.c.symbol, finra_otc_weekly.c.share_quantity)
    with warehouse.reading() as connection:
        return {symbol: Decimal(str(quantity)) for symbol, quantity in connection.execute(wanted)}

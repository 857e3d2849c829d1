"""Publication days are filled from the rows of deliveries that were loaded before."""

from datetime import date, timedelta

import pytest
from alembic import command
from sqlalchemy import select, update

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly_history
from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.tables.queries.published import published_by
from orchestration_project.tables.spine import deliveries
from tests.resources.weeks import NOON, PartitionLoader, row

VERSION = "0059"
"""That before the one with publication days."""


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_earlier_installation_dates_what_its_deliveries_say(migrated, tmp_path, monkeypatch):
    loaded = PartitionLoader(migrated, tmp_path)
    clock = migrated._clock
    monkeypatch.setattr(clock, "now", lambda: NOON)
    moved = date(2026, 1, 3)
    groups = [loaded.land(row("AAA"), row("ZZZ", "UBSA"), row("CCC")).group_id]

    def load(days: int, *rows, **delivery) -> None:
        monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days))
        groups.append(loaded.land(*rows, version=str(days), **delivery).group_id)

    load(2, row("AAA"), row("ZZZ", "XATS", last_update_date=moved), row("CCC"))
    load(3, row("AAA"), row("ZZZ", "XATS", last_update_date=moved))
    load(4, row("AAA"), row("ZZZ", "UBSA"), row("CCC"), replay_of=groups[0], turns_back=True)
    before = [_days(loaded), _ends(loaded)]
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        command.upgrade(config, "head")
    assert [_days(loaded), _ends(loaded)] == before
    assert [day for _, day, _ in before[0]] == [
        date(2025, 12, 1),
        moved,
        NOON.date() + timedelta(3),
        date(2025, 12, 1),
    ]
    unknown = update(finra_otc_weekly_history).values(ended_on=None)
    with migrated.writing() as connection:
        connection.execute(unknown.where(finra_otc_weekly_history.c.symbol == "CCC"))
    named = published_by("finra_otc_weekly", moved, NOON + timedelta(days=3)).missing(())
    with migrated.reading() as connection:
        reasons = [(each.symbol, each.reason) for each in connection.execute(named)]
    assert reasons == [("CCC", "missing_earlier_state")]


def _days(loaded: PartitionLoader) -> list[tuple[object, ...]]:
    columns = [deliveries.c[name] for name in ("group_id", "published_on", "is_load_day")]
    statement = select(*columns)
    return loaded.warehouse.frame(statement.order_by(deliveries.c.group_id), deliveries).rows()


def _ends(loaded: PartitionLoader) -> list[tuple[object, ...]]:
    names = ("symbol", "venue_id", "known_to", "ended_on", "is_load_day")
    return loaded.rows(finra_otc_weekly_history, *names)

"""Workers on 2 and 4 hosts under random faults: each run ends once, and nothing loads twice.

Each host is a network namespace; database, broker, source and daemon are in the one of the test.
They take minutes for each fault, so they run where FAULTS says how many; FAULT_SEED decides them.
"""

import os
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.tables.spine import landings
from tests import databases
from tests.faults.loads import loaded
from tests.faults.places import Place, published
from tests.faults.publisher import Publisher, key_of
from tests.faulty_server import FaultyServer
from tests.rabbitmq import requires_rabbitmq
from tests.slow.namespaces import network, requires_namespaces
from tests.slow.network_site import NetworkSite, network_site
from tests.slow.random_faults import STATES, Campaign

FAULTS = int(os.environ.get("FAULTS", "0"))  # noqa: TID251 - of the test
pytestmark = [
    pytest.mark.slow,
    requires_rabbitmq,
    requires_namespaces,
    pytest.mark.skipif(not FAULTS, reason="takes minutes for each fault: FAULTS=4"),
]
SEED = os.environ.get("FAULT_SEED", "20260302")  # noqa: TID251 - of the test

WEEKS = min(80, max(4, FAULTS // 4))


def undisturbed(folder: Path, server: str, weeks: int):
    """Return what is published after loads of the same weeks that nothing disturbs."""
    alone = Place.prepared("postgresql", folder, server)
    publisher = Publisher(weeks)
    with FaultyServer(publisher) as source:
        for state in STATES:
            for week in range(weeks):
                publisher.put(week, state)
            loaded(alone.job(source.url, *range(weeks)))
    return published(alone)


def verify_each_week_is_loaded_once(
    site: NetworkSite, campaign: Campaign, weeks: int, folder: Path
) -> None:
    """Verify that each run has ended once, and that each state of a week was loaded once."""
    now = {run.run_id: run.status for run in site.instance.get_runs()}
    assert now == campaign.ended
    assert site.instance.run_storage.claims.all() == {}
    weekly = landings.c.table_name == finra_otc_weekly.name
    found = databases.rows(site.place.url, select(landings.c.partition_key).where(weekly))
    assert Counter(key for (key,) in found) == {key_of(week): len(STATES) for week in range(weeks)}
    assert published(site.place) == undisturbed(folder / "alone", site.server.url, weeks)


@pytest.mark.parametrize("hosts", [2, 4])
def test_after_random_faults_each_run_has_ended_once_and_nothing_is_loaded_twice(
    hosts, tmp_path, monkeypatch, record_property
):
    tmp_path.chmod(0o755)
    with network() as net, network_site(net, tmp_path, monkeypatch, WEEKS) as (site, publisher):
        for _ in range(hosts):
            site.add_worker()
        campaign = Campaign(site, publisher, WEEKS, f"{SEED} {hosts}")
        campaign.run(FAULTS)
        for kind, seconds in sorted(campaign.recovery_seconds.items()):
            text = (
                f"{len(seconds)} of them, median {median(seconds):.0f} s, most {max(seconds):.0f} s"
            )
            record_property(kind, text)
            print(f"{hosts} hosts, {kind}: recovered {text}")  # noqa: T201 - the measure
        print(f"launched again: {campaign.relaunched_count}")  # noqa: T201 - the measure
        verify_each_week_is_loaded_once(site, campaign, WEEKS, tmp_path)

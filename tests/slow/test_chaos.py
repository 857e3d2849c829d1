"""A small part of `make chaos`, and its counts where something is lost or there twice."""

from contextlib import closing
from random import Random

import psycopg
import pytest

from tests.chaos.__main__ import settled_counts
from tests.chaos.counts import count_all, wrong
from tests.chaos.site import choose_weeks, running_site
from tests.chaos.strikes import Campaign, plan_strikes
from tests.postgres import new_folder
from tests.rabbitmq import requires_rabbitmq
from tests.slow.namespaces import requires_namespaces

pytestmark = [pytest.mark.slow, requires_rabbitmq, requires_namespaces]

PARTITIONS, SEED = 20, "20261130"

PLANTED = {
    "a load is lost": (
        "warehouse",
        "DELETE FROM landings WHERE group_id = (SELECT min(group_id) FROM landings)",
        ["partitions loaded", "landings"],
    ),
    "a load is there twice": (
        "warehouse",
        "INSERT INTO landings SELECT again.* FROM landings, jsonb_populate_record(landings, "
        """'{"group_id": "again"}') again LIMIT 1""",
        ["landings", "partitions loaded twice"],
    ),
    "a row is lost": (
        "warehouse",
        "DELETE FROM finra_otc_weekly WHERE symbol = 'S007' AND venue_id = 'YATS' AND week_start "
        "= (SELECT min(week_start) FROM finra_otc_weekly)",
        ["rows", "rows by their keys", "shares"],
    ),
    "an object is lost": (
        "warehouse",
        "UPDATE blobs SET storage_uri = 'lost' WHERE sha256 = (SELECT min(sha256) FROM blobs)",
        ["blobs without an object of their size"],
    ),
    "a run stays STARTED": (
        "dagster",
        "INSERT INTO runs (run_id, status, pipeline_name, run_body) "
        "VALUES ('r', 'STARTED', 'finra_otc_weekly', '')",
        ["runs STARTED"],
    ),
    "a claim stays": (
        "dagster",
        "INSERT INTO kvs (key, value) VALUES ('orchestration_project/claimed/r', 'alpha 1')",
        ["claims of runs"],
    ),
    "a slot stays": (
        "dagster",
        "INSERT INTO concurrency_slots (concurrency_key, run_id, deleted) "
        "VALUES ('pool', 'r', false)",
        ["slots of pools"],
    ),
}


@pytest.fixture(scope="module")
def ended():
    random = Random(SEED)  # noqa: S311 - of a test
    with (
        new_folder() as folder,
        running_site(folder, choose_weeks(PARTITIONS, random)) as site,
    ):
        campaign = Campaign(site, plan_strikes(site, 1, 1, random), random, print)
        campaign.run()
        lines = settled_counts(site, campaign)
        for host in site.hosts:
            host.end()
        yield campaign, lines


def test_after_each_kill_and_cut_nothing_is_lost_and_nothing_is_there_twice(ended):
    campaign, lines = ended
    site = campaign.site
    assert set(campaign.strike_count.values()) == {1}
    assert len(campaign.strike_count) == len(site.programs) + len(site.hosts)
    assert campaign.problems == []
    assert wrong(lines) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_lost_or_there_twice_is_counted(ended, planted):
    campaign, _ = ended
    site = campaign.site
    database, statement, names = PLANTED[planted]
    with (
        closing(psycopg.connect(site.warehouse_url)) as warehouse,
        closing(psycopg.connect(site.dagster_url)) as dagster,
    ):
        (warehouse if database == "warehouse" else dagster).execute(statement.encode())
        lines = count_all(warehouse, dagster, site.partitions, campaign.backfills, site.objects())
    assert wrong(lines) == names

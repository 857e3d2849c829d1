"""When sites are crawled: by the cron of each site file."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.assets.web import DAYS, SITE_FILES, crawl_jobs
from orchestration_project.domains.web.sites import Site, find_reason_not_to_crawl
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.ticks import plan_partition
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.crawl_status import why_off
from orchestration_project.sensors.definitions import build_run, schedule
from orchestration_project.services.flags import read_flags

PROFILE, NEEDS = "web", "WEB_SOURCE"


def site_schedule(site: Site) -> dg.ScheduleDefinition:
    """Return the schedule of a site that declares a cron; its runs are of the present UTC day."""
    name = f"web_{site.site}"

    @schedule(
        profile=PROFILE,
        needs=NEEDS,
        what=f"Crawl {site.base_url} for the present UTC day.",
        job=crawl_jobs[site.site],
        name=name,
        cron_schedule=str(site.schedule),
        execution_timezone=site.timezone,
    )
    def crawl_site(
        _: dg.ScheduleEvaluationContext,
        clock: dg.ResourceParam[Clock],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.RunRequest | dg.SkipReason:
        day = clock.today("UTC").isoformat()
        flags = read_flags(warehouse, clock.now(), site.flag) if site.flag else None
        reason = find_reason_not_to_crawl(
            day,
            is_partition=DAYS.has_partition_key(day),
            why_off=why_off(site, day, flags) if flags is not None else "",
        )
        return build_run(plan_partition(day, reason))

    return crawl_site


site_schedules: Sequence[dg.ScheduleDefinition] = [
    site_schedule(site) for site in SITE_FILES.sites.values() if site.schedule is not None
]

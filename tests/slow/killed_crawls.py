"""`python -m tests.slow.killed_crawls`: crawls in processes that a test kills.

Each line of the input is the URL of a server and a day. A fork of this process, which has imported
everything, crawls; its process ID is printed first, and its status when it has ended. WEB_SITES_DIR
is empty: a site file that is read starts threads of polars, which a fork does not have.
"""

import os
import sys
from datetime import date

import dagster as dg
import yaml

from orchestration_project.assets import web
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings
from tests.resources.definitions import RESOURCES

SITE = {
    "site": "killed",
    "base_url": "http://shop.demo",
    "start": ["/list/1"],
    "follow": [{"css": ".piece a", "max_depth": 1}],
    "paging": {"rel_next": True},
    "item": {
        "pages": r"/piece/\d+$",
        "key": ["sku"],
        "fields": {"sku": {"css": ".sku", "required": True}},
    },
    "politeness": {"requests_per_second": 1000, "concurrency": 4},
}


def crawl(server: str, day: date) -> bool:
    """Crawl the site of a server; return whether the run succeeded."""
    site: Site = read_site(yaml.safe_dump(SITE))
    access = WebAccess(WebSettings.of(load_settings()), lambda: server)
    result = dg.materialize(
        [web.build_site_assets(site)],
        partition_key=day.isoformat(),
        resources={**RESOURCES, "web": access},
        raise_on_error=False,
    )
    return result.success


def main() -> None:
    """Crawl once for each line."""
    for line in sys.stdin:
        server, day = line.split()
        process = os.fork()
        if not process:
            os._exit(not crawl(server, date.fromisoformat(day)))
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The assets of sites: pages and items of a UTC day for each site file, and what they share."""

from orchestration_project.assets.web.crawls import (
    CRAWLS,
    DAYS,
    SHARED,
    SITE_FILES,
    SITES,
    build_site_assets,
    check_job,
    check_sites,
    crawl_jobs,
    sites,
)

__all__ = [
    "CRAWLS",
    "DAYS",
    "SHARED",
    "SITES",
    "SITE_FILES",
    "build_site_assets",
    "check_job",
    "check_sites",
    "crawl_jobs",
    "sites",
]

"""Crawls of a local site: ours, Scrapy, a bare loop, parsing, an unchanged site, the frontier."""

from benchmarks.bench import Bench, Report
from benchmarks.child import call
from benchmarks.report import Line, at_least, at_most, informative_line, line
from benchmarks.rig import Place
from benchmarks.web_source import web_source

SIDES = "benchmarks.web_sides"
HOSTS = 50
LARGE = 10
"""Times as many pages as of the usual site, for memory."""


def web(bench: Bench) -> list[Line]:
    """Speed and memory of crawls, with 16 requests in flight on all sides."""
    pages = bench.sizes.web_pages
    with web_source(pages) as server:
        found = bench.in_turns(
            {
                "ours": lambda: _crawl(bench, server, pages, days=2),
                "scrapy": lambda: call(f"{SIDES}:scrapy", {}, server=server, pages=pages),
                "bare": lambda: _bare(bench, server, pages),
            }
        )
    speeds = {name: [_speed(each) for each in some] for name, some in found.items()}
    parsed = bench.in_turns({"both": lambda: call(f"{SIDES}:parsing", {}, pages=pages)})["both"]
    note = f"{pages:,} pages of 20 KB; ours also keeps and loads every byte"
    return [
        line(
            "crawl, against Scrapy",
            "pages/s",
            speeds["ours"],
            speeds["scrapy"],
            at_least(2),
            note=note,
        ),
        line(
            "crawl, against a bare loop", "pages/s", speeds["ours"], speeds["bare"], at_least(0.5)
        ),
        line(
            "parsing of pages, against bare selectolax",
            "pages/s",
            [each["ours"] for each in parsed],
            [each["bare"] for each in parsed],
            at_least(0.8),
        ),
        line(
            "crawl of an unchanged site, against its first",
            "s",
            [each["later_seconds"] for each in found["ours"]],
            [each["seconds"] for each in found["ours"]],
            at_most(0.5),
        ),
        _memory(bench, pages, found["ours"]),
        *_frontier(bench),
    ]


def _speed(report: Report) -> float:
    return report["pages"] / report["seconds"]


def _environment(place: Place) -> dict[str, str]:
    return {
        "STATE_DIR": str(place.state),
        "DAGSTER_HOME": str(place.state / "dagster"),
        "DATABASE_URL": str(place.database_url),
        "DATA_PROFILE": "demo",
        "LOG_LEVEL": "ERROR",
    }


def _crawl(bench: Bench, server: str, pages: int, *, days: int) -> Report:
    with bench.rig.place() as place:
        return call(f"{SIDES}:crawl", _environment(place), server=server, pages=pages, days=days)


def _bare(bench: Bench, server: str, pages: int) -> Report:
    with bench.rig.place() as place:
        folder = str(place.state)
        return call(f"{SIDES}:bare", {}, server=server, pages=pages, folder=folder)


def _memory(bench: Bench, pages: int, small: list[Report]) -> Line:
    with web_source(pages * LARGE) as server:
        large = _crawl(bench, server, pages * LARGE, days=1)
    return line(
        f"peak memory of a crawl of {pages * LARGE:,} pages, against {pages:,}",
        "MiB",
        [large["peak_mebibytes"]],
        [each["peak_mebibytes"] for each in small],
        at_most(1.1),
    )


def _frontier(bench: Bench) -> list[Line]:
    with bench.rig.place() as place:
        pages = bench.sizes.web_frontier
        found = call(f"{SIDES}:frontier", _environment(place), pages=pages, hosts=HOSTS)
    note = f"{found['pages']:,} URLs on {HOSTS} hosts are found, claimed and settled"
    return [
        informative_line("frontier of crawls", "s", found["seconds"], note=note),
        informative_line("frontier of crawls, speed", "URLs/s", _speed(found), note=note),
        informative_line("frontier of crawls, peak memory", "MiB", found["peak_mebibytes"]),
    ]

"""Assets of sites: for each site file, the pages of a day's crawl and the items made of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Connection, Table, select, update

from orchestration_project.assets.specs import SETTINGS, SOURCE, build_asset_spec, build_utc_days
from orchestration_project.assets.web.checks import build_item_checks, iterate_check_results
from orchestration_project.assets.web.shared import (
    GROUP,
    OWNERS,
    block_result,
    block_spec,
    build_specs,
    load_failure,
    report_changes,
    report_crawl,
    report_exports,
)
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_items, web_pages
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.leases import has_ended, is_at_work
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import Warehouse, WriteResult
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.resources.web.access import SiteAccess, WebAccess, site_guard
from orchestration_project.resources.web.checking import address_problems
from orchestration_project.resources.web.crawl import (
    NO_PAUSE,
    SLICE_PAGES,
    CrawlQueue,
    CrawlState,
    left_count,
)
from orchestration_project.resources.web.crawl_status import require_flag, topic_of
from orchestration_project.resources.web.item_exports import deliver_items
from orchestration_project.resources.web.items import LoadedItems, load_items
from orchestration_project.resources.web.login import sign_in
from orchestration_project.resources.web.proposals import apply_accepted
from orchestration_project.resources.web.rendering import BrowserAccess, open_engine
from orchestration_project.resources.web.retention import forget_old_pages
from orchestration_project.resources.web.site_lease import SiteLease, hold_site
from orchestration_project.resources.web.sites import SiteFiles, site_files_of
from orchestration_project.resources.web.slices import SliceLoader
from orchestration_project.services.delivery_evidence import describe_rejects
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import (
    build_result,
    build_schema,
    check_spec,
    redact_table,
)
from orchestration_project.tables.schema import USD_SCALE

FIRST_DAY = date(2026, 1, 1)
VALID_CHECK = "files_are_valid"
PAGE_TIME = timedelta(seconds=5)
MAX_PAGES_PER_RUN = 1_000_000

SITE_FILES: SiteFiles = site_files_of(WebSettings.of(SETTINGS))
"""Site files as this process found them; assets follow a change after a reload."""


DAYS = build_utc_days(FIRST_DAY)
SITES = dg.AssetKey([GROUP, "sites"])

SITE_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn("site", "text", "Name of the site, and of its file"),
        dg.TableColumn("declaration", "text", "Declaration of requests and items, YAML"),
    ]
)

PAGE_SOURCES = {
    name: "site" if name == "site" else "declaration"
    for name in derive_schema(web_pages)
    if name not in ("capture_id", "known_from")
}
ITEM_SOURCES = {"site": "site", "item_key": "sha256", "url": "final_url", "payload": "sha256"}
"""Columns, and those of the asset before that they come from."""

sites = build_asset_spec(
    SITES,
    "One site file per site, in WEB_SITES_DIR.",
    SITE_COLUMNS,
    SOURCE,
    owners=OWNERS,
)
"""Nothing makes it here: people write the files."""


@dg.multi_asset_check(
    name="web_validate_site_files",
    specs=[
        check_spec(
            VALID_CHECK,
            asset=SITES,
            description="Every site file is valid. A file that is not has no assets.",
            severity=dg.AssetCheckSeverity.ERROR,
            limit="0 invalid files",
            remedy="correct the lines that it names; reload the code location",
        )
    ],
)
def check_sites(settings: dg.ResourceParam[WebSettings]) -> Iterator[dg.AssetCheckResult]:
    """Report site files that are invalid, with the line, or whose addresses are refused."""
    web = WebSettings.of(settings)
    site_files, guard = site_files_of(web), site_guard(web)
    problems = [f"{name}: {problem}" for name, problem in site_files.problems.items()]
    problems += [
        f"{name}.yaml: {problem}"
        for name, site in site_files.sites.items()
        for problem in address_problems(site, guard)
    ]
    metadata: Mapping[str, Any] = {"outcome": f"{len(site_files.sites)} valid site files"}
    if problems:
        metadata = {
            "outcome": f"{len(problems)} invalid site files",
            "expected": "valid site files",
            "found": "; ".join(problems),
            "what_to_do": "correct the lines; reload the code location",
        }
    severity = dg.AssetCheckSeverity.ERROR
    yield build_result(SITES, VALID_CHECK, metadata, severity, passed=not problems)


check_job = dg.define_asset_job(
    "web_check_sites",
    selection=dg.AssetSelection.checks_for_assets(SITES),
    description="Reads the site files, and reports each that is invalid with its line.",
    tags={"domain": GROUP},
)


def _build_lineage(source: dg.AssetKey, columns: Mapping[str, str]) -> Mapping[str, Any]:
    column_deps = {name: [dg.TableColumnDep(source, of)] for name, of in columns.items()}
    return {"dagster/column_lineage": dg.TableColumnLineage(column_deps)}


def build_site_assets(site: Site) -> dg.AssetsDefinition:
    """Return the assets of a site: its pages of a day, and its items."""
    pages, items = (dg.AssetKey([GROUP, f"{site.site}_{noun}"]) for noun in ("pages", "items"))

    @dg.multi_asset(
        name=f"web_crawl_{site.site}",
        specs=_build_site_specs(site, pages, items),
        check_specs=[block_spec(pages, site.owner), *build_item_checks(items)],
        partitions_def=DAYS,
    )
    def crawl(
        context: dg.AssetExecutionContext,
        artifacts: dg.ResourceParam[ArtifactStore],
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[WebSettings],
        warehouse: dg.ResourceParam[Warehouse],
        web: dg.ResourceParam[WebAccess],
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        """Crawl the site for a day, or continue; then load the items of its captured pages."""
        require_flag(site, context.partition_key, warehouse, clock.now())
        run = _Crawl(context, apply_accepted(warehouse, site), artifacts, clock, warehouse, web)
        with run.site_held():
            outcome = run.crawl()
            metadata = {**outcome, **_link_rows(web_pages, site)}
            blocks = [block_result(pages, site.owner, outcome)]
            yield dg.MaterializeResult(asset_key=pages, metadata=metadata, check_results=blocks)
            is_complete = outcome["crawl_outcome"] == "complete"
            loaded = run.items(is_complete=is_complete)
            report_crawl(context, warehouse, site.site)
            yield from iterate_check_results(items, loaded.audits)
            if isinstance(loaded.outcome, OrchestrationError):
                raise load_failure(warehouse, items, loaded.outcome)
            metadata = {**_describe_load(warehouse, loaded), **_link_rows(web_items, site)}
            if is_complete:
                metadata |= run.deliver(Surroundings(WebSettings.of(settings), artifacts))
            yield dg.MaterializeResult(asset_key=items, metadata=metadata)
            if isinstance(loaded.outcome, WriteResult):
                report_changes(context, warehouse, site.site, loaded.outcome.known_from)

    return crawl


def _build_site_specs(site: Site, pages: dg.AssetKey, items: dg.AssetKey) -> list[dg.AssetSpec]:
    return [
        build_asset_spec(
            pages,
            f"One row per URL of {site.base_url}: its fetches.",
            build_schema(web_pages.columns),
            "table",
            SITES,
            owners=[site.owner],
            **_build_lineage(SITES, PAGE_SOURCES),
        ),
        build_asset_spec(
            items,
            f"One row per item of {site.base_url}.",
            build_schema(web_items.columns),
            "silver",
            pages,
            owners=[site.owner],
            **_build_lineage(pages, ITEM_SOURCES),
        ),
    ]


def _link_rows(table: Table, site: Site) -> Mapping[str, Any]:
    """Return the link to the rows of a site."""
    return {"table_rows": link(build_rows_path(table.name, f"site={site.site}"))}


class _Crawl:
    """A run of the crawl of a site and day."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        site: Site,
        artifacts: ArtifactStore,
        clock: Clock,
        warehouse: Warehouse,
        web: WebAccess,
    ) -> None:
        self._lease: SiteLease
        self._context = context
        self._site = site
        self._captures = Captures(artifacts)
        self._clock = clock
        self._warehouse = warehouse
        self._web = web
        self._day = date.fromisoformat(context.partition_key)
        self._run_id = context.run.run_id

    @contextmanager
    def site_held(self) -> Iterator[None]:
        """Let no other run crawl the site, of any day, until the end of the block.

        Raises:
            Failure: Another run crawls it.
        """
        ended = partial(has_ended, self._context.instance)
        with ExitStack() as stack:
            opened = hold_site(
                self._warehouse, self._site.site, run_id=self._run_id, has_ended=ended
            )
            try:
                self._lease = stack.enter_context(opened)
            except TransientError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            yield

    def crawl(self) -> Mapping[str, Any]:
        """Visit the URLs that wait; return the metadata of the crawl."""
        items = WorkItems(self._warehouse, self._clock, pauses=NO_PAUSE)
        topic = topic_of(self._site.site, self._day)
        items.end_leases(topic, self._run_id.__eq__)  # this run alone holds the site
        items.retry(topic)  # what failed in earlier runs, or when they were killed
        with open_engine(self._web, self._site, self._warehouse, self._clock) as access:
            state = CrawlState.of(self._site.budget)
            loader = SliceLoader(
                site=self._site,
                day=self._day,
                access=access,
                warehouse=self._warehouse,
                captures=self._captures,
                clock=self._clock,
                run_id=self._run_id,
                state=state,
                items=items,
                lease=self._lease,
            )
            with self._warehouse.writing() as connection:
                loader.begin(connection)
                spent = self._row(connection)
            state.spend(spent["request_count"], spent["byte_count"], spent["seconds"])
            pages = access.pages if isinstance(access, BrowserAccess) else access
            self._sign_in(pages, state, topic)
            for _ in run_items(
                self._context,
                loader,
                items=CrawlQueue(items, state),
                database=self._warehouse,
                clock=self._clock,
                batches=ItemBatches(topic, PAGE_TIME, SLICE_PAGES, MAX_PAGES_PER_RUN),
            ):
                pass
        return self._end(topic, state)

    def _sign_in(self, access: SiteAccess, state: CrawlState, topic: str) -> None:
        with self._warehouse.reading() as connection:
            if not left_count(connection, topic):
                return
        made = sign_in(access, state)
        state.spend(made, 0)
        counted = {"request_count": web_crawls.c.request_count + made}
        with self._warehouse.writing() as connection:
            connection.execute(update(web_crawls).where(*self._own).values(counted))

    def items(self, *, is_complete: bool) -> LoadedItems:
        """Load the items of the crawl's pages."""
        return load_items(
            self._site,
            self._day,
            is_complete=is_complete,
            warehouse=self._warehouse,
            captures=self._captures,
            scratch=self._web.scratch,
            clock=self._clock,
            run_id=self._run_id,
            mask_key=self._web.mask_key,
        )

    def deliver(self, given: Surroundings) -> Mapping[str, Any]:
        """Deliver the items as the site file says; return the metadata of the deliveries."""
        results = deliver_items(
            self._site,
            given,
            warehouse=self._warehouse,
            clock=self._clock,
            run_id=self._run_id,
            is_under_way=partial(is_at_work, self._context.instance),
        )
        return report_exports(self._context, results)

    def _end(self, topic: str, state: CrawlState) -> Mapping[str, Any]:
        with self._warehouse.writing() as connection:
            self._lease.require(connection)
            left = left_count(connection, topic)
            outcome, reason = _judge_crawl(state, left, self._row(connection)["left_out_count"])
            values = {
                "outcome": outcome,
                "reason": reason,
                "ended_at": self._clock.now(),
                "seconds": web_crawls.c.seconds + state.lap(),
            }
            connection.execute(update(web_crawls).where(*self._own).values(values))
            forget_old_pages(connection, self._site, self._clock.now())
            row = self._row(connection)
        return {
            "crawl_outcome": outcome,
            "request_count": row["request_count"],
            "page_count": row["page_count"],
            "bytes": row["byte_count"],
            "seconds": round(row["seconds"], 3),
            **({"cost": row["cost"] / 10**USD_SCALE} if row["cost"] else {}),
            "left_count": left,
            **({"reason": reason} if reason else {}),
        }

    @property
    def _own(self) -> Sequence[Any]:
        return web_crawls.c.site == self._site.site, web_crawls.c.day == self._day

    def _row(self, connection: Connection) -> Mapping[str, Any]:
        row = connection.execute(select(web_crawls).where(*self._own)).mappings().one()
        return {str(name): value for name, value in row.items()}


def _judge_crawl(state: CrawlState, left: int, left_out_count: int) -> tuple[str, str | None]:
    """Return how a crawl ended, and why where it is not complete."""
    if state.stop:
        return state.stop, state.reason
    if left and state.is_spent():
        return "budget", f"the limit of {state.spent_limit()} is reached; {left} URLs are left"
    if left_out_count:
        return "budget", f"the limit of urls is reached; {left_out_count} links are left out"
    return ("stopped", f"{left} URLs failed or are left") if left else ("complete", None)


def _describe_load(warehouse: Warehouse, loaded: LoadedItems) -> Mapping[str, Any]:
    written = loaded.outcome
    carried: Mapping[str, Any] = {}
    if loaded.carried and loaded.carried.count:
        carried = {
            "carried_count": loaded.carried.count,
            "carried_items": redact_table(loaded.carried.as_metadata()),
        }
    if not isinstance(written, WriteResult):
        return {"outcome": "nothing to load", "item_count": loaded.item_count, **carried}
    return {
        **carried,
        "outcome": written.in_words,
        "item_count": loaded.item_count,
        "reject_count": loaded.reject_count,
        "rows_added": written.rows_added,
        "rows_changed": written.rows_changed,
        "rows_removed": written.rows_removed,
        **(describe_rejects(warehouse, written.group_id) if loaded.reject_count else {}),
    }


SHARED = build_specs(*(dg.AssetKey([GROUP, f"{name}_items"]) for name in SITE_FILES.sites))
CRAWLS = {name: build_site_assets(site) for name, site in SITE_FILES.sites.items()}

crawl_jobs = {
    name: dg.define_asset_job(
        f"web_{name}",
        selection=dg.AssetSelection.assets(made),
        description=f"Crawls {SITE_FILES.sites[name].base_url} for a UTC day, and loads its items.",
        tags={"domain": GROUP},
    )
    for name, made in CRAWLS.items()
}

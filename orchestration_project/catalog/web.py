"""Web: sites that YAML files declare, crawled politely, with their items."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.tables import web_items, web_pages
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import DemoProgram
from orchestration_project.engine.contracts.exports import DeclaredExport
from orchestration_project.engine.contracts.flags import FlagUse
from orchestration_project.engine.contracts.pipelines import DAY
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.contracts.subjects import MIN_MASKED_CHARACTERS, SubjectKind
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import (
    CommandModule,
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Environment,
    Job,
    PartitionedTable,
)
from orchestration_project.resources.web.crawl_status import TOPIC_PREFIX, missed_days
from orchestration_project.resources.web.equations import EQUATIONS
from orchestration_project.resources.web.item_exports import export_targets, item_exports
from orchestration_project.resources.web.page_bytes import SOURCE
from orchestration_project.resources.web.proposals import ACCEPT_JOB, ACCEPT_OP, read_open_proposals
from orchestration_project.resources.web.sites import site_files_of
from orchestration_project.services.cleanup.retention import DomainRetention, RetentionReader
from orchestration_project.services.erasure.requests import SubjectKinds
from orchestration_project.services.exports import FileExports
from orchestration_project.services.flags import FlagUses
from orchestration_project.services.status import Deadlines, ItemTopics, ProposalReader
from orchestration_project.settings import Settings, switched_off

if TYPE_CHECKING:
    from orchestration_project.resources.web.access import WebAccess

DEMO_MODULE = "orchestration_demo.shop"
DEMO_FOLDER = "demo_shop"


def shop_demo(settings: WebSettings) -> DemoProgram:
    """Return the shop of this STATE_DIR."""
    return DemoProgram(
        DEMO_MODULE,
        settings.state_path / DEMO_FOLDER,
        {
            "state_dir": str(settings.state_path),
            "products": settings.demo_shop_products,
            "new_layout_from": settings.demo_shop_new_layout_from.isoformat(),
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.demo_clock_now.isoformat() if settings.demo_clock_now else None,
        },
    )


@contextmanager
def _open(given: Environment) -> "Iterator[WebAccess]":
    from orchestration_project.resources.web.access import WebAccess

    settings = WebSettings.of(given.settings)
    if settings.web_source is None:
        raise switched_off("Web", "WEB_SOURCE", "http")
    if settings.web_source == "http" and settings.web_contact is None:
        raise ConfigurationError(
            "crawls have no contact",
            expected="an address or URL in WEB_CONTACT",
            found="none",
            remedy="set WEB_CONTACT, e.g. https://example.org/crawls",
        )
    yield WebAccess(settings, lambda: shop_demo(settings).url())


def _count_site_files(_: "WebAccess", given: Environment) -> str:
    site_files = site_files_of(WebSettings.of(given.settings))
    return f"{len(site_files.sites)} site files are valid, {len(site_files.problems)} are not"


def _explain_unused(settings: Settings) -> str:
    is_off = WebSettings.of(settings).web_source is None
    return "WEB_SOURCE is not set: no site is crawled" if is_off else ""


def _find_missed(settings: Settings, warehouse: Warehouse, clock: Clock) -> Sequence[OldestMissing]:
    if _explain_unused(settings):
        return []
    files = site_files_of(WebSettings.of(settings))
    return missed_days(warehouse, files.sites.values(), clock.now())


def _read_retention(settings: Settings) -> DomainRetention:
    files = site_files_of(WebSettings.of(settings))
    captures_days = {name: site.retention.captures_days for name, site in files.sites.items()}
    days_of = {(SOURCE, name): days for name, days in captures_days.items() if days is not None}
    return DomainRetention(captured_days=days_of)


def _list_exports(settings: Settings) -> Mapping[str, DeclaredExport]:
    try:
        chosen = WebSettings.of(settings)
    except ConfigurationError:
        return {}  # the check of the domain's settings reports it
    targets = export_targets(chosen)
    return {
        name: declared
        for site in site_files_of(chosen).sites.values()
        for name, declared in item_exports(site, targets).items()
    }


def _list_flag_uses(settings: Settings) -> Sequence[FlagUse]:
    try:
        files = site_files_of(WebSettings.of(settings))
    except ConfigurationError:
        return []  # the check of the domain's settings reports it
    return [FlagUse(site.flag, f"site {name}") for name, site in files.sites.items() if site.flag]


PERSON = SubjectKind(
    name="person",
    description="text that names a person on pages, such as an e-mail address; "
    f"{MIN_MASKED_CHARACTERS} characters at least",
)
"""Persons on pages, for erasures: they are masked in items, changes and captured pages."""


CONNECTION = Connection(
    description="Requests of sites: robots.txt, rates and guard.",
    shown_name="the site files",
    open=_open,
    preflight="web",
    probe=_count_site_files,
    tried=lambda _: "read the site files",
    unused=_explain_unused,
)


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import web
    from orchestration_project.assets.web.proposals import (
        accept_job,
        propose_job,
        propose_selectors,
    )
    from orchestration_project.assets.web.replay import replay_job
    from orchestration_project.assets.web.switch import set_web_switch, switch_job
    from orchestration_project.resources.web.page_bytes import RECOVERIES
    from orchestration_project.sensors.web import site_schedules

    return DomainDefinitions(
        assets=[
            web.sites,
            *web.CRAWLS.values(),
            *web.SHARED,
            set_web_switch,
            propose_selectors,
        ],
        asset_checks=[web.check_sites],
        jobs=[
            Job(definition=web.check_job, parameters=()),
            Job(definition=switch_job),
            Job(definition=replay_job),
            Job(definition=propose_job),
            Job(definition=accept_job),
            *(Job(definition=job, parameters=(DAY,)) for job in web.crawl_jobs.values()),
        ],
        schedules=site_schedules,
        registrations=RECOVERIES,
    )


WEB = Domain(
    name="web",
    source_setting="web_source",
    define=_build_definitions,
    tables=[
        PartitionedTable(
            table=table, scope_of=lambda key: {"site": key}, partitions_of=lambda *_: None
        )
        for table in (web_pages, web_items)
    ],
    state_paths=[DEMO_FOLDER],
    registrations=[
        CommandModule(command="load", name="web", module="orchestration_project.cli.web_run"),
        CommandModule(
            command="replay", name=web_items.name, module="orchestration_project.cli.web_replay"
        ),
        ConnectionMaker(lambda: {"web": CONNECTION}),
        Deadlines(_find_missed),
        *EQUATIONS,
        FileExports(_list_exports),
        FlagUses(_list_flag_uses),
        ItemTopics(prefix=TOPIC_PREFIX, open=WorkItems),
        ProposalReader(partial(read_open_proposals, accept=(ACCEPT_JOB, ACCEPT_OP))),
        RetentionReader(_read_retention),
        SubjectKinds(lambda _: [PERSON]),
    ],
)

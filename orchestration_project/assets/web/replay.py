"""Replays of items: captured pages of a site are read again, under its rules or those of a file."""

from collections.abc import Generator, Mapping
from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.web.checks import iterate_check_results
from orchestration_project.assets.web.crawls import GROUP, SITE_FILES
from orchestration_project.assets.web.shared import load_failure
from orchestration_project.domains.web.differences import ItemDiff
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, report_dry_run, show_configured
from orchestration_project.engine.warehouse import Warehouse, WriteResult
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    UnknownNameError,
)
from orchestration_project.resources.web.held import HeldPages
from orchestration_project.resources.web.items import LoadedItems, load_items
from orchestration_project.resources.web.proposals import apply_accepted
from orchestration_project.resources.web.replaying import day_of_replay, preview_replay
from orchestration_project.services.metadata import build_evaluation, redact_table

REPLAY_JOB, REPLAY_OP = "web_replay", "replay_web_items"

ReplayEvent = dg.AssetMaterialization | dg.AssetCheckEvaluation

MAX_ROWS_LISTED = 200
"""Differences that a table lists; the counts are of all."""


class ItemReplay(JobOptions):
    """Captured pages that are read again, and the rules."""

    site: str = Field(examples=["shop"], description="Site, as its file is named.")
    day: str | None = Field(
        default=None,
        examples=["2026-11-02"],
        description="UTC day of the crawl; default: the latest complete crawl.",
    )
    declaration: str | None = Field(
        default=None,
        examples=["site: shop\n..."],
        description="Text of a site file whose rules are used; default: the site file, with "
        "accepted proposals.",
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only list the differences; false loads the items."
    )
    allow_drift: bool = Field(
        default=False,
        description="Whether audits against earlier crawls only warn; for a change that is right.",
    )


show_configured(ItemReplay, "site", sorted(SITE_FILES.sites))


def find_site(name: str) -> Site:
    """Return the site of a name, as its file declares it.

    Raises:
        ConfigurationError: No valid site file has that name.
    """
    if name not in SITE_FILES.sites:
        raise UnknownNameError(
            f"unknown site {name!r}",
            expected=f"a site with a valid file: {', '.join(SITE_FILES.sites) or 'none'}",
            found=SITE_FILES.problems.get(f"{name}.yaml", ""),
            remedy="correct the name, or the site file",
        )
    return SITE_FILES.sites[name]


def read_day(text: str | None) -> date | None:
    """Return a day of a run's config.

    Raises:
        ConfigurationError: It is not one.
    """
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"invalid day {text!r}: expected a date, e.g. 2026-11-02"
        ) from None


@dg.op(name=REPLAY_OP, out=dg.Out(dg.Nothing))
def replay_items(
    context: dg.OpExecutionContext,
    config: ItemReplay,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[WebSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Generator[ReplayEvent, None, None]:
    """List how items of captured pages differ from the loaded ones, and load them if asked."""
    captures = Captures(artifacts)
    site = (
        read_site(config.declaration)
        if config.declaration
        else apply_accepted(warehouse, find_site(config.site))
    )
    if site.site != config.site:
        raise ConfigurationError(
            f"invalid declaration: expected site: {config.site}, found site: {site.site}"
        )
    day = day_of_replay(warehouse, captures, site.site, read_day(config.day))
    reported = report_dry_run(context.log, "no item is loaded", is_dry_run=config.dry_run)
    replay = SiteReplay(context, site, day, captures, clock, settings, warehouse)
    metadata: dict[str, Any] = {**reported, **replay.preview()}
    if not config.dry_run:
        metadata |= yield from replay.load(allow_drift=config.allow_drift)
    context.add_output_metadata(metadata)


class SiteReplay:
    """Replay of a day's captured pages of a site.

    Args:
        context: The run.
        site: Declaration by which items are extracted.
        day: The day.
        captures: Has the pages.
        clock: Says when the items are loaded.
        settings: Where temporary files lie, and the key that masks.
        warehouse: Has the items.
    """

    def __init__(
        self,
        context: dg.OpExecutionContext,
        site: Site,
        day: date,
        captures: Captures,
        clock: Clock,
        settings: WebSettings,
        warehouse: Warehouse,
    ) -> None:
        self._context, self._site, self._day = context, site, day
        self._captures, self._clock, self._warehouse = captures, clock, warehouse
        self._scratch = settings.scratch_path
        self._mask_key = WebSettings.of(settings).mask_key

    @property
    def _items(self) -> dg.AssetKey:
        return dg.AssetKey([GROUP, f"{self._site.site}_items"])

    def preview(self) -> Mapping[str, Any]:
        """Return metadata of how the items differ from the loaded ones."""
        preview = preview_replay(
            self._site,
            self._day,
            warehouse=self._warehouse,
            captures=self._captures,
            scratch=self._scratch,
            mask_key=self._mask_key,
        )
        return {
            "day": self._day.isoformat(),
            "page_count": preview.page_count,
            "item_count": preview.item_count,
            "reject_count": preview.reject_count,
            "change": preview.diff.in_words,
            "differences": render_differences(preview.diff),
        }

    def load(self, *, allow_drift: bool) -> Generator[ReplayEvent, None, dict[str, Any]]:
        """Load the items as a delivery, with their checks; return its counts.

        Raises:
            Failure: The delivery is quarantined, or a later crawl's items are loaded.
        """
        loaded = self._load_items(allow_drift=allow_drift)
        for result in iterate_check_results(self._items, loaded.audits):
            yield build_evaluation(result)
        outcome = self._require_written(loaded)
        counts = {
            "outcome": outcome.in_words,
            "rows_added": outcome.rows_added,
            "rows_changed": outcome.rows_changed,
            "rows_removed": outcome.rows_removed,
        }
        item_counts = {"item_count": loaded.item_count, "reject_count": loaded.reject_count}
        yield dg.AssetMaterialization(
            asset_key=self._items,
            partition=self._day.isoformat(),
            metadata={**counts, **item_counts},
        )
        return counts

    def _load_items(self, *, allow_drift: bool) -> LoadedItems:
        pages = HeldPages(self._warehouse, self._captures)
        return load_items(
            self._site,
            self._day,
            is_complete=pages.is_complete(self._site.site, self._day),
            warehouse=self._warehouse,
            captures=self._captures,
            scratch=self._scratch,
            clock=self._clock,
            run_id=self._context.run_id,
            mask_key=self._mask_key,
            allow_drift=allow_drift,
        )

    def _require_written(self, loaded: LoadedItems) -> WriteResult[Any]:
        """Return the written rows of a load.

        Raises:
            Failure: It wrote nothing.
        """
        if isinstance(loaded.outcome, OrchestrationError):
            raise load_failure(self._warehouse, self._items, loaded.outcome)
        if not isinstance(loaded.outcome, WriteResult):
            raise dg.Failure(
                f"nothing was loaded: the items of a later complete crawl of {self._site.site} "
                "are loaded; what to do: replay the latest crawl",
                allow_retries=False,
            )
        return loaded.outcome


def render_differences(diff: ItemDiff) -> dg.TableMetadataValue:
    """Return the first differences as a table."""
    return redact_table(row._asdict() for row in diff.rows[:MAX_ROWS_LISTED])


@dg.job(
    name=REPLAY_JOB,
    description=describe_job(
        "Extracts items of captured pages again, and lists or loads what differs; no request.",
        REPLAY_OP,
        ItemReplay,
    ),
    tags={"domain": GROUP},
)
def replay_job() -> None:
    """Replay the items of a site."""
    replay_items()

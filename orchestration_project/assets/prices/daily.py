"""Daily prices: captured, checked and loaded symbol by symbol, reported month by month."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.prices.catalogue import (
    CAPTURE,
    DAILY,
    MONTHS,
    QUOTES,
    SYMBOL_MONTHS,
    asset_spec,
    build_table_spec,
)
from orchestration_project.assets.prices.loading import (
    LOAD_OP,
    PRICES_LOADING,
    PricesLoad,
    build_limits,
)
from orchestration_project.assets.prices.months import MonthSummary, summarize_by_month
from orchestration_project.assets.specs import FRESHNESS_CHECK, check_approval
from orchestration_project.domains.prices.audits import AUDITS, HELP, SECOND_SOURCE, WARNINGS
from orchestration_project.domains.prices.days import VALUES
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import prices_daily, prices_symbol_months
from orchestration_project.engine.announcements import UNCHANGED
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import COMPLETE_AUDIT, summarize_audits
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.dataset import NOT_REQUESTED
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.loads import (
    BatchLoad,
    SingleItemLoad,
    record_run_balances,
    refuse_unused_options,
)
from orchestration_project.engine.runner import AssetEvent, Checked, ItemPlan, Report, load_pieces
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.prices.load import PriceLoad
from orchestration_project.resources.prices.replay import PriceReplay
from orchestration_project.resources.prices.second_source import failing_second_source
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.universe import LISTED_DAILY, wanted_symbols
from orchestration_project.resources.prices.writing import HOW_TO_REQUEST, LoadedPrices
from orchestration_project.services.delivery_evidence import (
    collect_evidence,
    describe_rejects,
    describe_run_balance,
)
from orchestration_project.services.metadata import (
    build_schema,
    build_table,
    check_result,
    check_spec,
    label_data,
)
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.tables.spine import captures

OPEN_SHOWN = 50
"""Symbols that are not loaded, in the metadata of a month: an event stays below 100 KB."""

BLOCKING = AUDITS | COMPLETE_AUDIT
SEVERITY = dict.fromkeys(BLOCKING, dg.AssetCheckSeverity.ERROR) | dict.fromkeys(
    WARNINGS, dg.AssetCheckSeverity.WARN
)
SPECS = [
    asset_spec(
        CAPTURE,
        "One object per answer of a source of prices, its bytes unchanged, and one row per fetch "
        "in `captures`; an answer serves all months that were requested.",
        build_schema(captures.columns),
        "bronze",
        QUOTES,
    ),
    build_table_spec(
        DAILY,
        prices_daily,
        "silver",
        CAPTURE,
        QUOTES,
        made_of={
            "symbol": [(CAPTURE, "partition_key")],
            "source": [(CAPTURE, "source")],
            **{name: [(QUOTES, name)] for name in VALUES},
            "later_splits": [(QUOTES, "split_ratio")],
        },
    ),
    asset_spec(
        SYMBOL_MONTHS,
        str(prices_symbol_months.comment),
        build_schema(prices_symbol_months.columns),
        "state",
        DAILY,
        **{"dagster/table_name": prices_symbol_months.name},
    ),
]


@dg.multi_asset(
    name=LOAD_OP,
    specs=[each.replace_attributes(skippable=True) for each in SPECS],  # a month may have no row
    check_specs=[
        check_spec(
            name,
            asset=DAILY,
            description=claim,
            severity=SEVERITY[name],
            remedy=HELP[name].remedy,
            settings=HELP[name].settings,
            quarantines="symbol's delivery",
        )
        for name, claim in (BLOCKING | WARNINGS).items()
    ],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def daily(
    context: dg.AssetExecutionContext,
    config: PricesLoad,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    prices: dg.ResourceParam[PriceSource],
    prices_second: dg.ResourceParam[PriceSource],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[AssetEvent]:
    """Extract, validate and load the symbols of the run, and report its months."""
    run = _PricesRun(context, config, artifacts, clock, prices, prices_second, settings, warehouse)
    report = _MonthReport(
        warehouse,
        settings,
        clock,
        run_id=context.run.run_id,
        source=None if config.replay else prices,
    )
    yield from load_pieces(context, run.open_load, report, ItemPlan(summarize_by_month, "symbol"))


@dataclass(frozen=True)
class _PricesRun:
    """A run that loads symbols, from their source or what was kept of them."""

    context: dg.AssetExecutionContext
    config: PricesLoad
    artifacts: ArtifactStore
    clock: Clock
    prices: PriceSource
    prices_second: PriceSource
    settings: PricesSettings
    warehouse: Warehouse

    def open_load(self) -> BatchLoad[Any, LoadedPrices]:
        """Return the load of the source, or of recorded deliveries, once the config is valid."""
        context, config, run_id = self.context, self.config, self.context.run.run_id
        refuse_unused_options(dict(config), type(config))
        presets = Presets(self.warehouse, self.clock)
        of_run = RunPresets(context.instance, run_id, self.settings, presets)
        values, acceptance = of_run.values(PRICES_LOADING, config), config.acceptance
        limits = build_limits(
            self.settings.checks_of("prices"),
            values["max_reject_ratio"],
            acceptance and check_approval(context, DAILY, acceptance, self.warehouse),
        )
        if config.replay:
            replay = PriceReplay(
                self.warehouse,
                self.artifacts,
                self.clock,
                run_id,
                limits,
                config.symbols,
                config.group_id,
                config.allow_older,
            )
            return SingleItemLoad(replay, run_id, "symbol", replay.pieces)
        return PriceLoad(
            self.prices,
            self.warehouse,
            self.clock,
            symbols=partial(wanted_symbols, self.settings, self.warehouse),
            run_id=run_id,
            limits=limits,
            second=self.prices_second if self.settings.prices_second_source else None,
            full=values["full"],
            force=config.allow_conflicts,
            is_under_way=partial(is_at_work, context.instance),
        )


@dataclass(frozen=True)
class _MonthReport(Report[MonthSummary]):
    """Report of the assets of a month; a replay has no source."""

    warehouse: Warehouse
    settings: PricesSettings
    clock: Clock
    run_id: str
    source: PriceSource | None

    @cached_property
    def _balance(self) -> Mapping[str, Any]:
        return describe_run_balance(self.warehouse, self.run_id)

    def metadata(self, loaded: MonthSummary) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the figures of a month by asset."""
        quota_left = None if self.source is None else self.source.quota_left
        return _describe_month(self.warehouse, loaded, quota_left, self._balance)

    def checks(self) -> Sequence[Checked]:
        """Return the results of the checks."""
        return _check_results(self.warehouse, self.settings)

    def side_effects(self, key: str, loaded: MonthSummary) -> Iterable[dg.AssetMaterialization]:
        """Return materializations of other months."""
        return _report_other_months(loaded)

    def evidence(self, error: OrchestrationError) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the evidence of the delivery."""
        return collect_evidence(self.warehouse, error, DAILY)

    def has_data(self, loaded: MonthSummary) -> bool:
        """Whether a month has rows."""
        return loaded.row_count > 0

    def is_unchanged(self, loaded: MonthSummary) -> bool:
        """Whether its rows were the same."""
        return loaded.outcome == UNCHANGED

    def is_not_requested(self, loaded: MonthSummary) -> bool:
        """Whether no symbol of it was requested."""
        return loaded.outcome == NOT_REQUESTED

    def record_balances(self, run_id: str, balances: Sequence[Balance]) -> None:
        """Store the equations of the run."""
        record_run_balances(self.warehouse, prices_daily.name, run_id, balances, self.clock.now())


def _describe_month(
    warehouse: Warehouse,
    month: MonthSummary,
    quota_left: int | None,
    balance: Mapping[str, Any],
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return the metadata of each asset after the load of a month; a replay needs no quota."""
    states = {f"symbols_{state}": count for state, count in month.states.items()}
    left = {} if quota_left is None else {"quota_left": quota_left}
    came_from = {"source": month.source, **label_data(is_synthetic=month.source == "demo")}
    open_symbols = {"open_symbols": _open(month)} if month.open else {}
    return {
        CAPTURE: {
            **came_from,
            "captures_of_the_run": month.capture_count,
            "bytes_of_the_run": month.byte_count,
            **left,
        },
        DAILY: {
            **came_from,
            "dagster/row_count": month.row_count,
            "rows_written": month.written_count,
            "rows_replaced": month.replaced_count,
            "outcome": month.outcome,
            "symbols_unchanged": month.unchanged_count,
            "symbols_not_asked": month.not_requested_count,
            **({"what_to_do": HOW_TO_REQUEST} if month.not_requested_count else {}),
            "rejects_of_the_run": month.reject_count,
            **balance,
            **states,
            **open_symbols,
            **describe_rejects(warehouse, *month.rejecting),
        },
        SYMBOL_MONTHS: {"dagster/row_count": sum(month.states.values()), **states},
    }


def _report_other_months(month: MonthSummary) -> Iterator[dg.AssetMaterialization]:
    """Yield materializations of the months outside of the run that its symbols changed."""
    partition_keys = set(MONTHS.get_partition_keys()) if month.other_months else set()
    for other_month in month.other_months:
        metadata = {
            "source": other_month.source,
            "symbols_restated": other_month.symbol_count,
            "rows_written": other_month.written_count,
            "rows_replaced": other_month.replaced_count,
        }
        for key in (DAILY, SYMBOL_MONTHS):
            if other_month.month.isoformat() in partition_keys:
                yield dg.AssetMaterialization(
                    key, partition=other_month.month.isoformat(), metadata=metadata
                )


def _open(month: MonthSummary) -> dg.TableMetadataValue:
    rows = [
        {
            "symbol": row.symbol,
            "state": row.state,
            "reason": row.reason,
            "since": row.changed_at,
            "resumes_at": row.resumes_at,
        }
        for row in month.open[:OPEN_SHOWN]
    ]
    return build_table(pl.DataFrame(rows, infer_schema_length=None))


def _check_results(warehouse: Warehouse, settings: PricesSettings) -> Sequence[dg.AssetCheckResult]:
    """Return of each audit how the latest delivery of every symbol did in it."""
    latest = warehouse.latest_audits(prices_daily)
    problems = {}
    if settings.prices_second_source:
        problems[SECOND_SOURCE] = failing_second_source(warehouse)
    return [
        check_result(
            DAILY,
            audit_summary,
            SEVERITY[audit_summary.audit],
            of="symbols",
            problem=problems.get(audit_summary.audit),
        )
        for audit_summary in summarize_audits(latest, SEVERITY)
    ]


daily_job = dg.define_asset_job(
    LISTED_DAILY.job,
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS))
    - dg.AssetSelection.checks(dg.AssetCheckKey(DAILY, FRESHNESS_CHECK)),
    description=describe_job(
        LISTED_DAILY.description,
        LOAD_OP,
        PricesLoad,
    ),
    tags={"domain": "prices"},
)

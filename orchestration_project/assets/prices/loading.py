"""How a run loads its symbols: from their source, or, in a replay, from what was kept."""

from pydantic import Field

from orchestration_project.assets.prices.catalogue import MONTHS, SETTINGS
from orchestration_project.domains.prices.audits import PriceLimits
from orchestration_project.domains.prices.options import LOAD_OP, PRICES_LOADING
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.audits import Acceptance
from orchestration_project.engine.contracts.job_options import ONLY, REPLAY
from orchestration_project.engine.dataset import find_completeness
from orchestration_project.engine.loads import LoadOptions
from orchestration_project.engine.options import describe_defaults, show_configured
from orchestration_project.engine.replay_plans import Replay, ReplayRequest, ReplayRuns
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.prices.states import oldest_month
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.settings.checks import CheckLimits


class PricesLoad(LoadOptions):
    """How a run loads its months, or replays symbols of them."""

    symbols: list[str] = Field(
        default_factory=list,
        json_schema_extra={ONLY: REPLAY},
        examples=[["AAPL", "MSFT"]],
        description="Replay only: symbols to replay. Default: all symbols that were requested in "
        "the months of the run.",
    )


DEFAULTS = PRICES_LOADING.default_texts(load_shared_settings())
for model in (PRICES_LOADING.model, PricesLoad):
    describe_defaults(model, DEFAULTS)
show_configured(PricesLoad, "symbols", PricesSettings.of(SETTINGS).prices_symbols)


def _plan_replay(request: ReplayRequest, _: Settings, warehouse: Warehouse) -> ReplayRuns | None:
    """Return one run over all months: a symbol is replayed whole, whichever months have it."""
    symbols = request.partitions or warehouse.replayable(prices_daily)
    if not symbols:
        return None
    return ReplayRuns(
        ranges=[_find_price_months(warehouse)],
        description=f"{len(symbols)} symbols of {prices_daily.name}",
        count=len(symbols),
        config={"symbols": list(symbols)},
    )


def _find_price_months(warehouse: Warehouse) -> tuple[str, str]:
    """Return the first and last partition from the oldest month that was requested on."""
    first = oldest_month(warehouse)
    months = [key for key in MONTHS.get_partition_keys() if first and key >= first.isoformat()]
    if not months:
        raise ConfigurationError(
            "no month with these prices is a partition",
            expected="months from PRICES_FIRST_MONTH on",
            found=f"{first or 'no symbol that was ever requested'}",
            remedy="load prices, or set PRICES_FIRST_MONTH to an earlier month",
        )
    return months[0], months[-1]


DAILY_REPLAY = Replay(
    table=prices_daily.name, job=PRICES_LOADING.job, op=LOAD_OP, plan=_plan_replay, unit="symbols"
)


def build_limits(
    checks: CheckLimits, max_reject_ratio: float, acceptance: Acceptance | None = None
) -> PriceLimits:
    """Return when to quarantine and, as `checks.yaml` says, when to warn."""
    limits = checks.prices_daily
    return PriceLimits(
        max_reject_ratio=max_reject_ratio,
        jump_ratio=limits.jump_ratio,
        stale_sessions=limits.stale_sessions,
        disagreement_ratio=limits.disagreement_ratio,
        completeness=find_completeness(checks, prices_daily),
        acceptance=acceptance,
    )

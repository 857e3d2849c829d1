"""Limits of asset checks by dataset, which `checks.yaml` sets; the defaults stand here."""

from collections.abc import Collection, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from yaml import YAMLError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.values import MAX_WEEKS
from orchestration_project.settings.yaml import read_yaml, syntax_problem, value_problems


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Completeness(_Limits):
    """When is_complete quarantines a delivery: too small to be a whole partition."""

    min_key_ratio: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Minimum ratio (0-1) of the loaded keys that a delivery has; one may always "
        "lack.",
    )

    min_key_count: int = Field(
        default=5,
        ge=1,
        description="Minimum number of loaded keys; with fewer, a delivery is not checked.",
    )

    neighbour_count: int = Field(
        default=20,
        ge=1,
        le=1_000,
        description="Number of the nearest partitions with which a first delivery is compared.",
    )

    min_neighbour_count: int = Field(
        default=5,
        ge=1,
        description="Minimum number of loaded ones; with fewer, a first delivery is not checked.",
    )

    sigma: float = Field(
        default=4.0,
        gt=0,
        description="Tolerated standard deviations of the nearest partitions' sizes.",
    )

    min_factor: float = Field(
        default=1.5,
        ge=1,
        description="Minimum factor by which a first delivery may be smaller than usual.",
    )

    max_factor: float = Field(
        default=4.0,
        ge=1,
        description="Maximum factor by which a first delivery may be smaller than usual.",
    )


class DatasetLimits(_Limits):
    """Limits of a dataset."""

    completeness: Completeness | None = Field(
        default=None,
        description="Limits of is_complete of the dataset; each that is left out is that of all "
        "datasets.",
    )


class Outliers(_Limits):
    """Band around the median of earlier weeks outside of which a week's size warns."""

    weeks: int = Field(
        default=12,
        ge=1,
        le=MAX_WEEKS,
        description="Number of earlier weeks, by date, that define the band.",
    )

    min_weeks: int = Field(
        default=4,
        ge=1,
        description="Minimum number of loaded earlier weeks; with fewer, the size is not checked.",
    )

    sigma: float = Field(
        default=4.0, gt=0, description="Half-width of the band in standard deviations."
    )

    min_factor: float = Field(
        default=1.5, ge=1, description="Minimum factor of the band, up and down."
    )

    max_factor: float = Field(
        default=2.0, ge=1, lt=2.5, description="Maximum factor of the band, up and down."
    )


class LargeVenues(_Limits):
    """Venues whose absence from a week warns."""

    min_ratio: float = Field(
        default=0.02,
        gt=0,
        le=1,
        description="Minimum ratio (0-1) of a venue's shares to those of its tier.",
    )

    weeks: int = Field(
        default=4,
        ge=1,
        description="Number of latest weeks in each of which a venue has that ratio.",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_earlier_name(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "min_share" in data:
            raise ValueError("min_share: renamed, use min_ratio")
        return data


class WeeklyLimits(DatasetLimits):
    """Limits of FINRA's weekly OTC data."""

    outliers: Outliers = Outliers()
    large_venues: LargeVenues = LargeVenues()

    max_row_shares: int = Field(
        default=100_000_000_000,
        ge=1,
        description="Shares in one row above which has_no_implausible_share_quantity warns.",
    )

    restatement_notice_ratio: float = Field(
        default=0.001,
        ge=0,
        le=2,
        description="Moved shares over a week's shares above which a restatement is a notice.",
    )

    @model_validator(mode="after")
    def _within_weeks(self) -> Self:
        if max(self.outliers.min_weeks, self.large_venues.weeks) > self.outliers.weeks:
            raise ValueError(
                "expected outliers.min_weeks and large_venues.weeks to be at most outliers.weeks, "
                f"which is {self.outliers.weeks}"
            )
        return self


class ValueLimits(_Limits):
    """Limits of the traded value by symbol and week."""

    min_price_coverage: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Minimum share (0-1) of a week's shares whose symbols have prices.",
    )

    max_notional_factor: float = Field(
        default=1.25,
        gt=1,
        description="Factor, up and down, by which the estimated value may differ from FINRA's in "
        "a week.",
    )


class PriceCheckLimits(DatasetLimits):
    """Limits of daily prices.

    is_complete compares a symbol's delivery with the loaded days of its range; days that were
    never loaded are compared with the calendar alone, as a symbol may be newly listed.
    """

    jump_ratio: float = Field(
        default=0.4,
        gt=0,
        description="Change of the close between sessions above which a day without dividend or "
        "split warns.",
    )

    stale_sessions: int = Field(
        default=3,
        ge=0,
        description="Maximum number of sessions that a symbol's latest price may lag behind.",
    )

    disagreement_ratio: float = Field(
        default=0.01,
        gt=0,
        description="Difference of a day's returns between two sources above which a check warns.",
    )


class CheckLimits(_Limits):
    """Limits of asset checks, by dataset; each that is left out has its default."""

    completeness: Completeness = Field(
        default=Completeness(), description="Limits of is_complete, of all datasets."
    )

    finra_otc_weekly: WeeklyLimits = WeeklyLimits()
    finra_symbol_week_value: ValueLimits = ValueLimits()
    prices_daily: PriceCheckLimits = PriceCheckLimits()
    finra_treasury_weekly: DatasetLimits = DatasetLimits()
    finra_treasury_daily: DatasetLimits = DatasetLimits()
    finra_treasury_monthly: DatasetLimits = DatasetLimits()
    fact_bond_trade_activity: DatasetLimits = DatasetLimits()
    finra_corporate_market_breadth: DatasetLimits = DatasetLimits()
    finra_short_interest: DatasetLimits = DatasetLimits()
    finra_reg_sho_daily: DatasetLimits = DatasetLimits()
    finra_otc_monthly: DatasetLimits = DatasetLimits()
    finra_threshold_list: DatasetLimits = DatasetLimits()
    finra_ats_blocks: DatasetLimits = DatasetLimits()
    finra_otc_blocks: DatasetLimits = DatasetLimits()
    fx_rates_daily: DatasetLimits = DatasetLimits()
    market_volume_daily: DatasetLimits = DatasetLimits()

    def flat(self) -> Mapping[str, object]:
        """Return each limit by its path, such as `prices_daily.jump_ratio`."""
        entries = {
            name: {"completeness": self.completeness_of(name).model_dump()}
            for name in type(self).model_fields
            if isinstance(limits := getattr(self, name), DatasetLimits) and limits.completeness
        }
        tree = self.model_dump(exclude_none=True)
        return dict(
            _iterate_leaves(tree | {name: tree[name] | limits for name, limits in entries.items()})
        )

    def completeness_of(self, dataset: str) -> Completeness:
        """Return the limits of is_complete of a dataset, by the name of its table."""
        limits = getattr(self, dataset, None)
        completeness = limits.completeness if isinstance(limits, DatasetLimits) else None
        if completeness is None:
            return self.completeness
        return self.completeness.model_copy(update=completeness.model_dump(exclude_unset=True))


def _iterate_leaves(tree: Mapping[str, Any], *above: str) -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _iterate_leaves(value, *above, name)
        else:
            yield ".".join((*above, name)), value


def read_checks(path: Path | None, domain: str = "") -> CheckLimits:
    """Return the limits that a file sets; without a file, the defaults.

    Args:
        path: The file.
        domain: The domain whose limits have to be valid, empty for all. Invalid limits of
            other domains have their defaults.

    Raises:
        ConfigurationError: The file cannot be read, or limits of ``domain`` are invalid; names
            all of them.
    """
    if path is None:
        return CheckLimits()
    try:
        text = path.read_text(encoding="utf-8")
        content = {} if (read := read_yaml(text)) is None else read
    except (OSError, UnicodeDecodeError) as error:
        raise _build_error(path, f"{type(error).__name__}: {error}") from error
    except YAMLError as error:
        raise _build_error(path, syntax_problem(error)) from error
    try:
        return CheckLimits.model_validate(content)
    except ValidationError as error:
        invalid = [each["loc"][0] if each["loc"] else "" for each in error.errors()]
        problems = value_problems(text, error)
    concerned = [
        problem
        for problem, section in zip(problems, invalid, strict=True)
        if not domain or domain in _find_domains(str(section))
    ]
    if concerned:
        raise _build_error(path, "; ".join(concerned))
    return CheckLimits.model_validate(
        {name: item for name, item in content.items() if name not in invalid}
    )


def domains_with_limits() -> Set[str]:
    """Return the domains of the package that have limits of checks."""
    return {_find_domain(name) for name in CheckLimits.model_fields if name != "completeness"}


def _find_domains(section: str) -> Collection[str]:
    """Return the domains that a section belongs to: that of its name, else all."""
    known_names = domains_with_limits()
    return {_find_domain(section)} & known_names or known_names


def _find_domain(section: str) -> str:
    prefix = section.partition("_")[0]
    return {"fact": "finra", "market": "cboe"}.get(prefix, prefix)


def _build_error(path: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"invalid limits in {path.name}",
        expected=f"YAML in UTF-8 at {path}, as config/schemas/checks.schema.json describes it",
        found=found,
        remedy="correct the file, or CHECKS_FILE; without the file, the defaults are in effect",
    )

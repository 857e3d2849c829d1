"""Settings of daily prices: their source and symbols."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import (
    MAX_WEEKS,
    Words,
    about,
    default_path,
    project_path,
)

PricesSource = Literal["demo", "alpha_vantage", "yahoo", "files"]


class PricesSettings(Settings):
    """Daily prices."""

    domain: ClassVar[str] = "prices"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness"})
    file_readers: ClassVar[tuple[str, ...]] = (
        "orchestration_project.resources.prices.spellings_file.read_spellings",
    )
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"alpha_vantage_requests_per_second", "yahoo_requests_per_second"}
    )

    prices_source: Annotated[PricesSource | None, AfterValidator(require_profile)] = Field(
        None,
        description="Source of daily prices: the embedded demo, a vendor, or files.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for price jobs",
        ),
    )
    prices_files_dir: Path | None = Field(
        None,
        description="Folder of price files, CSV or Parquet: one per symbol, or one with all "
        "symbols. Each load compares the files with what is loaded.",
        json_schema_extra=about(required_when="PRICES_SOURCE=files"),
    )
    prices_symbols: Words = Field(
        (),
        description="Symbols whose prices are loaded, in FINRA's spelling.",
        json_schema_extra=about(
            default="(the PRICES_UNIVERSE_SIZE symbols with the highest OTC volume)"
        ),
    )
    prices_universe_size: int = Field(
        25,
        ge=1,
        description="Number of symbols with the highest OTC volume that are loaded without "
        "PRICES_SYMBOLS.",
        json_schema_extra=about(unit="symbols"),
    )
    prices_universe_weeks: int = Field(
        4,
        ge=1,
        le=MAX_WEEKS,
        description="Number of latest weeks over which the OTC volume is summed.",
        json_schema_extra=about(unit="weeks"),
    )
    prices_universe_as_of: date | None = Field(
        None,
        description="Day by which the weeks of PRICES_UNIVERSE_WEEKS were published, so that no "
        "later trading selects the symbols.",
        json_schema_extra=about(default="(none: the latest weeks)", allowed="a day"),
    )
    prices_symbols_file: Path = Field(
        Path("config/prices.yaml"),
        description="YAML file of vendors' spellings of symbols that follow no rule.",
    )
    alpha_vantage_api_url: str = Field(
        "https://www.alphavantage.co", description="Base URL of Alpha Vantage's API."
    )
    alpha_vantage_api_key: SecretStr | None = Field(
        None,
        description="API key of Alpha Vantage.",
        json_schema_extra=about(group="security", required_when="PRICES_SOURCE=alpha_vantage"),
    )
    alpha_vantage_is_premium: bool = Field(
        default=False,
        description="Whether ALPHA_VANTAGE_API_KEY is a premium key: adjusted prices, long "
        "histories, no daily limit.",
    )
    alpha_vantage_requests_per_day: int = Field(
        25,
        ge=1,
        description="Daily request limit of a free Alpha Vantage key, counted over all processes.",
        json_schema_extra=about(unit="requests per day"),
    )
    alpha_vantage_requests_per_second: int = Field(
        1,
        ge=1,
        description="Rate limit of requests to Alpha Vantage.",
        json_schema_extra=about(unit="requests per second"),
    )
    yahoo_api_url: str = Field(
        "https://query1.finance.yahoo.com", description="Base URL of Yahoo's chart API."
    )
    yahoo_requests_per_second: int = Field(
        2,
        ge=0,
        description="Rate limit of requests to Yahoo; 0 for no limit.",
        json_schema_extra=about(unit="requests per second"),
    )

    prices_second_source: Literal["alpha_vantage", "yahoo", "files"] | None = Field(
        None,
        description="Second source whose daily returns are compared with the loaded ones.",
        json_schema_extra=about(default="(none)"),
    )
    prices_first_month: date | None = Field(
        None,
        description="First monthly partition.",
        json_schema_extra=about(default="(12 months ago)", allowed="the first day of a month"),
    )
    prices_max_reject_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of rejected days above which a symbol is quarantined; one rejected day "
        "is always accepted.",
        json_schema_extra=about(unit="ratio"),
    )

    @field_validator("prices_first_month")
    @classmethod
    def _first_of_a_month(cls, value: date | None) -> date | None:
        if value is not None and value.day != 1:
            raise ValueError("expected the first day of a month, e.g. 2026-03-01")
        return value

    @field_validator("prices_files_dir")
    @classmethod
    def _needed_for_price_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("prices_source") == "files":
            raise ValueError("required when PRICES_SOURCE=files")
        return value and project_path(value)

    @field_validator("alpha_vantage_api_key")
    @classmethod
    def _needed_for_vendor(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("prices_source") == "alpha_vantage":
            raise ValueError("required when PRICES_SOURCE=alpha_vantage")
        return value

    @property
    def prices_symbols_path(self) -> Path | None:
        """PRICES_SYMBOLS_FILE as an absolute path; None: not set, and no such file."""
        path = default_path(self.prices_symbols_file)
        is_own = self.prices_symbols_file != type(self).model_fields["prices_symbols_file"].default
        return path if is_own or path.exists() else None

"""Where daily prices come from, and of which symbols."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import MOST_WEEKS, from_root

PricesSource = Literal["demo", "alpha_vantage", "yahoo", "files"]


class PricesSettings(Settings):
    """Daily prices."""

    domain: ClassVar[str] = "prices"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"alpha_vantage_requests_per_second", "yahoo_requests_per_second"}
    )

    prices_source: Annotated[PricesSource | None, AfterValidator(require_profile)] = Field(
        None,
        description="Where prices come from: the embedded demo, a vendor, or a folder; default: "
        "the demo, or with DATA_PROFILE=real nothing.",
    )
    prices_files_dir: Path | None = Field(
        None, description="Folder of prices, CSV or Parquet: a file for each symbol, or one of all."
    )
    prices_symbols: str = Field(
        "",
        description="Symbols whose prices are loaded, as FINRA spells them, separated by spaces or "
        "commas; default: those with most OTC volume.",
    )
    prices_universe_size: int = Field(
        25,
        ge=1,
        description="How many those are: as many as Alpha Vantage grants a free key a day.",
    )
    prices_universe_weeks: int = Field(
        4,
        ge=1,
        le=MOST_WEEKS,
        description="Over how many of the latest weeks of each tier the volume is summed.",
    )
    prices_symbols_file: Path = Field(
        Path("prices.yaml"),
        description="The file that says how vendors spell symbols for which there is no rule.",
    )
    alpha_vantage_api_url: str = Field(
        "https://www.alphavantage.co", description="Base URL of Alpha Vantage."
    )
    alpha_vantage_api_key: SecretStr | None = Field(
        None, description="The key, without which that vendor answers nothing."
    )
    alpha_vantage_is_premium: bool = Field(
        default=False,
        description="Whether the key is a premium one: adjusted prices, long histories, and no "
        "limit of requests a day.",
    )
    alpha_vantage_requests_per_day: int = Field(
        25, ge=1, description="What a free key is granted, counted over all processes."
    )
    alpha_vantage_requests_per_second: int = Field(
        1, ge=1, description="The same a second; a premium key has as many as its plan says."
    )
    yahoo_api_url: str = Field(
        "https://query1.finance.yahoo.com", description="Base URL of Yahoo's chart."
    )
    yahoo_requests_per_second: int = Field(
        2,
        ge=0,
        description="Yahoo names no limit, and turns away who asks much faster; 0: no limit.",
    )

    prices_second_source: Literal["alpha_vantage", "yahoo", "files"] | None = Field(
        None,
        description="Another source whose returns are compared with those that land; where the "
        "data is the demo's, the demo in the guise of that vendor.",
    )
    prices_first_month: date | None = Field(
        None, description="First monthly partition, a first of a month; default: 12 months back."
    )
    prices_max_reject_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Rejected share of days (0-1) above which a symbol is held back; one day may "
        "always be rejected, as a month has twenty.",
    )
    prices_jump_ratio: float = Field(
        0.4,
        gt=0,
        description="Move of a close from one session to the next (0.4: 40 %) above which a day "
        "without dividend or split warns.",
    )
    prices_stale_sessions: int = Field(
        3, ge=0, description="Sessions that a symbol's newest price may be behind the latest one."
    )
    prices_disagreement_ratio: float = Field(
        0.01, gt=0, description="Difference of a day's returns in two sources that warns."
    )

    @field_validator("prices_first_month")
    @classmethod
    def _first_of_a_month(cls, value: date | None) -> date | None:
        if value is not None and value.day != 1:
            raise ValueError(f"{value} is no first of a month")
        return value

    @field_validator("prices_files_dir")
    @classmethod
    def _needed_for_price_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("prices_source") == "files":
            raise ValueError("needed when PRICES_SOURCE=files")
        return value and from_root(value)

    @field_validator("alpha_vantage_api_key")
    @classmethod
    def _needed_for_vendor(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("prices_source") == "alpha_vantage":
            raise ValueError("needed when PRICES_SOURCE=alpha_vantage")
        return value

    @property
    def prices_symbols_path(self) -> Path | None:
        """PRICES_SYMBOLS_FILE as an absolute path; None: nobody set it, and it is not there."""
        path = from_root(self.prices_symbols_file)
        is_own = self.prices_symbols_file != type(self).model_fields["prices_symbols_file"].default
        return path if is_own or path.exists() else None

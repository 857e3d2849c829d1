"""Settings of FINRA's data: its source, and the usual sizes in it."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import (
    MAX_HOURS,
    MAX_WEEKS,
    Monday,
    Words,
    about,
    project_path,
)

FINRA_API_URL = "https://api.finra.org"
FINRA_TOKEN_URL = "https://ews.fip.finra.org/fip/rest/ews/oauth2/access_token"  # noqa: S105 - an address


class FinraSettings(Settings):
    """FINRA's data."""

    domain: ClassVar[str] = "finra"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness"})
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "finra_datasets",
            "finra_requests_per_second",
            "finra_concurrent_requests",
            "finra_max_runs_per_tick",
        }
    )

    optional_datasets: ClassVar[tuple[str, ...]] = (
        *("ats_blocks", "bond_trade_activity", "corporate_market_breadth", "otc_blocks"),
        *("otc_monthly", "reg_sho_daily", "short_interest", "threshold_list"),
        *("treasury_daily", "treasury_monthly", "treasury_weekly"),
    )

    finra_source: Annotated[
        Literal["demo", "api", "files"] | None, AfterValidator(require_profile)
    ] = Field(
        None,
        description="Source of FINRA data: the embedded demo, FINRA's Query API, or downloaded "
        "files.",
        json_schema_extra=about(
            default="(demo; none if DATA_PROFILE=real)",
            required_when="DATA_PROFILE=real, for FINRA jobs",
        ),
    )
    finra_datasets: Words = Field(
        (),
        description="FINRA's other datasets of this installation, e.g. "
        "reg_sho_daily,short_interest, or all.",
        json_schema_extra=about(default="(none; and what `orchestrate domains` added)"),
    )
    finra_api_url: str = Field(FINRA_API_URL, description="Base URL of FINRA's Query API.")
    finra_token_url: str = Field(FINRA_TOKEN_URL, description="OAuth 2.0 token endpoint of FINRA.")
    finra_access_token: SecretStr | None = Field(
        None,
        description="Bearer token for FINRA's Query API, sent instead of FINRA_CLIENT_ID and "
        "FINRA_CLIENT_SECRET.",
        json_schema_extra=about(group="security"),
    )
    finra_client_id: str | None = Field(
        None,
        description="OAuth 2.0 client ID for FINRA's Query API; without one, requests are "
        "anonymous.",
        json_schema_extra=about(required_when="FINRA_CLIENT_SECRET is set"),
    )
    finra_client_secret: SecretStr | None = Field(
        None,
        description="OAuth 2.0 client secret for FINRA's Query API.",
        json_schema_extra=about(required_when="FINRA_CLIENT_ID is set"),
    )
    finra_files_dir: Path | None = Field(
        None,
        description="Folder of downloaded weekly FINRA files.",
        json_schema_extra=about(required_when="FINRA_SOURCE=files"),
    )
    finra_bonds_files_dir: Path | None = Field(
        None, description="Folder of a licensed bond feed's files by CUSIP."
    )
    finra_bonds_api_url: str | None = Field(
        None, description="Base URL of a licensed bond feed with FINRA's Query API protocol."
    )
    finra_bonds_access_token: SecretStr | None = Field(
        None,
        description="Bearer token for FINRA_BONDS_API_URL, sent to no other address.",
        json_schema_extra=about(group="security"),
    )
    finra_first_week: Monday | None = Field(
        None,
        description="First weekly partition.",
        json_schema_extra=about(
            default="(52 weeks ago; files: 2014; demo: 8 weeks that all tiers have published)",
            allowed="a Monday",
        ),
    )
    finra_requests_per_second: int = Field(
        20,
        ge=0,
        description="Rate limit of requests to FINRA's Query API; 0 for no limit.",
        json_schema_extra=about(unit="requests per second"),
    )
    finra_concurrent_requests: int = Field(
        8,
        ge=1,
        description="Number of pages requested concurrently.",
        json_schema_extra=about(unit="requests"),
    )
    finra_max_reject_ratio: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of rejected rows above which a partition is quarantined.",
        json_schema_extra=about(unit="ratio"),
    )
    finra_lookback_weeks: int = Field(
        30,
        ge=1,
        le=MAX_WEEKS,
        description="Number of past weeks in which schedules, sensors and freshness checks look "
        "for missing or restated weeks.",
        json_schema_extra=about(unit="weeks"),
    )
    finra_max_runs_per_tick: int = Field(
        12,
        ge=1,
        description="Maximum number of runs, of one partition each, that a sensor requests in one "
        "tick.",
        json_schema_extra=about(unit="runs"),
    )
    finra_freshness_grace_hours: float = Field(
        36,
        ge=0,
        le=MAX_HOURS,
        description="Hours after midnight in New York on the publication day from which a missing "
        "week is late.",
        json_schema_extra=about(unit="hours"),
    )

    @field_validator("finra_files_dir")
    @classmethod
    def _needed_for_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("finra_source") == "files":
            raise ValueError("required when FINRA_SOURCE=files")
        return value and project_path(value)

    @field_validator("finra_bonds_files_dir")
    @classmethod
    def _below_root(cls, value: Path | None) -> Path | None:
        return value and project_path(value)

    @field_validator("finra_client_secret")
    @classmethod
    def _both_or_neither(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("finra_client_id") is None):
            raise ValueError("expected FINRA_CLIENT_ID and FINRA_CLIENT_SECRET, both or neither")
        return value

    @property
    def earlier_database_file(self) -> str | None:
        """Name of the SQLite file of these settings until 2026-11: by FINRA's source."""
        return f"{self.finra_source}.sqlite"

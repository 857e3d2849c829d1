"""Where FINRA's data comes from, and what is usual in it."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from orchestration_project.settings.profile import require_profile
from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import MOST_HOURS, MOST_WEEKS, Monday, from_root

FINRA_API_URL = "https://api.finra.org"
FINRA_TOKEN_URL = "https://ews.fip.finra.org/fip/rest/ews/oauth2/access_token"  # noqa: S105 - an address


class FinraSettings(Settings):
    """FINRA's data."""

    domain: ClassVar[str] = "finra"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"finra_requests_per_second", "finra_concurrent_requests", "finra_max_runs_per_tick"}
    )

    finra_source: Annotated[
        Literal["demo", "api", "files"] | None, AfterValidator(require_profile)
    ] = Field(
        None,
        description="Where FINRA data comes from: the embedded demo, FINRA, or a folder; default: "
        "the demo, or with DATA_PROFILE=real nothing.",
    )
    finra_api_url: str = Field(FINRA_API_URL, description="Base URL of FINRA's Query API.")
    finra_token_url: str = Field(FINRA_TOKEN_URL, description="Where an access token is had.")
    finra_access_token: SecretStr | None = Field(
        None,
        description="A bearer token, sent as it is; takes the place of client and secret.",
    )
    finra_client_id: str | None = Field(None, description="API client; without it, anonymous.")
    finra_client_secret: SecretStr | None = Field(None, description="The API client's secret.")
    finra_files_dir: Path | None = Field(None, description="Folder of downloaded weekly files.")
    finra_bonds_files_dir: Path | None = Field(
        None, description="Folder of a licensed feed's files of bonds by CUSIP."
    )
    finra_bonds_api_url: str | None = Field(
        None,
        description="Base URL of a licensed feed of bonds that speaks FINRA's Query API; without "
        "it and the folder, there is none.",
    )
    finra_bonds_api_key: SecretStr | None = Field(
        None, description="A bearer token for FINRA_BONDS_API_URL; FINRA's own is never sent there."
    )
    finra_first_week: Monday | None = Field(
        None,
        description="First weekly partition, a Monday; default: 52 weeks back; of files 2014.",
    )
    finra_requests_per_second: int = Field(
        20,
        ge=0,
        description="FINRA allows 20 synchronous requests a second for an IP address; 0: no limit, "
        "of a source of your own.",
    )
    finra_concurrent_requests: int = Field(8, ge=1, description="Pages in flight at once.")
    finra_max_reject_ratio: float = Field(
        0.005, ge=0, le=1, description="Rejected share of rows (0-1) above which a week is held."
    )
    finra_restatement_notice_ratio: float = Field(
        0.001,
        ge=0,
        le=2,
        description="Shares that a restatement moves, over the week's shares (0-2), above which it "
        "is a notice; below a thousandth, percentages with one decimal hardly change.",
    )
    finra_band_weeks: int = Field(
        12,
        ge=1,
        le=MOST_WEEKS,
        description="How many weeks before a week, by date, say what is usual: a quarter, so that "
        "a market that grows or shrinks over the year is usual.",
    )
    finra_band_min_weeks: int = Field(
        4,
        ge=1,
        description="Earlier weeks without which a week's size is not judged: the median of fewer "
        "follows a single odd one.",
    )
    finra_band_width: float = Field(
        4.0,
        gt=0,
        description="Half of a band in standard deviations: under a normal law one in 16,000 weeks "
        "would lie outside.",
    )
    finra_band_floor: float = Field(
        1.5,
        ge=1,
        description="Factor that every band has at least, up and down, so that calm weeks do not "
        "make it narrow; shares fell by 29 % in a week before Christmas.",
    )
    finra_band_cap: float = Field(
        2.0,
        ge=1,
        lt=2.5,
        description="Factor that no band exceeds, up and down, however restless the weeks before "
        "were; below 2.5, so that a loss of 60 % always warns.",
    )
    finra_large_venue_share: float = Field(
        0.02,
        gt=0,
        le=1,
        description="Share of a tier's shares (0-1) from which on a venue is missed; smaller ones "
        "come and go.",
    )
    finra_large_venue_weeks: int = Field(
        4,
        ge=1,
        description="In how many of the latest weeks a venue has to be that large, so that one "
        "week's block trade makes none.",
    )
    finra_max_row_shares: int = Field(
        100_000_000_000,
        ge=1,
        description="Shares of one row, of a symbol and venue in a week, above which the check "
        "has_no_implausible_share_quantity warns.",
    )
    finra_value_min_coverage: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of a week's shares (0-1) whose symbols should have prices; 25 symbols "
        "of thousands have a fifth or so.",
    )
    finra_lookback_weeks: int = Field(
        30,
        ge=1,
        le=MOST_WEEKS,
        description="How far back schedule, sensors and freshness look for missing or restated "
        "weeks; restatements were seen up to 169 days after a week's start.",
    )
    finra_max_runs_per_tick: int = Field(
        12,
        ge=1,
        description="Most runs that a sensor asks for in a tick, each of one partition: four weeks "
        "of the three tiers, so that other runs need not queue behind a backlog.",
    )
    finra_freshness_grace_hours: float = Field(
        36,
        ge=0,
        le=MOST_HOURS,
        description="Hours after New York's midnight of a publication day from which a missing "
        "week is late: FINRA names no hour, so that day, and half of the next to load it.",
    )

    @field_validator("finra_band_min_weeks", "finra_large_venue_weeks")
    @classmethod
    def _within_band_weeks(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("finra_band_weeks", value):
            raise ValueError("more weeks than FINRA_BAND_WEEKS looks at")
        return value

    @field_validator("finra_files_dir")
    @classmethod
    def _needed_for_files(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("finra_source") == "files":
            raise ValueError("needed when FINRA_SOURCE=files")
        return value and from_root(value)

    @field_validator("finra_bonds_files_dir")
    @classmethod
    def _below_root(cls, value: Path | None) -> Path | None:
        return value and from_root(value)

    @field_validator("finra_client_secret")
    @classmethod
    def _both_or_neither(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("finra_client_id") is None):
            raise ValueError("set FINRA_CLIENT_ID and FINRA_CLIENT_SECRET both, or neither")
        return value

    @property
    def earlier_database_file(self) -> str | None:
        """Name of the SQLite file of these settings until 2026-11: by FINRA's source."""
        return f"{self.finra_source}.sqlite"

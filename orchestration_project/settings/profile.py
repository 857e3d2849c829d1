"""Settings of the data profile (real or demo), and of the places of rows, bytes, runs and logs."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.values import MAX_DAYS, Group, Zoned, about, project_path

Profile = Literal["demo", "real"]

DEMO_PACKAGE = "orchestration_demo"
"""The stand-ins of outside systems, a distribution of its own of which nothing is imported."""

NO_DEMO = "the demo sources are not installed: pip install orchestration_demo"


@cache
def demo_folder() -> Path | None:
    """Return the folder of the installed demo sources; None: they are not installed."""
    spec = find_spec(DEMO_PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


def sources_of(settings: type[BaseSettings]) -> Sequence[str]:
    """Return the settings that name the source of a domain: its name and ``_source``."""
    domains = (vars(base).get("domain") for base in settings.__mro__)
    named = {f"{domain}_source" for domain in domains if domain}
    return sorted(named & set(settings.model_fields))


class ProfileSettings(BaseSettings, defer_build=True):
    """The data profile."""

    data_profile: Profile = Field(
        "demo",
        description="Kind of data of every domain: synthetic data of the embedded demos, or real "
        "sources.",
        json_schema_extra=about(
            default="(real if a setting …_SOURCE names a real source, or the demo sources are not "
            "installed; else demo)"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _follow_sources(cls, data: Any) -> Any:
        """Fill in the profile that the sources mean, and in a demo the sources."""
        if not isinstance(data, Mapping):
            return data
        sources = sources_of(cls)
        values = {name: data[name] for name in sources if data.get(name)}
        profile = profile_of(data, sources)
        unset = dict.fromkeys(sources, "demo") if profile == "demo" else {}
        return {**data, **unset, **values, "data_profile": profile}

    @field_validator("data_profile")
    @classmethod
    def _require_demo_sources(cls, value: Profile) -> Profile:
        if value == "demo" and demo_folder() is None:
            raise ValueError(f"expected real, as {NO_DEMO}")
        return value

    @property
    def is_demo(self) -> bool:
        """Whether the data is synthetic, from the embedded demos."""
        return self.data_profile == "demo"


def profile_of(data: Mapping[str, Any], sources: Sequence[str]) -> str:
    """Return the data profile of settings as they were given, by name."""
    is_real = demo_folder() is None or any(
        data.get(name) not in (None, "", "demo") for name in sources
    )
    return data.get("data_profile") or ("real" if is_real else "demo")


def require_profile(value: str | None, info: ValidationInfo) -> str | None:
    """Return the source of a domain; refuse one that is not of the data profile.

    Raises:
        ValueError: Demo and real data would share a database.
    """
    profile = info.data.get("data_profile")
    if profile == "demo" and value != "demo":
        raise ValueError("expected demo or no value, as DATA_PROFILE is demo")
    if profile == "real" and value == "demo":
        reason = NO_DEMO if demo_folder() is None else "DATA_PROFILE is real"
        raise ValueError(f"expected a real source or no value, as {reason}")
    return value


def switched_off(domain: str, setting: str, sources: str) -> ConfigurationError:
    """Return the error of a job that needs a source where the domain has none."""
    return ConfigurationError(
        f"{domain} has no source: {setting} is not set",
        expected=f"{setting}={sources}",
        remedy=f"set {setting}; or DATA_PROFILE=demo for the embedded demo of every domain",
    )


class DemoSettings(BaseSettings, defer_build=True):
    """The demo."""

    group: ClassVar[Group] = "demo"
    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"demo_latency_seconds", "demo_requests_per_second", "demo_idle_seconds"}
    )

    demo_rows_per_week: int = Field(
        160_000,
        ge=300,
        le=1_000_000,
        description="Firm rows per week of the demo source, over all tiers.",
        json_schema_extra=about(unit="rows"),
    )
    demo_seed: int = Field(
        20_250_106,
        ge=0,
        description="Seed of the demo's random market.",
    )
    demo_latency_seconds: float = Field(
        0.0,
        ge=0,
        description="Delay of each response of the demo.",
        json_schema_extra=about(unit="seconds"),
    )
    demo_requests_per_second: int = Field(
        20,
        ge=0,
        description="Rate above which the demo responds with status 429; 0 for no limit.",
        json_schema_extra=about(unit="requests per second"),
    )
    demo_saas_tasks: int = Field(
        40,
        ge=0,
        description="Number of tasks with which the PeopleForce demo starts.",
        json_schema_extra=about(unit="tasks"),
    )
    demo_idle_seconds: float = Field(
        900,
        gt=0,
        description="Time without a request after which the demo server exits.",
        json_schema_extra=about(unit="seconds"),
    )
    demo_prices_vendor: Literal["yahoo", "alpha_vantage"] = Field(
        "yahoo", description="Vendor whose protocol the price demo serves."
    )
    demo_vendor_requests_per_day: int = Field(
        25,
        ge=0,
        description="Daily request limit of the Alpha Vantage demo; 0 for no limit.",
        json_schema_extra=about(unit="requests per day"),
    )


class StorageSettings(BaseSettings, defer_build=True):
    """Databases, chain of loads, artifacts, state, logs and the clock."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "database_url",
            "database_schema",
            "analyst_database_url",
            "dagster_database_url",
            "chain_key",
            "chain_trusted_keys",
            "artifacts_url",
            "state_dir",
            "log_level",
            "log_format",
            "log_keep_mib",
            "log_keep_days",
        }
    )

    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the database for loaded data, SQLite or PostgreSQL.",
        json_schema_extra=about(default="(a SQLite file in STATE_DIR)"),
    )
    database_schema: str | None = Field(
        None,
        description="PostgreSQL schema of the project's tables.",
        json_schema_extra=about(default="(the connection's search path)"),
    )
    analyst_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL URL of a read-only role, for SQL of analysts.",
        json_schema_extra=about(
            default="(none: SQL on SQLite alone)", allowed="a postgresql:// URL"
        ),
    )
    dagster_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL URL of Dagster's own storage.",
        json_schema_extra=about(
            default="(SQLite files in STATE_DIR)", allowed="a postgresql:// URL"
        ),
    )
    dagster_run_log_days: int = Field(
        90,
        ge=1,
        le=MAX_DAYS,
        description="Age from which operations_clean_up deletes the event logs of finished runs.",
        json_schema_extra=about(unit="days"),
    )
    chain_key: SecretStr | None = Field(
        None,
        description="Ed25519 private key that signs load records, Base64 of 32 bytes; the same on "
        "all hosts.",
        json_schema_extra=about(default="(generated, stored in STATE_DIR)"),
    )
    chain_trusted_keys: str = Field(
        "",
        description="Public keys of earlier chain keys, Base64, separated by commas.",
        json_schema_extra=about(default="(none)", group="tuning"),
    )
    artifacts_url: str | None = Field(
        None,
        description="Folder or s3:// URL of the stored raw bytes.",
        json_schema_extra=about(default="(STATE_DIR/artifacts)"),
    )
    artifacts_captured_days: int | None = Field(
        None,
        ge=2,
        le=MAX_DAYS,
        description="Age from which operations_clean_up may delete captured bytes that no current "
        "row was read from.",
        json_schema_extra=about(unit="days", default="(never)"),
    )
    artifacts_staged_days: int | None = Field(
        30,
        ge=2,
        le=MAX_DAYS,
        description="Age from which operations_clean_up may delete staged rows.",
        json_schema_extra=about(unit="days"),
    )
    artifacts_picture_days: int | None = Field(
        365,
        ge=2,
        le=MAX_DAYS,
        description="Age from which operations_clean_up may delete pictures.",
        json_schema_extra=about(unit="days"),
    )
    artifacts_damaged_days: int = Field(
        30,
        ge=2,
        le=MAX_DAYS,
        description="Age from which the bytes of repaired artifacts, which are set aside, are "
        "deleted.",
        json_schema_extra=about(unit="days"),
    )
    artifacts_keep_newest: int = Field(
        3,
        ge=1,
        description="Number of latest deliveries of a partition, and of pictures of a kind, that "
        "are kept regardless of age.",
        json_schema_extra=about(unit="deliveries or pictures"),
    )
    state_dir: Path = Field(
        Path("var"),
        description="Folder of all local state; a relative path is below the project folder.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum severity of log lines."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text, or one JSON object per line."
    )
    log_keep_mib: int = Field(
        32,
        ge=0,
        le=65536,
        description="Size of the log lines of each program that STATE_DIR/logs keeps; 0: none.",
        json_schema_extra=about(unit="MiB"),
    )
    log_keep_days: int = Field(
        30,
        ge=1,
        le=36500,
        description="Number of days after which the log lines of each program in STATE_DIR/logs "
        "are deleted, counted in UTC.",
        json_schema_extra=about(unit="days"),
    )
    demo_clock_now: Zoned | None = Field(
        None,
        description="Time from which the clock of each process advances, instead of the current "
        "time; for tests and demos.",
        json_schema_extra=about(
            group="demo",
            default="(now)",
            allowed="an ISO 8601 timestamp with time zone, e.g. 2026-03-02T12:00:00Z",
        ),
    )

    @property
    def earlier_database_file(self) -> str | None:
        """Name of the SQLite file in earlier versions, where a domain's settings decided it."""
        return None

    @field_validator("state_dir")
    @classmethod
    def _as_it_is_in_a_url(cls, value: Path) -> Path:
        if {"?", "%"} & set(str(value)):  # Dagster puts it into one unescaped: it lay elsewhere
            raise ValueError("expected a path without ? and %")
        return value

    @property
    def stack_settings_file(self) -> Path:
        """File of the settings that `stack` makes, for commands such as `backup`."""
        return self.state_path / "stack" / "settings.env"

    @property
    def state_path(self) -> Path:
        """STATE_DIR as an absolute path; a relative one is below the project folder."""
        return project_path(self.state_dir)

    @property
    def scratch_path(self) -> Path:
        """The folder for rows that are too many for memory, absolute."""
        return self.state_path / "scratch"

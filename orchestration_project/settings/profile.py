"""Whether the data is real or the embedded demos', and what the demos make up."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from pydantic_settings import BaseSettings

from orchestration_project.errors import ConfigurationError

Profile = Literal["demo", "real"]

SOURCES = ("finra_source", "prices_source", "saas_source")
"""The settings that name the source of a domain."""


class ProfileSettings(BaseSettings):
    """The data profile."""

    data_profile: Profile = Field(
        "demo",
        description="Whether every domain uses its embedded demo, or real sources: demo or real; "
        "default: real if a setting …_SOURCE names a real source, else demo.",
    )

    @model_validator(mode="before")
    @classmethod
    def _follow_sources(cls, data: Any) -> Any:
        """Fill in the profile that the sources mean, and in a demo the sources."""
        if not isinstance(data, Mapping):
            return data
        given = {name: data[name] for name in SOURCES if data.get(name)}
        profile = profile_of(data)
        unset = dict.fromkeys(SOURCES, "demo") if profile == "demo" else {}
        return {**data, **unset, **given, "data_profile": profile}

    @property
    def is_demo(self) -> bool:
        """Whether the data is made up by the embedded demos."""
        return self.data_profile == "demo"


def profile_of(data: Mapping[str, Any]) -> str:
    """Return the data profile of settings as they were given, by name."""
    is_real = any(data.get(name) not in (None, "", "demo") for name in SOURCES)
    return data.get("data_profile") or ("real" if is_real else "demo")


def require_profile(value: str | None, info: ValidationInfo) -> str | None:
    """Return the source of a domain; refuse one that is not of the data profile.

    Raises:
        ValueError: Demo and real data would share a database.
    """
    profile = info.data.get("data_profile")
    if profile == "demo" and value != "demo":
        raise ValueError(f"expected demo or nothing, as DATA_PROFILE is demo; found {value}")
    if profile == "real" and value == "demo":
        raise ValueError("expected a real source or nothing, as DATA_PROFILE is real; found demo")
    return value


def switched_off(domain: str, setting: str, sources: str) -> ConfigurationError:
    """Return the error of a job that needs a source where the domain has none."""
    return ConfigurationError(
        f"{domain} has no source: {setting} is not set",
        expected=f"{setting}={sources}",
        remedy=f"set {setting}; or DATA_PROFILE=demo for the embedded demo of every domain",
    )


class DemoSettings(BaseSettings):
    """The demo."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"demo_latency_seconds", "demo_requests_per_second", "demo_idle_seconds"}
    )

    demo_rows_per_week: int = Field(
        160_000,
        ge=300,
        le=1_000_000,  # more run out of tickers
        description="Firm rows a week that the demo source makes, over all tiers.",
    )
    demo_seed: int = Field(20_250_106, ge=0, description="Seed of the demo's market.")
    demo_latency_seconds: float = Field(0.0, ge=0, description="Delay of each demo answer.")
    demo_requests_per_second: int = Field(
        20, ge=0, description="Rate above which the demo answers 429; 0: no limit."
    )
    demo_saas_tasks: int = Field(
        40, ge=0, description="Tasks that the demo of PeopleForce starts with."
    )
    demo_idle_seconds: float = Field(900, gt=0, description="The demo ends after this long unused.")
    demo_prices_vendor: Literal["yahoo", "alpha_vantage"] = Field(
        "yahoo", description="As which vendor the demo is asked for prices."
    )
    demo_vendor_requests_per_day: int = Field(
        25,
        ge=0,
        description="What the demo of Alpha Vantage grants a free key, one a second; 0: no limit.",
    )

"""Whether the data is real or the embedded demos', for all domains alike."""

from collections.abc import Mapping
from typing import Any, Literal

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

"""Attributes of a setting beside its type, default and description."""

from collections.abc import Mapping
from typing import Literal, TypedDict, Unpack

from pydantic import JsonValue

Group = Literal["essential", "tuning", "security", "demo"]

GROUPS: Mapping[Group, str] = {
    "essential": "Sources, storage and alerts, which every deployment decides.",
    "tuning": "Other sources, limits, schedules and retention, with working defaults.",
    "security": "Credentials, login and network access.",
    "demo": "The embedded simulators and their clock.",
}
"""The groups of settings, by audience, in the order in which they are listed."""


class About(TypedDict, total=False):
    """Notes on a setting; what is left out is derived from its class, type and default."""

    name: str
    group: Group
    default: str
    allowed: str
    unit: str
    required_when: str


def about(**notes: Unpack[About]) -> dict[str, JsonValue]:
    """Return notes on a setting, to be given as its ``json_schema_extra``."""
    return {str(name): str(value) for name, value in notes.items()}

"""Descriptions of settings, for the generators of pages and of `.env.example`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from orchestration_project.settings.settings import setting_names, settings_class
from orchestration_project.settings.values import GROUPS, Group, is_secret

ESSENTIAL = (
    "data_profile",
    "finra_source",
    "finra_client_id",
    "finra_client_secret",
    "finra_files_dir",
    "prices_source",
    "database_url",
    "dagster_database_url",
    "state_dir",
    "artifacts_url",
    "public_url",
    "alert_urls",
)
"""The twelve settings to read first, in this order."""

TYPES: Mapping[object, str] = {
    Literal: "choice",
    bool: "boolean",
    int: "integer",
    float: "number",
    datetime: "timestamp",
    date: "date",
    Path: "path",
    tuple: "list",
}
"""The name of a setting's type, else text; a list is comma-separated, a timestamp is ISO 8601."""

BOUNDS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}


@dataclass(frozen=True)
class DescribedSetting:
    """A setting as it is documented.

    Attributes:
        name: In upper case, as in the environment, such as FINRA_SOURCE. A name with a part for
            its user holds that part in angle brackets: ALERT_URL_<CHANNEL>.
        group: One of `GROUPS`.
        domain: The domain that it belongs to, empty if all share it.
        type: One of choice, boolean, integer, number, text, list, date, timestamp and path.
        default: The value without the setting; in parentheses where it is computed; may be empty.
        allowed: Choices separated by commas, or bounds such as `>= 1, <= 5200`; may be empty.
        unit: Such as weeks, or empty.
        required_when: The condition under which it has to be set, or empty.
        is_secret: Whether its value is never shown, and may be in a file that NAME_FILE names.
        description: One or two sentences.
    """

    name: str
    group: Group
    domain: str
    type: str
    default: str
    allowed: str
    unit: str
    required_when: str
    is_secret: bool
    description: str

    @property
    def is_computed(self) -> bool:
        """Whether the default is not a value but says how it is computed."""
        return self.default.startswith("(")


def described_settings() -> Sequence[DescribedSetting]:
    """Return every setting, by group; the essential ones in the order of `ESSENTIAL`."""
    fields = settings_class().model_fields
    descriptions = [_describe_setting(name, fields[name]) for name in (*ESSENTIAL, *_list_others())]
    return sorted(descriptions, key=lambda each: list(GROUPS).index(each.group))


def _list_others() -> Sequence[str]:
    return [name for name in setting_names() if name not in ESSENTIAL]


def _describe_setting(name: str, field: FieldInfo) -> DescribedSetting:
    notes = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return DescribedSetting(
        name=str(notes.get("name", name.upper())),
        group=_group(name, notes),
        domain=settings_class().domain_of(name),
        type=_name_type(field),
        default=str(notes.get("default", "")) or _format_default(field.default),
        allowed=str(notes.get("allowed", "")) or allowed(field),
        unit=str(notes.get("unit", "")),
        required_when=str(notes.get("required_when", "")),
        is_secret=is_secret(field),
        description=field.description or "",
    )


def _group(name: str, notes: Mapping[str, Any]) -> Group:
    if name in ESSENTIAL:
        return "essential"
    owner = settings_class().owner_of(name)
    own = vars(owner) if owner else {}  # without the group of the classes that all domains share
    return notes.get("group") or own.get("group", "tuning")


def _format_default(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _drop_none(annotation: object) -> object:
    """Return the type that an annotation allows, without None and without constraints."""
    if get_origin(annotation) in (Union, UnionType):
        [annotation] = [argument for argument in get_args(annotation) if argument is not type(None)]
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _name_type(field: FieldInfo) -> str:
    kind = _drop_none(field.annotation)
    return TYPES.get(get_origin(kind) or kind, "text")


EXPECTED = {
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "date": "a date, e.g. 2026-03-02",
    "timestamp": "a timestamp with time zone, e.g. 2026-03-02T12:00:00Z",
}


def expected_value(field: FieldInfo) -> str:
    """Return which values a setting takes, for an error: `an integer >= 1, <= 5214`."""
    kind = _name_type(field)
    if kind == "choice":
        return f"one of {allowed(field)}"
    if kind == "boolean":
        return EXPECTED[kind]
    return f"{EXPECTED.get(kind, f'a {kind}')} {allowed(field)}".strip()


def allowed(field: FieldInfo) -> str:
    """Return the values that a field takes: its choices or its bounds; empty if any."""
    kind = _drop_none(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if kind is bool:
        return "true, false"
    limits = [
        f"{sign} {getattr(item, name)}"
        for kind, (sign, name) in BOUNDS.items()
        for item in field.metadata
        if isinstance(item, kind)
    ]
    return ", ".join(limits)

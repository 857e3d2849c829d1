"""Conversion of an intent's values to the target's types."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from orchestration_project.domains.saas.adf import adf_of
from orchestration_project.domains.saas.records import FieldSpec
from orchestration_project.engine.contracts.matching import format_value

MAX_CHARACTERS = 32_767
MAX_SUMMARY_CHARACTERS = 255

IMPLICIT_FIELDS = ("project", "issuetype")

OPTIONAL_FIELDS = ("description", "assignee")
"""Fields that are left out where the target's form lacks them; what a mapping names is not."""

Account = Callable[[str], str | None]
"""Returns the account of an e-mail address; None: there is none of exactly that address."""


class UnfitValueError(ValueError):
    """A value cannot be one of the field that it is meant for."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


@dataclass(frozen=True)
class Values:
    """An issue's fields in the target's types, and whom it could not be assigned to."""

    fields: Mapping[str, Any]
    unresolved_email: str | None = None


def values_of(
    fields: Mapping[str, Any], specs: Mapping[str, FieldSpec], account: Account
) -> Values:
    """Return an intent's fields as the target takes them.

    A person whom it does not know is left out, so that the issue stays with whom it is with.

    Raises:
        UnfitValueError: A value cannot be one of its field, or the field does not exist.
    """
    values: dict[str, Any] = {}
    unresolved = None
    for name, value in fields.items():
        spec = specs.get(name)
        if spec is None and name in OPTIONAL_FIELDS:
            continue
        if spec is None and name != "summary":
            raise UnfitValueError(name, "the issue type has no such field")
        if name == "assignee" or (spec is not None and spec.type == "user"):
            email = format_value(value).strip()
            account_id = account(email) if email else None
            if email and account_id is None:
                unresolved = email
                continue
            values[name] = {"accountId": account_id} if account_id else None
        else:
            values[name] = _convert_value(name, spec, value)
    return Values(values, unresolved)


def _convert_value(name: str, spec: FieldSpec | None, value: Any) -> Any:
    if name == "summary":
        return one_line(format_value(value))
    if name == "description" or (spec is not None and spec.is_document):
        return adf_of(format_value(value) if value is not None else None)
    if value is None or spec is None:
        return None
    if spec.type == "array":
        items = value if isinstance(value, list) else format_value(value).split(",")
        return [
            _convert_item(spec, format_value(item).strip())
            for item in items
            if format_value(item).strip()
        ]
    return _convert_single(spec, format_value(value).strip())


def _convert_single(spec: FieldSpec, text: str) -> Any:
    if not text:
        return None
    match spec.type:
        case "number":
            return _parse_number(spec, text)
        case "date":
            if not re.match(r"\d{4}-\d{2}-\d{2}", text):
                raise UnfitValueError(spec.field_id, f"{text[:40]!r} is not a date")
            return text[:10]
        case "datetime":
            return _format_moment(text)
        case "string":
            return text[:MAX_CHARACTERS]
        case "option":
            return {"value": _check_allowed(spec, text)}
        case _:
            return {"name": _check_allowed(spec, text)}


def _format_moment(text: str) -> str:
    """Return a time as Jira documents it, 2011-10-19T10:29:29.908+1100; other text as it is."""
    time = time_in(text)
    if time is None:
        return text[:MAX_CHARACTERS]
    return f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}{time:%z}"


def time_in(text: str) -> datetime | None:
    """Return the time that a text says; None: it says none, or one without its zone."""
    try:
        fromisoformat = datetime.fromisoformat(text)
    except ValueError:
        return None
    return fromisoformat if fromisoformat.tzinfo else None


def _parse_number(spec: FieldSpec, text: str) -> int | float:
    try:
        number = float(text)
    except ValueError as error:
        raise UnfitValueError(spec.field_id, f"{text[:40]!r} is not a number") from error
    if number != number or number in (float("inf"), float("-inf")):
        raise UnfitValueError(spec.field_id, f"{text[:40]!r} is not a number")
    return int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else number


def _convert_item(spec: FieldSpec, text: str) -> Any:
    """Return one of an array: a label, which has no blanks, or what is named by value or name."""
    if spec.items == "string":
        return re.sub(r"\s+", "_", _check_allowed(spec, text))[:MAX_SUMMARY_CHARACTERS]
    if spec.items == "user":
        raise UnfitValueError(spec.field_id, "several people cannot be given")
    return _convert_single(replace(spec, type=spec.items), text)


def _check_allowed(spec: FieldSpec, text: str) -> str:
    if spec.allowed_values and text not in spec.allowed_values:
        examples = ", ".join(spec.allowed_values[:10])
        raise UnfitValueError(spec.field_id, f"{text[:40]!r} is none of {examples}")
    return text


def one_line(text: str) -> str:
    """Return text as a summary: one line of at most 255 characters, without control characters."""
    plain = re.sub("[\\s\x00-\x1f\x7f\ud800-\udfff]+", " ", text).strip()
    return (
        plain if len(plain) <= MAX_SUMMARY_CHARACTERS else f"{plain[: MAX_SUMMARY_CHARACTERS - 1]}…"
    )


def violations(fields: Mapping[str, str | None], specs: Sequence[FieldSpec]) -> list[str]:
    """Return the violations of a rule that the target is sure to refuse.

    Args:
        fields: Those that a rule fills: its static value, or None where tasks have the value.
        specs: Those that its issues can be created with.
    """
    by_id = {field_spec.field_id: field_spec for field_spec in specs}
    names = [
        f"{field_spec.field_id} ({field_spec.name}) is required, and nothing fills it"
        for field_spec in specs
        if field_spec.is_required
        and not field_spec.has_default
        and field_spec.field_id not in fields
        and field_spec.field_id not in IMPLICIT_FIELDS
    ]
    for name, value in fields.items():
        spec = by_id.get(name)
        if spec is None and name not in (*OPTIONAL_FIELDS, "summary"):
            names.append(f"{name} is not a field of these issues")
        elif spec is not None and value is not None:
            try:
                _convert_value(name, spec, value)
            except UnfitValueError as error:
                names.append(str(error))
    return names

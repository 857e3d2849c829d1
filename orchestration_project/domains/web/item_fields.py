"""Fields of items as rows: texts, amounts, currencies and times; and how often each is set."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.domains.web.tables import web_item_fields
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.tables.schema import USD_SCALE

MAX_AMOUNT = 10**18
"""Amounts in 10^-6 beyond it are left out: they would not fit into 64 bits with a margin."""

CURRENCY = re.compile(r"[A-Z]{3}")
NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)
AMOUNT_MEMBERS = ("amount", "value")
"""Members of a value that is an object, such as a price with its currency."""

PRICES = ("price", "money")
"""Processes of fields that have a currency."""


def field_rows(items: pl.DataFrame, rule: ItemRule) -> pl.DataFrame:
    """Return the rows of `web_item_fields` of rows of `web_items`, in the order of their key.

    Args:
        items: Items of one site, with ``site``, ``item_key`` and ``payload``.
        rule: Declares which fields are texts, numbers, and dates.
    """
    rows: list[tuple[Any, ...]] = []
    for site, item_key, payload in items.select("site", "item_key", "payload").iter_rows():
        document = json.loads(payload)
        for name, position, value in _iterate_values(document):
            rows.append((site, item_key, name, position, *_build_row(name, value, document, rule)))
    data_frame = pl.DataFrame(rows, derive_schema(web_item_fields), orient="row")
    return data_frame.sort("site", "item_key", "field", "position")


def _iterate_values(payload: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    for name, value in payload.items():
        for position, item in enumerate(value if isinstance(value, list) else [value], start=1):
            if item is not None:
                yield name, position, item


def _build_row(
    name: str, value: Any, payload: Mapping[str, Any], rule: ItemRule
) -> tuple[str, int | None, str | None, datetime | None]:
    """Return text, amount, currency and time of a value."""
    declared = rule.fields.get(name)
    process = declared.process if declared else "text"
    if process == "date":
        return value_text(value), None, None, _parse_time(value)
    if process == "text":
        return value_text(value), None, None, None
    amount = _parse_amount(value)
    is_price = amount is not None and process in PRICES
    currency = _find_currency(name, value, payload) if is_price else None
    return value_text(value), amount, currency, None


def value_text(value: Any) -> str:
    """Return a value of a payload as text; of a list or object, as canonical JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _parse_amount(value: Any) -> int | None:
    if isinstance(value, dict):
        value = next((value[name] for name in AMOUNT_MEMBERS if name in value), None)
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not NUMBER.fullmatch(text):
        return None
    try:
        exact = Decimal(text).scaleb(USD_SCALE)
    except InvalidOperation:
        return None
    is_whole = exact == exact.to_integral_value()
    return int(exact) if is_whole and abs(exact) <= MAX_AMOUNT else None


def _find_currency(name: str, value: Any, payload: Mapping[str, Any]) -> str | None:
    currency = value.get("currency") if isinstance(value, dict) else None
    for code in (currency, payload.get(f"{name}_currency"), payload.get("currency")):
        if isinstance(code, str) and CURRENCY.fullmatch(code):
            return code
    return None


def _parse_time(value: Any) -> datetime | None:
    try:
        fromisoformat = datetime.fromisoformat(value)
        return (
            fromisoformat.replace(tzinfo=UTC)
            if fromisoformat.tzinfo is None
            else fromisoformat.astimezone(UTC)
        )
    except (TypeError, ValueError, OverflowError):
        return None

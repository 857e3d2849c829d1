"""Rows as JSON: numbers exact, days and times in ISO 8601, decimals as text."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def write_json(value: Mapping[str, Any]) -> str:
    """Return rows, and what is beside them, as JSON; a number that JSON lacks, as NaN, is null."""
    try:
        return _dump(value)
    except ValueError:
        return _dump(_replace_nan(value))


def _dump(value: object) -> str:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_write_exactly
    )


def _replace_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _replace_nan(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_replace_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_exactly(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='microseconds').removesuffix('+00:00')}Z"
    return str(value)  # a day or a decimal

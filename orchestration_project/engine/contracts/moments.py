"""Times that a person or program writes."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, TypeAdapter, ValidationError

_AWARE = TypeAdapter(AwareDatetime)


def _read_moment(given: object) -> object:
    try:
        if isinstance(given, str) and ":" in given:  # 20250301 are seconds to pydantic
            given = _AWARE.validate_python(given)
        if isinstance(given, datetime) and given.tzinfo is not None:
            return given.astimezone(UTC)
    except (ValidationError, OverflowError):  # OverflowError: of the year 1, or 9999, elsewhere
        pass
    raise ValueError(
        f"expected a time with its zone, e.g. 2026-12-31T00:00:00Z, found {given!r:.60}"
    )


Moment = Annotated[AwareDatetime, BeforeValidator(_read_moment)]
"""A time with its zone, in UTC; a text too, but no number."""

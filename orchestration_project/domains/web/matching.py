"""Reference tables of sites: a text is matched by key, and else by similarity."""

import csv
import io
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from orchestration_project.domains.web.declaration import Strict
from orchestration_project.domains.web.processors import clean

MAX_ROWS = 100_000
MAX_COMPARED_CHARACTERS = 500
"""Characters of a text that are compared; a longer one is cut."""

TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Text = Annotated[str, Field(min_length=1, max_length=1_000)]


class ReferenceTable(Strict):
    """Texts by key, in the site file or in a CSV file beside it.

    Attributes:
        rows: Texts by key.
        csv: Name of a CSV file in the folder of the site file, UTF-8 with a header.
        key: Column of keys in it.
        text: Column of texts in it.
    """

    rows: dict[Text, Text] = Field(default={}, max_length=MAX_ROWS)
    csv: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}\.csv$")
    key: str = Field(default="key", min_length=1, max_length=100)
    text: str = Field(default="text", min_length=1, max_length=100)

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if not self.rows and self.csv is None:
            raise ValueError("expected rows, or csv: the name of a file")
        return self

    def with_csv(self, content: str) -> "ReferenceTable":
        """Return the table with the rows of its CSV file before its own.

        Raises:
            ValueError: The file lacks a column, or has a key twice, an empty cell or too many rows.
        """
        reader = csv.DictReader(io.StringIO(content), strict=True)
        rows: dict[str, str] = {}
        try:
            for number, row in enumerate(reader, start=2):
                key, text = row.get(self.key), row.get(self.text)
                if not key or not text:
                    raise ValueError(
                        f"line {number}: expected values of {self.key} and {self.text}"
                    )
                if key in rows:
                    raise ValueError(f"line {number}: {key[:60]!a} stands there twice")
                rows[key] = text
        except csv.Error as error:
            raise ValueError(f"expected CSV: {error}") from None
        rows |= self.rows
        if not 0 < len(rows) <= MAX_ROWS:
            raise ValueError(f"expected 1 to {MAX_ROWS} rows, found {len(rows)}")
        return self.model_copy(update={"rows": rows})

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        return {_normalise_text(key): key for key in reversed(self.rows)}

    @cached_property
    def _texts(self) -> Mapping[str, str]:
        return {key: _normalise_text(text) for key, text in self.rows.items()}

    @cached_property
    def _found(self) -> dict[str, tuple[str | None, float]]:
        return {}

    def best(self, text: str) -> tuple[str | None, float]:
        """Return the key whose row is most similar to a text, and the score from 0 to 1.

        A text that is a key, or a row's text, in any case, has the score 1. Of equal scores the
        first row counts.
        """
        compared = _normalise_text(text)
        if compared not in self._found:
            if len(self._found) >= MAX_ROWS:
                self._found.clear()
            self._found[compared] = self._best(compared)
        return self._found[compared]

    def _best(self, wanted: str) -> tuple[str | None, float]:
        from rapidfuzz import fuzz, process  # an extra

        if wanted in self._keys:
            return self._keys[wanted], 1.0
        closest = process.extractOne(wanted, self._texts, scorer=fuzz.token_sort_ratio)
        return (None, 0.0) if closest is None else (closest[2], round(closest[1] / 100, 4))


class Match(Strict):
    """Matching of a field's text to a reference table.

    Attributes:
        table: Its name.
        threshold: Least score of a row that is similar, from 0 to 1; 1: equal texts only.
    """

    table: TableName
    threshold: float = Field(default=0.9, ge=0, le=1, strict=False)

    def apply(self, text: str, tables: Mapping[str, ReferenceTable]) -> dict[str, str | None]:
        """Return text, key and score of the best row; the key is None below the threshold."""
        key, score = tables[self.table].best(text)
        return {
            "text": text,
            "key": key if score >= self.threshold else None,
            "score": f"{score:.4f}",
        }


def _normalise_text(text: str) -> str:
    return clean(text).casefold()[:MAX_COMPARED_CHARACTERS]

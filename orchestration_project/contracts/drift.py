"""How the fields that a source lists differ from those that we know, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from orchestration_project.tables.schema import key_names, schema_of
from orchestration_project.tables.spine import source_fields

SAME_TYPES = {"Integer": "Number"}
"""Other words for a type: whole numbers are Number here."""


@dataclass(frozen=True)
class Drift:
    """One difference between the fields that we know and those that the source lists.

    Attributes:
        field_name: Which field.
        what: "missing", "retyped" or "new".
        known: Its type as we know it; blank for a new one.
        listed: Its type as the source lists it; blank for a missing one.
        since: The first look that found it so; None where a missing one was never there.
    """

    field_name: str
    what: str
    known: str
    listed: str
    since: datetime | None


def remembered(
    seen: pl.DataFrame, listed: Mapping[str, str], *, source: str, dataset: str, at: datetime
) -> pl.DataFrame:
    """Return `source_fields` of a dataset, once the source ``listed`` these fields ``at`` a time.

    ``seen`` are the rows so far. A field that is gone, or has another type, ends its row; one that
    is new, or is back, begins one. Time is made to advance where the clock did not.
    """
    latest = seen.select(pl.max_horizontal(pl.col("last_seen_at", "gone_at").max())).item()
    now = max(at, latest + timedelta(microseconds=1)) if latest else at
    moment = pl.lit(now, pl.Datetime("us", "UTC"))
    field = ["field_name", "field_type"]
    present = pl.DataFrame(
        list(listed.items()), schema=dict.fromkeys(field, pl.String()), orient="row"
    )
    ended = seen.filter(pl.col("gone_at").is_not_null())
    open_rows = seen.filter(pl.col("gone_at").is_null())
    still = open_rows.join(present, on=field, how="semi").with_columns(last_seen_at=moment)
    gone = open_rows.join(present, on=field, how="anti").with_columns(gone_at=moment)
    begun = present.join(open_rows, on=field, how="anti").with_columns(
        source=pl.lit(source),
        dataset=pl.lit(dataset),
        first_seen_at=moment,
        last_seen_at=moment,
        gone_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    names = list(schema_of(source_fields))
    rows = [frame.select(names) for frame in (ended, still, gone, begun)]
    return pl.concat(rows).sort(key_names(source_fields))


def drift(seen: pl.DataFrame, known_fields: Mapping[str, str]) -> list[Drift]:
    """Return how the fields of the latest look differ from those that we know, by name.

    ``seen`` are all rows of `source_fields` of the dataset.
    """
    present = {
        row["field_name"]: row for row in seen.filter(pl.col("gone_at").is_null()).to_dicts()
    }
    ended: dict[str, datetime] = dict(
        seen.group_by("field_name").agg(pl.col("gone_at").max()).rows()
    )
    missing = [
        Drift(name, "missing", kind, "", ended.get(name))
        for name, kind in known_fields.items()
        if name not in present
    ]
    other = [
        Drift(name, "retyped" if known else "new", known, row["field_type"], row["first_seen_at"])
        for name, row in present.items()
        for known in [known_fields.get(name, "")]
        if known != SAME_TYPES.get(row["field_type"], row["field_type"])
    ]
    return sorted([*missing, *other], key=lambda each: each.field_name)

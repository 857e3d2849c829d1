"""The contract of a declared dataset: texts into rows of its table, or rejects, and its audits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from orchestration_project.contracts.delimited import parse_parts, with_records
from orchestration_project.contracts.frames import exact_scaled
from orchestration_project.contracts.rules import (
    OFFENDERS_KEPT,
    Audit,
    Part,
    RowRule,
    Validated,
    apply_rules,
    verdict,
)
from orchestration_project.contracts.values import (
    LONGEST_KEY_TEXT_BYTES,
    LONGEST_TEXT_BYTES,
    days,
    is_blank,
    quantity_rules,
    shown,
    text_or_null,
    too_long,
    unreadable,
    whole_number,
)
from orchestration_project.domains.finra.audits import (
    few_rejects_audit,
    record_total_audit,
    unique_keys_audit,
)
from orchestration_project.domains.finra.datasets import DatasetPartition, source_values
from orchestration_project.tables.finra_datasets import Claim, Dataset, Field
from orchestration_project.tables.schema import key_names

AUDITS = {
    "has_all_rows_of_record_total": "As many rows came as Record-Total promised.",
    "holds_only_its_partition": "Every row names the partition that it came for.",
    "has_unique_keys": "No two rows share a key.",
    "has_few_rejects": "The share of rejected lines is within the limit.",
    "has_rows": "Rows came: an empty delivery would empty what is published.",
}
"""Each blocking audit that every dataset has, and what it claims."""

PLACE = ("part_number", "line_number")


@dataclass(frozen=True)
class DatasetRows:
    """A delivery sorted out.

    Attributes:
        rows: The dataset's table without capture_id and known_from, with ``part_number``.
        rejects: place, record, ``reason_code`` and ``reason``.
        strangers: place and partition fields of rows that belong to another partition.
        received_count: lines that came, headers aside.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    strangers: pl.DataFrame
    received_count: int


def claims_of(dataset: Dataset) -> Mapping[str, str]:
    """Return every audit of a dataset, and what it claims."""
    return AUDITS | {each.name: each.says for each in dataset.claims}


def checked_dataset(
    dataset: Dataset,
    parts: Sequence[Part],
    *,
    partition: DatasetPartition,
    record_total: int | None,
    max_reject_ratio: float,
) -> Validated:
    """Return a delivery's rows, rejects and audits; ``record_total`` None: none was promised.

    Raises:
        ContractError: A part's header lacks a field of the dataset.
    """
    found = check_rows(dataset, parts, partition=partition)
    audits = [
        record_total_audit(found.received_count, record_total),
        _own_rows(found.strangers),
        unique_keys_audit(found.rows, key_names(dataset.table)),
        few_rejects_audit(found.rejects, found.received_count, max_reject_ratio),
        _has_rows(found),
        *(_claimed(claim, found.rows) for claim in dataset.claims),
    ]
    return Validated(found.rows, found.rejects, audits)


def check_rows(
    dataset: Dataset, parts: Sequence[Part], *, partition: DatasetPartition
) -> DatasetRows:
    """Sort the parts of one delivery of ``partition`` into rows and rejects.

    Raises:
        ContractError: A part's header lacks a field of the dataset.
    """
    names = [field.name for field in dataset.fields]
    parsed = parse_parts(parts, names, of=dataset.name)
    source = parsed.rows.with_columns(_read(parsed.rows, field) for field in dataset.fields)
    rules = [rule for field in dataset.fields for rule in _rules(field)]
    good, broken = apply_rules(source, rules)
    rows = good.select(
        *(pl.col(_parsed(field)).alias(field.column.name) for field in dataset.fields),
        "part_number",
    )
    rejects = pl.concat([parsed.rejects, broken.select(parsed.rejects.columns)])
    own = [pl.col(name) == value for name, value in source_values(dataset, partition).items()]
    strangers = source.filter(~pl.all_horizontal(own))
    return DatasetRows(
        rows=rows.sort(key_names(dataset.table)),
        rejects=with_records(rejects, parts),
        strangers=strangers.select(*PLACE, *dataset.partition_fields),
        received_count=len(source) + len(parsed.rejects),
    )


def _parsed(field: Field) -> str:
    """Return the name of the column that holds what a field says; no field has such a name."""
    return f"{field.name} read"


def _read(rows: pl.DataFrame, field: Field) -> pl.Series | pl.Expr:
    if field.kind == "Date":
        return days(rows[field.name]).alias(_parsed(field))
    if field.kind == "Number" and field.scale:
        return exact_scaled(rows[field.name], field.scale).alias(_parsed(field))
    if field.kind == "Number":
        return whole_number(field.name).alias(_parsed(field))
    is_kept = not field.column.nullable
    return (pl.col(field.name) if is_kept else text_or_null(field.name)).alias(_parsed(field))


def _rules(field: Field) -> list[RowRule]:
    """What is wrong with a field: it is blank and may not be, or it is not written as it should."""
    name, parsed, is_required = field.name, _parsed(field), not field.column.nullable
    if field.kind == "Date":
        return [*_required(field), unreadable("impossible_date", name, parsed, "no date")]
    if field.kind == "Number" and (field.scale or not is_required):
        what = f"no number with up to {field.scale} decimals that 64 bits keep exactly"
        return [*_required(field), unreadable("not_an_amount", name, parsed, what)]
    if field.kind == "Number":
        return quantity_rules(name, parsed)
    most = LONGEST_KEY_TEXT_BYTES if field.column.primary_key else LONGEST_TEXT_BYTES
    return [*_required(field), too_long(name, most), *(_cusip_rules(name) if field.form else ())]


def _required(field: Field) -> list[RowRule]:
    if field.column.nullable or field.may_be_blank:
        return []
    return [RowRule("missing_value", is_blank(field.name), pl.lit(f"{field.name} is blank"))]


def _cusip_rules(name: str) -> list[RowRule]:
    right = has_right_digit(name).fill_null(value=True)  # what has no digit has no shape either
    reason = "{} ends in {}, its check digit is {}"
    return [
        RowRule(
            "not_a_cusip",
            ~has_shape(name),
            pl.format(f"{name} is no CUSIP of nine characters: {{}}", shown(name)),
        ),
        RowRule(
            "wrong_check_digit",
            ~right,
            pl.format(
                f"{name} {reason}", pl.col(name), pl.col(name).str.slice(8, 1), check_digit(name)
            ),
        ),
    ]


def _own_rows(strangers: pl.DataFrame) -> Audit:
    return Audit(
        "holds_only_its_partition",
        verdict(strangers.is_empty()),
        "0 rows of other partitions",
        f"{len(strangers)}",
        strangers.head(OFFENDERS_KEPT).to_dicts(),
    )


def _has_rows(found: DatasetRows) -> Audit:
    came = f"{len(found.rows)} of {found.received_count} lines"
    return Audit("has_rows", verdict(not found.rows.is_empty()), "at least 1", came)


def _claimed(claim: Claim, rows: pl.DataFrame) -> Audit:
    broken = rows.filter(claim.breaks)
    return Audit(
        claim.name,
        verdict(broken.is_empty()),
        f"0 rows that break it: {claim.says}",
        f"{len(broken)} of {len(rows)}",
        broken.head(OFFENDERS_KEPT).to_dicts(),
        "warning" if claim.only_warns else "error",
    )


SHAPE = r"^[0-9A-Z*@#]{8}[0-9]$"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
_DIGIT_SUMS = [
    {mark: sum(divmod(value * factor, 10)) for value, mark in enumerate(ALPHABET)}
    for factor in (1, 2)
]
"""What a character adds, in an odd place and in an even one."""


def has_shape(name: str) -> pl.Expr:
    """Whether a text has the nine characters that a CUSIP may have."""
    return pl.col(name).str.contains(SHAPE)


def check_digit(name: str) -> pl.Expr:
    """Return the check digit that the first eight characters ask for; null where they are none."""
    added = (
        pl.col(name)
        .str.slice(place, 1)
        .replace_strict(_DIGIT_SUMS[place % 2], default=None, return_dtype=pl.Int64)
        for place in range(8)
    )
    return (10 - sum(added, start=pl.lit(0, pl.Int64)) % 10) % 10


def has_right_digit(name: str) -> pl.Expr:
    """Whether the last character is the check digit; null where it is no digit."""
    return pl.col(name).str.slice(8).cast(pl.Int64, strict=False) == check_digit(name)

"""The contract of a dataset: fields, rules and audits that decide what of a delivery is loaded.

A delivery is parsed into texts first (`Parsed`); here the texts become rows of the table, or
rejects with a reason, and audits compare the whole with what was promised. Blanks around a text are
dropped, whatever the field and the source (`trimmed`).
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Table

from orchestration_project.engine.contracts.audits import (
    BALANCE_HELP,
    COMPLETE_HELP,
    MAX_OFFENDERS,
    Audit,
    AuditHelp,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.delimited import Parsed, add_records
from orchestration_project.engine.contracts.field_formulas import (
    Reject,
    compute_texts,
    is_empty,
    read_plain_millionths,
    read_signed_number,
    read_text,
    read_whole_number,
    reject_cusip,
    reject_derived,
    reject_long,
    reject_quantity,
    reject_unreadable,
    replace_columns,
)
from orchestration_project.engine.contracts.formulas import Formula, LineRules
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import RowRule, apply_rules
from orchestration_project.engine.contracts.values import (
    MAX_KEY_TEXT_BYTES,
    MAX_TEXT_BYTES,
    build_length_rule,
    build_parse_rule,
    build_quantity_rules,
    check_digit,
    convert_millionths,
    derive_schema,
    has_cusip_shape,
    has_right_digit,
    is_blank,
    parse_booleans,
    parse_days,
    parse_quantities,
    parse_scaled,
    parse_signed_quantities,
    parse_signed_scaled,
    parse_timestamps,
    parse_whole_number,
    quote_text,
    replace_blank,
    trim_texts,
)
from orchestration_project.tables.schema import (
    USD_SCALE,
    Field,
    FieldCheck,
    Quantity,
    key_names,
    personal_columns,
)
from orchestration_project.tables.spine import source_fields

RECORD_TOTAL = "has_all_rows_of_record_total"
ROW_COUNT = "has_row_count_within_limits"
AUDITS = {
    RECORD_TOTAL: "As many rows came as Record-Total promised.",
    "holds_only_its_partition": "Every row names the partition that it came for.",
    "has_unique_keys": "No two rows share a key.",
    "has_few_rejects": "The share of rejected lines is within the limit.",
    "has_rows": "Rows came: an empty delivery would empty what is published.",
    ROW_COUNT: "The number of rows is within its limits.",
}
"""Each blocking audit of a dataset, and what it asserts.

Only a contract with ``has_record_total`` has the first one, one with ``row_limits`` the last.
"""

HELP = {
    "has_all_rows_of_record_total": AuditHelp("run the partition again; files are not checked"),
    "holds_only_its_partition": AuditHelp("check the file's name; report it to the source"),
    "has_unique_keys": AuditHelp("load the partition again; report it to the source"),
    "has_few_rejects": AuditHelp("read the table rejects; report it, or raise the limit"),
    "has_rows": AuditHelp("run the partition again later; report it to the source if it stays so"),
    ROW_COUNT: AuditHelp("compare with the source; change row_count if the number is right"),
    **COMPLETE_HELP,
    **BALANCE_HELP,
}
"""What to do, by audit; of others: compare the rows."""

PLACE = ("part_number", "line_number")


@dataclass(frozen=True)
class Claim:
    """Rules for every row of a delivery, besides the audits of each dataset.

    Attributes:
        name: The audit's name.
        says: The assertion, a sentence.
        breaks: True for rows of the table that break it, and never null.
        only_warns: Whether a delivery that breaks it is loaded with a warning, not quarantined.
    """

    name: str
    says: str
    breaks: pl.Expr
    only_warns: bool = False


@dataclass(frozen=True)
class Contract:
    """Contract of a delivery of one partition.

    Attributes:
        table: Where its rows go.
        fields: The fields that fill the table's columns, in their order.
        derived: Fields that are computed from columns of these, in place of texts of the source.
        partition_fields: The fields that name a partition, in the order of the partitioning.
        claims: What holds for every row.
        rule_version: Raised with every change that could make other rows of the same bytes.
        has_record_total: Whether the source sends the number of rows of a delivery.
        row_limits: Least and largest number of rows of a delivery (None: any); None: no limits.
    """

    table: Table
    fields: Sequence[Field]
    partition_fields: Sequence[str]
    claims: Sequence[Claim] = ()
    rule_version: str = "2"
    has_record_total: bool = True
    row_limits: tuple[int, int | None] | None = None
    derived: Sequence[Field] = ()

    @property
    def audits(self) -> Mapping[str, str]:
        """Every audit, and what it asserts."""
        names = AUDITS | {claim.name: claim.says for claim in self.claims}
        absent = {RECORD_TOTAL: not self.has_record_total, ROW_COUNT: self.row_limits is None}
        return {name: text for name, text in names.items() if not absent.get(name)}

    def is_warning(self, audit: str) -> bool:
        """Whether a delivery that fails this audit is loaded all the same."""
        return any(claim.name == audit and claim.only_warns for claim in self.claims)


@dataclass(frozen=True)
class ContractRows:
    """A delivery split by the rules of its fields.

    Attributes:
        rows: The table's rows without capture_id and known_from, with ``part_number``.
        rejects: place, record, ``reason_code`` and ``reason``.
        foreign_rows: place and partition fields of rows that belong to another partition.
        received_count: Lines that came, headers aside.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    foreign_rows: pl.DataFrame
    received_count: int


def validate(
    contract: Contract,
    parsed: Parsed,
    parts: Sequence[Part],
    *,
    partition_texts: Sequence[str],
    record_total: int | None,
    max_reject_ratio: float,
) -> Validated:
    """Return a delivery's rows, rejects and audits.

    Args:
        contract: What it must be.
        parsed: Its texts, a column for each field.
        parts: Its bytes, to quote rejected lines from.
        partition_texts: What each row has in ``contract.partition_fields``.
        record_total: How many rows the source promised; None: it promised none.
        max_reject_ratio: Rejected share of lines (0-1) above which it is quarantined.
    """
    rows = split_rows(contract, parsed, parts, partition_texts=partition_texts)
    totals = [record_total_audit(rows.received_count, record_total)]
    audits = [
        *(totals if contract.has_record_total else ()),
        _check_own_rows(rows.foreign_rows),
        check_unique_keys(rows.rows, key_names(contract.table)),
        check_reject_ratio(rows.rejects, rows.received_count, max_reject_ratio),
        _has_rows(rows),
        *(() if contract.row_limits is None else [_check_row_count(rows, *contract.row_limits)]),
        *(_claim_audit(claim, rows.rows) for claim in contract.claims),
    ]
    if personal := personal_columns(contract.table):
        audits = [_hide_values(audit, {*personal, "record"}) for audit in audits]
    return Validated(rows.rows, rows.rejects, audits, filtered=parsed.filtered)


def _hide_values(audit: Audit, names: Set[str]) -> Audit:
    """Return an audit whose offenders lack some values: audits are shown to all who may look."""
    offenders = [
        {name: value for name, value in offender.items() if name not in names}
        for offender in audit.offenders
    ]
    return replace(audit, offenders=offenders)


def split_rows(
    contract: Contract, parsed: Parsed, parts: Sequence[Part], *, partition_texts: Sequence[str]
) -> ContractRows:
    """Split the texts of one delivery into rows of the table and rejects."""
    texts = trim_texts(parsed.rows, [field.name for field in contract.fields])
    source = texts.with_columns(_read(texts, field) for field in contract.fields)
    rules = [rule for field in contract.fields for rule in _build_rules(field)]
    good, *broken = apply_rules(source, rules)
    for field in contract.derived:
        good, refused = _derive(good, field, contract.fields)
        broken.append(refused)
    rows = good.select(
        *(
            pl.col(_read_name(field)).alias(field.column.key)
            for field in (*contract.fields, *contract.derived)
        ),
        "part_number",
    )
    rejects = [parsed.rejects, *(frame.select(parsed.rejects.columns) for frame in broken)]
    named = zip(contract.partition_fields, partition_texts, strict=True)
    expressions = [pl.col(name) == text for name, text in named]
    foreign_rows = source.filter(~pl.all_horizontal(expressions))
    return ContractRows(
        rows=rows.sort(key_names(contract.table)),
        rejects=add_records(pl.concat(rejects), parsed.parts or parts),
        foreign_rows=foreign_rows.select(*PLACE, *contract.partition_fields),
        received_count=len(source) + len(parsed.rejects),
    )


def _derive(
    rows: pl.DataFrame, field: Field, fields: Sequence[Field]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows with a derived field, and those that its rules reject.

    It is computed as a text, which is read and judged like one of the source.
    """
    inputs = rows.select(pl.col(_read_name(one)).alias(one.column.key) for one in fields)
    types = {one.column.key: str(one.column.type) for one in fields}
    texts = rows.with_columns(compute_texts(field.formula, inputs, types).alias(field.name))
    return apply_rules(texts.with_columns(_read(texts, field)), _build_rules(field))


def _read_name(field: Field) -> str:
    """Return the name of the column that holds what a field says; no field has such a name."""
    return f"{field.name} read"


def _read(rows: pl.DataFrame, field: Field) -> pl.Series | pl.Expr:
    if field.kind in PLAIN_READERS:
        return PLAIN_READERS[field.kind](rows[field.name]).alias(_read_name(field))
    if isinstance(field.column.type, Quantity):
        return _parse_quantities(rows[field.name], field).alias(_read_name(field))
    if field.kind == "Number" and field.is_signed:
        return parse_signed_scaled(rows[field.name], field.scale).alias(_read_name(field))
    if field.kind == "Number" and field.scale:
        return parse_scaled(rows[field.name], field.scale).alias(_read_name(field))
    if field.kind == "Number":
        return parse_whole_number(field.name).alias(_read_name(field))
    is_kept = not field.column.nullable
    return (pl.col(field.name) if is_kept else replace_blank(field.name)).alias(_read_name(field))


PLAIN_READERS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "Date": parse_days,
    "Boolean": parse_booleans,
    "Timestamp": parse_timestamps,
}
"""Reads texts of a type, null where a text is none of it."""

UNREADABLE = {
    "Date": ("impossible_date", "no date"),
    "Boolean": ("not_a_boolean", "neither true nor false"),
    "Timestamp": (
        "not_a_timestamp",
        "no timestamp with a zone and at most microseconds, such as 2026-01-05T09:30:00+00:00",
    ),
}
"""Reason code of a text of such a type that cannot be read, and what it is."""


def _parse_quantities(texts: pl.Series, field: Field) -> pl.Series:
    if field.is_signed:
        return parse_signed_quantities(texts)
    return (
        convert_millionths(parse_scaled(texts, field.scale))
        if field.scale
        else parse_quantities(texts)
    )


def _build_rules(field: Field) -> list[RowRule]:
    """Defect of a field: blank though required, in a wrong format, or refused by a check."""
    return [*_build_type_rules(field), *(_check_rule(field, check) for check in field.checks)]


def _build_type_rules(field: Field) -> list[RowRule]:
    name, read, is_required = field.name, _read_name(field), not field.column.nullable
    if field.kind in UNREADABLE:
        code, what = UNREADABLE[field.kind]
        return [*_build_required(field), build_parse_rule(code, name, read, what)]
    if field.kind == "Number" and (field.scale or field.is_signed or not is_required):
        places = USD_SCALE if isinstance(field.column.type, Quantity) else field.scale
        what = f"no number with up to {places} decimals that 64 bits keep exactly"
        return [*_build_required(field), build_parse_rule("not_an_amount", name, read, what)]
    if field.kind == "Number":
        is_whole = not isinstance(field.column.type, Quantity)
        return build_quantity_rules(name, read, is_whole=is_whole)
    max_bytes = MAX_KEY_TEXT_BYTES if field.column.primary_key else MAX_TEXT_BYTES
    forms = [*(_build_cusip_rules(name) if field.form else ()), *_build_pattern_rules(field)]
    return [*_build_required(field), build_length_rule(name, max_bytes), *forms]


def _check_rule(field: Field, check: FieldCheck) -> RowRule:
    """Return the rule of a check; what is blank keeps it."""
    value = pl.col(_read_name(field))
    text = pl.lit(f"{field.name} is not {check.says}: ")
    broken = is_violation(value, check).fill_null(value=False)
    return RowRule(check.code, broken, pl.concat_str(text, quote_text(field.name)))


def is_violation(value: pl.Expr, check: FieldCheck) -> pl.Expr:
    """Return whether a value breaks a check; null where it is null."""
    first, *remaining = check.operands
    match check.operator:
        case "above":
            return value <= first
        case "below":
            return value.abs() >= first
        case "between":
            return (value < first) | (value > remaining[0])
        case "one_of":
            return ~value.is_in(check.operands)
        case "matches":
            return ~value.str.contains(f"^(?:{first})$")
        case "places":
            return value != value.round(first)


def build_row_formulas(contract: Contract) -> dict[str, Formula]:
    """Return the formula of each column, of the fields of a line; `split_rows` reads the same."""
    formulas = {field.column.key: _build_formula(field) for field in contract.fields}
    return {
        **formulas,
        **{
            field.column.key: replace_columns(field.formula, formulas) for field in contract.derived
        },
        "capture_id": ["given", "capture_id"],
        "known_from": ["given", "loaded_at"],
    }


def build_line_rules(contract: Contract) -> LineRules:
    """Return which lines are rejected, as `_build_rules` does."""
    formulas = build_row_formulas(contract)
    derived = [
        reject
        for field in contract.derived
        for reject in reject_derived(formulas[field.column.key], field)
    ]
    return LineRules(
        [*(reject for field in contract.fields for reject in _build_rejects(field)), *derived]
    )


def _build_formula(field: Field) -> Formula:
    name = field.name
    if field.kind == "Date":
        return ["day", name]
    if isinstance(field.column.type, Quantity):
        return ["quantity", _read_millionths(field)]
    if field.kind == "Number":
        return _read_number(field)
    return read_text(name) if field.column.nullable else name


def _read_millionths(field: Field) -> Formula:
    if field.is_signed:
        return read_signed_number(field.name, USD_SCALE)
    return ["scaled", field.name, USD_SCALE] if field.scale else read_plain_millionths(field.name)


def _read_number(field: Field) -> Formula:
    if field.is_signed:
        return read_signed_number(field.name, field.scale)
    return ["scaled", field.name, field.scale] if field.scale else read_whole_number(field.name)


def _build_rejects(field: Field) -> list[Reject]:
    name, reading, is_required = field.name, _build_formula(field), not field.column.nullable
    blank = [] if not is_required or field.may_be_blank else [("missing_value", is_empty(name))]
    if field.kind == "Date":
        return [*blank, reject_unreadable("impossible_date", name, reading)]
    if field.kind == "Number" and (field.scale or field.is_signed or not is_required):
        return [*blank, reject_unreadable("not_an_amount", name, reading)]
    if field.kind == "Number":
        is_whole = not isinstance(field.column.type, Quantity)
        return reject_quantity(name, reading, is_whole=is_whole)
    max_bytes = MAX_KEY_TEXT_BYTES if field.column.primary_key else MAX_TEXT_BYTES
    pattern = [("wrong_form", ["not", ["matches", name, field.pattern]])] if field.pattern else []
    return [
        *blank,
        reject_long(name, max_bytes),
        *(reject_cusip(name) if field.form else ()),
        *pattern,
    ]


def _build_required(field: Field) -> list[RowRule]:
    if field.column.nullable or field.may_be_blank:
        return []
    return [RowRule("missing_value", is_blank(field.name), pl.lit(f"{field.name} is blank"))]


def _build_pattern_rules(field: Field) -> list[RowRule]:
    if not field.pattern:
        return []
    text = pl.lit(f"{field.name} is not written as {field.pattern}: ")
    matches = pl.col(field.name).str.contains(field.pattern)
    return [RowRule("wrong_form", ~matches, pl.concat_str(text, quote_text(field.name)))]


def _build_cusip_rules(name: str) -> list[RowRule]:
    right = has_right_digit(name).fill_null(value=True)  # what has no digit has no shape either
    reason = "{} ends in {}, its check digit is {}"
    return [
        RowRule(
            "not_a_cusip",
            ~has_cusip_shape(name),
            pl.format(f"{name} is not a CUSIP of nine characters: {{}}", quote_text(name)),
        ),
        RowRule(
            "wrong_check_digit",
            ~right,
            pl.format(
                f"{name} {reason}", pl.col(name), pl.col(name).str.slice(8, 1), check_digit(name)
            ),
        ),
    ]


def record_total_audit(received_count: int, record_total: int | None) -> Audit:
    """Compare the lines that came with the number promised; None: none was."""
    text = f"{received_count} rows"
    if record_total is None:
        return Audit(RECORD_TOTAL, "not_applicable", "a Record-Total; files have none", text)
    holds = received_count == record_total
    return Audit(RECORD_TOTAL, format_outcome(holds), f"Record-Total {record_total}", text)


@dataclass(frozen=True)
class AuditFinding:
    """Result of an audit: numbers of offending and of all rows, and the first offenders."""

    count: int
    of: int
    offenders: Sequence[dict[str, object]]


def find_repeated_keys(rows: pl.DataFrame, key: Sequence[str]) -> AuditFinding:
    """Return the keys that several rows share."""
    repeated = rows.group_by(key).agg(rows=pl.len()).filter(pl.col("rows") > 1).sort(key)
    return AuditFinding(len(repeated), len(rows), repeated.head(MAX_OFFENDERS).to_dicts())


def check_unique_keys(rows: pl.DataFrame, key: Sequence[str]) -> Audit:
    """Look for rows of the table that share a key."""
    return judge_repeated_keys(find_repeated_keys(rows, key))


def judge_repeated_keys(repeated: AuditFinding) -> Audit:
    """Return the audit of keys that several rows share."""
    return Audit(
        "has_unique_keys",
        format_outcome(not repeated.count),
        "0 keys with several rows",
        f"{repeated.count}",
        repeated.offenders,
    )


def check_reject_ratio(rejects: pl.DataFrame, received_count: int, max_ratio: float) -> Audit:
    """Compare the share of lines that were rejected with its limit."""
    number = len(rejects) / max(received_count, 1)
    return Audit(
        "has_few_rejects",
        format_outcome(number <= max_ratio),
        f"at most {max_ratio:.4%} of lines rejected",
        f"{number:.4%} ({len(rejects)} of {received_count})",
        rejects.head(MAX_OFFENDERS)
        .select("part_number", "line_number", "reason_code", "record")
        .to_dicts(),
    )


def _check_own_rows(foreign_rows: pl.DataFrame) -> Audit:
    return Audit(
        "holds_only_its_partition",
        format_outcome(foreign_rows.is_empty()),
        "0 rows of other partitions",
        f"{len(foreign_rows)}",
        foreign_rows.head(MAX_OFFENDERS).to_dicts(),
    )


def _has_rows(found: ContractRows) -> Audit:
    came = f"{len(found.rows)} of {found.received_count} lines"
    return Audit("has_rows", format_outcome(not found.rows.is_empty()), "at least 1", came)


def _check_row_count(found: ContractRows, least: int, most: int | None) -> Audit:
    row_count = len(found.rows)
    expected = f"at least {least}" if most is None else f"{least} to {most}"
    holds = row_count >= least and (most is None or row_count <= most)
    return Audit(ROW_COUNT, format_outcome(holds), f"{expected} rows", f"{row_count}")


def _claim_audit(claim: Claim, rows: pl.DataFrame) -> Audit:
    broken = rows.filter(claim.breaks)
    return Audit(
        claim.name,
        format_outcome(broken.is_empty()),
        f"0 rows that break it: {claim.says}",
        f"{len(broken)} of {len(rows)}",
        broken.head(MAX_OFFENDERS).to_dicts(),
        "warning" if claim.only_warns else "error",
    )


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


def merge_fields(
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
    removed_fields = open_rows.join(present, on=field, how="anti").with_columns(gone_at=moment)
    begun = present.join(open_rows, on=field, how="anti").with_columns(
        source=pl.lit(source),
        dataset=pl.lit(dataset),
        first_seen_at=moment,
        last_seen_at=moment,
        gone_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    names = list(derive_schema(source_fields))
    rows = [frame.select(names) for frame in (ended, still, removed_fields, begun)]
    return pl.concat(rows).sort(key_names(source_fields))


def detect_drift(seen: pl.DataFrame, known_fields: Mapping[str, str]) -> list[Drift]:
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
        Drift(
            name,
            "retyped" if known_type else "new",
            known_type,
            row["field_type"],
            row["first_seen_at"],
        )
        for name, row in present.items()
        for known_type in [known_fields.get(name, "")]
        if known_type != SAME_TYPES.get(row["field_type"], row["field_type"])
    ]
    return sorted([*missing, *other], key=lambda each: each.field_name)

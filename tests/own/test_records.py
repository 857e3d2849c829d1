"""Documents in declared formats become rows, or rejects with a reason."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from orchestration_project import (
    Daily,
    Field,
    between,
    decimal,
    http_source,
    matches,
    one_of,
    positive,
    row_count,
)
from orchestration_project.engine.own.contracts import hash_rules
from orchestration_project.engine.own.records import build_counter
from orchestration_project.errors import ConfigurationError, SourceError
from tests.own.declared import dataset, read, rejects, rows


def no_records(_):
    return []


URL = "http://127.0.0.1/{partition}"
DAY = date(2026, 1, 5)


def source(form, **more):
    return http_source(URL, format=form, **more)


def derived_dataset(*fields, **more):
    """Return a dataset with a price, a volume, a day, and fields that are derived of them."""
    return dataset(
        Field("close", decimal(9, 2), "euros", source="Close"),
        Field("volume", int, "shares", optional=True),
        Field("traded_on", date, "day"),
        *fields,
        **more,
    )


TURNOVER = Field(
    *("turnover", decimal(14, 2), "euros"),
    optional=True,
    check=between(0, 1000),
    formula=["multiply", "close", "volume"],
)
CELLS = b"name,Close,volume,traded_on\nAAA,6.82,3,2026-01-05\nBBB,1.10,,2026-01-30\n"


def test_a_derived_field_is_computed_from_others_of_its_row_whatever_its_type():
    declared = derived_dataset(
        TURNOVER,
        Field("settled_on", date, "day", formula=["days_after", "traded_on", 2]),
        Field("is_dear", bool, "above 5 euros", formula=["greater", "close", 5]),
        Field("side", str, "up or down", formula=UP_OR_DOWN),
        Field("spare", int, "shares below 5", optional=True, formula=["subtract", 5, "volume"]),
    )
    names = ("turnover", "settled_on", "is_dear", "side", "spare")
    assert [tuple(made[name] for name in names) for made in rows(declared, CELLS)] == [
        (Decimal("20.46"), date(2026, 1, 7), True, "close", 2),
        (None, date(2026, 2, 1), False, "down", None),
    ]


UP_OR_DOWN = ["if", ["greater", "close", 5], ["text", "close"], ["text", "down"]]


@pytest.mark.parametrize(
    ("field", "reject"),
    [
        (TURNOVER, ("out_of_range", "turnover is not from 0 to 1000: 1500")),
        (
            Field("twice", decimal(2, 2), "euros", formula=["multiply", "close", 2]),
            ("too_many_digits", "twice is not a number with up to 2 decimals, below 1, of 2 "),
        ),
        (
            Field("product", decimal(18, 6), "euros", formula=["multiply", "close", "rate"]),
            ("not_an_amount", "product is no number with up to 6 decimals that 64 bits keep "),
        ),
        (
            Field("large", int, "shares", formula=["multiply", "volume", 2**62]),
            ("not_an_amount", "large is no number with up to 0 decimals that 64 bits keep "),
        ),
        (
            Field("loss", int, "shares", formula=["if", ["greater", "volume", 9], None, 1]),
            ("missing_value", "loss is blank"),
        ),
    ],
)
def test_a_derived_value_is_judged_like_one_of_the_source(field, reject):
    rate = Field("rate", decimal(12, 6), "share")
    declared = derived_dataset(rate, field)
    body = b"name,Close,volume,traded_on,rate\nAAA,50.01,10,2026-01-05,0.000001\n"
    if field is TURNOVER:
        body = body.replace(b"50.01", b"150")
    [(code, reason)] = rejects(declared, body)
    assert (code, reason[: len(reject[1])]) == reject


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("x", int, "n", formula=["sum", "volume"]), "add, subtract.*found.*sum"),
        (Field("x", int, "n", formula=["add", "volume", "y"]), "columns name, close.*found.*y"),
        (Field("x", int, "n", formula=["add", 1, 2]), "columns name, close.*found.*none"),
        (Field("x", int, "n", formula=["add", "volume", "name"]), "fit the types of their"),
        (Field("x", str, "n", formula=["add", "volume", 1]), "a value of the type text"),
        (Field("x", int, "n", formula=["greater", "volume", 1]), "a value of the type integer"),
        (Field("x", datetime, "n", formula=["add", "volume", 1]), "found: timestamp"),
        (Field("x", int, "n", formula=["add", "volume", 1], source="y"), "without source"),
        (Field("Close".lower(), int, "n", formula=["add", "volume", 1]), "each name once"),
        (Field("secret_twice", int, "n", formula=["add", "secret", 1]), "personal=True"),
    ],
)
def test_a_formula_that_cannot_be_computed_is_refused_where_it_is_declared(field, said):
    secret = Field("secret", int, "count of a person", personal=True)
    with pytest.raises(ConfigurationError) as error:
        derived_dataset(secret, field)
    found = f"{error.value} {error.value.expected} found: {error.value.found}"
    assert re.search(said, found), found


def test_a_derived_field_is_neither_key_nor_day_of_partitions():
    tag = Field("tag", str, "name", formula=["if", ["equal", "volume", 1], "name", "name"])
    with pytest.raises(ConfigurationError, match="invalid key"):
        derived_dataset(tag, key=("tag",))
    settled = Field("settled_on", date, "day", formula=["days_after", "traded_on", 2])
    with pytest.raises(ConfigurationError, match="invalid field 'settled_on'"):
        derived_dataset(settled, partitions=Daily("2026-01-01", column="settled_on"))


def test_another_formula_is_another_version_of_the_rules():
    twice, thrice = (
        Field("more", int, "shares", optional=True, formula=["multiply", "volume", factor])
        for factor in (2, 3)
    )
    versions = {hash_rules(derived_dataset(*own), b"") for own in ([], [twice], [thrice])}
    assert len(versions) == 3
    assert hash_rules(derived_dataset(twice), b"") in versions


def test_each_type_is_read_exactly():
    declared = dataset(
        Field("amount", decimal(12, 6), "euros"),
        Field("trades", int, "count"),
        Field("is_open", bool, "whether it is open"),
        Field("traded_on", date, "day", source="Trade Date"),
        Field("seen_at", datetime, "moment"),
        Field("note", str, "note", optional=True),
    )
    body = (
        b"\xef\xbb\xbfname,amount,trades,is_open,Trade Date,seen_at,note,more\r\n"
        b'AAA,6.82,-3,TRUE,2026-01-05,2026-01-05T09:30:00+02:00,"a, b",x\r\n'
        b"BBB,0.000001,0,0,2026-01-04,2026-01-05T09:30:00Z,,y\r\n"
    )
    assert rows(declared, body) == [
        {
            "day": DAY,
            "name": "AAA",
            "amount": Decimal("6.820000"),
            "trades": -3,
            "is_open": True,
            "traded_on": DAY,
            "seen_at": datetime(2026, 1, 5, 7, 30, tzinfo=UTC),
            "note": "a, b",
        },
        {
            "day": DAY,
            "name": "BBB",
            "amount": Decimal("0.000001"),
            "trades": 0,
            "is_open": False,
            "traded_on": date(2026, 1, 4),
            "seen_at": datetime(2026, 1, 5, 9, 30, tzinfo=UTC),
            "note": None,
        },
    ]


REJECTED = {
    "no number": ("amount", decimal(8, 2), {}, "1.2.3", "not_an_amount"),
    "more decimals than declared": ("amount", decimal(8, 2), {}, "1.234", "too_many_decimals"),
    "more digits than declared": ("amount", decimal(4, 2), {}, "100.00", "too_many_digits"),
    "a fraction of a whole number": ("trades", int, {}, "1.5", "not_an_amount"),
    "neither true nor false": ("is_open", bool, {}, "maybe", "not_a_boolean"),
    "an impossible day": ("traded_on", date, {}, "2026-02-30", "impossible_date"),
    "a moment finer than a microsecond": (
        *("seen_at", datetime, {}, "2026-01-05T09:30:00.0000001Z"),
        "not_a_timestamp",
    ),
    "a moment without zone": ("seen_at", datetime, {}, "2026-01-05T09:30:00", "not_a_timestamp"),
    "a blank": ("note", str, {}, "", "missing_value"),
    "not positive": ("amount", decimal(8, 2), {"check": positive}, "0.00", "not_positive"),
    "out of range": ("trades", int, {"check": between(1, 9)}, "10", "out_of_range"),
    "an unknown value": ("side", str, {"check": one_of("buy", "sell")}, "hold", "unknown_value"),
    "another form": ("code", str, {"check": matches("[A-Z]{3}")}, "ABCD", "wrong_form"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", REJECTED)
def test_a_value_that_breaks_its_field_rejects_its_row_alone(case):
    name, kind, more, value, code = REJECTED[case]
    declared = dataset(Field(name, kind, "x", **more), max_reject_ratio=0.9)
    good = {decimal(8, 2): "1.25", int: "5", bool: "true", date: "2026-01-05", str: "ABC"}
    right = good.get(kind, "2026-01-05T09:30:00Z" if kind is datetime else "1.25")
    right = "buy" if name == "side" else right
    body = f"name,{name}\nAAA,{value}\nBBB,{right}\n".encode()
    assert [found for found, _ in rejects(declared, body)] == [code]
    assert [row["name"] for row in rows(declared, body)] == ["BBB"]


@pytest.mark.parametrize("value", ["999999999999.999999", "-999999999999.999999", "0.000001"])
def test_the_widest_decimal_keeps_all_its_digits(value):
    declared = dataset(Field("amount", decimal(18, 6), "x"))
    assert rows(declared, f"name,amount\nA,{value}\n".encode())[0]["amount"] == Decimal(value)


def test_several_checks_hold_for_a_value_at_once():
    declared = dataset(Field("n", int, "x", check=[positive, between(0, 5)]), max_reject_ratio=1)
    found = rejects(declared, b"name,n\nA,0\nB,6\nC,5\n")
    assert [code for code, _ in found] == ["not_positive", "out_of_range"]


def test_nested_json_is_read_by_path_and_numbers_stay_as_they_are_written():
    declared = dataset(
        Field("amount", decimal(18, 6), "x", source="value.amount"),
        Field("raw", "json", "x", optional=True),
        source=source("json", records="data.items"),
    )
    body = b"""{"data": {"items": [
        {"name": "A", "value": {"amount": 12345678901.234567}, "raw": {"b": [1, 2.50]}},
        {"name": "B", "value": {"amount": 1.5e3}, "raw": null}]}}"""
    assert [(row["name"], row["amount"], row["raw"]) for row in rows(declared, body)] == [
        ("A", Decimal("12345678901.234567"), '{"b": [1, 2.50]}'),
        ("B", Decimal("1500.000000"), None),
    ]


def test_an_element_that_is_not_an_object_is_rejected():
    declared = dataset(source=source("json"), max_reject_ratio=1)
    assert rejects(declared, b'[{"name": "A"}, 7, null]') == [
        ("not_an_object", "the record is a number, not an object"),
        ("not_an_object", "the record is null, not an object"),
    ]


def test_lines_of_json_and_decimal_commas_are_read():
    lines = dataset(Field("n", int, "x"), source=source("ndjson"))
    assert [row["n"] for row in rows(lines, b'{"name": "A", "n": 1}\n\n{"name": "B", "n": 2}')] == [
        1,
        2,
    ]
    commas = dataset(
        Field("amount", decimal(12, 2), "x"),
        source=source("csv", delimiter=";", decimal_comma=True),
    )
    assert rows(commas, b"name;amount\nA;1.234,50\n")[0]["amount"] == Decimal("1234.500000")


def test_records_of_other_days_are_filtered_by_name():
    declared = dataset(
        Field("day", date, "x"),
        source=http_source("http://127.0.0.1/all", format="csv"),
        partitions=Daily("2026-01-01"),
    )
    body = b"name,day\nA,2026-01-05\nA,2026-01-04\nB,2026-01-05\n"
    found = read(declared, body)
    assert ([row["name"] for row in found.rows.to_dicts()], found.filtered) == (
        ["A", "B"],
        {"other_days": 1},
    )


def test_a_line_with_other_fields_is_rejected_at_its_place():
    declared = dataset(Field("n", int, "x"), max_reject_ratio=1)
    found = read(declared, b'name,n\n"A\nB",1\nC\nD,4\n')
    assert found.rejects.select("line_number", "reason_code", "record").rows() == [
        (4, "wrong_field_count", "C")
    ]


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        ("csv", b"other\nA\n", "a header with name once"),
        ("csv", b'name\n"A\n', "a CSV whose quotes pair"),
        ("csv", b"\xff\xfe", "text in UTF-8"),
        ("json", b'[{"name": "A"', "JSON"),
        ("ndjson", b'{"name": "A"}\n{"name"', "JSON"),
    ],
)
def test_a_document_that_is_not_in_its_format_is_refused(form, body, expected):
    with pytest.raises(SourceError) as raised:
        read(dataset(source=source(form)), body)
    assert raised.value.expected == expected


def test_a_path_that_is_missing_is_a_failure_and_not_an_absence():
    declared = dataset(source=source("json", records="data.items"))
    with pytest.raises(SourceError, match="document cannot be read") as raised:
        read(declared, b'{"data": {"rows": []}}')
    assert (raised.value.expected, raised.value.found) == (
        "records at data.items",
        "no items in rows",
    )


def test_an_own_function_yields_records_and_its_failure_names_it():
    def parse(body):
        yield {"name": body.decode().upper()}
        if b"!" in body:
            raise KeyError("rate")

    declared = dataset(source=http_source(URL, parse=parse))
    assert rows(declared, b"abc")[0]["name"] == "ABC"
    with pytest.raises(SourceError, match="parse= failed") as raised:
        read(declared, b"abc!")
    assert raised.value.found == "KeyError: 'rate'"


COUNTED = {
    "quoted line ends": ("csv", b'name\n"A\nB"\nC', (2, 12)),
    "an array": ("json", b' [{"a": [1, 2], "b": ",]"}, {}, "x"] ', (3, 37)),
    "an empty array": ("json", b"[ ]", (0, 3)),
    "one object": ("json", b'{"a": 1}', (1, 8)),
    "bytes after the array": ("json", b"[1, 2] rest", (2, 7)),
    "lines": ("ndjson", b'{"a": 1}\n\n{"a": 2}\n', (2, 19)),
}


@pytest.mark.parametrize("case", COUNTED)
def test_records_are_counted_apart_from_the_parser(case):
    form, body, counted = COUNTED[case]
    counter = build_counter(source(form).reading)
    assert counter is not None
    assert counter(body) == counted


def test_what_a_function_reads_is_not_counted():
    assert build_counter(http_source(URL, parse=no_records).reading) is None


def test_a_number_of_rows_outside_its_limits_holds_a_delivery_back():
    declared = dataset(checks=[row_count(min=2, max=3)])
    two, four = b"name\nA\nB\n", b"name\nA\nB\nC\nD\n"
    assert not read(declared, two).is_quarantined
    assert read(declared, four).is_quarantined
    failed = [audit for audit in read(declared, four).audits if audit.outcome == "failed"]
    assert [(audit.expected, audit.found) for audit in failed] == [("2 to 3 rows", "4")]


def test_a_key_with_duplicates_holds_a_delivery_back():
    failed = [
        audit.name for audit in read(dataset(), b"name\nA\nA\n").audits if audit.outcome == "failed"
    ]
    assert failed == ["has_unique_keys"]


@pytest.mark.parametrize("day", ["", "2026-13-45", "05.01.2026", "unknown"])
def test_a_record_whose_day_cannot_be_read_is_rejected_and_not_another_day_s(day):
    declared = dataset(
        Field("on", date, "day"),
        partitions=Daily("2026-01-01", column="on"),
        source=http_source("http://127.0.0.1/all.csv", format="csv"),
    )
    found = read(declared, f"name,on\nA,2026-01-05\nB,{day}\nC,2026-01-06\n".encode())
    assert found.rows["name"].to_list() == ["A"]
    assert found.rejects["line_number"].to_list() == [3]
    assert found.filtered == {"other_days": 1}

"""Processors of fields: money, quantities, matches to reference tables, personal values."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from orchestration_project.domains.web.extraction import Item, Page, RejectedItem, items
from orchestration_project.domains.web.item_rows import ReadPage, item_rows
from orchestration_project.domains.web.processors import (
    ValueProblemError,
    money,
    price,
    quantity,
)
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.engine.spill import DiskSpill
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.sites import read_site_files
from orchestration_project.settings import load_settings


def text_of(fields: dict[str, Any], **item: Any) -> str:
    key = {"sku": {"css": ".sku", "required": True}}
    declared = {"site": "shop", "base_url": "https://shop.example", "start": ["/"]}
    return yaml.safe_dump({**declared, "item": {"key": ["sku"], "fields": key | fields, **item}})


def site_with(fields: dict[str, Any], **item: Any) -> Site:
    return read_site(text_of(fields, **item))


def found_in(site: Site, body: str, mask_key: bytes = b"") -> list[Any]:
    """Return payloads of items, and reason codes with reasons and texts of rejects."""
    page = Page("https://shop.example/7", f"<i class=sku>A</i>{body}".encode(), "text/html")
    return [
        json.loads(item.payload)
        if isinstance(item, Item)
        else (item.reason_code, item.reason, item.text)
        for item in items(page, site.item, mask_key)
    ]


@pytest.mark.parametrize(
    ("text", "notation", "expected"),
    [
        ("1'299.50", "1'234.56", "1299.50"),
        ("CHF 1\u2019299\u2019000.-", "1'234.56", "1299000"),
        ("1,23,456.78", "1,23,456.78", "123456.78"),
        ("Rs. 12,34,567", "1,23,456.78", "1234567"),
        ("999.50", "1,23,456.78", "999.50"),
        ("1.299,50 \u20ac", "1.234,56", "1299.50"),
        ("12,- \u20ac", "1.234,56", "12"),
        ("\u00a35", "1,234.56", "5"),
        ("-5.00 USD", "1,234.56", "-5.00"),
    ],
)
def test_a_price_stands_alone_or_with_a_currency(text: str, notation: str, expected: str):
    assert price(text, notation) == expected


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        *((text, "1,234.56") for text in ("5 days", "20 % off", "1.50 kg", "from 5", "5*", "5 x")),
        *(("$5 USD", "1,234.56"), ("1,23,456.78", "1,234.56"), ("1'299.50", "1,234.56")),
        *(("1,234,567", "1,23,456.78"), ("1,299.50", "1'234.56"), ("5.", "1,234.56")),
    ],
)
def test_what_is_beside_a_price_is_not_ignored(text: str, notation: str):
    with pytest.raises(ValueProblemError, match="expected a price such as"):
        price(text, notation)


@pytest.mark.parametrize(
    ("text", "notation", "currency", "expected"),
    [
        ("1.234,50 €", "1.234,56", None, ("1234.50", "EUR")),
        ("USD 9.99", "1,234.56", None, ("9.99", "USD")),
        ("US$9.99", "1,234.56", None, ("9.99", "USD")),
        ("12 zł", "1,234.56", None, ("12", "PLN")),
        ("$9.99", "1,234.56", "CAD", ("9.99", "CAD")),
        ("9.99", "1,234.56", "JPY", ("9.99", "JPY")),
        ("1 234,50\u00a0kr", "1 234,56", "SEK", ("1234.50", "SEK")),
    ],
)
def test_money_is_an_exact_amount_with_its_currency(
    text: str, notation: str, currency: str | None, expected: tuple[str, str]
):
    found = money(text, notation, currency)
    assert (found["amount"], found["currency"]) == expected


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        *(("$9.99", None), ("9.99", None), ("€9.99", "USD"), ("$9.99", "EUR"), ("9.99 XYZ", None)),
        *(("EUR", None), ("EUR 9.99 USD", None), ("9,99 €", None)),
    ],
)
def test_money_without_a_clear_currency_is_refused(text: str, currency: str | None):
    with pytest.raises(ValueProblemError, match="expected"):
        money(text, "1,234.56", currency)


@pytest.mark.parametrize(
    ("text", "notation", "unit", "expected"),
    [
        ("1.5 kg", "1,234.56", "g", "1500"),
        ("1,5kg", "1.234,56", "kg", "1.5"),
        ("750 ml", "1,234.56", "l", "0.75"),
        ("2 lb", "1,234.56", "kg", "0.90718474"),
        ('10 "', "1,234.56", "cm", "25.4"),
        ("1 GiB", "1,234.56", "MB", "1073.741824"),
        ("90 min", "1,234.56", "h", "1.5"),
        ("12.50 m²", "1,234.56", "m2", "12.5"),
        ("0.10", "1,234.56", "KG", "0.10"),
        ("-3 km", "1,234.56", "m", "-3000"),
    ],
)
def test_a_quantity_is_exact_in_its_declared_unit(
    text: str, notation: str, unit: str, expected: str
):
    assert quantity(text, notation, unit) == expected


@pytest.mark.parametrize(
    ("text", "unit", "reason"),
    [
        ("1.5 m", "kg", "expected a unit such as kg"),
        ("1 kg", "lb", "expected an amount that is exact in lb"),
        ("heavy", "kg", "expected a quantity such as 1.5 kg"),
        ("1.5 kg net", "kg", "expected a quantity"),
        ("1,5 kg", "kg", "expected a price such as 1,234.56"),
        ("1 furlong", "m", "expected a unit such as m, found 'furlong'"),
    ],
)
def test_a_quantity_of_another_kind_is_refused(text: str, unit: str, reason: str):
    with pytest.raises(ValueProblemError, match=reason):
        quantity(text, "1,234.56", unit)


BRANDS = {"brands": {"rows": {"acme": "ACME Corporation", "bolt": "Bolt & Sons", "abc": "x"}}}


def brand(text: str, **match: Any) -> Any:
    field = {"css": ".brand", "match": {"table": "brands", **match}}
    [found] = found_in(site_with({"brand": field}, tables=BRANDS), f"<b class=brand>{text}</b>")
    return found["brand"]


def test_a_text_matches_by_key_then_by_similarity_with_its_score():
    assert brand(" ABC ") == {"text": "ABC", "key": "abc", "score": "1.0000"}
    assert brand("Corporation Acme") == {
        "text": "Corporation Acme",
        "key": "acme",
        "score": "1.0000",
    }
    # a Levenshtein ratio without substitutions: 2 * 15 of 16 + 15 characters
    assert brand("Acme Corporatio") == {
        "text": "Acme Corporatio",
        "key": "acme",
        "score": "0.9677",
    }
    assert brand("Acme Corporatio", threshold=0.97)["key"] is None
    assert brand("Zzz") == {"text": "Zzz", "key": None, "score": "0.0000"}


def test_a_required_match_below_its_threshold_is_a_reject():
    field = {"css": ".brand", "required": True, "match": {"table": "brands"}}
    site = site_with({"brand": field}, tables=BRANDS)
    [(reason_code, reason, _)] = found_in(site, "<b class=brand>Zzz</b>")
    assert (reason_code, reason) == ("match", "brand: expected a row of brands")


def test_a_reference_table_is_read_from_a_csv_file_beside_the_site(tmp_path: Path):
    table = {"brands": {"csv": "brands.csv", "key": "id", "text": "name", "rows": {"own": "Own"}}}
    field = {"css": ".brand", "match": {"table": "brands"}}
    (tmp_path / "shop.yaml").write_text(text_of({"brand": field}, tables=table))
    problem = read_site_files(tmp_path).problems["shop.yaml"]
    assert problem == "item.tables.brands: brands.csv: No such file or directory"
    (tmp_path / "brands.csv").write_text('\ufeffid,name\na,"Acme, Inc."\n')
    site = read_site_files(tmp_path).sites["shop"]
    for text, key in (("acme, inc.", "a"), ("own", "own")):
        [found] = found_in(site, f"<b class=brand>{text}</b>")
        assert found["brand"]["key"] == key
    for content, reason in (
        ("id,title\na,b\n", "line 2: expected values of id and name"),
        ("id,name\na,b\na,c\n", "line 3: 'a' stands there twice"),
        ('id,name\na,"b\n', "expected CSV"),
        ("id,name\n\xff", ""),
    ):
        (tmp_path / "brands.csv").write_bytes(content.encode("latin-1"))
        assert reason in read_site_files(tmp_path).problems["shop.yaml"]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({"process": "quantity"}, "expected process: quantity with a unit"),
        ({"process": "quantity", "unit": "stone"}, "expected a unit such as kg, cm or l"),
        ({"process": "price", "currency": "EUR"}, "expected process: money with a currency"),
        ({"process": "money", "currency": "EUX"}, "expected a code of ISO 4217"),
        ({"match": {"table": "cities"}}, "expected a table 'cities' in tables"),
        ({"match": {"table": "brands"}, "personal": "mask"}, "not of a personal field"),
    ],
)
def test_a_processor_that_is_declared_by_half_is_refused(field: dict[str, Any], problem: str):
    with pytest.raises(ConfigurationError) as error:
        site_with({"x": {"css": ".x", **field}}, tables=BRANDS)
    assert problem in str(error.value.found)


def test_nothing_of_a_personal_value_is_stored():
    fields = {
        "seller": {"css": ".seller", "personal": "mask"},
        "phone": {"css": ".phone", "personal": "drop", "required": True},
        "born": {"css": ".born", "process": "date", "format": "%Y", "personal": "mask"},
    }
    body = "<b class=seller>Ann Smith</b><b class=phone>555-1234</b>"
    site, key = site_with(fields), b"0123456789abcdef"
    assert found_in(site, body) == [{"sku": "A", "seller": "***"}]
    [first], [again] = found_in(site, body, key), found_in(site, body, key)
    [other] = found_in(site, body.replace("Ann", "Eve"), key)
    assert first == again != other
    assert first.keys() == {"sku", "seller"}
    assert first["seller"] != found_in(site, body, b"another key that")[0]["seller"]
    rejected = found_in(site, f"{body}<b class=born>Ann Smith</b>", key)
    assert rejected[0][0] == "value"
    missing = found_in(site, "<b class=seller>Ann Smith</b>", key)
    assert missing[0][:2] == ("missing", "phone: expected a value, found none")
    page = Page("https://shop.example/7", b'{"seller": "Ann Smith"', "application/json")
    [broken] = items(page, site.item, key)
    assert isinstance(broken, RejectedItem)
    for stored in (first, rejected, missing, broken):
        assert not any(text in str(stored) for text in ("Ann", "Smith", "555"))


def test_a_key_is_no_personal_value():
    with pytest.raises(ConfigurationError) as error:
        site_with({"sku": {"css": ".sku", "required": True, "personal": "mask"}})
    assert "expected key 'sku' without personal" in str(error.value.found)


def test_the_key_of_masks_is_a_secret_of_16_characters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEB_MASK_KEY", "planted-0123456789")
    settings = load_settings()
    assert not settings.problems
    assert "planted" not in repr(settings)
    monkeypatch.setenv("WEB_MASK_KEY", "short")
    with pytest.raises(ConfigurationError, match=r"WEB_MASK_KEY=.*: expected 16 characters"):
        load_settings()


@pytest.mark.parametrize(
    ("duplicates", "name", "reject_count"),
    [("reject", "a", 1), ("first", "a", 0), ("last", "b", 0)],
)
def test_of_items_with_the_same_key_one_is_loaded(
    duplicates: str, name: str, reject_count: int, tmp_path: Path
):
    site = site_with({"name": {"css": ".name"}}, duplicates=duplicates)
    pages = [
        ReadPage(
            f"https://shop.example/{name}",
            f"<i class=sku>A</i><b class=name>{name}</b>".encode(),
            "",
        )
        for name in ("a", "b")
    ]
    validated, _ = item_rows(pages, site.item, site="shop", spill=DiskSpill(tmp_path))
    [row] = validated.rows.select(pl.col("payload", "url", "part_number")).to_dicts()
    assert json.loads(row["payload"])["name"] == name
    assert row["url"] == f"https://shop.example/{name}"
    assert row["part_number"] == (2 if name == "b" else 1)
    assert len(validated.rejects) == reject_count

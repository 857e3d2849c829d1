"""Parsers in Python: what they return, how they fail, and how a broken one is reported."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import Item, Page, RejectedItem, items
from orchestration_project.domains.web.parsers import ParsedPage
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.resources.web.sites import read_site_files


class Variants:
    """Items of a script that assigns products to a variable: no selector reads it."""

    def items(self, page: ParsedPage) -> Iterator[Mapping[str, Any]]:
        """Yield a product per colon-separated entry of the script."""
        script = page.root.css_first("script").text()
        for entry in script.split('"')[1].split(";"):
            sku, _, price = entry.partition(":")
            if price == "float":
                yield {"sku": sku, "price": 1.5}
            amount = {"amount": Decimal(price), "on": date(2026, 11, 2)}
            yield {"sku": sku, "offers": [amount, None], "url": page.url}


class NoParser:
    """Has no method items."""


class Unmakeable:
    """Needs an argument."""

    def __init__(self, _: int) -> None:
        pass


class NotMappings:
    """Returns texts."""

    def items(self, _: ParsedPage) -> list[str]:
        """Return a text."""
        return ["Ann Smith"]


def text_of(parser: str, **fields: Any) -> str:
    declared = {
        "sku": {"json_path": "sku", "required": True},
        "price": {"json_path": "offers[0].amount", "process": "price"},
        **fields,
    }
    item = {"key": ["sku"], "parser": parser, "fields": declared}
    site = {"site": "shop", "base_url": "https://shop.example", "start": ["/"], "item": item}
    return yaml.safe_dump(site)


def site_with(parser: str, **fields: Any) -> Site:
    return read_site(text_of(f"{__name__}:{parser}", **fields))


def found_in(site: Site, script: str) -> list[Any]:
    body = f'<script>data = "{script}"</script>'.encode()
    return [
        json.loads(item.payload) if isinstance(item, Item) else item
        for item in items(Page("https://shop.example/7", body, "text/html"), site.item)
    ]


def test_a_parser_returns_items_whose_fields_are_processed():
    on = {"on": {"json_path": "offers[*].on"}, "url": {"json_path": "url", "personal": "drop"}}
    assert found_in(site_with("Variants", **on), "A:1.50;B:7;C:x")[:2] == [
        {"sku": "A", "price": "1.50", "on": "2026-11-02"},
        {"sku": "B", "price": "7", "on": "2026-11-02"},
    ]


@pytest.mark.parametrize(
    ("parser", "script", "reason"),
    [
        ("Variants", "A:x", "Variants fails: InvalidOperation"),
        ("Variants", "A:float", "Variants fails: TypeError: expected texts, integers or Decimal"),
        ("NotMappings", "", "NotMappings fails: TypeError: expected a mapping, found str"),
    ],
)
def test_an_error_of_a_parser_is_a_reject(parser: str, script: str, reason: str):
    [found] = found_in(site_with(parser), script)
    assert isinstance(found, RejectedItem)
    assert found.reason_code == "parser"
    assert reason in found.reason


def test_an_error_of_a_parser_quotes_no_personal_page():
    site = site_with("Variants", url={"json_path": "url", "personal": "mask"})
    [found] = found_in(site, "Ann Smith")
    assert isinstance(found, RejectedItem)
    assert "Ann" not in found.reason + found.text


@pytest.mark.parametrize(
    ("parser", "problem"),
    [
        (f"{__name__}:NoParser", "found 'tests.domains.test_web_parsers:NoParser'"),
        (f"{__name__}:Unmakeable", "TypeError: "),
        (f"{__name__}:Missing", "AttributeError: "),
        (f"{__name__}:site_with", "found 'tests.domains.test_web_parsers:site_with'"),
        ("no_such_package.module:Parser", "ModuleNotFoundError: "),
        ("exits_at_import:Parser", "SystemExit: 1"),
        ("not a name", "item.parser: expected text to match pattern"),
    ],
)
def test_a_broken_parser_is_a_problem_of_its_file(
    parser: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit(1)\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "shop.yaml").write_text(text_of(parser))
    (tmp_path / "works.yaml").write_text(
        text_of(f"{__name__}:Variants").replace("site: shop", "site: works")
    )
    found = read_site_files(tmp_path)
    assert list(found.sites) == ["works"]
    assert "item.parser" in found.problems["shop.yaml"]
    assert problem in found.problems["shop.yaml"]


def test_fields_beside_a_parser_have_a_json_path(tmp_path: Path):
    (tmp_path / "shop.yaml").write_text(text_of(f"{__name__}:Variants", name={"css": "h1"}))
    problem = read_site_files(tmp_path).problems["shop.yaml"]
    assert "expected fields with json_path alone" in problem

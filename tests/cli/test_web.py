"""`load web` and `web check`: crawls of the demo's shop, and site files tried on its pages."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.domains.web.tables import web_items, web_items_history
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.web.switches import SwitchChange, set_switch
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.tables.spine import deliveries
from tests import databases, web_shop
from tests.prepared import Prepared
from tests.web_shop import PRODUCTS, Shop, items_of

SHOP_FILE = PROJECT_ROOT / "config/sites" / "shop.yaml"
DAY = "2026-02-01"
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(
    request: pytest.FixtureRequest,
    demo_settings: object,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The URL of an empty database of either kind, set as DATABASE_URL."""
    found = (
        prepared.sqlite(tmp_path / "warehouse.sqlite")
        if request.param == "sqlite"
        else prepared.postgresql()
    )
    monkeypatch.setenv("DATABASE_URL", found)
    return found


SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
BOTH = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    yield from web_shop.started(monkeypatch)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def change_and_expect_texts(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """Return the path of the shop's site file with other texts."""
    text = SHOP_FILE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.slow
def test_a_site_is_loaded_and_its_file_is_checked_on_its_pages(
    url: str, shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shop.at(DAY)
    assert main(["load", "web", "shop", DAY]) == 0
    row = next(line for line in printed(capsys).splitlines() if line.startswith("shop  "))
    assert row.split()[:7] == ["shop", DAY, "complete", "21", "21", "20", "0"]
    assert "20 rows added" in row
    shop.stop()  # no command below requests anything

    assert main(["web", "check", str(SHOP_FILE), "--json"]) == 0
    found = json.loads(printed(capsys))
    assert (found["is_valid"], found["problems"]) == (True, [])
    assert (found["day"], found["page_count"], found["item_count"]) == (DAY, PRODUCTS, PRODUCTS)
    assert found["rejects"] == {}
    assert set(found["fill_rates"].values()) == {1.0}
    [start] = found["start"]
    assert (start["url"], start["robots"]) == ("http://shop.demo/catalogue", "allowed")
    assert start["fetched_at"].startswith(DAY)

    other = change_and_expect_texts(
        tmp_path, ("css: .price", "css: .amount"), ("[/catalogue]", "[/basket]")
    )
    assert main(["web", "check", other]) == 1
    shown = printed(capsys)
    assert f"{other}: 3 problems" in shown
    assert "start  disallowed   http://shop.demo/basket" in shown
    assert f"{PRODUCTS} pages of {DAY}: 0 items, {PRODUCTS} rejects" in shown
    assert f"{PRODUCTS} rejects missing: price: expected a value, found none" in shown
    assert "problem: item.fields.price: expected a value on a captured page, found none" in shown
    assert "problem: item: expected up to 20% of items rejected, found 20 of 20" in shown


@pytest.mark.slow
@SQLITE
def test_a_crawl_whose_items_are_quarantined_is_not_complete(
    url: str, shop: Shop, capsys: pytest.CaptureFixture[str]
):
    shop.at(web_shop.NEW_LAYOUT)  # no price is found
    assert main(["load", "web", "shop", "--json"]) == 1
    found = json.loads(printed(capsys))
    assert not found["is_complete"]
    [crawl] = found["crawls"]
    assert (crawl["site"], crawl["day"]) == ("shop", web_shop.NEW_LAYOUT)
    assert (crawl["outcome"], crawl["reject_count"]) == ("complete", PRODUCTS)
    [failure] = found["failures"]
    assert "shop is quarantined by rejects_are_few" in failure


@SQLITE
def test_a_crawl_that_is_switched_off_is_not_printed_as_loaded(
    url: str, shop: Shop, capsys: pytest.CaptureFixture[str]
):
    shop.at(DAY)
    change = SwitchChange("shop", is_off=True, reason="too slow", by="ada", at=NOW, run_id="r1")
    with open_warehouse(load_settings()) as warehouse:
        set_switch(warehouse, change, ["shop"])
    assert main(["load", "web", "shop", DAY]) == 1
    shown = printed(capsys)
    assert f"{DAY}: stopped" in shown
    assert f"{DAY}: loaded" not in shown
    assert "shop is switched off by ada: too slow; expected: the switch of shop on" in shown
    assert "what to do: set the switch on by the job web_set_switch" in shown


@SQLITE
def test_without_captured_pages_the_schema_alone_is_checked(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["web", "check", str(SHOP_FILE)]) == 0
    shown = printed(capsys)
    assert "start  unknown      http://shop.demo/catalogue" in shown
    assert "no page is captured: selectors were not tried" in shown
    broken = change_and_expect_texts(tmp_path, ("css: h1", 'css: "h1[["'))
    assert main(["web", "check", broken]) == 1
    assert f"{broken}: line 16: item.fields.name.css: expected a CSS selector" in printed(capsys)
    assert main(["web", "check", broken, "--json"]) == 1
    [problem] = json.loads(printed(capsys))["problems"]
    assert problem.startswith("line 16: item.fields.name.css")


@SQLITE
def test_an_address_that_no_crawl_may_request_is_a_problem(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    file = change_and_expect_texts(
        tmp_path, ("http://shop.demo", "http://shop.example:8080\nhosts: [http://10.0.0.1]")
    )
    assert main(["web", "check", file, "--json"]) == 1
    port, private = json.loads(printed(capsys))["problems"]
    assert port == (
        "base_url: the request to shop.example is refused: its port is not allowed; "
        "expected: port 80, 443; found: 8080; "
        "what to do: correct the URL, or add its port to WEB_ALLOWED_PORTS"
    )
    assert private.startswith("hosts.0: the request to 10.0.0.1 is refused")
    assert "HTTP_ALLOWED_NETWORKS" in private
    monkeypatch.setenv("WEB_ALLOWED_PORTS", "8080")
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "10.0.0.0/8")
    assert main(["web", "check", file]) == 0


@SQLITE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "web", "shopp"], "unknown site 'shopp': expected one of shop"),
        (["load", "web", "shop", "yesterday"], "invalid day 'yesterday': expected a date"),
        (["load", "web", "shop", "2025-01-01"], "invalid day 2025-01-01: expected one from 2026"),
        (["web", "check", "no-such-file.yaml"], "does not exist"),
    ],
)
def test_a_wrong_name_is_a_usage_error(
    url: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@SQLITE
def test_without_a_source_nothing_is_crawled(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.setenv("FINRA_SOURCE", "api")
    with pytest.raises(SystemExit) as ended:
        main(["load", "web"])
    assert ended.value.code == 2
    assert "WEB_SOURCE is not set" in capsys.readouterr().err


@SQLITE
def test_a_dry_run_names_what_would_be_crawled(url: str, capsys: pytest.CaptureFixture[str]):
    assert main(["load", "web", "shop", DAY, "--dry-run"]) == 0
    assert f"dry run: would be crawled: shop {DAY}" in printed(capsys)


@pytest.mark.slow
@BOTH
def test_items_are_replayed_under_the_rules_of_a_file(
    url: str, shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shop.at(DAY)
    assert main(["load", "web", "shop", DAY]) == 0
    shop.stop()  # a replay requests nothing
    before = items_of(url)
    recorded = select(deliveries.c.group_id, deliveries.c.outcome).where(
        deliveries.c.table_name == web_items.name
    )
    capsys.readouterr()

    # A dry run lists the differences, and writes nothing.
    other = change_and_expect_texts(
        tmp_path,
        ("    tags: {css: .tag, many: true}\n", ""),
        ("name: {css: h1,", "name: {css: h1, regex: '\\d+',"),
    )
    arguments = ["replay", "web_items", "shop", "--with", other]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    found = json.loads(printed(capsys))
    assert found["changed"] == {key: ["name", "tags"] for key in before}
    assert (found["added"], found["removed"], found["unchanged_count"]) == ([], [], 0)
    assert found["differences"][0] == {
        "item_key": "P0001",
        "change": "changed",
        "field": "name",
        "before": '"Product 1"',
        "after": '"1"',
    }
    assert items_of(url) == before
    assert len(databases.rows(url, recorded)) == 1

    # The replay loads them, with history.
    assert main(arguments) == 0
    shown = printed(capsys)
    assert "loaded: 0 items added, 20 changed, 0 removed, 0 unchanged (20 pages of 2026-02" in shown
    after = items_of(url)
    assert after["P0001"] == {
        name: "1" if name == "name" else value
        for name, value in before["P0001"].items()
        if name != "tags"
    }
    causes = {cause for (cause,) in databases.rows(url, select(web_items_history.c.change_cause))}
    assert causes == {"ours"}
    assert len(databases.rows(url, recorded)) == 2

    # Rules that find no price are quarantined.
    broken = change_and_expect_texts(tmp_path, ("css: .price", "css: .amount"))
    assert main(["replay", "web_items", "shop", "--with", broken]) == 1
    shown = printed(capsys)
    assert "shop is quarantined by rejects_are_few" in shown
    assert items_of(url) == after

    # A replay by the present rules restores the items.
    assert main(["replay", "web_items", "shop", DAY]) == 0
    assert items_of(url) == before


@SQLITE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["web_items"], "expected a site"),
        (["web_items", "shop", "2026-02-01", "more"], "expected a site"),
        (["web_items", "other", "--with", str(SHOP_FILE)], "expected site: other, found shop"),
        (["web_items", "shop", "--allow-older"], "web_items takes a site, a day"),
        (["T1|2026-02-02", "--with", str(SHOP_FILE)], "--with applies to web_items"),
    ],
)
def test_a_replay_that_names_no_site_is_a_usage_error(
    url: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["replay", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@SQLITE
def test_without_captured_pages_there_is_nothing_to_replay(
    url: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["replay", "web_items", "shop", "--dry-run"]) == 1
    assert "no page of shop is captured" in capsys.readouterr().err

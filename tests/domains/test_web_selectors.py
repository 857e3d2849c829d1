"""Selectors of fields: XPath, JSON-LD and microdata with known answers; hostile pages and files."""

import json
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from orchestration_project.domains.web.extraction import Item, Page, RejectedItem, items, links
from orchestration_project.domains.web.sites import ItemRule, Site, read_site
from orchestration_project.errors import ConfigurationError

KEY = {"sku": {"css": ".sku", "required": True}}


def site_with(fields: dict[str, Any], key: str = "sku", **item: Any) -> Site:
    declared = {
        "site": "shop",
        "base_url": "https://shop.example",
        "start": ["/"],
        "follow": [{}],
        "item": {"key": [key], "fields": fields, **item},
    }
    return read_site(yaml.safe_dump(declared))


def page_of(body: str, content_type: str = "text/html; charset=utf-8") -> Page:
    return Page("https://shop.example/product/7", body.encode(), content_type)


def expect_payloads(site: Site, page: Page) -> list[Any]:
    found = list(items(page, site.item))
    assert all(isinstance(entry, Item) for entry in found), found
    return [json.loads(entry.payload) for entry in found if isinstance(entry, Item)]


def rejects(site: Site, page: Page) -> list[str]:
    return [item.reason_code for item in items(page, site.item) if isinstance(item, RejectedItem)]


def refused(fields: dict[str, Any], **item: Any) -> str:
    with pytest.raises(ConfigurationError, match="invalid site file") as error:
        site_with(KEY | fields, **item)
    return str(error.value.found)


def test_xpath_selects_texts_attributes_values_and_json():
    site = site_with(
        KEY
        | {
            "name": {"xpath": "//h1"},
            "link": {"xpath": ".//a[contains(@class, 'more')]/@href"},
            "tags": {"xpath": "//b[@class='tag']/text()", "many": True},
            "count": {"xpath": "count(//b)", "regex": r"^\d+"},
            "next": {"xpath": "//dt[.='Weight']/following-sibling::dd[1]"},
            "data": {"xpath": "//script", "json_path": "a[1]"},
            "absent": {"xpath": "//h7"},
        }
    )
    body = """<h1>A <i>lamp</i></h1><i class=sku>P1</i><a class="x more" href=/m>m</a>
      <b class=tag>one</b><b class=tag>two</b><script>{"a": [1, 2.50]}</script>
      <dl><dt>Size<dd>9<dt>Weight<dd>1.5 kg</dl>"""
    assert expect_payloads(site, page_of(body)) == [
        {
            "sku": "P1",
            "name": "A lamp",
            "link": "/m",
            "tags": ["one", "two"],
            "count": "2",
            "next": "1.5 kg",
            "data": "2.50",
        }
    ]


def test_an_xpath_sees_its_item_alone():
    body = """<table><tr><td>A</td><td>1</td></tr><tr><td>B</td><td>2</td></tr></table>"""
    fields = {
        "sku": {"xpath": "./td[1]", "required": True},
        "amount": {"xpath": "//td[last()]", "process": "integer"},
    }
    expected = [{"sku": "A", "amount": 1}, {"sku": "B", "amount": 2}]
    assert expect_payloads(site_with(fields, each_xpath="//tr"), page_of(body)) == expected
    assert expect_payloads(site_with(fields, each="tr"), page_of(body)) == expected
    assert "expected fields with xpath beside each_xpath" in refused({}, each_xpath="//tr")


@pytest.mark.parametrize(
    "path",
    [
        *("//b[", "//b/@", "nofunction(.)", "//x:b"),
        *("//b[re:test(., '(a+)+$')]", "//b[count(//b) > 1]", "//b[ //b]", "//b[. = /html]"),
        *("//b/preceding::b", "//b[following :: b]", "//b[@a or //b]"),
        *("//b/following-sibling::b", "//b[not(preceding-sibling :: b)]", "//b[sum(../i) > 1]"),
        *("//b[.=following-sibling::b/text()]", "//b[text()=parent::p/b]", "//b[a[../b/i]]"),
    ],
)
def test_an_xpath_that_is_invalid_or_may_take_long_is_refused(path: str):
    assert "item.fields.name.xpath: expected an XPath" in refused({"name": {"xpath": path}})


@pytest.mark.parametrize(
    "path",
    [
        *("//b[following-sibling::b[1]]", "//b[../@id]", "//b[../../@id]", "//i/../b"),
        *("//b/following-sibling::text()[2]", "//b[ancestor::p/@id]", "//b[a/i]", "//b[.//i]"),
        *("//b[not(@x)]/preceding-sibling::*[1]/text()", "//b[position() < 3]"),
    ],
)
def test_an_xpath_of_bounded_time_is_valid(path: str):
    assert site_with(KEY | {"name": {"xpath": path}}).item.fields["name"].xpath == path


def test_texts_in_an_xpath_are_no_paths():
    site = site_with({"sku": {"xpath": "//b[.='[/ re:x']", "required": True}})
    assert expect_payloads(site, page_of("<b>[/ re:x</b>")) == [{"sku": "[/ re:x"}]


LINKED = """<script type="application/ld+json">{"@context": "https://schema.org", "@graph": [
  {"@type": "WebPage", "mainEntity": {"@id": "#lamp"}},
  {"@type": ["Product", "Thing"], "@id": "#lamp", "sku": "P1", "name": {"@value": "Lamp"},
   "offers": [{"@type": "Offer", "price": 1234.50}, {"@type": "Offer", "price": "9"}],
   "brand": {"@id": "#brand"}, "image": {"@list": ["a.png", "b.png"]}},
  {"@type": "https://schema.org/Brand", "@id": "#brand", "name": "Acme"}]}</script>
<script type="application/ld+json">{"@type": "Offer", broken</script>
<script type="APPLICATION/LD+JSON">{"@type": "Product", "sku": "P2", "offers": {"price": 0.10}}
</script><script>{"@type": "Product", "sku": "P3"}</script>"""


def test_json_ld_finds_objects_by_type_in_a_graph_and_follows_references():
    fields = {
        "sku": {"json_path": "sku", "required": True},
        "name": {"json_path": "name"},
        "brand": {"json_path": "brand.name"},
        "prices": {"json_path": "offers.price", "process": "price", "many": True},
        "second": {"json_path": "offers[1].price"},
        "images": {"json_path": "image[*]", "many": True},
    }
    assert expect_payloads(site_with(fields, each_json_ld="Product"), page_of(LINKED)) == [
        {
            "sku": "P1",
            "name": "Lamp",
            "brand": "Acme",
            "prices": ["1234.50", "9"],
            "second": "9",
            "images": ["a.png", "b.png"],
        },
        {"sku": "P2", "prices": ["0.10"]},
    ]
    field = {"sku": {"json_ld": "Product", "json_path": "sku", "required": True}}
    brand = {"brand": {"json_ld": "https://schema.org/Brand", "json_path": "name"}}
    assert expect_payloads(site_with(field | brand), page_of(LINKED)) == [
        {"sku": "P1", "brand": "Acme"}
    ]
    whole = page_of('[{"@type": "Product", "sku": "J"}]', "application/ld+json")
    plain = {"sku": {"json_path": "sku", "required": True}}
    assert expect_payloads(site_with(plain, each_json_ld="Product"), whole) == [{"sku": "J"}]


LAMP = '{"@type": "Product", "sku": "P1"}'


@pytest.mark.parametrize(
    ("script", "keys"),
    [
        (f"{LAMP};", ["P1"]),
        ('{"@type": "Product", "sku": "P1, ]",}', ["P1, ]"]),
        ('{"@type": ["Product",], "sku": "a\\",}",\n}', ['a",}']),
        (f"<!-- {LAMP} -->", ["P1"]),
        (f"<!--\n{LAMP}\n//-->", ["P1"]),
        (f"//<![CDATA[\n{LAMP}\n//]]>", ["P1"]),
        (f"/*<![CDATA[*/ {LAMP}; /*]]>*/", ["P1"]),
        (f"<![CDATA[{LAMP}]]>", ["P1"]),
        (f"\ufeff{LAMP}", ["P1"]),
        (LAMP + LAMP.replace("P1", "P2"), ["P1", "P2"]),
        (f"{LAMP},\n{LAMP.replace('P1', 'P2')};", ["P1", "P2"]),
        (" ", []),
    ],
)
def test_json_ld_that_is_almost_json_is_read(script: str, keys: list[str]):
    page = page_of(f'<script type="application/ld+json">{script}</script>')
    every = site_with({"sku": {"json_path": "sku", "required": True}}, each_json_ld="Product")
    assert [payload["sku"] for payload in expect_payloads(every, page)] == keys
    for selecting in ({"json_ld": "Product"}, {"css": "script"}):
        site = site_with({"sku": {**selecting, "json_path": "sku", "required": True}})
        assert [payload["sku"] for payload in expect_payloads(site, page)] == keys[:1]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('{"@type": "Product", "sku": "P1"', "Expecting ',' delimiter"),
        ("{@type: Product}", "Expecting property name"),
        ('{"@type": "Product", "sku": "P1', "Unterminated string"),
        ('{"@type": "Product", "x": ' + "[" * 50_000, "nests less"),
        ("var x = 1", "Expecting value"),
    ],
)
def test_json_ld_that_is_not_json_is_a_reject(script: str, reason: str):
    page = page_of(f'<script type="application/ld+json">{script}</script>')
    every = site_with({"sku": {"json_path": "sku", "required": True}}, each_json_ld="Product")
    [found] = items(page, every.item)
    assert isinstance(found, RejectedItem)
    assert (found.reason_code, found.text) == ("json_ld", script[:1000])
    assert reason in found.reason
    for selecting in ({"json_ld": "Product"}, {"css": "script"}):
        site = site_with({"sku": {**selecting, "json_path": "sku", "required": True}})
        [found] = items(page, site.item)
        assert isinstance(found, RejectedItem)
        assert found.reason_code == "value"
        assert reason in found.reason


def test_json_ld_of_another_type_that_is_not_json_is_no_reject():
    scripts = ['{"@type": "BreadcrumbList", x', LAMP]
    page = page_of(
        "".join(f'<script type="application/ld+json">{script}</script>' for script in scripts)
    )
    every = site_with({"sku": {"json_path": "sku", "required": True}}, each_json_ld="Product")
    assert expect_payloads(every, page) == [{"sku": "P1"}]


MICRODATA = """<div itemscope itemtype="https://schema.org/Product" itemid="urn:1"
  itemref="more no">
  <meta itemprop=sku content=P1><span itemprop="name alternateName">Lamp</span>
  <img itemprop=image src=/a.png><a itemprop=url href=/lamp>see</a>
  <data itemprop=weight value=1.5>1,5 kg</data><time itemprop=on>2 May</time>
  <time itemprop=at datetime=2026-05-02>2 May</time>
  <div itemprop=offers itemscope itemtype=https://schema.org/Offer>
    <b itemprop=price>12.50</b><b itemprop=seller itemscope><i itemprop=name>Acme</i></b></div>
</div><p id=more><i itemprop=color>red</i></p><i itemprop=color>blue</i>
<div itemscope itemtype=https://schema.org/Product><meta itemprop=sku content=P2></div>"""


def test_microdata_takes_the_attribute_that_the_standard_names():
    names = ("sku", "name", "alternateName", "image", "url", "weight", "on", "at", "color")
    fields = {name: {"json_path": name} for name in names} | {
        "sku": {"json_path": "sku", "required": True},
        "price": {"json_path": "offers.price", "process": "price"},
        "seller": {"json_path": "offers.seller.name"},
        "id": {"json_path": "$['@id']"},
    }
    assert expect_payloads(site_with(fields, each_microdata="Product"), page_of(MICRODATA)) == [
        {
            "sku": "P1",
            "name": "Lamp",
            "alternateName": "Lamp",
            "image": "/a.png",
            "url": "/lamp",
            "weight": "1.5",
            "on": "2 May",
            "at": "2026-05-02",
            "color": "red",
            "price": "12.50",
            "seller": "Acme",
            "id": "urn:1",
        },
        {"sku": "P2"},
    ]
    field = {"price": {"microdata": "Offer", "json_path": "price"}}
    sku = {"sku": {"microdata": "Product", "json_path": "sku", "required": True}}
    page = page_of(MICRODATA)
    assert expect_payloads(site_with(sku | field), page) == [{"sku": "P1", "price": "12.50"}]


def test_microdata_that_refers_to_itself_ends():
    scopes = "".join(
        f"<div id=s{number} itemprop=next itemscope itemtype=Product "
        f"itemref='s{number + 1} s{number}'>"
        f"<i itemprop=sku>P{number}</i></div>"
        for number in range(100)
    )
    body = f"<div itemscope itemtype=Product itemref='s0 s0'><i itemprop=sku>P</i></div>{scopes}"
    field = {"sku": {"microdata": "Product", "json_path": "sku", "required": True}}
    assert expect_payloads(site_with(field), page_of(body)) == [{"sku": "P"}]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({"css": "b", "xpath": "//b"}, "expected one of css, xpath, json_ld and microdata"),
        ({"json_ld": "Product"}, "expected json_path with json_ld and microdata"),
        ({"xpath": "//b", "attribute": "x"}, "expected css with attribute"),
        ({"json_ld": "two words", "json_path": "a"}, "item.fields.name.json_ld"),
        ({}, "expected css, xpath, json_ld, microdata, json_path or regex"),
    ],
)
def test_a_field_with_another_set_of_selectors_is_refused(field: dict[str, Any], problem: str):
    assert problem in refused({"name": field})


def test_ten_thousand_selectors_are_refused():
    many = {f"f{number}": {"css": ".a", "required": True} for number in range(10_000)}
    with pytest.raises(ValidationError, match="at most 200 items"):
        ItemRule.model_validate({"key": ["f1"], "fields": many})
    assert "item.fields.name.css" in refused({"name": {"css": "a," * 600 + "b"}})


@pytest.mark.parametrize(
    "opening", ["<div>", "<div><!--</div>-->", "<div></b>", "<ul><li>", "<x-y>"]
)
def test_a_page_nested_too_deep_is_a_reject_and_not_parsed(opening: str):
    site = site_with(KEY)
    page = page_of(opening * 30_000 + "<i class=sku>A</i><a href=/b>b</a>")
    assert rejects(site, page) == ["depth"]
    assert list(links(page, site)) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "body",
    [
        "".join(
            f"<p><b id={number}>" for number in range(20_000)
        ),  # 20,000 elements in each next one
        "".join(f"<b><p class={number}>x" for number in range(200)) + "<br>" * 5_000,
        "<p>x</b>" * 30_000,
        "<div><p>x<br></div>" * 20_000 + "<li>" * 5_000,
    ],
    ids=["formatting", "few", "ends", "flat"],
)
def test_a_page_whose_tree_would_explode_is_read(body: str):
    page = page_of(f"{body}</b><i class=sku>A\u00e9</i><a href=/b>b</a>")
    site = site_with(KEY | {"link": {"xpath": "//a[last()]/@href"}})
    assert expect_payloads(site, page) == [{"sku": "A\u00e9", "link": "/b"}]
    assert [link.href for link in links(page, site)] == ["/b"]
    assert len(page.root.html) < 3 * len(body) + 200_000


def test_broken_html_is_read_as_browsers_do():
    fields = KEY | {"name": {"xpath": "//h1"}, "id": {"microdata": "P", "json_path": "id"}}
    body = "<i class=sku>A</b><h1>Lamp<<p itemscope itemtype=P><!-- <b itemprop=id>7<b x='"
    assert expect_payloads(site_with(fields), page_of(body)) == [
        {"sku": "A Lamp<", "name": "Lamp<"}
    ]
    assert expect_payloads(site_with(fields), page_of("")) == []


def test_an_item_of_10_mb_is_a_reject():
    site = site_with(KEY | {"big": {"css": ".big", "many": True}})
    for texts, reason_code in ((["x" * 95_000] * 105, "size"), (["x" * 10_000_000], "value")):
        big = "".join(f"<i class=big>{text}</i>" for text in texts)
        assert rejects(site, page_of(f"<i class=sku>A</i>{big}")) == [reason_code]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ul><li>red</li><li>blue</li></ul>", "red blue"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><th>3</th></tr></table>", "1 2 3"),
        ("eins<br>zwei<br/>drei", "eins zwei drei"),
        ("<div><p>one</p><div>two<section>three</section></div></div>four", "one two three four"),
        ("un<b>believ</b>able <i>H</i><sub>2</sub>O", "unbelievable H2O"),
        ("<p>a </p>\n<p> b</p>", "a b"),
        ("shown<script>hidden</script><style>p {}</style><template>no</template>", "shown"),
        ("<p>1<!-- no --></p>2", "1 2"),
        ("<div>" * 2_000 + "deep", "deep"),
    ],
)
@pytest.mark.parametrize("selector", ["css", "xpath"])
def test_blocks_and_line_breaks_part_the_words_of_an_element(html: str, text: str, selector: str):
    path = {"css": ".text", "xpath": "//*[@class='text']"}[selector]
    site = site_with({"sku": {"css": "i.sku", "required": True}, "text": {selector: path}})
    page = page_of(f"<!doctype html><i class=sku>A</i><div class=text>{html}</div>")
    assert expect_payloads(site, page) == [{"sku": "A", "text": text}]

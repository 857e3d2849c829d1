"""The page of the API's documentation, as a browser gets it."""

import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.openapi import document
from orchestration_project.gateway.pages import api_page

OPERATIONS = operations_of(REGISTRY)
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Contents of the page in a browser: texts by section, examples, ids and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.ids, self.links = Counter[str](), list[str](), list[str]()
        self.open, self.section = list[str](), ""
        self.texts, self.examples = dict[str, str](), dict[str, str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.section = given.get("id", self.section)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise ValueError(f"{tag} is not open")

    def handle_data(self, data):
        self.texts[self.section] = self.texts.get(self.section, "") + data
        if self.open and self.open[-1] == "pre":
            self.examples[self.section] = self.examples.get(self.section, "") + data


def rendered(described) -> Page:
    return Page(bytes(api_page(described, "http://127.0.0.1:3000").body).decode())


@pytest.fixture(scope="module")
def page() -> Page:
    return rendered(document(OPERATIONS))


def test_a_viewer_gets_a_page_that_loads_nothing_from_elsewhere(api):
    answer = api.ask("GET", "/docs", "viewer", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policies = answer.headers.get_list("content-security-policy")
    assert any(policy.startswith("default-src 'none'; style-src 'sha256-") for policy in policies)
    page = Page(answer.text)
    assert page.open == []
    assert page.tags.keys().isdisjoint({"script", "link", "img", "iframe"})
    assert {link for link in page.links if not link.startswith("#")} == {"/api/v1/openapi.json"}
    assert "api=http://127.0.0.1/api/v1" in page.examples[""]


def test_only_who_is_known_gets_the_page(api):
    assert api.expect_problem("GET", "/docs", role="")["status"] == 401
    browser = api.ask("GET", "/docs", role="", headers={"accept": "text/html"})
    assert (browser.status_code, browser.headers["location"]) == (
        303,
        "/login?next=%2Fapi%2Fv1%2Fdocs",
    )


def test_every_link_within_the_page_has_one_target(page):
    targets = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert targets <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_an_operation_is_there_with_its_role_and_fields(page, each):
    text = page.texts[each.name]
    assert f"{each.method} {each.path}" in text
    assert f"Role: {each.role}." in text
    fields = dict(each.query.model_fields) | (dict(each.body.model_fields) if each.body else {})
    for name, field in fields.items():
        assert (field.alias or name) in text
        assert field.description in text


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_the_example_of_an_operation_is_taken_by_its_models(page, each):
    given = shlex.split(page.examples[each.name].replace("\\\n", " "))
    url = urlsplit(next(part for part in given if part.startswith("$api")).removeprefix("$api"))
    pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", each.path)
    found = re.fullmatch(pattern, url.path)
    assert found is not None
    each.query(**found.groupdict(), **dict(parse_qsl(url.query)))
    begins = ["curl", "-H", "$key"] if each.method == "GET" else ["curl", "-X", each.method]
    assert given[:3] == begins
    if each.body is not None:
        each.body.model_validate_json(given[given.index("-d") + 1], strict=True)


def test_what_a_description_says_is_text_and_no_markup():
    described = document(OPERATIONS)
    described["paths"]["/runs"]["get"]["parameters"][0]["description"] = "<b onclick='x'>&amp;"
    page = rendered(described)
    assert page.tags["b"] == 0
    assert "<b onclick='x'>&amp;" in page.texts["list_runs"]

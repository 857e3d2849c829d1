"""Wrong declarations of dlt sources, and datasets of `rest_api` in YAML."""

import json

import pytest

from orchestration_project import Daily, Field, dlt_source
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.contracts import hash_rules
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.own_files import own_function
from tests.faulty_server import FaultyServer, Reply
from tests.own.declared import NUMBERS, dataset
from tests.own.dlt_loading import DAY, KEY, page

SOLD = Field("sold", "date", "day")
BY_DAY = Daily("2026-01-01", column="sold")

WRONG = {
    "another capture": (lambda: dlt_source(lambda day: None, capture="row"), "answers, rows"),
    "no function": (lambda: dlt_source(5), "a function that returns"),  # pyright: ignore[reportArgumentType] - that is the case
    "a parameter without value": (
        lambda: dlt_source(lambda day, url: None),
        "parameters day and those of secrets",
    ),
    "a secret that no parameter takes": (
        lambda: dlt_source(lambda day: None, secrets={"url": "SHOP_URL"}),
        "names of parameters",
    ),
    "a secret in place of its name": (
        lambda: dlt_source(lambda url: None, secrets={"url": "postgresql://me:secret@host"}),
        "an environment variable",
    ),
    "a rate": (lambda: dlt_source(lambda day: None, rate="fast"), "requests a second"),
    "the same rows for all partitions": (
        lambda: dataset(source=dlt_source(lambda: None)),
        "a function with the parameter day",
    ),
    "a state and a field with the day": (
        lambda: dataset(SOLD, source=dlt_source(lambda: None, incremental=True), partitions=BY_DAY),
        "a column that is not a field",
    ),
    "a subject in answers": (
        lambda: dataset(
            Field("who", str, "customer", subject="customer"), source=dlt_source(lambda day: None)
        ),
        "a source with a format of lines or JSON",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_declaration_is_refused(case):
    make, expected = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert expected in raised.value.expected
    assert "secret@" not in str(raised.value)


def test_a_subject_in_rows_and_a_field_with_the_day_are_declared():
    declared = dataset(
        SOLD,
        Field("who", str, "customer", subject="customer"),
        source=dlt_source(lambda: None, capture="rows"),
        partitions=BY_DAY,
    )
    assert declared.has_day_field


def test_a_function_is_of_the_rules_where_it_makes_rows_of_captures():
    answers = dataset(source=dlt_source(lambda day: None))
    rows = dataset(source=dlt_source(lambda day: None, capture="rows"))
    assert hash_rules(answers, b"1") != hash_rules(answers, b"2")
    assert hash_rules(rows, b"1") == hash_rules(rows, b"2")


ORDERS = """\
type: orchestration_project.DltDataset
attributes:
  name: {name}
  key: [name]
  partitions: {{every: day, since: 2026-01-02}}
  fields:
    - {{name: name, type: text, description: name}}
  source:
{source}
"""
REST_API = """\
    rest_api:
      client:
        base_url: {url}
        auth: {{type: bearer}}
      resources:
        - name: orders
          endpoint:
            path: "orders/{{partition:%Y-%m-%d}}"
            data_selector: data.rows
            paginator: single_page
    secrets: {{client.auth.token: SHOP_KEY}}
"""


def yaml_of(source, name="yaml_orders"):
    return ORDERS.format(name=name, source=source)


@pytest.mark.slow_after_first
def test_a_rest_api_is_declared_in_yaml(loading, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", KEY)

    def answer_and_expect_key(request):
        assert request.headers["authorization"] == f"Bearer {KEY}"
        return page([{"name": request.target}]) if request.method == "GET" else Reply(405)

    with FaultyServer(answer_and_expect_key) as server:
        text = yaml_of(REST_API.format(url=server.url), f"yaml_{next(NUMBERS)}")
        declared = parse_dataset(text)
        loading.load(declared)
        loading.replay(declared)
        assert len(server.requests) == 1
    assert loading.rows(declared, "name") == [(f"/orders/{DAY}",)]
    assert KEY not in json.dumps(text)


WRONG_YAML = {
    "neither": ("    resource: orders\n", "expected: one of function and rest_api"),
    "a path of nothing": (
        "    rest_api: {client: {base_url: 'http://{partition}'}}\n    secrets: {auth.token: A}\n",
        "paths in rest_api",
    ),
    "a secret in place of its name": (
        "    rest_api: {client: {auth: {type: bearer, token: s3cr3t-s3cr3t}}}\n",
        "paths and environment variables in secrets",
    ),
    "a function that is not there": ("    function: shop:orders\n", "module:function"),
    "an unknown attribute": ("    functions: shop:orders\n", "functions"),
}


@pytest.mark.parametrize("case", WRONG_YAML)
def test_wrong_yaml_is_refused_with_its_line(tmp_path, case):
    source, expected = WRONG_YAML[case]
    with pytest.raises(ConfigurationError) as raised:
        parse_dataset(yaml_of(source), lambda name: own_function(tmp_path, name))
    assert expected in raised.value.line
    assert "line" in raised.value.line
    assert "s3cr3t" not in str(raised.value)


def test_a_function_beside_the_file_is_named_in_yaml(tmp_path):
    (tmp_path / "shop.py").write_text("def orders(day):\n    return [day]\n")
    declared = parse_dataset(
        yaml_of("    {function: shop:orders, capture: rows}"),
        lambda name: own_function(tmp_path, name),
    )
    assert declared.source.make(5) == [5]  # pyright: ignore[reportAttributeAccessIssue] - a source of dlt
    assert b"def orders" in declared.source.code  # pyright: ignore[reportAttributeAccessIssue] - the same

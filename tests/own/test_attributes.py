"""Attributes of YAML make the same dataset as Python; each error has its line."""

import pytest
import yaml
from jsonschema import Draft7Validator

import orchestration_project
from orchestration_project import (
    Daily,
    Dataset,
    Field,
    Monthly,
    Weekly,
    between,
    cursor,
    decimal,
    file_source,
    http_source,
    one_of,
    positive,
    row_count,
    usual_size,
)
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.errors import ConfigurationError

RATES = """\
type: orchestration_project.HttpDataset
attributes:
  name: rates_daily
  key: [currency]
  partitions: {every: day, since: 2024-01-02, published: "16:15 Europe/Berlin"}
  fields:
    - {name: currency, type: text, description: ISO 4217, check: {one_of: [USD, JPY]}}
    - name: rate
      type: decimal(12, 6)
      description: units per euro
      source: value.rate
      optional: true
      check: {positive: true, between: [0, 9000]}
  source:
    url: https://api.example/{partition:%Y-%m-%d}
    format: json
    records: data.items
    bearer: RATES_TOKEN
    basic: [RATES_USER, RATES_PASSWORD]
    secret_headers: {X-Key: RATES_KEY}
    query: {to: "{partition}"}
    paging: {by: cursor, parameter: after, path: data.next}
    rate: 5/s
  checks: {row_count: {min: 25}, usual_size: 0.5}
  max_reject_ratio: 0.1
  owners: ["team:rates"]
"""

FILES = """\
type: orchestration_project.FileDataset
attributes:
  name: prices_weekly
  key: [code]
  partitions: {every: EVERY, since: "2024-01-05", column: as_of}
  fields:
    - {name: code, type: text, description: code}
  source:
    path: in/{partition}.txt
    format: fixed_width
    positions: {code: [1, 12]}
"""


def test_a_component_over_http_is_the_dataset_of_python():
    assert parse_dataset(RATES) == Dataset(
        "rates_daily",
        key=["currency"],
        partitions=Daily("2024-01-02", published="16:15 Europe/Berlin"),
        fields=[
            Field("currency", "text", "ISO 4217", check=[one_of("USD", "JPY")]),
            Field(
                "rate",
                decimal(12, 6),
                "units per euro",
                source="value.rate",
                optional=True,
                check=[between(0, 9000), positive],
            ),
        ],
        source=http_source(
            "https://api.example/{partition:%Y-%m-%d}",
            format="json",
            records="data.items",
            bearer="RATES_TOKEN",
            basic=("RATES_USER", "RATES_PASSWORD"),
            secret_headers={"X-Key": "RATES_KEY"},
            query={"to": "{partition}"},
            paging=cursor("after", path="data.next"),
            rate="5/s",
        ),
        checks=[row_count(min=25), usual_size(0.5)],
        max_reject_ratio=0.1,
        owners=["team:rates"],
    )


@pytest.mark.parametrize(
    ("every", "partitions"),
    [
        ("day", Daily("2024-01-05", column="as_of")),
        ("week, weekday: Friday", Weekly("2024-01-05", column="as_of", weekday="Friday")),
        ("month, day: 5", Monthly("2024-01-05", column="as_of", day=5)),
    ],
)
def test_a_component_of_files_is_the_dataset_of_python(every, partitions):
    assert parse_dataset(FILES.replace("EVERY", every)) == Dataset(
        "prices_weekly",
        key=["code"],
        partitions=partitions,
        fields=[Field("code", "text", "code")],
        source=file_source("in/{partition}.txt", format="fixed_width", positions={"code": (1, 12)}),
    )


WRONG = {
    "an unknown type of a field": (
        "type: text",
        "type: txt",
        "line 7: attributes.fields.0.type: type",
    ),
    "a missing name": ("name: rate\n", "nam: rate\n", "line 8: attributes.fields.1.name: expected"),
    "an unknown key": ("[currency]", "[curency]", "line 4: attributes.key: key of dataset"),
    "an argument of other paging": (
        "by: cursor",
        "by: link_header",
        "line 22: attributes.source.paging: paging; expected: most",
    ),
    "an option of another format": (
        "format: json",
        "format: csv",
        "line 17: attributes.source.records",
    ),
    "a day that does not exist": (
        "2024-01-02",
        '"2024-02-30"',
        "line 5: attributes.partitions.since",
    ),
    "a day of YAML that does not exist": (
        "2024-01-02",
        "2024-02-30",
        "line 5: invalid YAML: day is",
    ),
    "an argument of other partitions": ("every: day", "every: day, weekday: Monday", "line 5: "),
    "a secret in place of its name": ("RATES_TOKEN", "s3cr3t-token", "line 14: attributes.source"),
    "a secret in place of two names": (
        "[RATES_USER, RATES_PASSWORD]",
        "s3cr3t-token",
        "line 19: attributes.source.basic",
    ),
    "a list of secrets": (
        "X-Key: RATES_KEY",
        "X-Key: [s3cr3t-token]",
        "line 20: attributes.source.secret_headers.X-Key: another value",
    ),
    "a template of a secret": (
        "RATES_TOKEN",
        '"{{ env.RATES_TOKEN }}"',
        "line 18: attributes.source.bearer: a template",
    ),
    "a template elsewhere": (
        "data.items",
        '"{{ env.PATH }}"',
        "line 17: attributes.source.records: a template",
    ),
    "a template without its partition": (
        "{partition:%Y-%m-%d}",
        "{day}",
        "line 15: attributes.source.url: template",
    ),
    "a name that is none": ("rates_daily", "Rates", "line 3: attributes.name: dataset"),
    "a time of publication": ("16:15", "quarter", "line 5: attributes.partitions.published: time"),
    "another component of ours": ("HttpDataset", "HtpDataset", "line 1: orchestration_project.Htp"),
    "a key twice": ("  max_reject", "  name: x\n  max_reject", "line 25: invalid YAML: name"),
    "two documents": ("  max_reject", "---\n  max_reject", "line 25: invalid YAML"),
    "no attributes": ("attributes:", "attribute:", "attributes: expected a value"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_attribute_is_refused_with_its_line(case):
    right, wrong, found = WRONG[case]
    assert right in RATES
    with pytest.raises(ConfigurationError, match="invalid source file") as raised:
        parse_dataset(RATES.replace(right, wrong, 1))
    assert found in raised.value.found
    assert "s3cr3t" not in str(raised.value)


def test_dagster_has_the_schema_of_the_components():
    http = orchestration_project.HttpDataset.model().model_json_schema()
    files = orchestration_project.FileDataset.model().model_json_schema()
    assert {"name", "key", "partitions", "fields", "source"} == set(http["required"])
    assert {"url", "bearer", "records"} <= set(http["$defs"]["HttpAttributes"]["properties"])
    assert {"path", "positions"} <= set(files["$defs"]["FileAttributes"]["properties"])
    assert {"FileDataset", "HttpDataset"} <= set(dir(orchestration_project))


def refused_places(text):
    """Return the places of a component that its schema refuses, as `dg check yaml` does."""
    schema = orchestration_project.HttpDataset.get_model_cls().model_json_schema()
    attributes = yaml.safe_load(text)["attributes"]
    attributes["partitions"]["since"] = str(attributes["partitions"]["since"])
    found = Draft7Validator(schema).iter_errors(attributes)
    return sorted(".".join(map(str, column.absolute_path)) for column in found)


def test_the_schema_refuses_what_it_can_without_quoting_a_secret():
    assert refused_places(RATES) == []
    wrong = {
        "type: text": "type: txt",
        "format: json": "format: jsn",
        "https:": "htps:",
        "rate: 5/s": "rate: 5 a second",
        "RATES_TOKEN": '"{{ env.RATES_TOKEN }}"',
        "RATES_KEY": '"{{ env.RATES_KEY }}"',
        "RATES_USER": '"{{ env.RATES_USER }}"',
    }
    text = RATES
    for right, other in wrong.items():
        text = text.replace(right, other, 1)
    assert refused_places(text) == [
        "fields.0.type",
        "source.basic.0",
        "source.bearer",
        "source.format",
        "source.rate",
        "source.secret_headers.X-Key",
        "source.url",
    ]
    assert refused_places(RATES.replace("RATES_TOKEN", "s3cr3t-token")) == []

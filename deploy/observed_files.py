"""Dashboards and rules as files: their queries, and what is wrong in them, by name."""

import json
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from jsonschema import Draft202012Validator

DEPLOY = Path(__file__).resolve().parent
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
RULES = DEPLOY / "prometheus" / "rules"
SCHEMA = DEPLOY / "grafana" / "dashboard.schema.json"

METRIC = re.compile(r"\borchestration[_:][\w:]*")
SUFFIXES = ("_bucket", "_count", "_sum", "_total")
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h"}


class Query(NamedTuple):
    """A query of a dashboard or rule.

    Attributes:
        place: File, and panel or rule.
        text: PromQL, or SQL if `is_sql`.
    """

    place: str
    text: str
    is_sql: bool = False


def dashboard_queries(file: Path) -> Iterator[Query]:
    """Yield the queries of a dashboard's panels and variables, with a value for each variable."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            series = re.sub(r"^label_values\((.*), *\w+\)$", r"\1", variable["query"]["query"])
            yield Query(f"{file.name}: variable {variable['name']}", series)
    for panel in content["panels"]:
        for target in panel["targets"]:
            place = f"{file.name}: {panel['title']}"
            if "rawSql" in target:
                yield Query(place, plain_sql(target["rawSql"]), is_sql=True)
            else:
                yield Query(place, plain_expression(target["expr"]))


def plain_expression(text: str) -> str:
    """Return PromQL as Grafana sends it for all values of a variable."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return re.sub(r"\$\w+", ".+", text)


def plain_sql(text: str) -> str:
    """Return SQL as Grafana sends it, of the last 28 days, for the domain finra."""
    text = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > now() - interval '28 days'", text)
    return re.sub(r"\$\w+", "'finra'", text)


def rule_queries(file: Path) -> Iterator[Query]:
    """Yield the expressions of a file of rules, as they have series while all is well.

    Comparisons become figures, also where false. Of `absent`, the series that are to be there are
    asked for.
    """
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            about = rule.get("labels", {}).get("objective", "")
            wanted = re.sub(r"^absent\(([^()]*)\).*", r"\1", rule["expr"])
            comparable = re.sub(r" (==|>=|<=|>|<) ", r" \1 bool ", wanted)
            yield Query(f"{file.name}: {name} {about}".strip(), comparable)


def recorded_names(files: Sequence[Path]) -> set[str]:
    """Return the names of recorded rules."""
    contents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    rules = [rule for each in contents for group in each["groups"] for rule in group["rules"]]
    return {rule["record"] for rule in rules if "record" in rule}


def unknown_metrics(query: Query, known: Collection[str]) -> list[str]:
    """Return what is wrong with the names of metrics in a query."""
    names = sorted(set(METRIC.findall(query.text)))
    return [
        f"{query.place}: unknown metric {name}"
        for name in names
        if not ({name, *(name.removesuffix(each) for each in SUFFIXES)} & set(known))
    ]


def schema_problems(file: Path) -> list[str]:
    """Return where a dashboard does not keep the schema."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"{file.name}: invalid JSON: {error}"]
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return [
        f"{file.name}: {error.json_path}: {error.message[:200]}"
        for error in validator.iter_errors(content)
    ]


def rule_problems(file: Path) -> list[str]:
    """Return why promtool refuses a file of rules."""
    command = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - Debian's
    return [f"{file.name}: {done.stderr.strip()}"] if done.returncode else []


def every_query(dashboards: Path = DASHBOARDS, rules: Path = RULES) -> list[Query]:
    """Return the queries of all dashboards and rules."""
    return [
        *(query for file in sorted(dashboards.glob("*.json")) for query in dashboard_queries(file)),
        *(query for file in sorted(rules.glob("*.yml")) for query in rule_queries(file)),
    ]


def static_problems(
    known: Collection[str], dashboards: Path = DASHBOARDS, rules: Path = RULES
) -> list[str]:
    """Return what is wrong in dashboards and rules, without a Prometheus.

    Args:
        known: Names of metrics that the gateway serves.
        dashboards: Folder of dashboards.
        rules: Folder of rules.
    """
    boards, files = sorted(dashboards.glob("*.json")), sorted(rules.glob("*.yml"))
    problems = [problem for file in boards for problem in schema_problems(file)]
    problems += [problem for file in files for problem in rule_problems(file)]
    if problems:
        return problems
    names = {*known, *recorded_names(files)}
    return [
        problem
        for query in every_query(dashboards, rules)
        if not query.is_sql
        for problem in unknown_metrics(query, names)
    ]

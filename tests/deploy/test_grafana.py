"""Grafana's dashboard: its expressions name metrics and labels that the gateway serves."""

import json
import re

import yaml

from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.compose_file import services

FOLDER = PROJECT_ROOT / "deploy" / "grafana"
REFERENCE = PROJECT_ROOT / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(orchestration_\w+)` \| \w+ \| (.*?) \|", re.MULTILINE)


def test_each_panel_shows_a_metric_that_there_is_with_its_labels():
    known = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in ROW.findall(REFERENCE.read_text())
    }
    panels = json.loads((FOLDER / "dashboards" / "orchestration.json").read_text())["panels"]
    assert len(panels) >= 10
    for panel in panels:
        [target] = panel["targets"]
        [metric] = set(re.findall(r"orchestration_\w+", target["expr"]))
        assert metric in known, panel["title"]
        selectors = "".join(re.findall(r"\{(.*?)\}", target["expr"]))
        labels = set(re.findall(r"(\w+)=", selectors))
        labels |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"instance"}
        assert labels <= known[metric], panel["title"]


def test_data_sources_are_services_and_files_lie_where_grafana_reads_them():
    sources = yaml.safe_load((FOLDER / "datasources" / "metrics.yaml").read_text())["datasources"]
    hosts = {re.split(r"[/:]+", each["url"])[1] for each in sources}
    assert hosts <= services("full").keys()
    [provider] = yaml.safe_load((FOLDER / "dashboards" / "provider.yaml").read_text())["providers"]
    mounts = dict(each.split(":")[:2] for each in services()["grafana"]["volumes"])
    assert provider["options"]["path"] == mounts["../grafana/dashboards"]

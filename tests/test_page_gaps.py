"""The generated pages lack no name: one of each kind that is planted in the source is named."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import dagster as dg
import pytest
from sqlalchemy import Column, MetaData, Table, Text

from orchestration_project.catalog.fx import FX
from orchestration_project.engine.contracts.failures import Category
from orchestration_project.registry import DomainDefinitions, Job, Registry
from orchestration_project.settings import PROJECT_ROOT
from tools.reference_pages import errors
from tools.reference_pages.automation import write_jobs
from tools.reference_pages.error_messages import Sources, UnreadableError, package_sources
from tools.reference_pages.gaps import (
    alert_gaps,
    job_gaps,
    metadata_gaps,
    metric_gaps,
    route_gaps,
    setting_gaps,
    table_gaps,
)

FOLDER = PROJECT_ROOT / "docs" / "reference"
METRICS = "from orchestration_project.services.metrics.families import gauge\n"
ALERTS = (
    "from orchestration_project.services.alerts.rules.decisions import Notice, Problem\n"
    "from orchestration_project.services.alerts.conditions import AlertCondition\n"
)
KNOWN = "from orchestration_project.errors import OrchestrationError, SourceError, TransientError\n"


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    """Text of each page as committed; `make check` compares them with what the code writes."""
    return {path.name: path.read_text() for path in FOLDER.glob("*.md")}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("gauge('planted_rows', 'Rows.', (), {})", ["orchestration_planted_rows"]),
        ("if rows:\n    yield gauge('planted_rows', '', (), rows)", ["orchestration_planted_rows"]),
        ("gauge('planted_' + name, '', (), {})", []),
        ("gauge(f'planted_{name}', '', (), {})", ["orchestration_planted_*"]),
        ("import prometheus_client as p\np.Counter('planted_total', '')", ["planted_total"]),
        ("gauge('scrape_ok', '', (), {})", []),
    ],
)
def test_a_planted_metric_is_named(pages: Mapping[str, str], source: str, names: list[str]):
    gaps = metric_gaps({"planted.py": METRICS + source}, pages["metrics.md"])
    assert [name for _, name in gaps] == names


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("Problem('planted', 'x')", ["planted"]),
        ("AlertCondition('planted', probe)", ["planted"]),
        ("Notice(kind='planted', text='x')", ["planted"]),
        ("KIND = 'planted'\nProblem(KIND, 'x')", ["planted"]),
        ("from orchestration_project.other import KIND\nProblem(KIND, 'x')", ["imported"]),
        ("Problem('failed' if x else 'planted', 'x')", ["planted"]),
        ("report({'notice': 'x', 'notice_kind': 'planted'})", ["planted"]),
        ("Problem('failed', 'x')", []),
    ],
)
def test_a_planted_kind_of_alert_is_named_wherever_it_is_raised(source: str, kinds: list[str]):
    sources = {"assets/planted.py": ALERTS + source, "other.py": 'KIND = "imported"\n'}
    assert [kind for _, kind in alert_gaps(sources)] == kinds


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("dg.MaterializeResult(metadata={'planted': 1, 'rows': 2})", ["planted"]),
        ("shown = {'planted': 1}\ncontext.add_output_metadata(shown)", ["planted"]),
        ("def f():\n    shown = {}\n    shown['planted'] = 1\n    as_metadata(shown)", ["planted"]),
        ("def shown(): return {'planted': 1}\nas_metadata({**shown()})", ["planted"]),
        ("def week_metadata(): return {'planted': 1}", ["planted"]),
        ("as_metadata({'rows': 1} | ({'planted': 1} if x else {}))", ["planted"]),
        ("figure.savefig(metadata={'planted': 1})", []),
    ],
)
def test_a_planted_key_of_metadata_is_named(source: str, keys: list[str]):
    assert [name for _, name in metadata_gaps({"assets/planted.py": source})] == keys


@pytest.mark.parametrize(
    ("path", "source", "names"),
    [
        ("settings/planted.py", "class PlantedSettings(BaseSettings): x: int = 1", ["Planted"]),
        ("domains/planted/settings.py", "class PlantedSettings(Settings): x: int", ["Planted"]),
        ("services/planted.py", "class PlantedSettings(StorageSettings): x: int", ["Planted"]),
        ("services/planted.py", "class Settings2(Record): x: int", []),
    ],
)
def test_a_planted_setting_that_no_process_reads_is_named(path: str, source: str, names: list[str]):
    assert [name.removesuffix("Settings") for _, name in setting_gaps({path: source})] == names


def test_a_planted_path_of_the_gateway_is_named(pages: Mapping[str, str]):
    source = "PATH = '/planted'\nRoute(PATH, page)\nRoute('/quarantined', page)"
    found = route_gaps({"gateway/planted.py": source}, pages["rest-api.md"])
    assert [path for _, path in found] == ["/planted"]


def test_a_planted_table_is_named_unless_it_has_a_section_of_its_own(pages: Mapping[str, str]):
    planted = Table("planted", MetaData(), Column("captures", Text()))
    names = ["captures", planted.name, "finra_otc_weekly_history"]
    assert list(table_gaps(names, pages["tables.md"])) == ["planted"]
    linked = pages["tables.md"] + "\nDerived from `planted`.\n"
    assert list(table_gaps(names, linked)) == ["planted"]


def test_a_planted_job_is_on_the_page_with_its_partitions(pages: Mapping[str, str]):
    listed = dg.StaticPartitionsDefinition(["a"])

    @dg.job(name="planted", partitions_def=listed, description="Plants it.")
    def job() -> None:
        pass

    assert list(job_gaps(["planted", "fx_rates_daily"], pages["jobs.md"])) == ["planted"]
    planted_job = DomainDefinitions(jobs=(Job(definition=job),))
    page = write_jobs(Registry.of([replace(FX, define=lambda: planted_job)]))
    assert "| `planted` | listed | Plants it. |" in page
    assert list(job_gaps(["planted"], page)) == []


def planted(source: str) -> Sources:
    """Return the module of errors, and another."""
    return Sources({"errors.py": package_sources()["errors.py"], "planted.py": KNOWN + source})


def test_a_planted_class_of_errors_is_on_the_page_with_its_message():
    source = (
        "class PlantedError(SourceError):\n    'It is planted.'\nraise PlantedError('it broke')"
    )
    page = errors.write(planted(source))
    assert "| `PlantedError` | `SourceError` | It is planted. |" in page
    assert "## Messages of `PlantedError`" in page
    assert "| `it broke` |" in page


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OrchestrationError('it failed')", "has no category"),
        ("import a\nraise a.SourceError('it failed')", "named by its module"),
        ("import a\nclass PlantedError(a.SourceError): 'It.'", "named by its module"),
        ("class TransientError(SourceError): 'It.'", "defined twice"),
    ],
)
def test_a_planted_error_that_the_page_would_leave_out_is_refused(source: str, reason: str):
    with pytest.raises(UnreadableError, match=reason):
        list(planted(source).messages())


def test_each_text_of_a_class_that_chooses_between_two_is_a_message():
    source = (
        "class PlantedError(SourceError):\n"
        "    def __init__(self, x):\n"
        "        if x:\n            super().__init__('it is one')\n"
        "        else:\n            super().__init__('it is two')\n"
    )
    texts = [message.text for message in planted(source).messages()]
    assert texts[-2:] == ["it is one", "it is two"]


def test_each_category_of_failed_runs_has_a_meaning():
    assert set(errors.FAILURES) == set(get_args(Category))

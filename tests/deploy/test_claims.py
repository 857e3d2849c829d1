"""Claims of support: what pages say of launchers and services is what tests run."""

import re
from typing import get_args

import pytest

from orchestration_project.cli.stack_services import OPTIONAL, TOOLS
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.settings import settings_class

LAUNCHERS = get_args(settings_class().model_fields["run_launcher"].annotation)
PAGES = [
    *(
        PROJECT_ROOT / name
        for name in ("README.md", "docs/comparison.md", "docs/is-this-for-me.md")
    ),
    *(PROJECT_ROOT / "docs" / "how-to").glob("*.md"),
]
DENIED = re.compile(
    r"(celery|kubernetes|cluster|executor|launcher)s?\b[^.|]*\b(not|never) supported", re.IGNORECASE
)
NOT_RUN = re.compile(r"\bnot run\b[^.]*\b(engine|traefik|cluster|helm|had)\b", re.IGNORECASE)
UNTRIED = {
    "deploy/compose/compose.yaml",
    "deploy/kubernetes/base/kustomization.yaml",
    "deploy/kubernetes/dagster-chart.yaml",
    "deploy/traefik/dynamic.yaml",
}
"""Files that no test starts: they need Docker, a cluster, Helm or Traefik."""


@pytest.mark.parametrize("launcher", [launcher for launcher in LAUNCHERS if launcher != "local"])
def test_each_launcher_is_on_the_pages_and_set_by_a_test_that_starts_runs(launcher: str):
    tests = [*PROJECT_ROOT.glob("tests/slow/*.py"), *PROJECT_ROOT.glob("tests/instance/*.py")]
    sets = re.compile(rf'"RUN_LAUNCHER"[,:] "{launcher}"')
    found = [file.name for file in tests if sets.search(file.read_text())]
    assert found, launcher
    title = {"celery": "Celery", "k8s": "Kubernetes"}[launcher]
    assert title in (PROJECT_ROOT / "README.md").read_text()
    assert f"`{launcher}`" in (PROJECT_ROOT / "docs/how-to/deploy.md").read_text()


def test_no_page_denies_a_launcher():
    assert [page.name for page in PAGES if DENIED.search(page.read_text())] == []


def test_files_that_no_test_starts_say_so_and_no_others_do():
    files = [
        path for path in (PROJECT_ROOT / "deploy").rglob("*") if path.suffix in (".yaml", ".yml")
    ]
    said = {
        str(file.relative_to(PROJECT_ROOT))
        for file in files
        if NOT_RUN.search(" ".join(file.read_text().replace("#", " ").split()))
    }
    assert said == UNTRIED


def test_continuous_integration_installs_each_service_of_the_stack():
    [packages] = re.findall(
        r"^for package in ((?:.|\\\n)*?); do # of `make stack`",
        (PROJECT_ROOT / ".ci" / "run").read_text(),
        re.MULTILINE,
    )
    installed = set(packages.replace("\\", " ").split())
    own = {"openssl", "erlang-base"}  # of each Debian, and of rabbitmq-server
    assert {*TOOLS.values(), *(value.program for value in OPTIONAL.values())} - own <= installed

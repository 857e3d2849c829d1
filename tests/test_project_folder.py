"""The project folder of a process, by variable, pyproject.toml or current folder; and its files."""

import os
import shutil
import subprocess
import sys

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests.expecting import expect_exit

DECLARED = "[tool.orchestrate]\n"
FOLDER = "print(settings.project_folder())"
REQUIRED = "print(settings.require_project_folder())"


def process(folder, code, **variables):
    """Run code in a folder, with settings as its only import; return status, output and error."""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"from orchestration_project import settings\n{code}"],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": str(PROJECT_ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def printed(folder, code, **variables):
    done = process(folder, code, **variables)
    expect_exit(done)
    return done.stdout.splitlines()


@pytest.fixture
def project(tmp_path):
    """A folder that is declared a project, with a folder two levels below it."""
    folder = tmp_path / "project"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(DECLARED)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("code", [FOLDER, REQUIRED])
def test_the_nearest_folder_with_the_table_is_the_project_folder(project, code):
    (project / "a" / "pyproject.toml").write_text("[tool.ruff]\n")
    assert printed(project, code) == [str(project)]
    assert printed(project / "a" / "b", code) == [str(project)]
    (project / "a" / "pyproject.toml").write_text(DECLARED)
    assert printed(project / "a" / "b", code) == [str(project / "a")]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["diff"], ["apply"], ["apply", "--sql"]])
def test_tables_of_no_project_are_not_called_as_declared(tmp_path, arguments):
    code = f"import orchestration_project.__main__ as o; exit(o.main(['schema', *{arguments}]))"
    done = process(tmp_path, code)
    assert done.returncode == 1
    assert f"found: no such folder at or above {tmp_path}" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("code", [FOLDER, REQUIRED])
def test_the_variable_comes_before_a_declared_folder(project, tmp_path, code):
    other = tmp_path / "other"
    other.mkdir()
    assert printed(project, code, ORCHESTRATE_PROJECT=str(other)) == [str(other)]
    assert printed(project, code, ORCHESTRATE_PROJECT="../other") == [str(other)]
    assert printed(project, code, ORCHESTRATE_PROJECT="") == [str(project)]


@pytest.mark.slow
def test_a_folder_without_declaration_is_the_project_folder_where_a_command_needs_none(tmp_path):
    assert printed(tmp_path, FOLDER) == [str(tmp_path)]
    done = process(tmp_path, REQUIRED)
    assert done.returncode == 1
    expected = (
        "invalid project folder\n"
        "  expected: a folder that ORCHESTRATE_PROJECT names, or one whose pyproject.toml has "
        "[tool.orchestrate]\n"
        f"  found: no such folder at or above {tmp_path}\n"
        "  what to do: change to the project folder, or set ORCHESTRATE_PROJECT"
    )
    assert expected in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_variable_that_names_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    done = process(tmp_path, FOLDER, ORCHESTRATE_PROJECT=str(tmp_path / name))
    assert done.returncode == 1
    assert f"found: {tmp_path / name}\n" in done.stderr
    assert "create the folder, or correct ORCHESTRATE_PROJECT" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"[tool.orchestrate", b"# \xff"])
def test_a_pyproject_that_cannot_be_read_is_refused_and_not_left_out(project, content):
    (project / "a" / "pyproject.toml").write_bytes(content)
    done = process(project / "a", FOLDER)
    assert done.returncode == 1
    assert f"expected: a readable pyproject.toml in {project / 'a'}\n" in done.stderr
    assert printed(project / "a", FOLDER, ORCHESTRATE_PROJECT=str(project)) == [str(project)]


@pytest.mark.slow
def test_a_deleted_current_folder_is_refused(tmp_path):
    folder = tmp_path / "deleted"
    folder.mkdir()
    done = process(folder, f"import os; os.rmdir(os.getcwd())\n{FOLDER}")
    assert done.returncode == 1
    assert "found: a current folder that was deleted\n" in done.stderr


@pytest.mark.slow
def test_state_and_env_file_are_those_of_the_project_folder_in_each_folder_below(project):
    (project / ".env").write_text("STATE_DIR=state\nDEMO_SEED=5\n")
    (project / "a" / ".env").write_text("DEMO_SEED=6\n")
    code = "found = settings.load_settings()\nprint(found.state_path, found.demo_seed)"
    assert printed(project / "a", code) == [f"{project / 'state'} 5"]


@pytest.mark.slow
def test_a_program_that_is_started_elsewhere_has_the_same_project_folder(project, tmp_path):
    code = (
        "import subprocess, sys\n"
        "code = 'from orchestration_project import settings; print(settings.project_folder())'\n"
        "subprocess.run([sys.executable, '-c', code], cwd='/', check=True,\n"
        "    env=settings.child_environment())"
    )
    assert printed(project / "a", code) == [str(project)]


@pytest.mark.slow
def test_files_of_the_project_folder_override_defaults_of_the_same_name(project):
    code = (
        "from pathlib import Path\n"
        "files = settings.default_files(Path('config/presets'), '*.yaml')\n"
        "print(*sorted({file.parent for file in files}), sep='\\n')\n"
        "print(len(files), *[file for file in files if file.name == 'full.yaml'])\n"
        "print(settings.load_settings().alert_rules_path)\n"
    )
    presets = PROJECT_ROOT / "config/presets"
    shipped = len([*presets.glob("*.yaml")])
    assert printed(project, code) == [
        str(presets),
        f"{shipped} {presets / 'full.yaml'}",
        str(PROJECT_ROOT / "config/alerts.yaml"),
    ]
    own = project / "config/presets"
    own.mkdir(parents=True)
    for name in ("full", "mine"):
        shutil.copy(presets / "full.yaml", own / f"{name}.yaml")
    (project / "config/alerts.yaml").write_text("rules: []\n")
    assert printed(project, code) == [
        *sorted([str(presets), str(own)]),
        f"{shipped + 1} {own / 'full.yaml'}",
        str(project / "config/alerts.yaml"),
    ]


def test_a_default_that_the_project_has_as_a_broken_link_is_not_replaced(project):
    (project / "config").mkdir()
    (project / "config/checks.yaml").symlink_to(project / "missing.yaml")
    code = "from pathlib import Path\nprint(settings.default_path(Path('config/checks.yaml')))"
    assert printed(project, code) == [str(project / "config/checks.yaml")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variables", "refused"),
    [
        (
            "alerts.yaml",
            {},
            "alerts.yaml: expected at config/alerts.yaml, move it within",
        ),
        ("presets", {}, "presets: expected at config/presets, move it within"),
        (
            "",
            {"ALERT_RULES": "alerts.yaml"},
            "ALERT_RULES=alerts.yaml (environment): moved, use config/alerts.yaml",
        ),
    ],
)
def test_a_file_in_its_earlier_place_is_refused_with_the_present_one(
    project, name, variables, refused
):
    code = "settings.load_settings()"
    if name:
        (project / name).mkdir() if name == "presets" else (project / name).touch()
    done = process(project, code, **variables)
    assert refused in done.stderr
    if name:
        (project / "config").mkdir()
        (project / name).rename(project / "config" / name)
    assert process(project, code).returncode == 0


WEATHER = """\
from orchestration_project import Daily, Dataset, Field, file_source

weather = Dataset(
    "weather",
    key=["station"],
    partitions=Daily("2026-01-01"),
    fields=[Field("station", str, "its name")],
    source=file_source("{partition}.csv", format="csv"),
)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("has_project", "expected"),
    [(False, "a folder that ORCHESTRATE_PROJECT names"), (True, "a new name")],
)
def test_a_new_source_is_written_into_a_project_folder_alone(
    project, tmp_path, has_project, expected
):
    folder = project if has_project else tmp_path
    (folder / "a.csv").write_text("day,id\n2026-01-05,A\n")
    taken = project / "defs" / "weather" / "source.py"
    taken.parent.mkdir(parents=True)
    taken.write_text(WEATHER)
    done = subprocess.run(
        [sys.executable, "-m", "orchestration_project", "new-source", "weather", "--file", "a.csv"],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert expected in done.stderr
    assert [*tmp_path.rglob("source.py")] == [taken]
    assert taken.read_text() == WEATHER


@pytest.mark.slow
def test_files_of_the_package_are_followed_in_a_checkout_alone(project):
    source = project / "defs" / "rates" / "source.py"
    source.parent.mkdir(parents=True)
    source.touch()
    code = "from orchestration_project.settings.project import own_state; print(own_state())"
    [of_project] = printed(project, code)
    assert str(source) in of_project
    assert "definitions.py" not in of_project
    [of_checkout] = printed(PROJECT_ROOT, code)
    assert f"{PROJECT_ROOT}/orchestration_project/definitions.py" in of_checkout

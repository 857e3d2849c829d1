"""The check of the wheel sees a missing data file, in the archive and in the declared build."""

import runpy
import subprocess
import sys
import tomllib
import zipfile

import pytest

from orchestration_project.settings import PROJECT_ROOT

CHECK = runpy.run_path(str(PROJECT_ROOT / ".ci" / "wheel.py"))
DEFAULTS = "orchestration_project/defaults"


@pytest.fixture
def wheel(tmp_path):
    """An archive with the paths of a complete wheel, or all but ``without``."""

    def write(without=""):
        with zipfile.ZipFile(tmp_path / "planted.whl", "w") as archive:
            for path in CHECK["expected_files"]() - {without}:
                archive.writestr(path, "")
        return tmp_path / "planted.whl"

    return write


@pytest.mark.parametrize(
    "path",
    [
        f"{DEFAULTS}/config/alerts.yaml",
        f"{DEFAULTS}/dagster.yaml",
        f"{DEFAULTS}/workspace.yaml",
        f"{DEFAULTS}/config/presets/full.yaml",
        f"{DEFAULTS}/config/kinds/task.created.v1.json",
        f"{DEFAULTS}/config/sites/brands.csv",
        f"{DEFAULTS}/config/schemas/alerts.schema.json",
        f"{DEFAULTS}/deploy/caddy/Caddyfile",
        "orchestration_project/settings/project.py",
    ],
)
def test_a_file_that_the_wheel_lacks_is_named(wheel, path):
    assert CHECK["missing_files"](wheel()) == []
    assert CHECK["missing_files"](wheel(without=path)) == [path]


def test_the_build_declares_all_default_files():
    build = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    declared = build["targets"]["wheel"]["hooks"]["custom"]["defaults"]
    expected = {path for path in CHECK["expected_files"]() if path.startswith(f"{DEFAULTS}/")}
    prefixes = tuple(f"{DEFAULTS}/{path}" for path in declared)
    assert {path for path in expected if not path.startswith(prefixes)} == set()
    assert [path for path in declared if not (PROJECT_ROOT / path).exists()] == []


@pytest.mark.slow
def test_a_wheel_that_is_built_without_config_is_refused(tmp_path):
    root = tmp_path / "checkout"
    git = ["git", "clone", "-q", str(PROJECT_ROOT), str(root)]
    subprocess.run(git, check=True)  # noqa: S603 - git of the PATH
    declaration = (root / "pyproject.toml").read_text()
    assert '"config", ' in declaration
    (root / "pyproject.toml").write_text(declaration.replace('"config", ', "", 1))
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(root / ".ci" / "wheel.py")], capture_output=True, text=True
    )
    assert done.returncode == 1
    lacking = done.stderr.splitlines()
    assert f"the wheel lacks {DEFAULTS}/config/presets/full.yaml" in lacking
    assert all(line.startswith(f"the wheel lacks {DEFAULTS}/config/") for line in lacking)
    assert not (root / "build").exists()

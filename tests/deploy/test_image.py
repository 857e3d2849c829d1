"""The image: rules of its Dockerfile, its SBOM; its install steps in a folder of their own."""

import ast
import http.client
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.deploy import dockerfile
from tests.expecting import expect_exit

WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""For root's programs: the modes of files apply to them as to any other user's."""

STAGES = dockerfile.stages()
INSTALL = PROJECT_ROOT / "deploy" / "install_packages.sh"
LOCKS = {"minimal": "requirements/runtime.lock", "full": "requirements/image.lock"}


def test_each_target_installs_wheels_of_its_lock_by_hash_and_keeps_no_installer():
    for target, lock in LOCKS.items():
        assert dockerfile.texts(STAGES[f"{target}-packages"], "RUN") == [
            f"deploy/install_packages.sh {lock}"
        ]
        [copied] = dockerfile.texts(STAGES[target], "COPY")
        assert copied == f"--from={target}-packages /opt/venv /opt/venv"
    assert list(STAGES)[-1] == "minimal", "the target of a build that names none"
    lines = INSTALL.read_text()
    assert '--only-binary :all: --require-hashes -r "$1"' in lines
    assert "pip uninstall --yes" in lines
    for stage in ("runtime", *LOCKS):
        assert "apt" not in " ".join(dockerfile.texts(STAGES[stage], "RUN"))


def test_the_image_runs_as_a_user_by_number_without_shell_from_the_base_that_is_built_with():
    runtime = STAGES["runtime"]
    assert {STAGES[target][0].text for target in LOCKS} == {
        f"runtime AS {target}" for target in LOCKS
    }
    assert {runtime[0].text, STAGES["tools"][0].text} == {
        "${BASE_IMAGE} AS runtime",
        "${BASE_IMAGE} AS tools",
    }
    assert "ARG BASE_IMAGE=python:3.13-slim-bookworm\n" in dockerfile.DOCKERFILE.read_text()
    assert dockerfile.texts(runtime, "USER") == ["10001:10001"]
    assert "--shell /usr/sbin/nologin" in dockerfile.texts(runtime, "RUN")[0]
    assert len(dockerfile.texts(runtime, "HEALTHCHECK")) == 1
    [labels] = dockerfile.texts(runtime, "LABEL")
    named = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels))
    assert named == {"title", "description", "licenses", "version", "revision"}


def test_the_build_sees_named_files_alone_and_none_that_may_hold_a_secret():
    assert dockerfile.ALLOWED.read_text().splitlines()[1] == "*"
    named = dockerfile.allowed_paths()
    assert all((PROJECT_ROOT / name).exists() for name in named)
    assert not {".env", "var", ".git", "tests", "examples"} & {
        Path(path).parts[0] for path in named
    }
    tracked = subprocess.run(  # noqa: S603 - our own names
        ["git", "ls-files", *named],  # noqa: S607 - git of the PATH
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert not [
        name for name in tracked if re.search(r"(\.env$|\.pem$|\.key$|secret.*\.txt$)", name)
    ]


def test_every_file_at_the_root_that_a_setting_names_by_default_is_in_the_image():
    yaml_files = {path.name for path in PROJECT_ROOT.glob("[!.]*.yaml")} - {"workspace.yaml"}
    assert yaml_files <= set(dockerfile.allowed_paths())


def sbom(**options: object) -> Mapping[str, object]:
    """Return the document for this environment, as of a fixed time."""
    script = runpy.run_path(str(PROJECT_ROOT / "deploy" / "sbom.py"))
    return script["document"](has_system=False, created_at=0, **options)


def test_the_sbom_lists_what_is_installed_with_version_licence_and_address():
    found = sbom()
    packages = {package["name"]: package for package in found["packages"]}  # pyright: ignore
    dagster = packages["dagster"]
    assert dagster["licenseDeclared"] == "Apache-2.0"
    [reference] = dagster["externalRefs"]
    assert reference["referenceLocator"] == f"pkg:pypi/dagster@{dagster['versionInfo']}"
    assert {"polars", "sqlalchemy", "orchestration_project"} <= packages.keys()
    assert "pip" not in packages


@pytest.mark.slow
def test_the_sbom_of_the_same_packages_is_the_same_and_its_ids_are_distinct():
    found = sbom()
    assert json.dumps(found) == json.dumps(sbom())
    ids = [package["SPDXID"] for package in found["packages"]]  # pyright: ignore
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", spdx_id) for spdx_id in ids)
    related = {relationship["relatedSpdxElement"] for relationship in found["relationships"]}  # pyright: ignore
    assert related == set(ids)


class Image:
    """What the target `full` has, below a folder instead of /opt."""

    def __init__(self, folder: Path) -> None:
        self.app, self.venv = folder / "app", folder / "venv"
        self.state = folder / "state"
        self.port, self.code_port = programs.free_port(), programs.free_port()
        self._started: list[subprocess.Popen[bytes]] = []

    def here(self, text: str) -> str:
        """Return a text of the Dockerfile with the paths and ports of this folder."""
        for one, other in (
            ("/opt/orchestration_project", self.app),
            ("/opt/venv", self.venv),
            ("3000", self.port),
        ):
            text = text.replace(one, str(other))
        return text

    def build(self) -> None:
        """Install the packages of a target, and copy the project."""
        self.app.mkdir()
        dockerfile.copy_context(self.app)
        self._shell(INSTALL.read_text().replace("$1", LOCKS["full"]))
        file = self.app / "deploy" / "workspace.yaml"
        text = file.read_text().replace("host: code-server", "host: 127.0.0.1")
        file.write_text(text.replace("4266", str(self.code_port)))
        self.state.mkdir(mode=0o700)
        for path in (self.app, *self.app.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)

    def _shell(self, commands: str) -> None:
        python = f'python() {{ "{sys.executable}" "$@"; }}; '
        done = subprocess.run(  # noqa: S603 - the lines of our Dockerfile
            ["/bin/bash", "-o", "pipefail", "-c", python + self.here(commands)],
            cwd=self.app,
            capture_output=True,
            text=True,
            check=False,
        )
        expect_exit(done)

    @property
    def environment(self) -> dict[str, str]:
        """The ENV of the image, and settings of the demo."""
        [text] = dockerfile.texts(STAGES["runtime"], "ENV")
        pairs = (pair.partition("=") for pair in shlex.split(text))
        found = {name: self.here(value) for name, _, value in pairs}
        found |= {"STATE_DIR": str(self.state), "PATH": f"{self.venv}/bin:/usr/bin:/bin"}
        return {**found, "HOME": str(self.state), **programs.DEMO}

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program that can write to STATE_DIR and temporary folders alone."""
        with (self.state / "log").open("ab") as log:
            started = subprocess.Popen(  # noqa: S603 - programs of the image
                [
                    *(WITHOUT_RIGHTS if os.geteuid() == 0 else ()),
                    str(self.venv / "bin" / command[0]),
                    *command[1:],
                ],
                cwd=self.app,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(started)
        return started

    def readiness(self) -> Mapping[str, object] | None:
        """Return what the gateway answers to `/readyz`, once it does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return json.load(connection.getresponse())
        return None

    def end(self) -> None:
        """End what was started."""
        programs.kill_all_of(self.state)
        for program in self._started:
            program.wait()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    yield made
    made.end()


@pytest.mark.slow
def test_the_install_steps_make_programs_that_serve_from_a_folder_they_cannot_write(image: Image):
    assert image.start("orchestrate", "--version").wait() == 0
    assert image.start("orchestrate", "migrate").wait() == 0, (image.state / "log").read_text()
    before = sorted(image.app.rglob("*"))
    module = ("-m", "orchestration_project.instance.code_server", "code-server", "start")
    server = ("-m", "orchestration_project.definitions", "--port", str(image.code_port))
    image.start("python", *module, *server, "--host", "127.0.0.1")
    daemon = "orchestration_project.instance.daemon"
    image.start("python", "-m", daemon, "run", "-w", "deploy/workspace.yaml")
    [command] = dockerfile.texts(STAGES["runtime"], "CMD")
    arguments = ast.literal_eval(image.here(command).replace("0.0.0.0", "127.0.0.1"))  # noqa: S104
    image.start(*arguments)
    ready = programs.wait_for(image.readiness, programs.PATIENCE_SECONDS)
    assert ready["is_ready"] is True
    [check] = dockerfile.texts(STAGES["runtime"], "HEALTHCHECK")
    healthy = ast.literal_eval(image.here(check.partition(" CMD ")[2]))
    assert image.start(*healthy).wait() == 0
    grpc = ("api", "grpc-health-check", "--host", "127.0.0.1", "--port", str(image.code_port))
    programs.wait_for(lambda: image.start("dagster", *grpc).wait() == 0, programs.PATIENCE_SECONDS)
    programs.wait_for(
        lambda: image.start("dagster-daemon", "liveness-check").wait() == 0,
        programs.PATIENCE_SECONDS,
    )
    assert sorted(image.app.rglob("*")) == before


@pytest.mark.slow
def test_the_image_holds_its_sbom_and_neither_installer_nor_tools_of_tests(image: Image):
    packages = json.loads((image.venv / "sbom.spdx.json").read_text())["packages"]
    names = {package["name"] for package in packages}
    assert {"dagster", "pdfplumber", "parsel"} <= names
    assert not {"pytest", "ruff", "moto", "pip"} & names
    assert image.start("python", "-m", "pip", "--version").wait() != 0

"""Checks the wheel: its data files, and its commands in a bare environment and an empty folder.

Without the demo's wheel its data are real; beside it, the demo's first rows are loaded.

The wheel is built in isolation, and installed beside the packages of requirements/runtime.lock
alone, which are linked from the environment of this script: they need no second download.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "orchestration_project"
DEFAULTS = f"{PACKAGE}/defaults"

DEFAULT_FILES = (
    ":(glob)[!.]*.yaml",
    "config",
    *("deploy/caddy", "deploy/mosquitto", "deploy/prometheus", "deploy/rabbitmq"),
)
"""Paths of git of the default files, which a wheel has in the package."""

BUILD_FILES = ("build", "dist", f"{PACKAGE}.egg-info")
"""Files that a build may leave in a checkout."""

WEEK = "OTCE|2026-01-26"
MANIFEST = "file,tier,week_start,market\nweek.csv,OTCE,2026-01-26,ATS\n"
ROWS = """\
tierDescription|issueSymbolIdentifier|issueName|marketParticipantName|MPID|\
totalWeeklyShareQuantity|totalWeeklyTradeCount|lastUpdateDate
OTC|ACME|Acme Corp|OTCN OTC LINK|OTCN|10|1|2026-03-02
"""
SETTINGS = "FINRA_SOURCE=files\nFINRA_FILES_DIR=files\n"
EXPORTED = "symbol,share_quantity\nACME,10.000000"
DEMO = {"DATA_PROFILE": "demo", "DEMO_ROWS_PER_WEEK": "300", "DEMO_IDLE_SECONDS": "20"}
NO_DEMO = "the demo sources are not installed: pip install orchestration_demo"


def expected_files() -> set[str]:
    """Return the paths that a wheel must have: all tracked files of the package, and defaults."""
    package = _tracked(PACKAGE)
    defaults = _tracked(*DEFAULT_FILES)
    return {*package, *(f"{DEFAULTS}/{path}" for path in defaults)}


def _tracked(*paths: str) -> list[str]:
    listed = run("git", "ls-files", "--", *paths, cwd=ROOT)
    return [path for path in listed.splitlines() if (ROOT / path).exists()]


def missing_files(wheel: Path) -> list[str]:
    """Return the expected files that a wheel does not have."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(expected_files() - {*archive.namelist()})


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build the wheel of the checkout into ``folder``, by a backend in isolation."""
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source))
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Install a wheel and its locked dependencies into a new environment; return its programs."""
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    [packages] = environment.glob("lib/python*/site-packages")
    _link_dependencies(packages)
    add(wheel, environment)
    return environment / "bin"


def add(wheel: Path, environment: Path) -> None:
    """Install a wheel into an environment that has what it depends on."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    run(*pip, "install", "-q", "--no-deps", "--no-index", str(wheel))
    run(*pip, "check")


def _link_dependencies(packages: Path) -> None:
    """Link the files of the packages of requirements/runtime.lock into a folder of packages."""
    locks = runpy.run_path(str(ROOT / ".ci" / "locks.py"))
    lines = (ROOT / "requirements/runtime.lock").read_text().splitlines()
    python = ".".join(platform.python_version_tuple()[:2])
    for name, version in locks["pinned"](lines, python).items():
        installed = distribution(name)
        if installed.version != version:
            sys.exit(f"invalid {name}: expected {version}, found {installed.version}: run `make`")
        for file in installed.files or ():
            if ".." in file.parts:  # a program of the package
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(Path(str(installed.locate_file(file))), target)


def _link(file: Path, target: Path) -> None:
    """Link a file that exists, or copy it to another file system."""
    try:
        os.link(file, target)
    except FileNotFoundError:  # a compiled file that was removed
        return
    except OSError:
        shutil.copy2(file, target)


def check_commands(programs: Path, folder: Path) -> None:
    """Run the commands of a first use in an empty folder, which becomes the project folder."""
    folder.mkdir()
    environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder)}

    def orchestrate(*arguments: str) -> str:
        return run("orchestrate", *arguments, cwd=folder, env=environment)

    for arguments in (["--version"], ["config", "check"], ["datasets"], ["migrate"]):
        print(f"orchestrate {' '.join(arguments)}: {orchestrate(*arguments).splitlines()[0]}")
    (folder / "files").mkdir()
    (folder / "files" / "manifest.csv").write_text(MANIFEST)
    (folder / "files" / "week.csv").write_text(ROWS)
    (folder / ".env").write_text(SETTINGS)
    print(orchestrate("load", "finra_otc_weekly", WEEK).strip())
    exported = orchestrate("export", "finra_otc_weekly", "--columns", "symbol,share_quantity")
    if exported.strip() != EXPORTED:
        sys.exit(f"invalid export: expected {EXPORTED!r}, found {exported!r}")


def check_without_demo(programs: Path, folder: Path) -> None:
    """Check that the profile of synthetic data is refused, with what to install."""
    folder.mkdir()
    environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder), **DEMO}
    command = [str(programs / "orchestrate"), "config", "check"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603 - our own
    said = " ".join((done.stdout + done.stderr).split())
    if done.returncode == 0 or NO_DEMO not in said:
        sys.exit(f"DATA_PROFILE=demo without the demo: expected {NO_DEMO!r}, found {said!r}")
    print("DATA_PROFILE=demo without the demo: refused")


def check_demo(programs: Path, folder: Path) -> None:
    """Load a week of the demo in an empty folder."""
    folder.mkdir()
    environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder), **DEMO}
    for arguments in (["migrate"], ["run", "--weeks", "1"], ["reset", "--yes"]):
        said = run("orchestrate", *arguments, cwd=folder, env=environment)
        print(f"demo: orchestrate {' '.join(arguments)}: {said.splitlines()[0]}")


def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Return the output of a command; end with its output if it fails or prints a traceback."""
    program = shutil.which(command[0], path=env["PATH"] if env else None) or command[0]
    done = subprocess.run(  # noqa: S603 - our own programs
        [program, *command[1:]], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode or "Traceback" in done.stderr:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def left_files() -> Iterator[str]:
    """Yield the files that a build has left in the checkout."""
    yield from (name for name in BUILD_FILES if (ROOT / name).exists())


def main() -> int:
    """Check the wheel, and return 1 if something is wrong with it."""
    before = {*left_files()}
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name, tempfile.TemporaryDirectory() as empty:
        wheel = build_wheel(Path(name))
        problems = [f"the wheel lacks {path}" for path in missing_files(wheel)]
        problems += [f"the build left {path}" for path in {*left_files()} - before]
        if problems:
            print(*problems, sep="\n", file=sys.stderr)
            return 1
        programs = install(wheel, Path(name) / "venv")
        check_commands(programs, Path(empty) / "real")
        check_without_demo(programs, Path(empty) / "none")
        add(build_wheel(Path(name) / "demo", ROOT / "demo"), programs.parent)
        check_demo(programs, Path(empty) / "demo")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m orchestration_project.new_source NAME` writes the skeleton of a source over HTTP.

It writes the four modules of a domain, its simulator and its test, and registers both; then it runs
the generators of the migration, .env.example, the reference pages and the list of definitions.
"""

import keyword
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from string import Template

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import require_project_folder

NAME = re.compile(r"[a-z]{2,20}")
EXAMPLE = "e.g. make new-source NAME=weather"
TEMPLATES = Path(__file__).parent / "templates"
PACKAGE = "orchestration_project"

FILES = {
    f"{PACKAGE}/tables/{{}}.py": "tables",
    f"{PACKAGE}/domains/{{}}.py": "domains",
    f"{PACKAGE}/settings/domains/{{}}.py": "settings",
    f"{PACKAGE}/catalog/{{}}.py": "catalog",
    f"{PACKAGE}/demo/{{}}.py": "demo",
    "tests/assets/test_{}.py": "test",
}
"""The file that each template becomes, by its path with the domain's name left out."""

CATALOG, DEMO = f"{PACKAGE}/catalog/__init__.py", f"{PACKAGE}/demo/__main__.py"
ROUTES = re.compile(r"^    others = \[\n(?:        .*\n)+", re.MULTILINE)


def skeleton(name: str, root: Path) -> Mapping[Path, str]:
    """Return the text of each file of a new source: six new ones, and the demo that serves it.

    Raises:
        ConfigurationError: The name is invalid or taken, or a file to change has another shape.
    """
    templates = {path: (TEMPLATES / f"{each}.txt").read_text() for path, each in FILES.items()}
    words = {"name": name, "Name": name.capitalize(), "NAME": name.upper()}
    _require_valid(name)
    _require_free(name, root)
    _require_unused(words.values(), " ".join(templates.values()))
    new = {
        root / path.format(name): Template(text).substitute(words)
        for path, text in templates.items()
    }
    return {**new, root / DEMO: _demo(name, root)}


def _require_valid(name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigurationError(
            f"invalid NAME {name!r}" if name else "NAME is missing",
            expected=f"2 to 20 lower-case letters, not a keyword of Python, {EXAMPLE}",
        )


def _require_free(name: str, root: Path) -> None:
    paths = [root / path.format(name) for path in FILES]
    taken = [each for path in paths for each in (path, path.with_suffix("")) if each.exists()]
    if taken:
        raise ConfigurationError(
            f"invalid NAME {name!r}",
            expected=f"the name of a domain that the project does not have, {EXAMPLE}",
            found=", ".join(each.relative_to(root).as_posix() for each in taken),
        )


def _require_unused(spellings: Collection[str], templates: str) -> None:
    """Refuse a name that would hide one of the skeleton's own, such as date."""
    if used := set(re.findall(r"\w+", templates)).intersection(spellings):
        raise ConfigurationError(
            f"invalid NAME {next(iter(spellings))!r}",
            expected=f"a word that the skeleton does not use itself, {EXAMPLE}",
            found=", ".join(sorted(used)),
        )


def _demo(name: str, root: Path) -> str:
    text = _with_import(
        (root / DEMO).read_text(),
        f"from {PACKAGE}.demo.{name} import {name.capitalize()}",
        f"from {PACKAGE}.demo.",
    )
    line = f"        *{name.capitalize()}(options.seed, clock).routes,\n"
    return _replaced(ROUTES, lambda found: found[0] + line, text, DEMO)


def _with_import(text: str, line: str, package: str) -> str:
    """Return ``text`` with an import among those of its package, which are in order."""
    lines = text.splitlines()
    place = [number for number, each in enumerate(lines) if each.startswith(package)]
    imports = sorted([*(lines[number] for number in place), line])
    return "\n".join([*lines[: place[0]], *imports, *lines[place[-1] + 1 :]]) + "\n"


def _replaced(
    pattern: re.Pattern[str], change: Callable[[re.Match[str]], str], text: str, path: str
) -> str:
    changed, count = pattern.subn(change, text)
    if count != 1:
        raise ConfigurationError(
            f"cannot register the source in {path}",
            expected=f"one match of {pattern.pattern!r}",
            found=f"{count} matches",
            remedy="restore the file, or adapt orchestration_project/new_source to its new shape",
        )
    return changed


def _run(root: Path, *arguments: str) -> str:
    """Run a module of the project in a process of its own, which imports the new files."""
    done = subprocess.run(  # noqa: S603 - our own generators
        [sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigurationError(
            f"python -m {' '.join(arguments)} failed; the files of the skeleton are written",
            expected="exit status 0",
            found=f"{done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}",
            remedy="fix the cause and run this command, or restore the files by git",
        )
    return done.stdout


def write(name: str, root: Path) -> Sequence[str]:
    """Write the skeleton of a source, and all that is generated from it.

    Returns the paths of the files that are new or changed.

    Raises:
        ConfigurationError: The name is invalid or taken, or a generator failed.
    """
    files = skeleton(name, root)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    paths = [path.relative_to(root).as_posix() for path in files]
    _run(root, "ruff", "check", "--quiet", "--select", "I", "--fix", *paths)
    _run(root, "ruff", "format", "--quiet", *paths)
    migration = _run(root, f"{PACKAGE}.migrations", f"add_{name}").strip()
    (root / ".env.example").write_text(_run(root, f"{PACKAGE}.settings"), encoding="utf-8")
    _run(root, "tests.definition_surface")
    _run(root, "reference_pages", "--write")
    written = Path(migration.removeprefix("written: ")).relative_to(root).as_posix()
    return [*paths, written, "docs/reference/settings.md", ".env.example", "tests/definitions.txt"]


def _checkout() -> Path:
    """Return the project folder, which must have the source of the package."""
    root = require_project_folder()
    if not (root / CATALOG).is_file():
        raise ConfigurationError(
            "invalid project folder",
            expected=f"a checkout, which has {CATALOG}",
            found=str(root),
            remedy="run it in a checkout of this project",
        )
    return root


def main(name: str) -> int:
    """Write the skeleton, and print its files; return the exit status."""
    try:
        paths = write(name, _checkout())
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"written: {path}\n" for path in paths))
    sys.stdout.write("next: docs/how-to/add-a-source.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))

"""The release of this program."""

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def release() -> str:
    """Return the version of the installed package, or of the checkout where none is installed."""
    try:
        return version("orchestration_project")
    except PackageNotFoundError:
        return tomllib.loads(PYPROJECT.read_text())["project"]["version"]

"""Pipelines that capture outside data, prove it right and land it with its history."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _read_release() -> str:
    try:
        return version("orchestration_project")
    except PackageNotFoundError:
        pyproject = Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(pyproject.read_text())["project"]["version"]


RELEASE = _read_release()
"""Version of the installed package, or of the checkout where none is installed."""

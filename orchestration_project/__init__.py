"""Pipelines that capture outside data, prove it right and land it with its history."""

from functools import cache


@cache
def release() -> str:
    """Return the version of the installed package, or of the checkout where none is installed."""
    import tomllib  # a tenth of a second for each program, of which few ask
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        return version("orchestration_project")
    except PackageNotFoundError:
        pyproject = Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(pyproject.read_text())["project"]["version"]

"""How we introduce ourselves to those whom we ask."""

from importlib.metadata import PackageNotFoundError, version


def user_agent() -> str:
    """Return our name and version."""
    try:
        return f"orchestration_project/{version('orchestration_project')}"
    except PackageNotFoundError:  # run from a checkout
        return "orchestration_project/0"

"""Commands in the process of the test."""

from orchestration_project.__main__ import main


def run_without_failure(*arguments: str) -> None:
    """Run a command that must succeed."""
    assert main(arguments) == 0

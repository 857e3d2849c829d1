"""All embedded demos of a STATE_DIR at once, for the commands that end them."""

from collections.abc import Sequence

from orchestration_project.resources.demo_program import DemoProgram
from orchestration_project.resources.finra.demo import finra_demo
from orchestration_project.resources.saas.demo import saas_demo
from orchestration_project.settings import Settings


def stop_demos(settings: Settings) -> None:
    """End those that run."""
    for each in _demos(settings):
        each.stop()


def retire_demos(settings: Settings) -> None:
    """Have those that run end, unless somebody goes on asking them."""
    for each in _demos(settings):
        each.retire()


def _demos(settings: Settings) -> Sequence[DemoProgram]:
    return [finra_demo(settings), saas_demo(settings)]

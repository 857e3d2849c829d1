"""All embedded demos of a STATE_DIR at once, for the commands that end them."""

from collections.abc import Sequence

from orchestration_project.connections.demo_program import PACKAGE, DemoProgram
from orchestration_project.settings import Settings


def stop_demos(settings: Settings) -> None:
    """End those that run."""
    for demo in _demos(settings):
        demo.stop()


def retire_demos(settings: Settings) -> None:
    """Have those that run end, unless somebody goes on asking them."""
    for demo in _demos(settings):
        demo.retire()


def _demos(settings: Settings) -> Sequence[DemoProgram]:
    """Return the demos that have written in STATE_DIR what they serve, running or not."""
    files = settings.state_path.glob("*/server.json")
    return [DemoProgram(PACKAGE, file.parent, {}) for file in sorted(files)]

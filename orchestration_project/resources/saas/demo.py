"""The embedded demo of PeopleForce and Jira, as these settings have it."""

from orchestration_project.connections.demo_program import DemoProgram
from orchestration_project.settings import Settings

PROGRAM = "orchestration_project.demo.saas"


def saas_demo(settings: Settings) -> DemoProgram:
    """Return the demo of this STATE_DIR."""
    return DemoProgram(
        PROGRAM,
        settings.state_path / "demo_saas",
        {
            "state_dir": str(settings.state_path),
            "seed": settings.demo_seed,
            "tasks": settings.demo_saas_tasks,
            "requests_per_second": settings.demo_requests_per_second,
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.clock_now.isoformat() if settings.clock_now else None,
        },
    )

"""The embedded demo of FINRA, as these settings have it."""

from orchestration_project.connections.demo_program import DemoProgram
from orchestration_project.settings import Settings

PROGRAM = "orchestration_project.demo"


def demo_url(settings: Settings) -> str:
    """Return the address of the demo server of these settings, started if it does not run.

    Raises:
        ConfigurationError: It ends with an error instead of starting.
        TransientError: It does not start in time.
    """
    return finra_demo(settings).url()


def finra_demo(settings: Settings) -> DemoProgram:
    """Return the demo of this STATE_DIR."""
    return DemoProgram(
        PROGRAM,
        settings.state_path / "demo",
        {
            "state_dir": str(settings.state_path),
            "seed": settings.demo_seed,
            "rows_per_week": settings.demo_rows_per_week,
            "latency_seconds": settings.demo_latency_seconds,
            "requests_per_second": settings.demo_requests_per_second,
            "vendor_requests_per_day": settings.demo_vendor_requests_per_day,
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.clock_now.isoformat() if settings.clock_now else None,
        },
    )

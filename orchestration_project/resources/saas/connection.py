"""Opens both systems, or their demo, as the settings name them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import SecretStr

from orchestration_project.domains.saas.settings import SaasSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import DemoProgram
from orchestration_project.engine.environment import open_client, select_network
from orchestration_project.engine.http import (
    BreakerPolicy,
    HttpClient,
)
from orchestration_project.resources.saas.jira import Jira
from orchestration_project.resources.saas.pages import PageMemory
from orchestration_project.resources.saas.peopleforce import PeopleForce
from orchestration_project.settings import Settings, switched_off

DEMO_MODULE = "orchestration_demo.saas"


def saas_demo(settings: Settings) -> DemoProgram:
    """Return the demo of this STATE_DIR."""
    return DemoProgram(
        DEMO_MODULE,
        settings.state_path / "demo_saas",
        {
            "state_dir": str(settings.state_path),
            "seed": settings.demo_seed,
            "tasks": settings.demo_saas_tasks,
            "requests_per_second": settings.demo_requests_per_second,
            "idle_seconds": settings.demo_idle_seconds,
            "clock_now": settings.demo_clock_now.isoformat() if settings.demo_clock_now else None,
        },
    )


DEMO_KEY = SecretStr("demo-key")
DEMO_EMAIL, DEMO_TOKEN = "robot@example.org", SecretStr("demo-token")

Value = TypeVar("Value")


@contextmanager
def opened_peopleforce(
    settings: Settings, captures: Captures, clock: Clock, *, ignores_breaker: bool = False
) -> Iterator[PeopleForce]:
    """Give PeopleForce, or the demo of it; ``ignores_breaker``: also while it counts as down.

    Raises:
        ConfigurationError: SAAS_SOURCE is not set.
        TransientError: The demo does not start.
    """
    settings = SaasSettings.of(settings)
    _require_source(settings)
    url, key = settings.peopleforce_url, settings.peopleforce_api_key
    if settings.is_demo:
        url, key = f"{saas_demo(settings).url()}/peopleforce/api/public/v3", DEMO_KEY
    rate = settings.peopleforce_requests_per_second
    with _open_http(settings, "peopleforce", rate, ignores_breaker=ignores_breaker) as http:
        origin = "demo" if settings.is_demo else "api"
        memory = PageMemory(settings.state_path / "saas" / "peopleforce_pages.json")
        yield PeopleForce(
            http, captures, clock, memory, origin=origin, url=url, api_key=_require_given(key)
        )


@contextmanager
def opened_jira(settings: Settings, *, ignores_breaker: bool = False) -> Iterator[Jira]:
    """Give Jira, or the demo of it; ``ignores_breaker``: also while it counts as down.

    Raises:
        ConfigurationError: SAAS_SOURCE is not set.
        TransientError: The demo does not start.
    """
    settings = SaasSettings.of(settings)
    _require_source(settings)
    url, email, token = settings.jira_url, settings.jira_email, settings.jira_token
    if settings.is_demo:
        url, email, token = f"{saas_demo(settings).url()}/jira", DEMO_EMAIL, DEMO_TOKEN
    rate = settings.jira_requests_per_second
    with _open_http(settings, "jira", rate, ignores_breaker=ignores_breaker) as http:
        yield Jira(
            http, url=_require_given(url), email=_require_given(email), token=_require_given(token)
        )


def _open_http(
    settings: Settings, system: str, requests_per_second: int, *, ignores_breaker: bool
) -> HttpClient:
    is_made_up = settings.is_demo
    return open_client(
        settings,
        f"{system}_demo" if is_made_up else system,
        agent="orchestration_project",
        requests_per_second=0 if is_made_up else requests_per_second,
        breaker=BreakerPolicy(ignores_breaker=ignores_breaker),
        network=select_network(settings),
    )


def _require_source(settings: Settings) -> None:
    settings = SaasSettings.of(settings)
    if settings.saas_source is None:
        raise switched_off("PeopleForce and Jira", "SAAS_SOURCE", "api")


def _require_given(value: Value | None) -> Value:
    if value is None:
        raise AssertionError("the settings are refused without it when SAAS_SOURCE=api")
    return value

"""PeopleForce and Jira, as the settings name them: the embedded demo, or the real ones."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from pydantic import SecretStr

from orchestration_project.resources.captures import Captures
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.http import HttpClient
from orchestration_project.resources.jira import Jira
from orchestration_project.resources.peopleforce import PeopleForce
from orchestration_project.resources.saas.demo import saas_demo
from orchestration_project.settings import Settings

OpenHttp = Callable[[str, int], AbstractContextManager[HttpClient]]
"""Opens a client for the system of a name, with so many requests a second."""

DEMO_KEY = SecretStr("demo-key")
DEMO_EMAIL, DEMO_TOKEN = "robot@example.org", SecretStr("demo-token")
"""Whom the embedded demo lets in; it listens to this machine alone."""


@contextmanager
def opened_peopleforce(
    settings: Settings, open_http: OpenHttp, captures: Captures, clock: Clock
) -> Iterator[PeopleForce]:
    """Give the PeopleForce of these settings."""
    is_demo = settings.saas_source == "demo"
    url, key = settings.peopleforce_url, settings.peopleforce_api_key
    if is_demo:
        url, key = f"{saas_demo(settings).url()}/peopleforce/api/public/v3", DEMO_KEY
    if key is None:
        raise AssertionError("the settings see to it that there is a key")
    system = "peopleforce_demo" if is_demo else "peopleforce"
    with open_http(system, settings.peopleforce_requests_per_second) as http:
        yield PeopleForce(http, captures, clock, url=url, api_key=key)


@contextmanager
def opened_jira(settings: Settings, open_http: OpenHttp) -> Iterator[Jira]:
    """Give the Jira of these settings."""
    is_demo = settings.saas_source == "demo"
    url, email, token = settings.jira_url, settings.jira_email, settings.jira_token
    if is_demo:
        url, email, token = f"{saas_demo(settings).url()}/jira", DEMO_EMAIL, DEMO_TOKEN
    if url is None or email is None or token is None:
        raise AssertionError("the settings see to it that all three are there")
    system = "jira_demo" if is_demo else "jira"
    with open_http(system, settings.jira_requests_per_second) as http:
        yield Jira(http, url=url, email=email, token=token)

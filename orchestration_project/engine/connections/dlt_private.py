"""The one module that uses internals of dlt: its state outside a pipeline, its HTTP sessions.

dlt keeps what belongs to a read in contexts of the thread, and of the threads that it starts. Ours
are there while a resource is read, so that two reads in a process do not share anything. Outside of
them dlt works as always. No pipeline is made, and so no folder, no telemetry.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, Protocol

from orchestration_project.errors import ConfigurationError, SourceError, did_you_mean

TESTED_VERSIONS = ("1.31.",)
"""Beginnings of the versions of dlt that the tests of this module ran with."""


class Sessions(Protocol):
    """Gives the sessions that requests of dlt go through."""

    def session(self, *, raise_for_status: bool) -> Any:
        """Return a session of requests; whether it raises an error for a status of one."""
        ...


def build_missing_error() -> ConfigurationError:
    """Return the error that dlt is not installed."""
    return ConfigurationError(
        "the source cannot be opened: dlt is not installed",
        expected="the extra dlt of this package",
        found="not installed: dlt",
        remedy="pip install 'orchestration_project[dlt]', or in a checkout: pip install '.[dlt]'",
    )


def read_dlt_version() -> str:
    """Return the version of dlt.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        from dlt.version import __version__
    except ModuleNotFoundError as error:
        raise build_missing_error() from error
    return __version__


def read_items(
    make: Callable[..., Any],
    arguments: Mapping[str, Any],
    resource: str,
    *,
    state: dict[str, Any],
    sessions: Sessions,
) -> Generator[tuple[str, Any]]:
    """Yield the items of a resource, each with its name, in the thread that reads them.

    Close it where not all are read: dlt's contexts last until then.

    Args:
        make: Returns a source or resource.
        arguments: Its arguments.
        resource: Name of the resource; empty: the only one.
        state: The state that dlt reads, and changes.
        sessions: What requests through dlt's client are sent by.

    Raises:
        ConfigurationError: dlt is missing, or has other internals; or no such resource is made.
        SourceError: An answer lacks the path of its records.
        Exception: Whatever the resource raises.
    """
    with _use_contexts(state, sessions):
        selected = _select_resource(make(**arguments), resource)
        for item in selected:
            yield selected.name, item


@contextmanager
def _use_contexts(state: dict[str, Any], sessions: Sessions) -> Iterator[None]:
    context_type = _install_context()
    from dlt.common.configuration.container import Container
    from dlt.common.pipeline import StateInjectableContext

    with (
        Container().injectable_context(StateInjectableContext(state=state)),  # pyright: ignore[reportArgumentType] - a mapping of the same keys
        Container().injectable_context(context_type(sessions=sessions)),
    ):
        yield


def _select_resource(made: Any, name: str) -> Any:
    """Return the resource that ``make`` returned, or the named one of a source.

    Raises:
        ConfigurationError: It is neither, or has none of the name.
    """
    from dlt.extract import DltResource, DltSource

    if isinstance(made, DltResource):
        if name not in ("", made.name):
            raise _build_error([made.name], name)
        return made
    if not isinstance(made, DltSource):
        raise ConfigurationError(
            "invalid make of dlt_source",
            expected="a function that returns a source or resource of dlt",
            found=type(made).__name__,
            remedy="return the source, such as rest_api_source({…})",
        )
    names = list(made.resources) if name else list(made.selected_resources)
    if (name and name not in names) or (not name and len(names) != 1):
        raise _build_error(names, name)
    return made.resources[name or names[0]]


def _build_error(names: list[str], name: str) -> ConfigurationError:
    return ConfigurationError(
        "invalid resource of dlt_source",
        expected=", ".join(names) or "a source with resources",
        found=name or f"{len(names)} resources",
        remedy=did_you_mean(name, names) or "name one by resource=",
    )


@cache
def _install_context() -> type[Any]:
    """Return the context that has our sessions; have dlt's client ask for it.

    Raises:
        ConfigurationError: dlt is missing, or its internals are others.
    """
    version = read_dlt_version()
    try:
        from dlt.common import jsonpath
        from dlt.common.configuration import configspec
        from dlt.common.configuration.container import Container
        from dlt.common.configuration.specs.base_configuration import ContainerInjectableContext
        from dlt.common.pipeline import StateInjectableContext
        from dlt.sources.helpers.requests.retry import Client
        from dlt.sources.helpers.rest_client.client import RESTClient

        make_session = Client.__dict__["session"].fget
        extract_response = RESTClient.extract_response
        find_values = jsonpath.find_values
        assert "state" in StateInjectableContext.__dataclass_fields__  # noqa: S101 - a part of what is tried
    except (ImportError, KeyError, AttributeError, AssertionError) as error:
        raise ConfigurationError(
            "dlt cannot be used: its internals are not those that we know",
            expected=f"dlt {' or '.join(tested + 'x' for tested in TESTED_VERSIONS)}",
            found=f"dlt {version}: {type(error).__name__}: {error}",
            remedy=f"pip install 'dlt~={TESTED_VERSIONS[-1]}0'",
        ) from error

    @configspec
    class SessionContext(ContainerInjectableContext):
        """Sessions of the resource that a thread reads."""

        sessions: Any = None

        can_create_default: ClassVar[bool] = False
        global_affinity: ClassVar[bool] = False

    def sessions() -> Sessions | None:
        container = Container()
        return container[SessionContext].sessions if SessionContext in container else None

    def session(client: Any) -> Any:
        """Return the session of a client: ours while a thread of ours reads a resource."""
        ours = sessions()
        if ours is None:
            return make_session(client)
        return ours.session(raise_for_status=client._session_kwargs["raise_for_status"])

    def extract_records(client: Any, response: Any, data_selector: Any) -> Any:
        """Return the records of an answer; while we read, one without their path is an error.

        dlt takes it for a page without records, and so for the last one.
        """
        if sessions() is not None and not find_values(data_selector, response.json()):
            raise SourceError(
                "an answer has no records",
                expected=f"records at {data_selector}, of which there may be none",
                found=f"{response.text[:200]!a}",
                remedy="see the answer among the captures; if the source changed, change the "
                "resource",
                url=response.url,
            )
        return extract_response(client, response, data_selector)

    Client.session = property(session)  # pyright: ignore[reportAttributeAccessIssue] - in place of theirs
    RESTClient.extract_response = extract_records  # pyright: ignore[reportAttributeAccessIssue] - the same
    return SessionContext

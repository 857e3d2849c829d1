"""Sources of a declared dataset: requests over HTTP with their paging, and files of a folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Unpack

from orchestration_project.engine.contracts.partitioning import PLACE_OF_PARTITION
from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.own.reading import (
    Reading,
    ReadingOptions,
    build_config_error,
    build_reading,
    parse_rate,
)

DIRECTIVES = re.compile(r"%-?[aAbBCdeFgGhjmuUVwWyY%]")
"""Directives of `strftime` that a day has; a sign ``-`` before one leaves out its zeros."""


@dataclass(frozen=True)
class ClientCredentials:
    """A client of OAuth 2 that gets a token for itself; `client_credentials` makes it."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""


def client_credentials(
    token_url: str, *, client_id: str, client_secret: str, scope: str = ""
) -> ClientCredentials:
    """Return the grant by which a client of OAuth 2 gets a token for itself.

    Args:
        token_url: Address of the token service.
        client_id: Environment variable of the client's ID.
        client_secret: Environment variable of its secret.
        scope: Space-separated scopes; default: those of the client.
    """
    if not token_url.startswith(("http://", "https://")):
        raise build_config_error(
            "token_url", "an address that begins with https:// or http://", token_url
        )
    return ClientCredentials(token_url, client_id, client_secret, scope)


@dataclass(frozen=True)
class Incremental:
    """The query parameter that requests new records alone; `incremental` makes it.

    Attributes:
        parameter: Name of the query parameter.
        field: Field of the dataset whose greatest value it has.
        initial: Value of the parameter in the first load.
    """

    parameter: str
    field: str
    initial: str


def incremental(parameter: str, *, field: str, initial: str) -> Incremental:
    """Return the request of records that are new since the partition before.

    Args:
        parameter: Query parameter that gets the greatest value of ``field`` that was loaded, as the
            source wrote it. A source may send the records with that value again.
        field: Field of the dataset that grows with each new record: an integer, date or timestamp.
        initial: Value of the parameter in the first load.
    """
    return Incremental(parameter, field, initial)


@dataclass(frozen=True)
class Document:
    """A document that has several partitions.

    Attributes:
        name: Its path below the URL of the source; may have ``{partition:%Y}``, as an address.
        days: How many days, up to today, it certainly has; 0: all days.
        is_listing: Whether it is read to list partitions.
    """

    name: str
    days: int = 0
    is_listing: bool = True


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """A source that answers over HTTP; `http_source` makes it."""

    url: str
    reading: Reading
    headers: Mapping[str, str]
    query: Mapping[str, str]
    secret_headers: Mapping[str, str]
    secret_query: Mapping[str, str]
    bearer: str
    basic: tuple[str, str] | None
    oauth: ClientCredentials | None
    paging: Paging | None
    requests_per_second: int
    max_attempts: int
    documents: Sequence[Document] = ()
    incremental: Incremental | None = None
    json_query: Mapping[str, Any] | None = None
    listing: Listing | None = None
    field_list: FieldList | None = None
    concurrent_requests: int = 1


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A folder with a file for each partition; `file_source` makes it."""

    path: str
    reading: Reading


def pages(parameter: str = "page", *, size: int, start: int = 1, most: int = 1000) -> Paging:
    """Return paging by number: after a page with fewer than ``size`` records comes an empty one."""
    return Paging(kind="page", parameter=parameter, size=size, start=start, most=most)


def offsets(
    parameter: str = "offset",
    *,
    size: int,
    most: int = 1000,
    limit: str = "",
    total: str = "",
    page_total: str = "",
    max_offset: int = 0,
) -> Paging:
    """Return paging by the number of records before a page.

    Args:
        parameter: What requests it: a query parameter, or of a query in JSON a member.
        size: Records of a full page.
        most: As of `Paging`.
        limit: Of a query in JSON: the member that requests at most so many records.
        total: Of a query in JSON: the header of answers that has the number of all its records.
        page_total: The header that has the number of records of a page, if there is one.
        max_offset: The offset up to which a query can be paged; 0: any.
    """
    return Paging(
        kind="offset",
        parameter=parameter,
        size=size,
        start=0,
        most=most,
        limit=limit,
        total=total,
        page_total=page_total,
        max_offset=max_offset,
    )


def cursor(parameter: str, *, path: str, most: int = 1000, optional: bool = False) -> Paging:
    """Return paging by a cursor, which an answer has at ``path`` while there are further pages.

    The last page has null or a blank text there. With ``optional`` it may have nothing there.
    """
    return Paging(kind="cursor", parameter=parameter, path=path, most=most, optional=optional)


def next_url(path: str, *, most: int = 1000, optional: bool = False) -> Paging:
    """Return paging by the URL of the next page; path and end are as of `cursor`."""
    return Paging(kind="next_url", path=path, most=most, optional=optional)


def link_header(*, most: int = 1000) -> Paging:
    """Return paging by the header Link with ``rel="next"``."""
    return Paging(kind="link_header", most=most)


def http_source(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    secret_headers: Mapping[str, str] | None = None,
    secret_query: Mapping[str, str] | None = None,
    bearer: str = "",
    basic: tuple[str, str] | None = None,
    oauth: ClientCredentials | None = None,
    paging: Paging | None = None,
    rate: str = "2/s",
    retries: int = 4,
    documents: Sequence[Document] = (),
    incremental: Incremental | None = None,
    json_query: Mapping[str, Any] | None = None,
    listing: Listing | None = None,
    field_list: FieldList | None = None,
    concurrent_requests: int = 1,
    **reading: Unpack[ReadingOptions],
) -> HttpSource:
    """Return a source of documents over HTTP.

    Secrets are named, not given: the environment variable of a name is read when a request is sent.

    Args:
        url: Address; ``{partition:%Y-%m-%d}`` stands for the day, in a notation of `strftime`,
            ``{value}`` for the other value of a partition.
        headers: Headers of requests.
        query: Parameters of the query, which may name the partition, too.
        secret_headers: Environment variables of headers, such as ``{"X-Api-Key": "MY_KEY"}``.
        secret_query: Environment variables of query parameters.
        bearer: Environment variable of a bearer token.
        basic: Environment variables of a user and a password.
        oauth: Client that gets a token, as of `client_credentials`.
        paging: How pages follow; `pages`, `offsets`, `cursor`, `next_url` or `link_header`.
        rate: Requests a second at most, such as ``2/s``.
        retries: Further attempts after a fault that may pass.
        documents: Documents below ``url`` that have several partitions each. They list which
            partitions there are, in place of the calendar.
        incremental: The request of what is new since the partition before, as of `incremental`.
        json_query: A query in JSON, sent by POST, whose texts may have the places ``{partition}``,
            the day of the rows, and ``{value}``. It is paged by `offsets` with a limit and a total:
            as many records must come as the source says. More than one page is read twice.
        listing: List of the partitions of such a query, in place of the calendar.
        field_list: List of its fields, which a load compares with the declared ones.
        concurrent_requests: Pages of such a query that are requested at once.
        reading: How records are read, as of `Reading`: ``format`` and its options, or ``parse``.
    """
    if not url.startswith(("http://", "https://")):
        raise build_config_error("URL", "an address that begins with https:// or http://", url)
    _require_template(url, query or {})
    names = [*(secret_headers or {}).values(), *(secret_query or {}).values()]
    names += [bearer] if bearer else []
    names += [*basic] if basic else []
    names += [oauth.client_id, oauth.client_secret] if oauth else []
    per_second = parse_rate(rate, retries, names)
    if oauth and (bearer or basic):
        raise build_config_error(
            "access", "oauth alone", f"oauth and {'bearer' if bearer else 'basic'}"
        )
    made_reading = build_reading(reading, signature(http_source).parameters)
    other_names = [incremental.parameter] if incremental else []
    _require_plain(documents, paging, [*(headers or ()), *(query or ()), *names, *other_names])
    _require_query(
        json_query, paging, listing or field_list, [*documents, *(query or ()), *other_names]
    )
    if (
        paging is not None
        and paging.kind in ("cursor", "next_url")
        and made_reading.format != "json"
    ):
        found_format = made_reading.format or "parse="
        raise build_config_error(
            "paging", "format json for a cursor or URL in the answer", found_format
        )
    return HttpSource(
        url=url,
        reading=made_reading,
        headers=headers or {},
        query=query or {},
        secret_headers=secret_headers or {},
        secret_query=secret_query or {},
        bearer=bearer,
        basic=basic,
        oauth=oauth,
        paging=paging,
        requests_per_second=per_second,
        max_attempts=retries + 1,
        documents=documents,
        incremental=incremental,
        json_query=json_query,
        listing=listing,
        field_list=field_list,
        concurrent_requests=concurrent_requests,
    )


def file_source(path: str, **reading: Unpack[ReadingOptions]) -> FileSource:
    """Return a source of files, such as ``in/prices_{partition:%Y%m%d}.csv``.

    A relative path is below the project folder. The other arguments are those of `Reading`.
    """
    _require_template(path, {})
    return FileSource(path=path, reading=build_reading(reading, ("path",)))


def _require_plain(
    documents: Sequence[Document], paging: Paging | None, names: Sequence[str]
) -> None:
    """Make sure that documents need nothing but their addresses."""
    for document in documents:
        _require_template(document.name, {})
    if documents and (paging is not None or names):
        text = "paging" if paging is not None else ", ".join(names)
        raise build_config_error(
            "documents", "no paging, headers, query and secrets beside them", text
        )


def _require_query(
    query: Mapping[str, Any] | None, paging: Paging | None, lists: object, others: Sequence[object]
) -> None:
    """Make sure that a query in JSON says how many records it has, and has its parts alone."""
    counts = paging is not None and bool(paging.total and paging.limit)
    if query is None and (lists or counts):
        raise build_config_error(
            "json_query", "a query beside listing, field_list and total of offsets", "none"
        )
    if query is not None and not counts:
        expected = "offsets(…, limit=, total=) beside a query in JSON"
        raise build_config_error("paging", expected, "none" if paging is None else paging.kind)
    if query is not None and others:
        expected = "no documents, query and incremental beside a query in JSON"
        raise build_config_error("json_query", expected, ", ".join(map(str, others)))


def _require_template(url: str, query: Mapping[str, str]) -> None:
    """Make sure that braces of a template are places of the partition."""
    for text in (url, *query.values()):
        if wrong := re.search(r"[{}][^{}]*[{}]?", PLACE_OF_PARTITION.sub("", text)):
            raise build_config_error("template", "{partition} or {partition:%Y-%m-%d}", wrong[0])
        for match in PLACE_OF_PARTITION.finditer(text):
            if unknown := re.sub(DIRECTIVES, "", match["form"] or "").count("%"):
                expected = "directives of strftime for a day, such as %Y-%m-%d"
                raise build_config_error("template", expected, f"{match[0]}: {unknown} unknown")

"""Starts of crawls beside URLs: sitemaps, feeds and search forms; the URLs that lists name."""

import io
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestration_project.domains.web.declaration import Pattern, Strict
from orchestration_project.domains.web.patterns import contains

MAX_LIST_BYTES = 50_000_000
"""Size of a sitemap or feed, decoded; the limit of the protocol of sitemaps."""

MAX_LIST_URLS = 50_000
"""URLs of a sitemap or feed; the limit of the protocol, too."""

ListKind = Literal["index", "sitemap", "feed"]
KINDS: dict[str, ListKind] = {
    "sitemapindex": "index",
    "urlset": "sitemap",
    **dict.fromkeys(("rss", "feed", "RDF"), "feed"),
}
ROOT = re.compile(
    rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*(?:<\?[^>]*\?>\s*|<!--.*?-->\s*)*"
    rb"<(?:[A-Za-z]+:)?(sitemapindex|urlset|rss|feed|RDF)[\s>]",
    re.DOTALL,
)
"""Start of a list; pages that quote one elsewhere are pages."""

Url = Annotated[str, Field(min_length=1, max_length=2_000)]
Term = Annotated[str, Field(min_length=1, max_length=200)]
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]-]{1,60}$")]


class UrlListStart(Strict):
    """A sitemap, index of sitemaps, or feed.

    Attributes:
        url: Its URL or path.
        pattern: Regular expression that the URL of a page in it contains; None: any.
    """

    url: Url
    pattern: Pattern | None = None


class SearchStart(Strict):
    """A form that is sent by GET, once per term.

    Attributes:
        url: Its URL or path.
        parameter: Parameter of the query with the term.
        terms: Terms.
        fields: Further parameters, such as hidden inputs.
    """

    url: Url
    parameter: ParameterName
    terms: list[Term] = Field(min_length=1, max_length=1_000)
    fields: dict[ParameterName, Annotated[str, Field(max_length=200)]] = Field(
        default={}, max_length=50
    )


@dataclass(frozen=True)
class UrlList:
    """URLs of a sitemap or feed as they are written.

    Attributes:
        kind: index: of sitemaps; sitemap or feed: of pages.
        urls: URLs, each once.
        problem: Why it cannot be read, or not to its end; empty: it is read.
    """

    kind: ListKind
    urls: Sequence[str] = ()
    problem: str = ""


def read_url_list(
    body: bytes, *, is_declared: bool, kinds: Collection[ListKind] = ("index", "sitemap", "feed")
) -> UrlList | None:
    """Return the URLs of a sitemap or feed, also of one that is a file of gzip.

    Entities and other declarations of types are refused. A list that is broken, or too long, has
    the URLs until there.

    Args:
        body: The bytes of a page.
        is_declared: Whether the site, or an index of sitemaps, says that the page is such a list.
        kinds: Kinds that it may have.

    Returns:
        None: the page is not one, and need not be.
    """
    try:
        content = _inflate_body(body)
    except ValueError as error:
        return UrlList("sitemap", (), str(error)) if is_declared else None
    start = ROOT.match(content[:4_096].replace(b"\0", b""))  # of UTF-16 too
    kind = KINDS[start[1].decode()] if start else "sitemap"
    if not is_declared and (start is None or kind not in kinds):
        return None
    values: dict[str, None] = {}
    try:
        kind = _read_kind(content)
        if kind not in kinds:
            raise ValueError(f"expected {' or '.join(kinds)}, found {kind}")
        for url in _iterate_urls(content):
            values[url] = None
            if len(values) > MAX_LIST_URLS:
                raise ValueError(f"expected up to {MAX_LIST_URLS} URLs")
    except (SyntaxError, ValueError) as error:
        reason = str(error)[:200]
        problem = reason if isinstance(error, ValueError) else f"expected XML: {reason}"
        return UrlList(kind, tuple(values)[:MAX_LIST_URLS], problem)
    return UrlList(kind, tuple(values))


def matching(urls: Sequence[str], starts: Sequence[UrlListStart]) -> list[str]:
    """Return the URLs that the pattern of a start allows."""
    patterns = [start.pattern for start in starts]
    if None in patterns or not urls:
        return list(urls)
    return [url for url in urls if any(contains(url, pattern) for pattern in patterns)]


def _inflate_body(body: bytes) -> bytes:
    """Return a body without gzip.

    Raises:
        ValueError: It is larger than `MAX_LIST_BYTES`, or damaged.
    """
    content = body
    if body.startswith(b"\x1f\x8b"):
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            content = decoder.decompress(body, MAX_LIST_BYTES + 1)
        except zlib.error as error:
            raise ValueError(f"expected gzip: {error}") from None
        if not decoder.eof and len(content) <= MAX_LIST_BYTES:
            raise ValueError("expected gzip: it breaks off")
    if len(content) > MAX_LIST_BYTES:
        raise ValueError(f"expected up to {MAX_LIST_BYTES} bytes")
    return content


def _read_kind(content: bytes) -> ListKind:
    """Return the kind of a list, by its outermost element.

    Raises:
        SyntaxError: It is not XML.
        ValueError: It is another document, or declares types or entities.
    """
    for element in _parse_elements(content, "start"):
        if element.getroottree().docinfo.doctype:
            raise ValueError("expected XML without DOCTYPE and entities")
        if _name(element) in KINDS:
            return KINDS[_name(element)]
        raise ValueError(f"expected a sitemap or feed, found <{_name(element)[:40]}>")
    raise ValueError("expected a sitemap or feed, found nothing")


def _parse_elements(content: bytes, event: Literal["start", "end"]) -> Iterator[Any]:
    """Yield the elements of a document, each as it starts or ends."""
    from lxml import etree  # an extra  # pyright: ignore[reportAttributeAccessIssue] - compiled

    options: dict[str, Any] = {"no_network": True, "load_dtd": False, "huge_tree": False}
    events = etree.iterparse(
        io.BytesIO(content), events=(event,), resolve_entities=False, **options
    )
    for _, element in events:
        yield element


def _iterate_urls(content: bytes) -> Iterator[str]:
    """Yield the URLs of a list.

    Raises:
        SyntaxError: It is not XML.
    """
    for element in _parse_elements(content, "end"):
        if url := _read_url(element):
            yield url
        if _name(element) in ("url", "sitemap", "item", "entry"):
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]


def _read_url(element: Any) -> str:
    """Return the URL of an element that names a page or sitemap; empty: it does not."""
    outer = element.getparent()
    match (_name(element), "" if outer is None else _name(outer)):
        case ("loc", "url" | "sitemap") | ("link", "item"):
            return (element.text or "").strip()
        case ("link", "entry") if element.get("rel", "alternate") == "alternate":
            return (element.get("href") or "").strip()
        case _:
            return ""


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""

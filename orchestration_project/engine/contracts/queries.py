"""Pages of an answer, and lists of the partitions and the fields of a source, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Paging:
    """The way from a page of an answer to the next; `pages`, `cursor` and others make it.

    Attributes:
        kind: Where the next request comes from.
        parameter: Name of the query parameter that requests the next page.
        path: Path with dots in the answer to the cursor or URL of the next page.
        size: Records of a full page.
        start: Value of the parameter of the first page.
        most: Pages at most; an answer with more fails.
        limit: Member of a query in JSON that requests at most so many records.
        total: Header with the number of all records of a query in JSON.
        page_total: Header with the number of records of a page; blank: there is none.
        max_offset: Offset up to which a query can be paged; 0: any.
        optional: Whether the last page may have nothing at ``path``.
    """

    kind: Literal["page", "offset", "cursor", "next_url", "link_header"]
    parameter: str = ""
    path: str = ""
    size: int = 0
    start: int = 1
    most: int = 1000
    limit: str = ""
    total: str = ""
    page_total: str = ""
    max_offset: int = 0
    optional: bool = False


@dataclass(frozen=True)
class Listing:
    """A list of partitions as JSON over HTTP.

    Attributes:
        url: Its address.
        path: Path with dots to the list; blank: it is the answer.
        member: Member of each entry that names the partition; blank: the entry does. A text is the
            day of its rows; a list is that day and the other value.
    """

    url: str
    path: str = ""
    member: str = ""


@dataclass(frozen=True)
class FieldList:
    """A list of fields as JSON over HTTP.

    Attributes:
        url: Its address.
        path: As of `Listing`.
        name: Member of an entry that has the name of a field.
        type: Member that has its type.
        types: The types Date, String, Number, Boolean and Timestamp by the words of the source,
            where it has others.
    """

    url: str
    path: str = ""
    name: str = "name"
    type: str = "type"
    types: Mapping[str, str] = field(default_factory=dict)

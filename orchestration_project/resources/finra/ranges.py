"""A partition with more records than FINRA lets one page to, in ranges of symbols that it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestration_project.domains.finra.contract import OTHER_SUMS, SYMBOL
from orchestration_project.domains.finra.declaration import PAGING
from orchestration_project.errors import SourceError
from orchestration_project.resources.finra.query_api import Filter, compared

REMEDY = "report it: a week of this kind needs another way of asking"


@dataclass(frozen=True)
class QueryPart:
    """A part of a partition: the filters that it takes in a query, and its Record-Total."""

    filters: Mapping[str, Sequence[Filter]]
    record_total: int


@dataclass(frozen=True)
class RangeProbe:
    """How many records answer to filters, and the symbol of the one that was requested.

    The symbol is blank where a record has none, None where the record does not exist.
    """

    record_total: int
    symbol: str | None


Probe = Callable[[Mapping[str, Sequence[Filter]], int], RangeProbe]
"""Asks for one record, at an offset in the order of symbols, of those that answer to filters."""


def pieces_of(
    partition: Sequence[Filter],
    total: int,
    probe: Probe,
    *,
    largest_offset: int,
    said: str,
) -> list[QueryPart]:
    """Split the ``total`` records that answer to the filters ``partition``, in order of symbols.

    A range ends before the symbol that is found at ``largest_offset`` from its start, so that it
    has no more records than that. The first has no start: it takes blank symbols along, where FINRA
    compares them as text. Where it compares them to nothing, its sums that are of no symbol come
    last, by their type.

    Raises:
        SourceError: One symbol has more records than can be paged to, or the pieces together have
            not as many as they should.
    """
    pieces: list[QueryPart] = []
    start: str | None = None
    while _sum_totals(pieces) + largest_offset < total:
        remaining_items = [*partition, *_filter_from(start)]
        end = probe({"compareFilters": remaining_items}, largest_offset).symbol
        if end is None:  # the rest has fewer records than are missing: their sum will show it
            break
        piece = _build_piece(
            probe, {"compareFilters": [*remaining_items, compared(SYMBOL, "LESSER", end)]}
        )
        if piece.record_total == 0:
            raise SourceError(
                f"{said}, has more records of one symbol than FINRA lets one page to",
                expected=f"at most {largest_offset}",
                found=f"the symbol {end!a:.60} still, {largest_offset} records after its first",
                remedy=REMEDY,
            )
        pieces.append(piece)
        start = end
    pieces.append(_build_piece(probe, {"compareFilters": [*partition, *_filter_from(start)]}))
    if _sum_totals(pieces) < total:
        of_no_symbol = {"fieldName": "summaryTypeCode", "values": list(OTHER_SUMS)}
        sums = {"compareFilters": partition, "domainFilters": [of_no_symbol]}
        pieces.append(_build_piece(probe, sums))
    _refuse_unless_whole(pieces, total, largest_offset, said)
    return pieces


def _refuse_unless_whole(
    found: list[QueryPart], total: int, largest_offset: int, said: str
) -> None:
    largest = max(query_part.record_total for query_part in found)
    if largest > largest_offset + PAGING.size:  # where FINRA sorts otherwise than it compares
        raise SourceError(
            f"{said}, has a range of symbols with more records than FINRA lets one page to",
            expected=f"at most {largest_offset + PAGING.size}",
            found=f"Record-Total {largest}",
            remedy=REMEDY,
        )
    if _sum_totals(found) != total:
        raise SourceError(
            f"{said}, does not come whole by ranges of symbols",
            expected=f"Record-Total {total}",
            found=f"{' + '.join(str(part.record_total) for part in found)} = {_sum_totals(found)}",
            remedy=f"{REMEDY}; records without a symbol may answer to no range",
        )


def _build_piece(probe: Probe, filters: Mapping[str, Sequence[Filter]]) -> QueryPart:
    return QueryPart(filters, probe(filters, 0).record_total)


def _sum_totals(pieces: Sequence[QueryPart]) -> int:
    return sum(piece.record_total for piece in pieces)


def _filter_from(start: str | None) -> list[Filter]:
    return [] if start is None else [compared(SYMBOL, "GTE", start)]

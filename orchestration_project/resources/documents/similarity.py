"""Pairs and groups of similar documents: found by bands of signatures, verified, kept in tables.

A new document costs a look-up of its bands, however many documents there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import polars as pl
from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, update

from orchestration_project.domains.documents.fingerprints import (
    MIN_SCORE,
    Groups,
    Signature,
    buckets,
    estimated_similarity,
    grouped,
    signature_of_text,
)
from orchestration_project.domains.documents.tables import (
    documents,
    documents_bands,
    documents_fingerprints,
    documents_similarity,
)
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import insert_absent, insert_frame, read_keys

BUCKET_DOCUMENTS = 20
"""Documents that can be found by a band: the first ones. Copies of a template need no more, as each
is a pair with those, and so in their group."""

PAIR_COUNT = 20
"""Pairs of a document with earlier ones at most, those with the highest scores."""

KEYS_PER_STATEMENT = 2_000

MEMBERS_PER_FETCH = 10_000

T = TypeVar("T")


class _Pair(NamedTuple):
    document_id: str
    similar_id: str
    score: float


def add_pairs(connection: Connection, new: Mapping[str, Signature]) -> tuple[int, int]:
    """Write the pairs of documents that have none yet, and unite the groups of their members.

    Returns:
        How many pairs, and how many documents may be similar to more.
    """
    pairs, cut_count = _find_pairs(connection, new)
    groups = _join(connection, pairs)
    rows = [{**pair._asdict(), "group_id": groups.of(pair.document_id)} for pair in pairs]
    insert_absent(connection, documents_similarity, rows)
    return len(pairs), cut_count


def orphan_pair_count(connection: Connection) -> int:
    """Return how many pairs name a document that does not exist."""
    pairs, ids = documents_similarity.c, select(documents.c.document_id)
    is_orphan = or_(pairs.document_id.not_in(ids), pairs.similar_id.not_in(ids))
    query = select(func.count()).select_from(documents_similarity).where(is_orphan)
    return connection.execute(query).scalar_one()


def remove_pairs(connection: Connection, earlier: Mapping[str, Signature]) -> int:
    """Delete bands and pairs of documents, and divide their groups; return how many pairs."""
    ids = list(earlier)
    bands = [
        {"own_bucket": bucket, "own_id": key}
        for key, signature in earlier.items()
        for bucket in buckets(signature)
    ]
    if not bands:
        return 0
    columns = documents_bands.c
    is_own = and_(
        columns.bucket == bindparam("own_bucket"), columns.document_id == bindparam("own_id")
    )
    connection.execute(delete(documents_bands).where(is_own), bands)
    pairs, prints = documents_similarity.c, documents_fingerprints.c
    affected, count = set[str](), 0
    for column in (pairs.document_id, pairs.similar_id):
        query = select(pairs.group_id).where(column.in_(ids)).distinct()
        affected |= set(connection.execute(query).scalars())
        count += connection.execute(delete(documents_similarity).where(column.in_(ids))).rowcount
    connection.execute(
        update(documents_fingerprints).where(prints.document_id.in_(ids)).values(group_id=None)
    )
    for group in sorted(affected):
        _divide(connection, group)
    return count


def _divide(connection: Connection, group: str) -> None:
    """Give the members of a group whose pairs went the groups that the others make."""
    pairs, prints = documents_similarity.c, documents_fingerprints.c
    query = (
        select(pairs.document_id, pairs.similar_id)
        .where(pairs.group_id == group)
        .execution_options(yield_per=MEMBERS_PER_FETCH)
    )
    groups = Groups()
    for row in connection.execute(query):
        groups.join(row.document_id, row.similar_id)
    connected = grouped(groups.items())
    is_of_group = prints.group_id == group
    members = set(connection.execute(select(prints.document_id).where(is_of_group)).scalars())
    alone = sorted(members.difference(*connected.values()))
    for name, some in [(None, alone), *connected.items()]:
        if name == group:
            continue
        for keys in pieces(some, KEYS_PER_STATEMENT):
            condition = prints.document_id.in_(keys)
            connection.execute(
                update(documents_fingerprints).where(condition).values(group_id=name)
            )
            is_pair = and_(pairs.document_id.in_(keys), pairs.group_id == group)
            connection.execute(update(documents_similarity).where(is_pair).values(group_id=name))


def _find_pairs(connection: Connection, own: Mapping[str, Signature]) -> tuple[list[_Pair], int]:
    """Return the pairs of documents with others, and how many documents may have more."""
    candidates, cut = _find_candidates(connection, own)
    scores: dict[str, list[tuple[float, str]]] = {key: [] for key in own}
    for candidate, signature in _read_signatures(connection, sorted(candidates)):
        for key in candidates[candidate]:
            score = estimated_similarity(own[key], signature)
            if score >= MIN_SCORE:
                scores[key].append((-score, candidate))
    for key, found in scores.items():
        if len(found) > PAIR_COUNT:
            cut.add(key)
    return [
        _Pair(min(key, candidate), max(key, candidate), -negative)
        for key, found in scores.items()
        for negative, candidate in sorted(found)[:PAIR_COUNT]
    ], len(cut)


def _find_candidates(
    connection: Connection, own: Mapping[str, Signature]
) -> tuple[Mapping[str, list[str]], set[str]]:
    """Put documents into buckets; return who else is there, with the documents to compare.

    The second result are documents that a full bucket did not take.
    """
    own_buckets = {key: buckets(signature) for key, signature in sorted(own.items())}
    members = _read_members(connection, list(dict.fromkeys(chain(*own_buckets.values()))))
    candidates: dict[str, list[str]] = {}
    bands, cut = list[tuple[int, str]](), set[str]()
    for key, numbers in own_buckets.items():
        for other in {other for number in numbers for other in members[number]}:
            candidates.setdefault(other, []).append(key)
        for number in numbers:
            if len(members[number]) < BUCKET_DOCUMENTS:
                members[number].append(key)
                bands.append((number, key))
            else:
                cut.add(key)
    rows = pl.DataFrame(bands, derive_schema(documents_bands), orient="row")
    insert_frame(connection, documents_bands, rows)
    return candidates, cut


def _read_members(connection: Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Return the documents in each bucket."""
    members: dict[int, list[str]] = {number: [] for number in numbers}
    keys = pl.DataFrame({"bucket": numbers}, {"bucket": pl.Int64()})
    for bucket, document_id in read_keys(connection, documents_bands, keys, first=1).iter_rows():
        members[bucket].append(document_id)
    return members


def _read_signatures(connection: Connection, ids: Sequence[str]) -> Iterator[tuple[str, Signature]]:
    columns = documents_fingerprints.c
    for some in pieces(ids, KEYS_PER_STATEMENT):
        query = select(columns.document_id, columns.signature).where(
            columns.document_id.in_(some), columns.signature.is_not(None)
        )
        for row in connection.execute(query):
            yield row.document_id, signature_of_text(row.signature)


def _join(connection: Connection, pairs: Sequence[_Pair]) -> Groups:
    """Unite the groups of new pairs; return them."""
    groups, prints = Groups(), documents_fingerprints.c
    for pair in pairs:
        groups.join(pair.document_id, pair.similar_id)
    before = _read_groups(connection, [key for key, _ in groups.items()])
    for key, group in before.items():
        groups.join(key, group or key)
    for group in sorted({group for group in before.values() if group is not None}):
        if (name := groups.of(group)) != group:
            for table in (documents_fingerprints, documents_similarity):
                condition = table.c.group_id == group
                connection.execute(update(table).where(condition).values(group_id=name))
    new = [key for key, group in before.items() if group is None]
    for name, members in grouped((key, groups.of(key)) for key in new).items():
        condition = prints.document_id.in_(members)
        connection.execute(update(documents_fingerprints).where(condition).values(group_id=name))
    return groups


def _read_groups(connection: Connection, ids: Sequence[str]) -> dict[str, str | None]:
    prints, groups = documents_fingerprints.c, dict[str, str | None]()
    for some in pieces(ids, KEYS_PER_STATEMENT):
        query = select(prints.document_id, prints.group_id).where(prints.document_id.in_(some))
        groups.update((row.document_id, row.group_id) for row in connection.execute(query))
    return groups


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in their order, at most ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

"""Documents of a declared source that have several partitions: which one has which."""

from collections.abc import Sequence
from datetime import date, timedelta

from orchestration_project.engine.contracts.partitioning import (
    A_DAY,
    Partition,
    fill_template,
    try_parse_day,
)
from orchestration_project.engine.own.contracts import (
    compute_version,
    find_day_field,
    find_day_text,
    iterate_records,
)
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.sources import Document, HttpSource


def list_documents(dataset: Dataset) -> Sequence[Document]:
    """Return the documents that a dataset declares; none: each partition has its own."""
    return dataset.source.documents if isinstance(dataset.source, HttpSource) else ()


def select_names(dataset: Dataset, partition: Partition, today: date) -> Sequence[str]:
    """Return the documents that may have a partition, in the declared order.

    One of all days is read only where the partition is too old for the others.
    """
    age = (today - partition.day).days
    documents = list_documents(dataset)
    recent = [document for document in documents if age < document.days]
    partition_documents = recent or [document for document in documents if not document.days]
    return tuple(fill_template(document.name, partition.day) for document in partition_documents)


def select_listings(dataset: Dataset, since: date | None, today: date) -> Sequence[str]:
    """Return the documents that list the partitions from a day on; of None, the latest ones."""
    listing = [document for document in list_documents(dataset) if document.is_listing]
    recent = [
        document for document in listing if document.days and _can_cover(document, since, today)
    ]
    documents = recent[:1] or [document for document in listing if not document.days]
    last = _find_last_partition(dataset, today)
    first = last if since is None else min(since, last)
    days = [first + number * A_DAY for number in range((last - first).days + 1)]
    return list(
        dict.fromkeys(fill_template(document.name, day) for document in documents for day in days)
    )


def _can_cover(document: Document, since: date | None, today: date) -> bool:
    return since is None or today - since <= timedelta(days=document.days)


def _find_last_partition(dataset: Dataset, today: date) -> date:
    """Return the latest day before today that may have been published."""
    calendar = dataset.partitions.calendar
    last = today - A_DAY
    while not calendar.names(last) or calendar.is_holiday(last):
        last -= A_DAY
    return last


def read_partitions(dataset: Dataset, body: bytes) -> Sequence[Partition]:
    """Return the partitions of a document, oldest first.

    Raises:
        SourceError: The document cannot be read.
    """
    name = find_day_field(dataset)
    texts = {find_day_text(record, name) for record in iterate_records(dataset, body)}
    return sorted(Partition(day) for day in map(try_parse_day, texts) if day is not None)


def find_version(dataset: Dataset, body: bytes, partition: Partition) -> str | None:
    """Return the state of a partition in a document; None: it is not in it.

    Raises:
        SourceError: The document cannot be read.
    """
    return compute_version(dataset, [body], partition)

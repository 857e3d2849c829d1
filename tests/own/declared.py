"""Declarations for tests, and what a load would make of documents."""

from itertools import count

from orchestration_project import Daily, Dataset, Field, http_source
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.own.contracts import (
    build_contract,
    declare_table,
    validate_documents,
)
from orchestration_project.engine.own.partitions import _parse_day

NUMBERS = count()
"""Each declaration has a table of its own, as they are declared once in a process."""


def dataset(*fields, source=None, key=("name",), partitions=None, **more):
    """Return a dataset with a table of its own."""
    return Dataset(
        f"sample_{next(NUMBERS)}",
        key=key,
        partitions=partitions or Daily("2026-01-01"),
        fields=[Field("name", str, "its name"), *fields],
        source=source or http_source("http://127.0.0.1/{partition}", format="csv"),
        **more,
    )


def read(declared, *bodies, day="2026-01-05"):
    """Return the validated delivery of documents."""
    contract = build_contract(declared, *declare_table(declared, "sample"), b"")
    return validate_documents(declared, contract, bodies, Partition(_parse_day(day)))


def rows(declared, *bodies, day="2026-01-05"):
    """Return the rows of documents as mappings, without their place."""
    return read(declared, *bodies, day=day).rows.drop("part_number").to_dicts()


def rejects(declared, *bodies):
    """Return the reason code and the reason of each reject."""
    return read(declared, *bodies).rejects.select("reason_code", "reason").rows()

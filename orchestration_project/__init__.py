"""Pipelines that capture outside data, prove it right and load it with its history.

A project declares sources of its own by the names below, which are all that is promised to it.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import dagster as dg

    from orchestration_project.engine.contracts.queries import FieldList, Listing
    from orchestration_project.engine.own.contracts import Judged
    from orchestration_project.engine.own.declarations import Dataset, row_count, usual_size
    from orchestration_project.engine.own.derived import derived
    from orchestration_project.engine.own.dlt_source import dlt_source
    from orchestration_project.engine.own.fields import (
        Field,
        between,
        decimal,
        matches,
        one_of,
        positive,
    )
    from orchestration_project.engine.own.partitions import Calendar, Daily, Monthly, Weekly
    from orchestration_project.engine.own.sources import (
        Document,
        client_credentials,
        cursor,
        file_source,
        http_source,
        incremental,
        link_header,
        next_url,
        offsets,
        pages,
    )

__all__ = [
    "Calendar",
    "Daily",
    "Dataset",
    "Document",
    "Field",
    "FieldList",
    "Listing",
    "Monthly",
    "Weekly",
    "between",
    "client_credentials",
    "cursor",
    "decimal",
    "derived",
    "dlt_source",
    "file_source",
    "http_source",
    "incremental",
    "judge_sample",
    "link_header",
    "load_definitions",
    "matches",
    "next_url",
    "offsets",
    "one_of",
    "pages",
    "positive",
    "release",
    "row_count",
    "usual_size",
]

COMPONENTS = ("DltDataset", "FileDataset", "HttpDataset", "SqlTable")
"""Types of Dagster components; a `defs.yaml` names them."""

DECLARING_MODULES = ("declarations", "fields", "partitions", "sources", "dlt_source", "derived")
"""Modules that define the declarations, those first that `Dataset` imports anyway."""


def __dir__() -> list[str]:
    """Return the names, those too that are imported when they are requested."""
    return sorted({*globals(), *__all__, *COMPONENTS})


def __getattr__(name: str) -> Any:
    """Import a declaration when it is requested: most programs need none."""
    if name not in (*__all__, *COMPONENTS):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in COMPONENTS:
        return getattr(import_module(f"{__name__}.catalog.components"), name)
    modules = (import_module(f"{__name__}.engine.own.{module}") for module in DECLARING_MODULES)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def judge_sample(
    source: "str | Dataset", *documents: "bytes | str | Path", partition: str
) -> "Judged":
    """Return the rows and rejects that a load would make of documents, offline.

    Args:
        source: The dataset, or its name in the project folder.
        documents: The pages of an answer: bytes, texts, or paths of files.
        partition: The day of the partition, such as 2026-11-20.

    Raises:
        ConfigurationError: The project declares no such source, or the day is invalid.
        SourceError: A document cannot be read.
    """
    from importlib import import_module

    module = import_module(f"{__name__}.engine.own_sources")
    return module.judge_documents(source, documents, partition)


def load_definitions(*names: str) -> "dg.Definitions":
    """Return the definitions of datasets and derived tables that the project folder declares.

    Each has its asset, job and sensor; a dataset also has its source and its freshness check.
    ``dg.Definitions.merge`` puts them beside others.

    Args:
        names: Datasets and derived tables; none: all that the project declares.

    Raises:
        ConfigurationError: A declaration is wrong, or the project has none of a name.
    """
    from importlib import import_module

    return import_module(f"{__name__}.catalog.components").load_declared(names)


@cache
def release() -> str:
    """Return the version of the installed package, or of the checkout where none is installed."""
    import tomllib  # a tenth of a second for each program, of which few ask
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        return version("orchestration_project")
    except PackageNotFoundError:
        pyproject = Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(pyproject.read_text())["project"]["version"]

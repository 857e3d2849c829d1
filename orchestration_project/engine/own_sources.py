"""The datasets that a project's files declare, and their tables, which are declared with ours.

A program knows them once it has opened the database, or made the registry.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Table

from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.contracts import (
    Judged,
    build_contract,
    build_partitioning,
    declare_table,
    validate_documents,
)
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.derived import Derived, declare_derived_table
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.settings import project_folder
from orchestration_project.settings.chosen import beginnings_of, packaged_domains
from orchestration_project.settings.own_files import import_own, own_function
from orchestration_project.settings.project import own_domain, own_files
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.schema import Field


class Declaration(NamedTuple):
    """A declared dataset.

    Attributes:
        dataset: What it is.
        file: The file that declares it, below the project folder.
        table: Its table.
        fields: The fields that fill the table.
        code: The bytes of the file.
    """

    dataset: Dataset
    file: str
    table: Table
    fields: Sequence[Field]
    code: bytes


@cache
def load_declarations() -> Sequence[Declaration]:
    """Return the datasets that the project's files declare, by name; this declares their tables.

    Raises:
        ConfigurationError: A file cannot be imported, or two declare the same table.
    """
    for value, _ in load_declared_values():
        if isinstance(value, Derived):
            declare_derived_table(value, own_domain())
    return [
        Declaration(
            dataset,
            file,
            *declare_table(dataset, own_domain()),
            (project_folder() / file).read_bytes(),
        )
        for dataset, file in load_declared_values()
        if isinstance(dataset, Dataset)
    ]


@cache
def load_declared_values() -> Sequence[tuple[Dataset | Derived, str]]:
    """Return the datasets and derived tables that the project's files declare, and these, by name.

    Raises:
        ConfigurationError: A file cannot be imported, or two declare the same table.
    """
    values: dict[str, tuple[Dataset | Derived, str]] = {}
    for path in own_files():
        file = str(path.relative_to(project_folder()))
        declared = _load_declared(path, file)
        if not declared:
            raise ConfigurationError(
                "invalid source file: it declares nothing",
                expected="a dataset, such as rates = Dataset(…)",
                found="none",
                remedy="assign the dataset to a name of the module",
                file=file,
            )
        for dataset in declared:
            _refuse_taken(dataset, file, values)
            values[dataset.name] = (dataset, file)
    for name, (_, file) in values.items():
        _refuse_implied(name, file, values)
    return [entry for _, entry in sorted(values.items())]


IMPLIED = {"_history": "the history", "_source": "Dagster's asset of the source"}
"""Names that a dataset has besides that of its table, by their ends."""


def _refuse_implied(name: str, file: str, found: Mapping[str, tuple[object, str]]) -> None:
    """Refuse a name that another dataset has for its history or the asset of its source."""
    for ending, what in IMPLIED.items():
        other = name.removesuffix(ending)
        if other != name and other in found:
            raise ConfigurationError(
                f"invalid dataset {name!r}: expected a name of its own",
                found=f"{what} of {other} in {found[other][1]}",
                remedy="give one of them another name",
                file=file,
            )


def _load_declared(path: Path, file: str) -> Sequence[Dataset | Derived]:
    """Return the datasets and derived tables that a file declares, as Python or as a component."""
    if path.suffix == ".yaml":
        try:
            functions = partial(own_function, path.parent)
            return [parse_dataset(path.read_text(encoding="utf-8"), functions)]
        except ConfigurationError as error:
            raise error.within(file=file) from None
    values = vars(import_own(path)).values()
    return [value for value in values if isinstance(value, Dataset | Derived)]


def _refuse_taken(
    dataset: Dataset | Derived, file: str, found: Mapping[str, tuple[Dataset | Derived, str]]
) -> None:
    """Refuse a table that another source has, or that is named like those of a domain."""
    other, text = found.get(dataset.name, (dataset, file))
    if other is not dataset:
        raise ConfigurationError(
            f"invalid dataset {dataset.name!r}: expected a table of its own",
            found=f"the table of {text}",
            remedy="give one of them another name",
            file=file,
        )
    domains = packaged_domains()
    alike = next(
        (domain for domain in domains if dataset.name.startswith(beginnings_of(domain))), ""
    )
    names = [
        *([f"a name of the domain {alike}"] if alike else []),
        *([f"the table {dataset.name}"] if dataset.name in METADATA.tables else []),
        *([f"the project {own_domain()}"] if own_domain() in domains else []),
    ]
    if names:
        raise ConfigurationError(
            f"invalid dataset {dataset.name!r}: expected names that the package does not have",
            found=", ".join(names),
            remedy="let the name of the dataset, or of the project, begin with another word",
            file=file,
        )


def judge_documents(
    source: str | Dataset, documents: Sequence[bytes | str | Path], partition: str
) -> Judged:
    """Return rows and rejects of documents, as `orchestration_project.judge_sample`."""
    if isinstance(source, Dataset):
        table, fields = declare_table(source, own_domain() or "sample")
        declared, code = source, b""
    else:
        declared, _, table, fields, code = find_declaration(source)
    contract = build_contract(declared, table, fields, code)
    chosen = build_partitioning(declared).partition_of(partition, today=date.max)
    bodies = [_read_bytes(document) for document in documents]
    validated = validate_documents(declared, contract, bodies, chosen)
    return Judged(
        rows=validated.rows.drop("part_number").to_dicts(),
        rejects=validated.rejects.select("reason_code", "reason").rows(),
        failed=[audit.name for audit in validated.audits if audit.outcome == "failed"],
    )


def _read_bytes(document: bytes | str | Path) -> bytes:
    if isinstance(document, Path):
        return document.read_bytes()
    return document.encode() if isinstance(document, str) else document


def find_declaration(name: str) -> Declaration:
    """Return the declaration of a dataset by its name.

    Raises:
        ConfigurationError: The project declares none of this name.
    """
    declarations = {declaration.dataset.name: declaration for declaration in load_declarations()}
    if name not in declarations:
        raise UnknownNameError(
            f"the project declares no source {name!r}",
            expected=f"one of {', '.join(declarations)}"
            if declarations
            else "a file defs/NAME/source.py",
            found=name,
            remedy=did_you_mean(name, declarations) or "`orchestrate new-source` writes one",
        )
    return declarations[name]

"""Declaration of a dataset of FINRA: all else follows from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import Table

from orchestration_project.contracts.contract import Claim, Contract
from orchestration_project.contracts.delimited import Parsed, parse_parts
from orchestration_project.contracts.partitioning import (
    Calendar,
    Partition,
    Partitioning,
    day_or_none,
    same_day,
)
from orchestration_project.contracts.parts import Part
from orchestration_project.errors import SourceError
from orchestration_project.tables.schema import HISTORY, Field, asset_of

FIXED_INCOME, OTC_MARKET = "fixedIncomeMarket", "otcMarket"
"""Groups of datasets: the first answers to clients with a credential alone."""

EXAMPLE_DAY = date(2026, 1, 1)
"""Messages show the first partition from this day on."""


@dataclass(frozen=True)
class FinraDataset:
    """A dataset of the Query API, or what is delivered in its shape.

    Attributes:
        group: FINRA's name of its group.
        name: FINRA's name of it.
        table: Where it is loaded.
        fields: All that a load asks for, in the order of the table's columns.
        partition_fields: The fields that name a partition, in FINRA's order: a date and, if there
            is another, a text.
        known_values: What that text may be; others are reported, and not loaded.
        calendar: Which partitions there are.
        claims: What holds for every row.
        licence: The terms under which it is available.
        is_licensed: Whether it takes a feed of one's own: FINRA does not publish it.
        rule_version: Raised with every change that could make other rows of the same bytes.
        row_day: Returns the day that the rows of a partition have, by the day of its name.
        first_day: The first partition's day, where FINRA_FIRST_WEEK does not say it.
        only_rows: Values of fields that choose the rows of a partition which are asked for.
        metadata_columns: Columns whose change alone is not a restatement.
    """

    group: str
    name: str
    table: Table
    fields: Sequence[Field]
    partition_fields: Sequence[str]
    calendar: Calendar
    licence: str
    known_values: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    is_licensed: bool = False
    rule_version: str = "3"
    row_day: Callable[[date], date] = same_day
    first_day: date | None = None
    only_rows: Mapping[str, str] = field(default_factory=dict)
    metadata_columns: Sequence[str] = ()

    @property
    def noun(self) -> str:
        """Its name among the assets of this domain."""
        return asset_of(self.table.name).split("/")[1]

    @property
    def history(self) -> Table:
        """History table of replaced and removed rows."""
        return self.table.info[HISTORY]

    @property
    def partitioning(self) -> Partitioning:
        """Its partitions."""
        columns = {each.name: each.column.key for each in self.fields}
        day_column, *value_column = (columns[name] for name in self.partition_fields)
        return Partitioning(
            table_name=self.table.name,
            calendar=self.calendar,
            day_column=day_column,
            value_column="".join(value_column),
            values=self.known_values,
            row_day=self.row_day,
        )

    @property
    def contract(self) -> Contract:
        """Contract of its deliveries."""
        return Contract(
            self.table, self.fields, self.partition_fields, self.claims, self.rule_version
        )

    @property
    def needs_credential(self) -> bool:
        """Whether FINRA answers to clients with a credential alone, which is free."""
        return self.group == FIXED_INCOME and not self.is_licensed

    @property
    def access(self) -> str:
        """Requirement of access, in a few words."""
        if self.is_licensed:
            return "a licensed feed"
        return "a free credential" if self.needs_credential else "open to all"

    @property
    def known_fields(self) -> Mapping[str, str]:
        """The type of each field, by name, in FINRA's words."""
        return {each.name: each.kind for each in self.fields}

    def parse(self, parts: Sequence[Part], partition: Partition) -> Parsed:
        """Return the texts of a delivery, whichever partition it is of.

        Raises:
            ContractError: A part's header lacks a field of the dataset.
        """
        return parse_parts(parts, [field.name for field in self.fields], of=self.name)

    def source_values(self, partition: Partition) -> Mapping[str, str]:
        """Return what the fields that name a partition have in each of its rows."""
        texts = self.partitioning.texts_of(partition)
        return dict(zip(self.partition_fields, texts, strict=True))

    def known_partitions(
        self, listed: Iterable[Sequence[str]]
    ) -> tuple[list[Partition], list[str]]:
        """Return the partitions that a source lists, oldest first, and values that are not known.

        Raises:
            SourceError: A partition of a known value has no day that could name it.
        """
        every = [tuple(each) for each in listed]
        ours = [each for each in every if len(each) == 1 or each[1] in self.known_values]
        known = [self._listed(each) for each in ours]
        return sorted(known), sorted({each[1] for each in every if each not in ours})

    def _listed(self, listed: tuple[str, ...]) -> Partition:
        day = day_or_none(listed[0])
        named_by = self.partitioning.day_of_rows(day) if day is not None else None
        if day is None or named_by is None or day.isoformat() != listed[0]:
            example = self.row_day(self.calendar.first_from(EXAMPLE_DAY))
            raise SourceError(
                f"the source lists a partition of {self.name} whose day names none",
                expected=f"{self.partition_fields[0]} as yyyy-mm-dd, of a partition that a "
                f"{self.calendar.day_name} names, e.g. {example}",
                found=", ".join(listed)[:100],
                remedy="report it to the source; if its calendar changed, correct the declaration",
            )
        return Partition(named_by, *listed[1:])

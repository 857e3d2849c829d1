"""Vendors' spellings of the symbols of FINRA's symbol master, as a table."""

from collections.abc import Mapping, Sequence
from typing import cast

import polars as pl
from sqlalchemy import Connection, select

from orchestration_project.domains.finra.tables.symbols import finra_symbols
from orchestration_project.domains.prices.symbols import Overrides, Vendor, map_symbols
from orchestration_project.domains.prices.tables import prices_symbol_spellings
from orchestration_project.engine.contracts.values import fit_to_table
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedResult,
    DerivedTable,
    Inputs,
    PendingDerivation,
    Reach,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.fencing import read_derived_versions

VENDORS: Sequence[Vendor] = ("alpha_vantage", "yahoo")
"""Vendors that spell symbols their own way."""


class _Symbols(Reach):
    """A vendor's spellings follow from the symbols, and from its overrides, which are compared."""

    def required(self, key: str) -> Sequence[str]:
        """Return nothing: without symbols the table is empty."""
        return []

    def version(self, key: str, loaded: Mapping[str, str]) -> str:
        """Return the version of the symbols."""
        return loaded.get(key, "no symbols")


def _read_symbols(connection: Connection, _: Sequence[PendingDerivation]) -> list[str]:
    return list(connection.scalars(select(finra_symbols.c.symbol).order_by(finra_symbols.c.symbol)))


def _map_versions(connection: Connection, _: str | None = None) -> dict[str, str]:
    versions = read_derived_versions(connection, finra_symbols)
    return {vendor: version for version in versions.values() for vendor in VENDORS}


def spelled(symbols: Sequence[str], vendor: Vendor, overrides: Overrides) -> pl.DataFrame:
    """Return the rows of `prices_symbol_spellings` of a vendor."""
    vendor_spellings = map_symbols(symbols, vendor, overrides)
    rows = [
        {
            "vendor": vendor,
            "symbol": symbol,
            "vendor_symbol": vendor_spellings.spelling.get(symbol),
            "is_override": symbol in overrides,
            "reason": vendor_spellings.unmapped.get(symbol),
        }
        for symbol in symbols
    ]
    schema = {column.name: pl.String for column in prices_symbol_spellings.columns}
    frame = pl.DataFrame(rows, {**schema, "is_override": pl.Boolean})
    return fit_to_table(frame, prices_symbol_spellings)


def derive_spellings(
    warehouse: Warehouse, overrides: Mapping[str, Overrides]
) -> Mapping[str, DerivedResult]:
    """Derive the spellings of each vendor, and write those that differ.

    Raises:
        SupersededError: Another run derived them meanwhile.
    """

    def make(due: PendingDerivation, symbols: list[str]) -> DerivedPart:
        vendor = cast("Vendor", due.key)
        return DerivedPart(spelled(symbols, vendor, overrides.get(vendor, {})))

    table = DerivedTable(
        table=prices_symbol_spellings,
        inputs=Inputs(read_loaded=_map_versions, read=_read_symbols, job="finra_daily"),
        reach=_Symbols(),
        scope=lambda vendor: {"vendor": vendor},
        make=make,
        is_compared=True,
    )
    load = DerivedLoad([table], warehouse)
    return {vendor: load.derive(vendor) for vendor in VENDORS}

"""Gold across weeks and tiers in a process of its own: what it is made of, and its deriving."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Table, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.derived import DerivedLoad, DerivedTable
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS
from orchestration_project.tables.spine import fences
from tests import databases
from tests.faults.loads import NOW, Job, Process
from tests.faults.matrix import Database
from tests.faults.places import Place
from tests.faults.points import Points
from tests.resources.weeks import MONDAY, PartitionLoader, row

RECIPES: Mapping[str, Sequence[DerivedTable]] = {"weeks": WINDOWS, "tiers": TIER_WEEKS}
"""Tables that the product derives in one step, and so in one transaction."""

WEEKS = [MONDAY + timedelta(weeks=number) for number in range(6)]
TIERS = ("T1", "T2", "OTCE")
KEYS = (f"weeks T1|{MONDAY}", f"tiers {MONDAY}")
"""Partitions derived when the first week has changed; the first of them reaches all weeks."""


def derive_keys(job: Job, _: Points) -> Iterator[str]:
    """Derive partitions with the dependents that their change reaches; yield the outcomes."""
    with Warehouse(job.database_url, clock=Clock(NOW)) as warehouse:
        for named in job.keys:
            recipes, key = named.split(" ")
            load = DerivedLoad(RECIPES[recipes], warehouse, [key])
            yield str(load.write_batch(load.take(key)))


def derived(place: Place, *keys: str) -> list[str]:
    """Derive without any fault, in a process of its own."""
    return Process(derive_keys, Job(place.url, place.folder, "", keys)).wait_and_check_answer()


def restated(database: Database, folder: Path, server: str) -> Place:
    """Make a place where all gold is derived, of weeks of which the first is then restated."""
    place = Place.prepared(database, folder, server)
    with Warehouse(place.url, clock=Clock(NOW)) as warehouse:
        for tier in TIERS:
            for week in WEEKS:
                _load_weeks(PartitionLoader(warehouse, place.folder / "artifacts", tier, week), 100)
        derived(place, *KEYS)
        _load_weeks(PartitionLoader(warehouse, place.folder / "artifacts"), 900)
    return place


def _load_weeks(partition_loader: PartitionLoader, shares: int) -> None:
    rows = [row(f"S{number}", venue) for number in range(40) for venue in ("VVVV", "WWWW")]
    rows[0]["share_quantity"] = shares
    partition_loader.write_batch(*rows, version=str(shares))


State = tuple[str, databases.Rows]
"""Inputs of a partition by its fence, and its rows."""


def states(place: Place) -> Mapping[tuple[str, str, str], State]:
    """Return the state of each derived partition, by what is derived together, table and key."""
    return {
        (name, recipe.table.name, key): (version, _rows(place, recipe.table, recipe.scope(key)))
        for name, recipes in RECIPES.items()
        for recipe in recipes
        for key, version in databases.rows(
            place.url,
            select(fences.c.scope_key, fences.c.source_version).where(
                fences.c.table_name == recipe.table.name
            ),
        )
    }


def _rows(place: Place, table: Table, scope: Mapping[str, object]) -> databases.Rows:
    own = [table.c[name] == value for name, value in scope.items()]
    return databases.rows(place.url, select(table).where(*own).order_by(*table.primary_key))

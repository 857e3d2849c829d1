"""Whatever loads, repeats and replays do to a partition, table and history are the model's."""

from datetime import timedelta

import pytest

from tests.resources.weeks import MONDAY, PartitionLoader
from tests.resources.write_histories import check_history

pytestmark = pytest.mark.usefixtures("careless_databases")

MANY = {"sqlite": (8, 250), "postgresql": (4, 125)}
"""Examples of `make test-histories` on each database: in how many parts, and how many in each."""

FEW = {"sqlite": 9, "postgresql": 3}
"""Examples of the default suite; three in a row are of the three dispositions."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "numbers"),
    [
        *(
            pytest.param(database, range(count), id=f"{database}-few")
            for database, count in FEW.items()
        ),
        *(
            pytest.param(
                database,
                range(1000 * part, 1000 * part + count),
                marks=pytest.mark.histories,
                id=f"{database}-{part}",
            )
            for database, (parts, count) in MANY.items()
            for part in range(1, parts + 1)
        ),
    ],
    indirect=["warehouse"],
)
def test_table_and_history_are_those_of_the_model_at_every_time(partition_loader, clock, numbers):
    for place, number in enumerate(numbers):
        mondays = [MONDAY + timedelta(weeks=2 * place + own) for own in range(2)]
        partition_loaders = [
            PartitionLoader(partition_loader.warehouse, partition_loader.folder, week_start=monday)
            for monday in mondays
        ]
        check_history(partition_loaders, clock, number)

"""The list of datasets: partitions, and the jobs that load them."""

from orchestration_project.cli.console import show_rows
from orchestration_project.cli.known_names import store_datasets
from orchestration_project.engine.listed_datasets import DatasetList, ListedDataset

HEADINGS = {
    "name": "dataset",
    "partition_count": "partitions",
    "first_key": "first",
    "last_key": "last",
    "job": "job",
    "description": "description",
}


def show_datasets() -> int:
    """Show all datasets, and store their partitions for completion; return the exit status."""
    dataset_keys = [
        (dataset, dataset.list_keys() if dataset.list_keys else None) for dataset in list_datasets()
    ]
    store_datasets({listed_dataset.name: keys or () for listed_dataset, keys in dataset_keys})
    show_rows(
        [
            {
                "name": listed_dataset.name,
                "partition_count": None if keys is None else len(keys),
                "first_key": keys[0] if keys else None,
                "last_key": keys[-1] if keys else None,
                "job": listed_dataset.job,
                "tables": listed_dataset.tables,
                "description": listed_dataset.description.partition(". ")[0].rstrip("."),
            }
            for listed_dataset, keys in dataset_keys
        ],
        HEADINGS,
    )
    return 0


def list_datasets() -> list[ListedDataset]:
    """Return the datasets of the domains that are on, by name."""
    from orchestration_project.catalog import REGISTRY  # its import reads the settings

    listed_datasets = [
        listed_dataset
        for domain in REGISTRY.domains
        if domain.tables
        for datasets in domain.registered(DatasetList)
        for listed_dataset in datasets.read()
    ]
    return sorted(listed_datasets, key=lambda each: each.name)

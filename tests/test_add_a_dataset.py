"""docs/how-to/add-a-dataset.md says how a dataset is declared as it is declared."""

import re

from orchestration_project.domains.finra import datasets as finra_datasets
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.settings import PROJECT_ROOT

HOW_TO = PROJECT_ROOT / "docs" / "how-to"
DOCS = (HOW_TO / "add-a-dataset.md").read_text()


def test_the_declaration_that_is_shown_is_the_one_that_is_loaded():
    fields, shown = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    package = PROJECT_ROOT / "orchestration_project"
    assert fields in (package / "domains" / "finra" / "tables" / "datasets.py").read_text()
    assert shown in (package / "domains" / "finra" / "datasets.py").read_text()
    assert finra_datasets.CORPORATE_MARKET_BREADTH in DATASETS


def test_every_dataset_and_its_table_are_listed():
    page = (HOW_TO / "load-finra-datasets.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .* \| ([\w ]+) \|$", page, re.MULTILINE)
    access = {"open to all": "open", "a free credential": "free credential"}
    assert set(rows) == {
        (dataset.name, dataset.table.name, access.get(dataset.access, "licensed feed"))
        for dataset in DATASETS
    }

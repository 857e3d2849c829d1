"""Every table and view, as 22 versions had made them before the first release."""

from orchestration_project.migrations.baseline.access import ACCESS, WEBHOOKS
from orchestration_project.migrations.baseline.finra import FINRA
from orchestration_project.migrations.baseline.finra_datasets import FINRA_DATASETS
from orchestration_project.migrations.baseline.operations import OPERATIONS
from orchestration_project.migrations.baseline.operations_views import OPERATIONS_VIEWS
from orchestration_project.migrations.baseline.prices import PRICES
from orchestration_project.migrations.baseline.saas import SAAS
from orchestration_project.migrations.baseline.spine import SPINE
from orchestration_project.migrations.changes import (
    CreateTable,
    CreateView,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Table, View

revision = "0022"
down_revision = None

SCHEMA = [
    *(*SPINE, *ACCESS, *WEBHOOKS, *FINRA, *FINRA_DATASETS, *PRICES, *SAAS, *OPERATIONS),
    *OPERATIONS_VIEWS,
]
CHANGES = [
    *(CreateTable(each) for each in SCHEMA if isinstance(each, Table)),
    *(CreateView(each) for each in SCHEMA if isinstance(each, View)),
]


def upgrade() -> None:
    """Create them."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Drop them."""
    downgrade_by(CHANGES)

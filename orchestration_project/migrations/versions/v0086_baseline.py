"""The baseline: all tables and views of the first release."""

from orchestration_project.migrations.baseline.access import ACCESS
from orchestration_project.migrations.baseline.columns import derive_histories
from orchestration_project.migrations.baseline.documents import DOCUMENTS
from orchestration_project.migrations.baseline.events import EVENTS
from orchestration_project.migrations.baseline.finra import FINRA
from orchestration_project.migrations.baseline.finra_datasets import FINRA_DATASETS
from orchestration_project.migrations.baseline.markets import MARKETS
from orchestration_project.migrations.baseline.mqtt import MQTT
from orchestration_project.migrations.baseline.operations import OPERATIONS
from orchestration_project.migrations.baseline.plugins import PLUGINS
from orchestration_project.migrations.baseline.saas import SAAS
from orchestration_project.migrations.baseline.spine import SPINE
from orchestration_project.migrations.baseline.views import VIEWS
from orchestration_project.migrations.baseline.web import WEB
from orchestration_project.migrations.changes import (
    CreateTable,
    CreateView,
    SchemaChange,
    downgrade_by,
    upgrade_by,
)

revision = "0086"
down_revision = None

TABLES = [
    *SPINE,
    *ACCESS,
    *OPERATIONS,
    *FINRA,
    *FINRA_DATASETS,
    *MARKETS,
    *SAAS,
    *EVENTS,
    *DOCUMENTS,
    *WEB,
    *MQTT,
    *PLUGINS,
]
CHANGES: list[SchemaChange] = [
    *map(CreateTable, derive_histories(TABLES)),
    *map(CreateView, VIEWS),
]


def upgrade() -> None:
    """Make the tables and views."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Remove them."""
    downgrade_by(CHANGES)

"""The domains of the project, each one value; `DOMAINS` is the one list of them."""

from orchestration_project.catalog.cboe import CBOE
from orchestration_project.catalog.documents import DOCUMENTS
from orchestration_project.catalog.events import EVENTS
from orchestration_project.catalog.finra import FINRA
from orchestration_project.catalog.fx import FX
from orchestration_project.catalog.mqtt import MQTT
from orchestration_project.catalog.operations import OPERATIONS
from orchestration_project.catalog.plugins import PLUGINS
from orchestration_project.catalog.prices import PRICES
from orchestration_project.catalog.saas import SAAS
from orchestration_project.catalog.web import WEB
from orchestration_project.registry import Registry

DOMAINS = (CBOE, DOCUMENTS, EVENTS, FINRA, FX, MQTT, OPERATIONS, PLUGINS, PRICES, SAAS, WEB)
"""Add a domain here; everything else derives from it."""

REGISTRY = Registry.of(DOMAINS)
"""Registry of a code location with all domains."""

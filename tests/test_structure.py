"""How the project is built stays at least as simple as it is; `benchmarks.structure` has details.

A bound may be lowered, and never raised: what would break one belongs somewhere else.
"""

import pytest

from benchmarks.structure import (
    PRIVATE_PLACES,
    Module,
    deriving,
    entered_by_treasury,
    loading,
    modules,
    naming_a_domain,
    outside_domains,
    private_places,
    private_uses,
    replaying,
    run_options,
    short_share,
)

MOST_SHORT = 0.072
"""Share of modules of 60 lines or less."""

MOST_OUTSIDE_DOMAINS = 430
"""Modules that belong to no domain.

It was 272 before packs, automation profiles, job options and the page of quarantined partitions,
278 before the state of requests got two stores, and addresses a guard, 282 before exports as a
service, 288 before erasures and uploads, 303 before the client decoded bodies, and 304 before
schedules as data (11), routing, proxies, and ranges of keys, 321 before flags, and the edits that
they share with schedules (11), launchers and the stack (9), backups, hosts and shared logs (18),
repairs (11), a simulated queue (2), objectives, dashboards and caused alerts (16), traces, log
lines of programs (9), datasets of files and groups of rows (3), runbooks, and queues,
releases and programs as figures (4).
"""

MOST_NAMING_A_DOMAIN = 6
"""Modules outside the domains that name one: `catalog/__init__.py`, and `settings/renamed.py`,
which has the earlier names of settings. Four name plugins: the control tower, the gateway with
their pages, the conditions of alerts, and the causes of alerts."""


DERIVED_TABLES = "engine/derived.py"
"""The one engine of tables that are derived across partitions."""


REPLAY = "engine/replay.py"
"""The one module that puts recorded deliveries together."""


LOAD = "engine/warehouse/landing.py"
"""The one module that writes validated deliveries, in a transaction, with fence and history."""

RUN_OPTIONS = ["LoadOptions", "ReplayOptions", "DatasetOptions", "WeeklyLoad", "PricesLoad"]
"""How a run loads or replays; prices add the symbols of a replay, the others only defaults."""

MOST_ENTERED = 83
"""Modules that one run of a dataset enters whose fields declare it; seven are of the settings.

It was 72 before limits of requests and the file that has their state were modules of their own,
74 before the settings chose the launcher, and before claims of runs, and 76 before runs wrote their
log lines to a file, and 78 before runs carried traces and settings of their export.
"""


@pytest.fixture(scope="module")
def found() -> list[Module]:
    return modules()


def test_private_dagster_is_used_in_three_places_alone(found):
    used = {module.path: private_uses(module) for module in found}
    places = private_places(found)
    assert places == set(PRIVATE_PLACES), {
        path: uses for path, uses in used.items() if path in places and uses
    }


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("from dagster._core.events import ASSET_EVENTS", "1: dagster._core.events.ASSET_EVENTS"),
        ("import dagster._check as check", "1: dagster._check"),
        ("def f():\n    from dagster import _check", "2: dagster._check"),
        ("if TYPE_CHECKING:\n    from dagster._core import loader", "2: dagster._core.loader"),
        ("from dagster_shared.error import E", "1: dagster_shared.error.E"),
        ("from dagster_graphql.schema import create_schema", None),
        ("import dagster as dg\ndg._core.loader", "2: dagster._core"),
        ('import_module("dagster._daemon")', "1: dagster._d"),
        ('run([python, "-m", "dagster_webserver"])', "1: dagster_webserver"),
        ('run(f"{python} -m dagster._daemon {more}")', "1: dagster._d"),
    ],
)
def test_each_way_to_use_private_dagster_elsewhere_is_found(text, use):
    module = Module("assets/finra/planted.py", text)
    assert private_places([module]) == {"assets/finra/planted.py"}
    if use:
        assert private_uses(module) == [use]


@pytest.mark.parametrize(
    "text",
    ['"""As `dagster._core` does."""', "import dagster as dg\ndg.Definitions", "# dagster._core"],
)
def test_a_comment_a_docstring_and_public_dagster_are_no_use_of_it(text):
    assert private_uses(Module("assets/planted.py", text)) == []


def test_modules_are_no_smaller_than_they_were(found):
    assert short_share(found) <= MOST_SHORT


def test_no_module_is_added_outside_the_domains(found):
    assert len(outside_domains(found)) <= MOST_OUTSIDE_DOMAINS


def test_no_other_module_names_a_domain(found):
    named = naming_a_domain(found)
    assert len(named) <= MOST_NAMING_A_DOMAIN, named


def test_a_module_names_a_domain_by_import_or_setting():
    own = [
        Module("settings/domains/prices.py", "class A:\n    prices_file: str"),
        Module("resources/prices/desk.py", ""),
    ]
    for text in (
        "from orchestration_project.resources.prices import desk",
        "from orchestration_project.resources.prices.desk import Desk",
        "settings.prices_file",
        'text = "set PRICES_FILE"',
    ):
        assert naming_a_domain([*own, Module("cli/anything.py", text)]) == {
            "cli/anything.py": ["prices"]
        }
    for text in ("settings.other_file", '"""set PRICES_FILE"""', "from a.resources import prices"):
        assert naming_a_domain([*own, Module("cli/anything.py", text)]) == {}


def test_one_engine_derives_tables_across_partitions(found):
    assert deriving(found) == [DERIVED_TABLES]


@pytest.mark.parametrize(
    "text",
    [
        "from orchestration_project.engine.warehouse import Derivation",
        "from orchestration_project.engine.warehouse import Derivation as Rows, Warehouse",
        "from orchestration_project.engine.warehouse.difference import write_derived",
        "def write(warehouse):\n    warehouse.derive([])",
        "class Load:\n    def land(self, rows):\n        self.warehouse.derive(rows)",
    ],
)
def test_a_second_engine_of_derived_tables_is_found(found, text):
    second = Module("resources/prices/planted.py", text)
    assert deriving([*found, second]) == [DERIVED_TABLES, second.path]


def test_one_module_puts_recorded_deliveries_together(found):
    assert replaying(found) == [REPLAY]
    text = "from orchestration_project.engine.warehouse.recorded import layers_of, place_of"
    second = Module("resources/prices/planted.py", text)
    assert replaying([*found, second]) == [REPLAY, second.path]


def test_a_declaration_of_a_derived_table_is_no_engine():
    declared = "from orchestration_project.engine.derived import DerivedTable\nrow.derive, derive()"
    assert deriving([Module("resources/prices/planted.py", declared)]) == []


def test_one_engine_loads(found):
    assert loading(found) == [LOAD]


@pytest.mark.parametrize(
    "text",
    [
        "from orchestration_project.engine.warehouse.fencing import record_landings, take_fences",
        "import a\na.warehouse.WriteTarget(spec, key)",
    ],
)
def test_a_second_load_engine_is_found(found, text):
    second = Module("resources/prices/planted.py", text)
    assert loading([*found, second]) == [LOAD, second.path]


def test_runs_load_with_the_same_options(found):
    assert run_options(found) == RUN_OPTIONS
    own = Module("assets/planted.py", "class Own(ReplayOptions):\n    more: int")
    assert run_options([*found, own]) == [*RUN_OPTIONS, "Own"]


def test_a_run_of_a_declared_dataset_enters_no_more_modules():
    entered = entered_by_treasury()
    assert "engine/loader.py" in entered
    assert len(entered) <= MOST_ENTERED, entered

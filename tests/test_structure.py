"""How the project is built stays at least as simple as it is.

`.ci/bounds.json` has the bounds of all qualities, and `.ci/bounds.py`, a part of `make check`,
compares them. Here are what each measure counts, and which modules are the one engine of
something. Sizes have no bounds but that of `tests/oracle`:
`python -m benchmarks.structure.sizes` shows them.
"""

import json

import pytest

from benchmarks.structure.modules import Module, find_domains, read_modules
from benchmarks.structure.qualities import (
    COMMANDS,
    FILES,
    STATIC,
    WAYS,
    Package,
    Quality,
)
from benchmarks.structure.rules import (
    PRIVATE_PLACES,
    deriving,
    domain_imports,
    loading,
    naming_a_domain,
    private_places,
    private_uses,
    replaying,
    run_options,
)
from benchmarks.structure.shapes import count_code_lines
from benchmarks.structure.ways import trace
from orchestration_project.settings import PROJECT_ROOT

BOUNDS = json.loads((PROJECT_ROOT / ".ci" / "bounds.json").read_text())

DERIVED_TABLES = "engine/derived.py"
"""The one engine of tables that are derived across partitions."""

REPLAY = "engine/replay.py"
"""The one module that puts recorded deliveries together."""

LOAD = "engine/warehouse/loading.py"
"""The one module that writes validated deliveries, in a transaction, with fence and history."""

RUN_OPTIONS = ["LoadOptions", "PricesLoad"]
"""How a run loads or replays; prices add the symbols of a replay."""


@pytest.fixture(scope="module")
def found() -> list[Module]:
    return read_modules()


def test_each_bound_has_one_measure():
    measured = [*STATIC, *FILES, *WAYS, *COMMANDS]
    assert len(measured) == len(set(measured))
    assert sorted(BOUNDS["falls"] | BOUNDS["rises"]) == sorted(measured)


@pytest.mark.slow
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


def test_a_module_names_a_domain_by_import_or_setting():
    own = [
        Module("domains/prices/settings.py", "class A:\n    prices_file: str"),
        Module("domains/prices/rules.py", ""),
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


@pytest.mark.slow
def test_one_engine_derives_tables_across_partitions(found):
    assert deriving(found) == [DERIVED_TABLES]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "text",
    [
        "from orchestration_project.engine.warehouse import Derivation",
        "from orchestration_project.engine.warehouse import Derivation as Rows, Warehouse",
        "from orchestration_project.engine.warehouse.difference import write_derived",
        "def write(warehouse):\n    warehouse.derive([])",
        "class Load:\n    def write(self, rows):\n        self.warehouse.derive(rows)",
    ],
)
def test_a_second_engine_of_derived_tables_is_found(found, text):
    second = Module("resources/prices/planted.py", text)
    assert deriving([*found, second]) == [DERIVED_TABLES, second.path]


def test_one_module_puts_recorded_deliveries_together(found):
    assert replaying(found) == [REPLAY]
    text = (
        "from orchestration_project.engine.warehouse.recorded import build_layers, parse_group_id"
    )
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
        "from orchestration_project.engine.warehouse.fencing import record_loads, take_fences",
        "import a\na.warehouse.WriteTarget(spec, key)",
    ],
)
def test_a_second_load_engine_is_found(found, text):
    second = Module("resources/prices/planted.py", text)
    assert loading([*found, second]) == [LOAD, second.path]


def test_runs_load_with_the_same_options(found):
    assert run_options(found) == RUN_OPTIONS
    own = Module("assets/planted.py", "class Own(LoadOptions):\n    more: int")
    assert run_options([*found, own]) == [*RUN_OPTIONS, "Own"]


def test_domains_are_the_folders_and_modules_of_domains(found):
    assert {"documents", "finra", "fx", "mqtt", "plugins", "prices", "saas"} < set(
        find_domains(found)
    )
    assert not {"access", "api", "operations", "uploads", "webhooks"} & set(find_domains(found))


@pytest.mark.parametrize(
    "path",
    [
        "engine/leases.py",
        "engine/warehouse/planted.py",
        "engine/connections/planted.py",
        "services/lamps/planted.py",
        "registry.py",
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "from orchestration_project.domains import lamps",
        "from orchestration_project.domains.lamps.rules import check_lamp",
        "import orchestration_project.domains.lamps.rules",
        "def f():\n    from orchestration_project.domains.lamps.tables import lamps_states",
        "from orchestration_project.domains.lamps import history",
    ],
)
def test_an_import_of_a_new_domain_by_shared_code_is_found(path: str, text: str):
    lamps = [
        Module("domains/lamps/rules.py", ""),
        Module("domains/lamps/tables.py", ""),
        Module("domains/lamps/history.py", ""),
        Module("services/alerts/rules/notification.py", ""),
    ]
    shared = "from orchestration_project.services.alerts.rules.notification import read_rules\n"
    assert domain_imports([*lamps, Module(path, shared)]) == []
    planted = Package([*lamps, Module(path, shared + text)])
    assert planted.domain_imports().value == 1 > BOUNDS["falls"]["domain_imports_of_shared_code"]


def test_entries_of_the_root_and_folders_of_the_package_are_those_that_git_knows():
    entries, folders = FILES["root_entries"]().places, FILES["package_folders"]().places
    assert {"Makefile", "docs", "orchestration_project", "tests"} < set(entries)
    assert not {".git", ".venv", "site"} & set(entries)
    assert {"domains", "engine", "services"} < set(folders)
    assert not {"__pycache__", "finra", "registry.py"} & set(folders)


def measured(name: str, *texts: str) -> float:
    """Return the value of a quality of a package of modules with these texts."""
    modules = [Module(f"engine/planted_{n}.py", text) for n, text in enumerate(texts)]
    return STATIC[name](Package(modules)).value


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        (
            "functions_without_verb_percent",
            ["def load(): ...\ndef rows(): ...\nclass A:\n    def _is_own(self): ..."],
            33.3,
        ),
        (
            "functions_without_verb_percent",
            ["class A:\n    @property\n    def rows(self): ...\n    def of(self): ..."],
            100,
        ),
        ("loops_with_each_percent", ["for each in a: ...\n[row for row in rows]"], 50),
        ("loops_with_each_percent", ["[each for n, each in a]"], 100),
        ("generic_names_percent", ["found = 1\nrows = 2\nwith a as b: ...\nfor n in b: ..."], 25),
        ("other_limits", ["MOST_ROWS = 1\n_LONGEST = 2\nROWS_AT_ONCE = 3\nMAX_ROWS = 4"], 3),
        (
            "docstrings_with_what",
            ['def a():\n    """Return what is due."""\ndef b():\n    """Return the due rows."""'],
            1,
        ),
        ("tricks", ["a = [*(b for b in c if (d := b))]\ne = [b for b in c if (d := b)]"], 1),
        ("tricks", ["a = f'{b}=' * bool(b)\nc = 's' * (b > 1)\nd = [0] * 3\ne = ' ' * n"], 2),
        ("tricks", ["def a():\n    raise (B if c else D)('e')\ndef f():\n    raise B('e')"], 1),
        ("tricks", ["a = next(b for b in c if any(d(b)))\ne = next(b for b in c if d(b))"], 1),
        ("tricks", ["a = b * 26 + ord(c) - 64\nd = chr(ord(c) + 1)"], 1),
        (
            "base_classes_with_one_child",
            [
                "class A: ...\nclass B(A): ...\nclass C: ...\nclass D(C): ...",
                "class E(C): ...\nclass Config(dg.Config): ...",
            ],
            1,
        ),
        (
            "modules_in_import_cycles",
            [
                "from orchestration_project.engine import planted_1",
                "import orchestration_project.engine.planted_0",
                "import orchestration_project.engine.planted_0",
                "def f():\n    from orchestration_project.engine import planted_2",
            ],
            2,
        ),
    ],
)
def test_a_quality_counts_what_it_names(name: str, texts: list[str], value: float):
    assert measured(name, *texts) == value


def test_a_field_that_one_domain_alone_sets_is_counted():
    modules = [
        Module("registry.py", "class Domain:\n    name: str\n    jobs: int = 0\n    api: int = 0"),
        Module("catalog/fx.py", "FX = Domain(name='fx', jobs=1)"),
        Module("catalog/web.py", "WEB = Domain(name='web')"),
    ]
    assert Package(modules).domain_fields().value == 3
    assert Package(modules).single_fields() == Quality(1, ["jobs"])


def test_lines_of_code_leave_out_docstrings_comments_and_blank_lines():
    text = '"""A module."""\n\n# why\nA = """\ntext\n"""  # three lines\n'
    text += 'def f():\n    """Do."""\n    return (\n        1\n    )\n'
    assert count_code_lines(text) == 3 + 4


@pytest.mark.slow
def test_a_load_enters_modules_and_makes_values_which_make_check_counts():
    assert {function for function, _ in WAYS.values()} > {"load_week"}
    way = trace("load_week")
    assert {"engine/captures.py", "engine/warehouse/loading.py"} < set(way.modules)
    assert way.values

"""Qualities of the code, each a number with its places; `.ci/bounds.json` bounds them."""

import re
import runpy
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import NamedTuple

from benchmarks.structure import commands, names, rules, shapes, tricks, ways
from benchmarks.structure.modules import PACKAGE, Module, read_modules
from orchestration_project.settings import PROJECT_ROOT

SHOWN_PLACES = 3
GENERATED = "migrations/versions/"


class Quality(NamedTuple):
    """A number, and the places that count: paths, names or folders."""

    value: float
    places: Sequence[str]

    @property
    def summary(self) -> str:
        """A few places, or the folders with most of them."""
        if len(self.places) <= SHOWN_PLACES:
            return ", ".join(self.places)
        counts = Counter(re.split(r"[/:]", place)[0] for place in self.places)
        if len(counts) == len(self.places):
            return f"{', '.join(self.places[:SHOWN_PLACES])} and {len(counts) - SHOWN_PLACES}"
        most = counts.most_common(SHOWN_PLACES)
        return ", ".join(f"{folder} {count}" for folder, count in most)


class Package:
    """The modules of the package, read and parsed once."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.modules = modules

    @cached_property
    def written(self) -> list[Module]:
        """The modules that people write: no versions of the tables."""
        return [module for module in self.modules if not module.path.startswith(GENERATED)]

    def short_modules(self) -> Quality:
        """Measure the share of own modules that are short, percent."""
        own = [module for module in self.modules if module.is_own]
        short = [module.path for module in own if module.line_count <= shapes.SHORT]
        return _share(short, len(own))

    def private_names(self) -> Quality:
        """Count the private names of Dagster that are used."""
        places = [
            f"{module.path}:{use}" for module in self.modules for use in rules.private_uses(module)
        ]
        return Quality(len({place.rpartition(": ")[2] for place in places}), places)

    def private_modules(self) -> Quality:
        """Count the modules that use private Dagster."""
        return _listed([module.path for module in self.modules if rules.private_uses(module)])

    def private_places(self) -> Quality:
        """Count the places that use private Dagster."""
        return _listed(sorted(rules.private_places(self.modules)))

    def domain_imports(self) -> Quality:
        """Count the imports of a domain by code that every domain uses."""
        return _listed(rules.domain_imports(self.modules))

    def domain_namers(self) -> Quality:
        """Count the modules outside the domains that name one."""
        return _listed(list(rules.naming_a_domain(self.modules)))

    def deriving(self) -> Quality:
        """Count the engines of derived tables."""
        return _listed(rules.deriving(self.modules))

    def replaying(self) -> Quality:
        """Count the modules that put recorded deliveries together."""
        return _listed(rules.replaying(self.modules))

    def loading(self) -> Quality:
        """Count the load engines."""
        return _listed(rules.loading(self.modules))

    def run_options(self) -> Quality:
        """Count the classes of a run's load options."""
        return _listed(rules.run_options(self.modules))

    def cycles(self) -> Quality:
        """Count the modules in cycles of imports."""
        return _listed(sorted(shapes.find_cycles(self.modules)))

    def domain_fields(self) -> Quality:
        """Count the fields of `Domain`."""
        return _listed(list(shapes.read_domain_fields(self.modules)))

    def single_fields(self) -> Quality:
        """Count the fields of `Domain` that one domain alone sets."""
        fields = shapes.read_domain_fields(self.modules)
        return _listed([name for name, places in fields.items() if len(places) == 1])

    def single_children(self) -> Quality:
        """Count the base classes with one child."""
        return _listed(list(shapes.find_single_children(self.modules)))

    def functions_without_verb(self) -> Quality:
        """Measure the share of functions that do not begin with a verb, percent."""
        functions = list(names.find_functions(self.written))
        places = [place for place, name in functions if not names.has_verb(name)]
        return _share(places, len(functions))

    def loops_with_each(self) -> Quality:
        """Measure the share of loops whose variable is `each`, percent."""
        loops = list(names.find_loops(self.written))
        return _share([place for place, is_each in loops if is_each], len(loops))

    def generic_names(self) -> Quality:
        """Measure the share of assignments to generic names, percent."""
        assignments = list(names.find_assignments(self.written))
        places = [place for place, name in assignments if name in names.GENERIC_NAMES]
        return _share(places, len(assignments))

    def other_limits(self) -> Quality:
        """Count the limits that do not begin with `MAX_`."""
        return _listed(list(names.find_other_limits(self.written)))

    def docstrings_with_what(self) -> Quality:
        """Count the docstrings that name no object."""
        return _listed(list(names.find_what(self.written)))

    def tricks(self) -> Quality:
        """Count the expressions that a reader has to solve."""
        return _listed(list(tricks.find_tricks(self.written)))

    def longest_asset_function(self) -> Quality:
        """Measure the longest function of assets, lines; its places are those of this length."""
        functions = list(tricks.measure_functions(self.modules))
        longest = max((line_count for line_count, _ in functions), default=0)
        places = [place for line_count, place in functions if line_count == longest]
        return Quality(longest, places)


STATIC: Mapping[str, Callable[[Package], Quality]] = {
    "short_modules_percent": Package.short_modules,
    "private_dagster_names": Package.private_names,
    "private_dagster_modules": Package.private_modules,
    "private_dagster_places": Package.private_places,
    "domain_imports_of_shared_code": Package.domain_imports,
    "modules_that_name_a_domain": Package.domain_namers,
    "engines_of_derived_tables": Package.deriving,
    "modules_that_replay": Package.replaying,
    "load_engines": Package.loading,
    "classes_of_load_options": Package.run_options,
    "modules_in_import_cycles": Package.cycles,
    "fields_of_domain": Package.domain_fields,
    "fields_of_domain_set_by_one": Package.single_fields,
    "base_classes_with_one_child": Package.single_children,
    "functions_without_verb_percent": Package.functions_without_verb,
    "loops_with_each_percent": Package.loops_with_each,
    "generic_names_percent": Package.generic_names,
    "other_limits": Package.other_limits,
    "docstrings_with_what": Package.docstrings_with_what,
    "tricks": Package.tricks,
    "longest_asset_function": Package.longest_asset_function,
}
"""Qualities of the package, by name."""


def _list_files(*patterns: str) -> list[str]:
    """List the files that git knows."""
    return subprocess.run(
        ["git", "ls-files", *patterns],  # noqa: S607 - git of the PATH
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def _count_words(*patterns: str) -> Quality:
    """Count the words that `.ci/words.py` refuses in files that git knows."""
    words = runpy.run_path(str(PROJECT_ROOT / ".ci" / "words.py"))
    skipped = (*words["WITHOUT"], *words["VERSIONS"])
    return _listed(
        [
            f"{name}:{line}: {word}"
            for name in _list_files(*patterns)
            if not name.startswith(skipped)
            for line, word, _ in words["hits"]((PROJECT_ROOT / name).read_text())
        ]
    )


def _count_root_entries() -> Quality:
    """Count the files and folders at the root that git knows."""
    return _listed(sorted({name.partition("/")[0] for name in _list_files()}))


def _count_package_folders() -> Quality:
    """Count the folders of the package that git knows."""
    parts = [name.split("/") for name in _list_files(PACKAGE.name)]
    return _listed(sorted({part[1] for part in parts if len(part) > 2}))


def _sum_of_list(name: str) -> Quality:
    """Sum the numbers at the beginning of the lines of a list of findings."""
    lines = (PROJECT_ROOT / name).read_text().splitlines()
    return Quality(sum(int(line.split()[0]) for line in lines), [name])


def _allowed_skips() -> Quality:
    """Count the tests that may be skipped."""
    lines = (PROJECT_ROOT / ".ci" / "allowed_skips.txt").read_text().splitlines()
    return _listed([line for line in lines if line and not line.startswith("#")])


def _count_lines(folder: str, *names: str) -> Quality:
    """Count the lines of the modules of a folder that are no tests, and of other files in it."""
    modules = (PROJECT_ROOT / folder).glob("*.py")
    own = [file for file in modules if not file.name.startswith("test_")]
    files = sorted([*own, *(PROJECT_ROOT / folder / name for name in names)])
    counts = {file.name: len(file.read_text().splitlines()) for file in files}
    return Quality(sum(counts.values()), [f"{name}:{count}" for name, count in counts.items()])


FILES: Mapping[str, Callable[[], Quality]] = {
    "words_in_package": partial(_count_words, "orchestration_project/*.py"),
    "words_in_docs": partial(_count_words, "*.md"),
    "words_in_tests": partial(_count_words, "tests/*.py"),
    "findings_of_words": partial(_sum_of_list, ".ci/words.txt"),
    "findings_of_prose": partial(_sum_of_list, ".ci/prose.txt"),
    "findings_of_messages": partial(_sum_of_list, "tests/messages.txt"),
    "allowed_skips": _allowed_skips,
    "root_entries": _count_root_entries,
    "package_folders": _count_package_folders,
    "lines_of_oracle": partial(_count_lines, "tests/oracle", "gold.sql"),
}
"""Qualities of files beside the package, by name."""

WAYS: Mapping[str, tuple[str, str]] = {
    "modules_of_a_declared_dataset": ("load_treasury", "modules"),
    "modules_of_a_week": ("load_week", "modules"),
    "value_types_of_a_week": ("load_week", "values"),
    "modules_of_a_document": ("load_document", "modules"),
    "modules_of_a_webhook": ("load_webhook", "modules"),
}
"""Qualities that a run shows, by name: a function of `ways`, and what of it is counted."""


COMMANDS: Mapping[str, Sequence[str]] = {
    "modules_of_a_command": commands.COMMANDS,
    "modules_of_a_command_with_domains": commands.WITH_DOMAINS,
    "modules_of_a_command_with_sources": commands.WITH_SOURCES,
}
"""Commands that need no definitions; a quality has the modules of the one with the most."""


def measure_static(modules: Sequence[Module] | None = None) -> dict[str, Quality]:
    """Measure what needs no run."""
    package = Package(read_modules() if modules is None else modules)
    return {
        **{name: measure(package) for name, measure in STATIC.items()},
        **{name: measure() for name, measure in FILES.items()},
    }


def measure_ways() -> dict[str, Quality]:
    """Measure what a week, a document, a webhook and commands enter; this takes a minute."""
    traced = {function: ways.trace(function) for function, _ in WAYS.values()}
    counts = commands.count_modules()
    return {
        **{
            name: _listed(getattr(traced[function], part))
            for name, (function, part) in WAYS.items()
        },
        **{
            quality: Quality(
                max(counts[name] for name in names), [f"{counts[name]} {name}" for name in names]
            )
            for quality, names in COMMANDS.items()
        },
    }


def _share(places: Sequence[str], total: int) -> Quality:
    return Quality(round(100 * len(places) / total, 1), places)


def _listed(places: Sequence[str]) -> Quality:
    return Quality(len(places), places)

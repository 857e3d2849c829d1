"""Runs mutations by mutmut, all or a sample of each module, and prints the score of each module.

`--sample=60` draws up to 60 mutations of each module by their names and `--seed`: the same ones
again while their functions stay the same. Patterns choose mutations by name.
"""

import argparse
import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

NOTICED = {"killed", "timeout", "segfault"}
"""Statuses of a mutation that its tests notice."""

UNNOTICED = {"survived", "no tests"}
"""Statuses of a mutation that no test notices."""


def module_of(mutant: str) -> str:
    """Return the module of a mutation: `a.b` of `a.b.x_function__mutmut_1`."""
    return mutant.rpartition(".")[0]


def draw_sample(mutants: Sequence[str], size: int, seed: str) -> list[str]:
    """Return up to `size` mutations of each module, those with the lowest hashes."""
    modules: dict[str, list[str]] = defaultdict(list)
    hashes = {name: hashlib.sha256(f"{seed} {name}".encode()).digest() for name in mutants}
    for mutant in sorted(mutants, key=hashes.__getitem__):
        modules[module_of(mutant)].append(mutant)
    return [mutant for names in modules.values() for mutant in names[:size]]


def score_lines(statuses: Mapping[str, str]) -> Iterator[str]:
    """Yield a table of Markdown: what was tried of each module, and what no test noticed."""
    modules = Counter(map(module_of, statuses))
    yield "| module | mutations | tried | noticed | share |"
    yield "|---|---|---|---|---|"
    for module, count in sorted(modules.items()):
        results = [statuses[name] for name in statuses if module_of(name) == module]
        noticed = sum(status in NOTICED for status in results)
        tried = noticed + sum(status in UNNOTICED for status in results)
        share = f"{100 * noticed / tried:.0f} %" if tried else ""
        yield f"| `{module.partition('.')[2]}` | {count} | {tried} | {noticed} | {share} |"


def limit_tests(seconds: float) -> None:
    """Leave each function its quickest tests that together take some seconds, at least one."""
    from mutmut.state import state

    durations = state().duration_by_test
    for function, tests in state().tests_by_mangled_function_name.items():
        quickest = sorted(tests, key=lambda test: durations[test])
        ends = accumulate(durations[test] for test in quickest)
        count = sum(end <= seconds for end in ends)
        state().tests_by_mangled_function_name[function] = set(quickest[: max(count, 1)])


def run_drawn(patterns: Sequence[str], options: argparse.Namespace) -> dict[str, str]:
    """Run the mutations that are drawn of those with some names, and return all statuses."""
    from mutmut import __main__ as mutmut
    from mutmut.stats import status_by_exit_code

    names = list(patterns)
    collect = mutmut.collect_source_file_mutation_data

    def collect_drawn(*, mutant_names: Sequence[str]) -> tuple[list[Any], Any]:
        mutants, files = collect(mutant_names=mutant_names)
        names[:] = draw_sample([name for _, name, _ in mutants], options.sample, options.seed)
        limit_tests(options.seconds)
        drawn = set(names)
        return [mutant for mutant in mutants if mutant[1] in drawn], files

    mutmut.collect_source_file_mutation_data = collect_drawn
    mutmut._run(names, options.workers)
    mutants, _ = collect(mutant_names=patterns)
    drawn = set(names)
    return {name: status_by_exit_code[code if name in drawn else None] for _, name, code in mutants}


def main() -> None:
    """Run mutations, and print the scores of their modules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="most of each module")
    parser.add_argument("--seconds", type=float, default=60, help="most of the tests of a mutation")
    parser.add_argument("--seed", default="20260302")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*", help="patterns, such as *.contracts.values.*")
    options = parser.parse_args()
    print(*score_lines(run_drawn(options.names, options)), sep="\n")


if __name__ == "__main__":
    main()

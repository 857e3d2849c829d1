"""Counts in tests what the page on tests and bounds avoids, and finds tests that cannot fail.

`.ci/test_style.json` has the numbers; they may only fall. `--write` lowers them.

A test cannot fail if it asserts nothing, if it asserts constants, or if each of its assertions is
in a loop over what may be empty. A loop is safe over a literal, over what the test also measures,
and over the parts of a value that another assertion compares.
"""

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
FILE = ROOT / ".ci" / "test_style.json"

COUNTED = {
    "patches": re.compile(r"\bmonkeypatch\.setattr\("),
    "sleeps": re.compile(r"(?<!def )\bsleep\("),
    "each_loops": re.compile(r"\bfor each in\b"),
}
"""Lines that are counted, by the name of their number."""

REMEDIES = {
    "patches": "pass a clock or a limit instead",
    "sleeps": "pass a clock or a limit instead",
    "each_loops": "name what is looped over",
    "hidden_asserts": "let the name of the helper say that it checks, or have the test assert",
}
"""What to do instead, by the name of each number."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CHECKING = re.compile(r"assert|raises|fail|warns|wait_for|expect|check|verify|refus")
"""Parts of the names of functions that fail when what they are passed is not right."""

SAYS_THAT_IT_CHECKS = re.compile(
    r"(?:^|_)(?:assert|check|expect|require|verify|without_failure)(?:_|$)"
)
"""Words of the name of a helper that may assert."""

LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Constant)
NEVER_EMPTY = {"range", "zip", "enumerate", "product", "permutations", "reversed", "sorted"}
"""Functions whose result is as empty as their arguments; ``range`` is written with a number."""

Finding = tuple[str, str]
"""Place and what is wrong."""


def last_name(node: ast.AST) -> str:
    """Return the last name of an expression: `b` of `a.b`."""
    return getattr(node, "attr", getattr(node, "id", ""))


def counts(sources: Mapping[str, str]) -> dict[str, int]:
    """Return how many lines match each counted pattern, and how many helpers hide an assert."""
    lines = [line for source in sources.values() for line in source.splitlines()]
    numbers = {
        name: sum(1 for line in lines if pattern.search(line)) for name, pattern in COUNTED.items()
    }
    trees = {path: ast.parse(source) for path, source in sources.items()}
    return {**numbers, "hidden_asserts": len(list(hiding_helpers(trees)))}


def hiding_helpers(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Yield place and name of each helper that asserts and does not say so in its name.

    Tests and fixtures are no helpers. A function below another one is a helper of its own.
    """
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, FUNCTIONS)
                and not _may_assert(node)
                and any(isinstance(part, ast.Assert) for part in _own_parts(node))
            ):
                yield f"{path}:{node.lineno} {node.name}"


def _may_assert(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is a test or a fixture, or says in its name that it checks."""
    if function.name.startswith("test_") or SAYS_THAT_IT_CHECKS.search(function.name):
        return True
    names = [last_name(getattr(mark, "func", mark)) for mark in function.decorator_list]
    return "fixture" in names


def _own_parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a function, without those of functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield child
            yield from _own_parts(child)


def checking_functions(trees: Mapping[str, ast.Module]) -> frozenset[str]:
    """Return the names of functions of the tests that assert, themselves or by another."""
    calls: dict[str, set[str]] = {}
    found: set[str] = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                if any(isinstance(part, ast.Assert | ast.Raise) for part in ast.walk(node)):
                    found.add(node.name)
                names = {last_name(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)}
                calls.setdefault(node.name, set()).update(names)
    while more := {name for name, called in calls.items() if called & found} - found:
        found |= more
    return frozenset(found)


def findings(trees: Mapping[str, ast.Module]) -> Iterator[Finding]:
    """Yield the tests that cannot fail."""
    checking = checking_functions(trees)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
                problem = _problem(node, checking)
                if problem:
                    yield f"{path}:{node.lineno}", f"{node.name} {problem}"


def _problem(test: ast.AST, checking: frozenset[str]) -> str:
    """Return why a test cannot fail; nothing if it can."""
    checks = list(_checks(test, checking, ()))
    if not checks:
        return "asserts nothing"
    for check, _ in checks:
        if isinstance(check, ast.Assert) and _is_constant(check.test):
            return f"asserts {ast.unparse(check.test)}"
    measured = {text for check, loops in checks if not loops for text in _measured(check)}
    if all(any(_may_be_empty(loop, measured, test) for loop in loops) for _, loops in checks):
        all_loops = [loop for _, loops in checks for loop in loops]
        loop = next(loop for loop in all_loops if _may_be_empty(loop, measured, test))
        return f"asserts only in loops such as over {ast.unparse(loop)}, which may be empty"
    return ""


def _checks(
    node: ast.AST, checking: frozenset[str], loops: tuple[ast.expr, ...]
) -> Iterator[tuple[ast.AST, tuple[ast.expr, ...]]]:
    """Yield each assertion below a node, with what the loops around it go over."""
    for child in ast.iter_child_nodes(node):
        inner = loops
        if isinstance(child, ast.For | ast.AsyncFor):
            inner = (*loops, child.iter)
        if isinstance(child, ast.Assert | ast.Raise):
            yield child, (*inner, *_all_loops(child))
        elif isinstance(child, ast.Call) and _is_check(child, checking):
            yield child, inner
        yield from _checks(child, checking, inner)


def _all_loops(node: ast.AST) -> Sequence[ast.expr]:
    """Return what `assert all(… for … in …)` goes over."""
    match node:
        case ast.Assert(
            test=ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp(generators=parts)])
        ):
            return [part.iter for part in parts]
        case ast.Assert(test=ast.Call(func=ast.Name(id="all"), args=[iterable])):
            return [iterable]
        case _:
            return []


def _is_check(call: ast.Call, checking: frozenset[str]) -> bool:
    name = last_name(call.func)
    return name in checking or bool(CHECKING.search(name))


def _is_constant(test: ast.expr) -> bool:
    """Return whether an assertion is of constants alone, or of a value and itself."""
    if isinstance(test, ast.Tuple):
        return True
    if isinstance(test, ast.Compare) and len(test.comparators) == 1:
        is_same = ast.dump(test.left) == ast.dump(test.comparators[0])
        is_pure = not any(isinstance(part, ast.Call) for part in ast.walk(test))
        if is_same and is_pure and isinstance(test.ops[0], ast.Eq | ast.Is | ast.In):
            return isinstance(test.left, ast.Constant | ast.Name)
    parts = [part for part in ast.walk(test) if isinstance(part, ast.expr)]
    return all(isinstance(part, ast.Constant | ast.Compare | ast.UnaryOp) for part in parts)


def _measured(check: ast.AST) -> Iterator[str]:
    """Yield the expressions that an assertion outside of loops names."""
    for part in ast.walk(check):
        if isinstance(part, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield ast.unparse(part)


def _may_be_empty(loop: ast.expr, measured: Iterable[str], test: ast.AST) -> bool:
    """Return whether nothing in the test shows that a loop has something to go over."""
    if isinstance(loop, LITERALS):
        return False
    if isinstance(loop, ast.Call):
        if last_name(loop.func) == "range" and isinstance(loop.args[-1], ast.BinOp):
            return False  # a limit and one more
        if last_name(loop.func) in NEVER_EMPTY:
            return any(_may_be_empty(part, measured, test) for part in loop.args)
        if isinstance(loop.func, ast.Attribute):  # a.items() is as empty as a
            return ast.unparse(loop) not in measured and _may_be_empty(
                loop.func.value, measured, test
            )
    if isinstance(loop, ast.Name) and loop.id.isupper():
        return False  # a constant of the module
    return ast.unparse(loop) not in measured and not _is_literal_variable(loop, test)


def _is_literal_variable(loop: ast.expr, test: ast.AST) -> bool:
    """Return whether a variable is a literal of the test, or a parameter, which cases fill."""
    if not isinstance(loop, ast.Name):
        return False
    for node in ast.walk(test):
        match node:
            case ast.arg(arg=name) if name == loop.id:
                return True
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ) if name == loop.id:
                return isinstance(value, LITERALS)
    return False


def sources() -> dict[str, str]:
    """Return the source of each module of the tests, by its path."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(TESTS.rglob("*.py"))}


def measure() -> tuple[dict[str, int], list[Finding]]:
    """Return the numbers and the findings of the tests."""
    read = sources()
    found = list(findings({path: ast.parse(source) for path, source in read.items()}))
    return counts(read), found


def main() -> int:
    """Print the findings, compare the numbers, and return 1 if one rose or a test cannot fail."""
    numbers, found = measure()
    bounds = json.loads(FILE.read_text()) if FILE.is_file() else numbers
    for place, problem in found:
        print(f"{place}: {problem}")
    more = {name: count for name, count in numbers.items() if count > bounds[name]}
    for name, count in more.items():
        print(f"{count} {name} in tests, {bounds[name]} allowed: {REMEDIES[name]}")
    if "hidden_asserts" in more:
        trees = {path: ast.parse(source) for path, source in sources().items()}
        print(*hiding_helpers(trees), sep="\n")
    if "--write" in sys.argv and not more:
        FILE.write_text(json.dumps(numbers, indent=2) + "\n")
    return 1 if more or found else 0


if __name__ == "__main__":
    sys.exit(main())

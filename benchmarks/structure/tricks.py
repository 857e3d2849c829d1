"""Expressions that a reader has to solve, and the length of functions of assets."""

import ast
from collections.abc import Iterator, Sequence

from benchmarks.structure.modules import PACKAGE, Function, Module

FOREIGN = ("migrations/versions/", "services/evidence/recompute.py")
"""Versions of tables are never edited; the other is a program of an archive."""


def find_tricks(modules: Sequence[Module]) -> Iterator[str]:
    """Yield the places of tricks: a line of a module, and its kind."""
    for module in modules:
        if not module.path.startswith(FOREIGN):
            for node in module.all_nodes:
                if kind := name_trick(node):
                    yield f"{module.path}:{getattr(node, 'lineno', 0)}: {kind}"


def name_trick(node: ast.AST) -> str:
    """Return which trick an expression is; empty: none."""
    match node:
        case ast.Starred(value=ast.GeneratorExp() | ast.ListComp()) if _assigns(node):
            return "a walrus in an unpacked generator"
        case ast.BinOp(op=ast.Mult()) if _repeats_text(node):
            return "text times a boolean"
        case ast.Call(func=ast.IfExp()):
            return "a call of one of two names"
        case ast.Call(func=ast.Name(id="next"), args=[ast.GeneratorExp() as search, *_]):
            return "a search in a search" if _calls(search, "any") else ""
        case ast.BinOp(
            op=ast.Add() | ast.Sub(),
            left=ast.BinOp(right=ast.Call(func=ast.Name(id="ord"))),
        ):
            return "arithmetic on letters"
    return ""


def _assigns(node: ast.AST) -> bool:
    return any(isinstance(part, ast.NamedExpr) for part in ast.walk(node))


def _calls(node: ast.AST, name: str) -> bool:
    return any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == name
        for part in ast.walk(node)
    )


def _repeats_text(product: ast.BinOp) -> bool:
    """Whether one factor is a text or a list, and the other a comparison or a boolean."""
    pairs = ((product.left, product.right), (product.right, product.left))
    return any(_is_text_or_list(first) and _is_boolean(second) for first, second in pairs)


def _is_text_or_list(node: ast.AST) -> bool:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    return is_text or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def _is_boolean(node: ast.AST) -> bool:
    is_conversion = isinstance(node, ast.Call) and ast.unparse(node.func) == "bool"
    return is_conversion or isinstance(node, ast.Compare | ast.BoolOp)


def measure_functions(modules: Sequence[Module]) -> Iterator[tuple[int, str]]:
    """Yield the lines and the place of each function of assets, without functions in it."""
    for module in modules:
        if module.path.startswith("assets/"):
            for node in module.all_nodes:
                if isinstance(node, Function):
                    place = f"{PACKAGE.name}/{module.path}:{node.lineno} {node.name}"
                    yield count_own_lines(node), place


def count_own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function from its name on, docstring included."""
    return (function.end_lineno or 0) - function.lineno + 1 - _count_nested(function)


def _count_nested(node: ast.AST) -> int:
    line_count = 0
    for part in ast.iter_child_nodes(node):
        if isinstance(part, Function):
            first = min(part.lineno, *(item.lineno for item in part.decorator_list), part.lineno)
            line_count += (part.end_lineno or 0) - first + 1
        else:
            line_count += _count_nested(part)
    return line_count

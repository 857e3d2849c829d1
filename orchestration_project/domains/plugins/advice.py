"""Advice about a plugin's code, of its syntax tree; what it cannot do is enforced elsewhere."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from orchestration_project.domains.plugins.archives import Files

MAX_SOURCE_BYTES = 512 * 2**10
MAX_ADVICE = 200
MODULES = {
    "socket": "opens network connections",
    "ssl": "opens network connections",
    "http": "sends requests by itself; run.fetch is the only way out",
    "urllib": "sends requests by itself; run.fetch is the only way out",
    "ftplib": "opens network connections",
    "smtplib": "sends e-mail",
    "asyncio": "opens network connections or starts processes",
    "subprocess": "starts processes",
    "multiprocessing": "starts processes",
    "pty": "starts processes",
    "ctypes": "calls native code",
    "cffi": "calls native code",
    "mmap": "maps memory",
    "importlib": "imports code by name",
    "runpy": "runs code by name",
    "code": "runs code from text",
    "pickle": "runs code from data",
    "marshal": "runs code from data",
    "shelve": "runs code from data",
    "signal": "handles signals",
    "resource": "changes limits",
}
CALLS = {
    "eval": "runs code from text",
    "exec": "runs code from text",
    "compile": "compiles code from text",
    "__import__": "imports code by name",
    "open": "opens files; only its own folder, /tmp and granted folders are there",
}
METHODS = {
    "system": "starts processes",
    "popen": "starts processes",
    "fork": "starts processes",
    "forkpty": "starts processes",
    "posix_spawn": "starts processes",
    "execv": "replaces its process",
    "execve": "replaces its process",
    "kill": "sends signals",
}
HIDDEN = ("__subclasses__", "__globals__", "__builtins__", "__code__", "__loader__")


class Advice(NamedTuple):
    """Something to look at before a grant.

    Attributes:
        file: Path in the plugin.
        line: Line of the file, from 1.
        what: What stands there, and what it does.
    """

    file: str
    line: int
    what: str


def advise(files: Files) -> list[Advice]:
    """Return the places that a person should review, by file and line."""
    advice: list[Advice] = []
    for path, content in files.items():
        if path.endswith(".py"):
            advice += sorted(set(_inspect_source(path, content)), key=lambda each: each.line)
        elif b"\0" in content[:4096]:
            advice.append(Advice(path, 1, "binary data, which no review can read"))
    return advice[:MAX_ADVICE]


def _inspect_source(path: str, content: bytes) -> Iterator[Advice]:
    if len(content) > MAX_SOURCE_BYTES:
        yield Advice(path, 1, f"more than {MAX_SOURCE_BYTES} bytes of source, which were not read")
        return
    try:
        tree = ast.parse(content, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Advice(path, getattr(error, "lineno", None) or 1, "not valid Python of this version")
        return
    for node in ast.walk(tree):
        what = _inspect_node(node)
        if what:
            yield Advice(path, getattr(node, "lineno", 1), what)


def _inspect_node(node: ast.AST) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names]
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        tops = [module.partition(".")[0] for module in modules]
        return "; ".join(f"import {top}: {MODULES[top]}" for top in tops if top in MODULES)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return f"{node.func.id}(): {CALLS[node.func.id]}" if node.func.id in CALLS else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        return f".{name}(): {METHODS[name]}" if name in METHODS else ""
    if isinstance(node, ast.Attribute) and node.attr in HIDDEN:
        return f".{node.attr}: reaches into the interpreter"
    return ""

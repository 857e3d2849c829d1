"""Reads from the source what errors say: each construction of an error class, with its texts.

A construction that cannot be read is refused, so that the page of errors lacks no message.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path

import orchestration_project

PACKAGE = Path(orchestration_project.__path__[0])
BASE = "OrchestrationError"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CLASS_TESTS = ("isinstance", "issubclass", "suppress", "cast", "next", "_walk_kinds")
"""Functions that take a class of errors, and construct none."""

WRITTEN_ELSEWHERE = ("DocumentError",)
"""Classes whose texts are data of a module, which the page reads from there."""

RECORDED = ("quarantine.reason",)
"""Expressions with the text of an error that was constructed, and recorded, before."""


class UnreadableError(Exception):
    """The source constructs an error whose class or text cannot be read."""


@dataclass(frozen=True)
class Message:
    """One error as the code constructs it; names in braces stand for values.

    Attributes:
        place: Module and line, such as ``engine/leases.py:20``.
        error: Name of its class.
        text: What failed; empty where the text is that of another error.
        expected: What was expected.
        remedy: What to do.
    """

    place: str
    error: str
    text: str
    expected: str
    remedy: str


class Module:
    """Source of one module, whose nodes know what is around them."""

    def __init__(self, path: str, source: str) -> None:
        """Parse the source of the module with a path below the package."""
        self.path = path
        self.tree = ast.parse(source)
        self.nodes = list(ast.walk(self.tree))
        self._bound: dict[ast.AST, Mapping[str, Sequence[ast.expr]]] = {}
        self._parents = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    @property
    def name(self) -> str:
        """Name by which it is imported."""
        parts = Path(self.path).with_suffix("").parts
        return ".".join([PACKAGE.name, *(part for part in parts if part != "__init__")])

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what encloses a node, the innermost first, the module last."""
        while node in self._parents:
            node = self._parents[node]
            yield node

    def values(self, name: str, node: ast.AST) -> Sequence[ast.expr]:
        """Return the expressions whose value a variable may have at a node."""
        scopes = [n for n in self.around(node) if isinstance(n, (*FUNCTIONS, ast.Module))]
        return next((v for scope in scopes if (v := self._bindings(scope).get(name))), [])

    def _bindings(self, scope: ast.AST) -> Mapping[str, Sequence[ast.expr]]:
        """Return the values that a function or module binds to each name."""
        if scope not in self._bound:
            values: dict[str, list[ast.expr]] = {}
            for name, value in (pair for node in ast.walk(scope) for pair in _bindings_of(node)):
                values.setdefault(name, []).append(value)
            self._bound[scope] = values
        return self._bound[scope]


class Sources:
    """Modules of the package, and the names by which each knows classes of errors."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Parse the modules, by their paths below the package."""
        self.modules = [Module(path, source) for path, source in sources.items()]
        self.classes = self._known_classes()

    def _known_classes(self) -> Mapping[tuple[str, str], str]:
        """Return the class of errors by module and name there, also of imported ones."""
        known = {(f"{PACKAGE.name}.errors", BASE): BASE}
        count = 0
        while count < len(known):
            count = len(known)
            for module in self.modules:
                for node in module.nodes:
                    if isinstance(node, ast.ImportFrom):
                        for name in node.names:
                            if error := known.get((str(node.module), name.name)):
                                known[module.name, name.asname or name.name] = error
                    if isinstance(node, ast.ClassDef) and any(
                        (module.name, name_of(base)) in known for base in node.bases
                    ):
                        known[module.name, node.name] = node.name
        return known

    @cached_property
    def bases(self) -> Mapping[str, str]:
        """First base of each class of errors."""
        return {
            node.name: name_of(node.bases[0])
            for module in self.modules
            for node in module.nodes
            if isinstance(node, ast.ClassDef) and (module.name, node.name) in self.classes
        }

    @cached_property
    def docstrings(self) -> Mapping[str, str]:
        """Docstring of each class of errors, in the order of the modules."""
        return {
            node.name: ast.get_docstring(node) or ""
            for module in self.modules
            for node in module.nodes
            if isinstance(node, ast.ClassDef) and (module.name, node.name) in self.classes
        }

    @cached_property
    def _calls(self) -> Mapping[str, Sequence[tuple[Module, ast.Call]]]:
        """Calls of each function by its name."""
        calls: dict[str, list[tuple[Module, ast.Call]]] = {}
        for module in self.modules:
            for node in module.nodes:
                if isinstance(node, ast.Call):
                    calls.setdefault(name_of(node.func), []).append((module, node))
        return calls

    def messages(self) -> Iterator[Message]:
        """Yield what each construction of an error says, each of the texts it chooses between.

        Raises:
            UnreadableError: The class or text of one cannot be read.
        """
        with_texts = self._with_texts()
        self._refuse_hidden_classes()
        modules = {name for name, _ in self.classes}
        for module in self.modules:
            for node in module.nodes if module.name in modules else ():
                if isinstance(node, ast.Call):
                    self._refuse_passed_classes(module, node)
                    errors = self._classes_of(module, node.func) - set(with_texts)
                    for error in sorted(errors):
                        yield from self._said(module, node, error)
                if isinstance(node, ast.Raise):
                    self._refuse_unknown_class(module, node.exc)
        for error in sorted(with_texts.keys() - set(WRITTEN_ELSEWHERE)):
            for module, call in with_texts[error]:
                yield from self._said(module, call, error)

    def _with_texts(self) -> Mapping[str, Sequence[tuple[Module, ast.Call]]]:
        """Return the classes with a text of their own, each with the calls that state one."""
        calls: dict[str, list[tuple[Module, ast.Call]]] = {}
        for module, call in self._calls.get("__init__", []):
            owner = next((n for n in module.around(call) if isinstance(n, ast.ClassDef)), None)
            error = self.classes.get((module.name, owner.name)) if owner else None
            if error not in (None, BASE) and call.args and name_of(call.args[0]) != "what":
                calls.setdefault(str(error), []).append((module, call))
        return calls

    def _said(self, module: Module, call: ast.Call, error: str) -> Iterator[Message]:
        place = f"{module.path}:{call.lineno}"
        if error == BASE:
            raise UnreadableError(f"{place}: {BASE} has no category; construct a class below it")
        texts = self._texts(module, call.args[0]) if call.args else []
        if not texts or not all(map(_has_words, texts)):
            if not call.args or not _is_cause(module, call.args[0]):
                raise UnreadableError(f"{place}: {error} without a text that can be read")
            texts = [""]
        given = {argument.arg: argument.value for argument in call.keywords}
        parts = [
            "; or ".join(dict.fromkeys(filter(_has_words, self._texts(module, given[name]))))
            if name in given
            else ""
            for name in ("expected", "remedy")
        ]
        yield from (Message(place, error, text, *parts) for text in texts)

    def _texts(
        self, module: Module, node: ast.expr, seen: frozenset[ast.expr] = frozenset()
    ) -> list[str]:
        """Return the texts that an expression may have, with names of values in braces."""
        if node in seen:
            return []
        seen |= {node}
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=values):
                return ["".join(_piece(value) for value in values)]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                sides = [self._texts(module, side, seen) or ["{…}"] for side in (left, right)]
                return ["".join(texts) for texts in product(*sides)]
            case ast.IfExp(body=body, orelse=orelse):
                options = [body, orelse]
            case ast.Call(func=ast.Attribute(value=ast.Dict(values=values), attr="get"), args=args):
                options = [*values, *args[1:]]
            case ast.Name(id=name):
                return [
                    text
                    for value_module, value in self._values(module, name, node)
                    for text in self._texts(value_module, value, seen)
                ] or [f"{{{name}}}"]
            case _:
                return [f"{{{_value_name(node)}}}"]
        return [text for option in options for text in self._texts(module, option, seen)]

    def _classes_of(
        self, module: Module, node: ast.expr, seen: frozenset[ast.expr] = frozenset()
    ) -> set[str]:
        """Return the classes of errors that an expression may be; none where it is none."""
        if node in seen:
            return set()
        if isinstance(node, ast.Name) and (error := self.classes.get((module.name, node.id))):
            return {error}
        seen |= {node}
        options = module.values(node.id, node) if isinstance(node, ast.Name) else _options(node)
        return {error for option in options for error in self._classes_of(module, option, seen)}

    def _values(self, module: Module, name: str, node: ast.AST) -> list[tuple[Module, ast.expr]]:
        """Return what a variable may be: what is assigned, or what callers pass."""
        values = [(module, value) for value in module.values(name, node)]
        for function in module.around(node):
            if not values and isinstance(function, FUNCTIONS):
                names = [argument.arg for argument in function.args.args]
                if name in [*names, *(argument.arg for argument in function.args.kwonlyargs)]:
                    index = names.index(name) - ("self" in names) if name in names else None
                    values = [
                        (where, value)
                        for where, call in self._calls_of(module, function.name)
                        if (value := _argument(call, name, index)) is not None
                    ]
        return values

    def _calls_of(self, module: Module, name: str) -> Iterator[tuple[Module, ast.Call]]:
        """Yield the calls of a module's function: of a private one, those of the module alone."""
        for where, call in self._calls.get(name, []):
            if where is module or not name.startswith("_"):
                yield where, call

    def _refuse_hidden_classes(self) -> None:
        """Refuse classes of the same name, and one that is named by way of its module."""
        names = set(self.classes.values())
        defined = [
            (f"{module.path}:{node.lineno}", node.name)
            for module in self.modules
            for node in module.nodes
            if isinstance(node, ast.ClassDef) and (module.name, node.name) in self.classes
        ]
        counts = Counter(name for _, name in defined)
        for place, name in defined:
            if counts[name] > 1:
                raise UnreadableError(f"{place}: {name} is defined twice; rename one")
        for module in self.modules:
            for part in chain.from_iterable(map(_class_uses, module.nodes)):
                if isinstance(part, ast.Attribute) and part.attr in names:
                    text = ast.unparse(part)
                    raise UnreadableError(
                        f"{module.path}:{part.lineno}: {text} is named by its module; import it"
                    )

    def _refuse_passed_classes(self, module: Module, call: ast.Call) -> None:
        """Refuse a class of errors that is passed to a function, which may construct it."""
        if name_of(call.func) in CLASS_TESTS:
            return
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
            if isinstance(argument, ast.Name) and (module.name, argument.id) in self.classes:
                raise UnreadableError(
                    f"{module.path}:{call.lineno}: {argument.id} is passed to "
                    f"{name_of(call.func)}; construct the error here"
                )

    def _refuse_unknown_class(self, module: Module, raised: ast.expr | None) -> None:
        """Refuse to raise an instance of a class that is computed, unless it can be read."""
        if not isinstance(raised, ast.Call) or self._classes_of(module, raised.func):
            return
        function = raised.func
        is_computed = not isinstance(function, (ast.Name, ast.Attribute)) or (
            isinstance(function, ast.Name) and _is_local(module, function)
        )
        if is_computed:
            raise UnreadableError(
                f"{module.path}:{raised.lineno}: raises an instance of {ast.unparse(function)}, "
                "whose class cannot be read"
            )


def package_sources() -> Mapping[str, str]:
    """Return the source of each module by its path below the package."""
    return {
        str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))
    }


def _options(node: ast.expr) -> Sequence[ast.expr]:
    """Return the expressions from which an expression takes its value."""
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.Tuple(elts=options) | ast.List(elts=options) | ast.Dict(values=options):
            return options
        case ast.GeneratorExp(elt=value) | ast.DictComp(value=value) | ast.Subscript(value=value):
            return [value]
        case ast.Call(func=ast.Name(id="next"), args=args):
            return args
        case ast.Call(func=ast.Attribute(value=value, attr="get"), args=args):
            return [value, *args[1:]]
        case _:
            return []


def _bindings_of(node: ast.AST) -> Iterable[tuple[str, ast.expr]]:
    """Yield each name that a node binds, with its value."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            | ast.NamedExpr(target=ast.Name(id=name), value=value)
            | ast.For(target=ast.Name(id=name), iter=value)
            | ast.comprehension(target=ast.Name(id=name), iter=value)
        ):
            yield name, value
        case _:
            pass


def _class_uses(node: ast.AST) -> Sequence[ast.expr]:
    """Return the expressions that are constructed or inherited."""
    if isinstance(node, ast.ClassDef):
        return node.bases
    return [node.func] if isinstance(node, ast.Call) else []


def _is_local(module: Module, name: ast.Name) -> bool:
    """Return whether a name is a variable or parameter of a function around it."""
    for function in module.around(name):
        if isinstance(function, FUNCTIONS):
            for node in ast.walk(function):
                is_parameter = isinstance(node, ast.arg) and node.arg == name.id
                if is_parameter or name.id in dict(_bindings_of(node)):
                    return True
    return False


def _is_cause(module: Module, node: ast.expr) -> bool:
    """Return whether an expression is the text of another error: its ``what``, or ``str`` of it."""
    if ast.unparse(node) in RECORDED:
        return True
    match node:
        case (
            ast.Attribute(value=ast.Name(id=name), attr="what")
            | ast.Call(func=ast.Name(id="str"), args=[ast.Name(id=name)])
        ):
            scopes = list(module.around(node))
            caught = any(isinstance(n, ast.ExceptHandler) and n.name == name for n in scopes)
            return caught or any(
                isinstance(part, ast.arg) and part.arg == name and part.annotation is not None
                and name_of(part.annotation).endswith(("Error", "Exception"))
                for scope in scopes
                if isinstance(scope, FUNCTIONS)
                for part in ast.walk(scope.args)
            )  # fmt: skip
        case _:
            return False


def _argument(call: ast.Call, name: str, index: int | None) -> ast.expr | None:
    """Return what a call passes for a parameter, by its name or index; None: its default."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in named or index is None or index >= len(call.args):
        return named.get(name)
    return call.args[index]


def _has_words(text: str) -> bool:
    """Return whether a text says more than the values that it quotes."""
    quoted = False
    kept = []
    for character in text:
        quoted = quoted or character == "{"
        kept.append("" if quoted else character)
        quoted = quoted and character != "}"
    return " " in "".join(kept).strip() or any(len(word) > 1 for word in "".join(kept).split())


def _piece(node: ast.expr) -> str:
    """Return a piece of an f-string, a value by its name in braces."""
    if isinstance(node, ast.FormattedValue):
        return f"{{{_value_name(node.value)}}}"
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _value_name(node: ast.expr) -> str:
    """Return the last name of a value that is put in, the shortest that says what it is."""
    if isinstance(node, ast.Call) and node.args:
        return _value_name(node.args[-1])
    return name_of(node) or "…"


def name_of(node: ast.AST) -> str:
    """Return the last name of an expression: `b` of `a.b`; nothing where it has none."""
    return getattr(node, "attr", getattr(node, "id", ""))

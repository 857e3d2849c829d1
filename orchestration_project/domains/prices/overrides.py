"""How vendors spell the symbols that no rule spells, as `prices.yaml` says."""

from collections.abc import Mapping
from typing import get_args

import yaml

from orchestration_project.domains.prices.symbols import Overrides, Vendor
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import syntax_problem

VENDORS: tuple[str, ...] = get_args(Vendor)

EXPECTED = "yahoo: {ABCw: ABC-WI, …}; a vendor, and below it the vendor's spelling by FINRA's"


def read_overrides(content: str) -> Mapping[str, Overrides]:
    """Return the spellings by vendor. All is text: `NO`, `NULL` and `1E5` are symbols.

    Raises:
        ConfigurationError: It is not such a file; the error names the fault.
    """
    try:
        root = yaml.compose(content, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise _build_error(syntax_problem(error)) from error
    overrides: dict[str, Overrides] = {vendor: {} for vendor in VENDORS}
    for vendor, node in _read_members(root, "the file"):
        if vendor not in VENDORS:
            raise _build_error(f"expected one of {', '.join(VENDORS)}, found {vendor!r}", node)
        overrides[vendor] = {
            ours: _read_text(item, ours) for ours, item in _read_members(node, vendor)
        }
        _refuse_alike(vendor, overrides[vendor], node)
    return overrides


def _read_members(node: yaml.Node | None, where: str) -> list[tuple[str, yaml.Node]]:
    """Return the members of a mapping, each name once; of nothing, none."""
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise _build_error(f"{where}: expected a mapping", node)
    members = [(_read_text(name, where), value) for name, value in node.value]
    names = [name for name, _ in members]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _build_error(
            f"{where}: expected each name once, found two of {', '.join(twice)}", node
        )
    return members


def _read_text(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _build_error(f"{where}: expected plain text", node)
    return node.value


def _refuse_alike(vendor: str, spellings: Overrides, node: yaml.Node) -> None:
    theirs = [spelling for spelling in spellings.values() if spelling]
    if twice := sorted({their for their in theirs if theirs.count(their) > 1}):
        text = f"{', '.join(twice)} for two symbols"
        raise _build_error(f"{vendor}: expected a spelling for each symbol, found {text}", node)


def _build_error(found: str, node: yaml.Node | None = None) -> ConfigurationError:
    return ConfigurationError(
        "invalid symbol spellings",
        expected=EXPECTED,
        found=f"line {node.start_mark.line + 1}: {found}" if node else found,
        remedy="correct the file that PRICES_SYMBOLS_FILE names",
    )

"""YAML as people write it into a file: what stands there twice is a mistake, and said to be one."""

from typing import Any

import yaml


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in names:
                raise yaml.MarkedYAMLError(None, None, f"{name} stands there twice", key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Return what a text says.

    Raises:
        YAMLError: It is no YAML, has a key twice, or a day such as 2026-02-30.
    """
    try:
        return yaml.load(text, _EachKeyOnce)  # noqa: S506 - a safe loader
    except ValueError as error:
        raise yaml.YAMLError(str(error)) from error

"""Digests of the rules that make rows of datasets, by `rule_version`.

`python -m tests.rule_versions --write` writes them after the versions of changed ones were raised.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from orchestration_project.catalog import REGISTRY, cboe, fx
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.engine.contracts.formulas import serialize_rules

DIGESTS = Path(__file__).with_suffix(".txt")


class RuleDigest(NamedTuple):
    """Version of the rules of a table, and a digest of them."""

    version: str
    digest: str


def read_versions() -> Mapping[str, str]:
    """Return the version of the rules of each declared dataset, by its table."""
    versions = {dataset.table.name: dataset.declared.rule_version for dataset in DATASETS}
    packaged = (fx.SOURCE.declared, cboe.SOURCE.declared)
    return versions | {dataset.name: dataset.rule_version for dataset in packaged}


def digest_rules(rules: Mapping[str, Any]) -> str:
    """Return a digest of what decides rows: formulas, rejects, filters and forms of captures."""
    formulas = {name: column.get("formula") for name, column in rules["columns"].items()}
    others = [rules.get(name) for name in ("rows_of", "key", "rejects", "filters", "forms")]
    return sha256(json.dumps([formulas, others]).encode()).hexdigest()[:16]


def make_digests() -> Mapping[str, RuleDigest]:
    """Return the present version and digest of each dataset, by its table."""
    return {
        name: RuleDigest(version, digest_rules(serialize_rules(REGISTRY.rules[name])))
        for name, version in read_versions().items()
        if name in REGISTRY.rules
    }


def read_digests() -> Mapping[str, RuleDigest]:
    """Return the versions and digests that were written."""
    lines = (line.split() for line in DIGESTS.read_text().splitlines())
    return {name: RuleDigest(version, digest) for name, version, digest in lines}


def find_unraised(
    written: Mapping[str, RuleDigest], present: Mapping[str, RuleDigest]
) -> list[str]:
    """Return what is wrong: datasets whose rules changed, and whose version did not."""
    return [
        f"invalid rule_version of {name}: expected another than {present[name].version}, as its "
        "rules changed"
        for name in sorted(written.keys() & present.keys())
        if written[name].version == present[name].version
        and written[name].digest != present[name].digest
    ]


def write(present: Mapping[str, RuleDigest]) -> None:
    """Write versions and digests.

    Raises:
        SystemExit: Rules changed without their version.
    """
    problems: Iterable[str] = find_unraised(read_digests(), present) if DIGESTS.exists() else []
    if problems:
        raise SystemExit("\n".join(problems))
    lines = [f"{name} {rule.version} {rule.digest}\n" for name, rule in sorted(present.items())]
    DIGESTS.write_text("".join(lines))


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write(make_digests())

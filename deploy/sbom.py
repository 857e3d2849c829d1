"""Writes the SBOM of what is installed beside this Python: SPDX 2.3, JSON, on standard output.

`python deploy/sbom.py [--without-system]`. Packages of Debian are listed where dpkg is. The same
packages give the same bytes, but for the time, which SOURCE_DATE_EPOCH sets.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).resolve().parents[1]
NAME, DOCUMENT = "orchestration_project", "SPDXRef-DOCUMENT"
FIELDS = "${db:Status-Status}\t${binary:Package}\t${Version}\t${Architecture}\n"

IDENTIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers that name one licence; "BSD License" is any of several, so none is declared."""


def package(kind: str, name: str, version: str, purl: str, **more: str) -> dict[str, Any]:
    """Return an SPDX package; ``purl`` is its address in a registry."""
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    }
    return {
        "SPDXID": f"SPDXRef-{kind}-{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        **more,
        "externalRefs": [reference],
    }


def licence(found: Distribution) -> dict[str, str]:
    """Return the declared licence, or the words of its metadata where these are no identifier."""
    fields = found.metadata
    if expression := fields.get("License-Expression"):
        return {"licenseDeclared": expression}
    classifiers = [each.rpartition(" :: ")[2] for each in fields.get_all("Classifier", [])]
    named = sorted({IDENTIFIERS[each] for each in classifiers if each in IDENTIFIERS})
    if len(named) == 1:
        return {"licenseDeclared": named[0]}
    text = (fields.get("License") or "").strip().partition("\n")[0]
    return {"licenseComments": f"metadata: {text}"} if text else {}


def python_packages() -> Iterator[dict[str, Any]]:
    """Yield the packages that are installed beside this Python, without the project."""
    found = {re.sub(r"[-_.]+", "-", each.name).lower(): each for each in distributions()}
    for name, each in sorted(found.items()):
        if name not in ("pip", NAME.replace("_", "-")):
            purl = f"pkg:pypi/{name}@{quote(each.version)}"
            yield package("Python", name, each.version, purl, **licence(each))


def system_packages() -> Iterator[dict[str, Any]]:
    """Yield the packages of Debian that are installed, if there are any."""
    if dpkg := shutil.which("dpkg-query"):
        done = subprocess.run(  # noqa: S603 - Debian's own program
            [dpkg, "-W", "-f", FIELDS], capture_output=True, text=True, check=True
        )
        for line in sorted(done.stdout.splitlines()):
            state, name, version, architecture = line.split("\t")
            if state == "installed":
                address = f"{quote(name.partition(':')[0])}@{quote(version)}"
                purl = f"pkg:deb/debian/{address}?arch={architecture}"
                yield package("Debian", name, version, purl)


def relationship(one: str, kind: str, other: str) -> Mapping[str, str]:
    """Return a relationship of two elements."""
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def document(*, has_system: bool, created_at: float) -> Mapping[str, Any]:
    """Return the SBOM as an SPDX document; ``created_at`` in seconds since 1970."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    own = package("Project", NAME, version, f"pkg:generic/{NAME}@{version}")
    own["licenseDeclared"] = "Apache-2.0"
    parts = [*python_packages(), *(system_packages() if has_system else ())]
    content = json.dumps([own, *parts], sort_keys=True)
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": f"{NAME}-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{uuid5(NAMESPACE_URL, content)}",
        "creationInfo": {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created_at)),
            "creators": [f"Tool: {NAME}-sbom"],
        },
        "packages": [own, *parts],
        "relationships": [
            relationship(DOCUMENT, "DESCRIBES", own["SPDXID"]),
            *(relationship(own["SPDXID"], "DEPENDS_ON", each["SPDXID"]) for each in parts),
        ],
    }


def main() -> int:
    """Write the document."""
    found = document(
        has_system="--without-system" not in sys.argv,
        created_at=float(os.environ.get("SOURCE_DATE_EPOCH", time.time())),
    )
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

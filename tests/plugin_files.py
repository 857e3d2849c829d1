"""Plugins as files and archives, small and valid unless a test says otherwise."""

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from orchestration_project.domains.plugins.signatures import SIGNATURE_FILE, public_key_of, sign
from orchestration_project.resources.plugins.isolation import isolation_status
from orchestration_project.settings import load_settings


@cache
def usable_isolation() -> str:
    """Return the strictest isolation that this machine grants, a value of PLUGINS_ISOLATION."""
    status = isolation_status(load_settings())
    return "namespaces" if status.is_enforced else "process"


requires_namespaces = pytest.mark.skipif(
    usable_isolation() != "namespaces",
    reason="bubblewrap is not installed, or the system grants no namespaces",
)

PRIVATE_KEY = bytes(range(32))
PUBLIC_KEY = public_key_of(PRIVATE_KEY)
MAIN = """from plugin import start

with start() as run:
    run.emit("items", [("1", {"title": "First"})])
"""


def manifest(**changes: Any) -> dict[str, Any]:
    """Return the fields of plugin.yaml; None removes one."""
    fields = {
        "id": "rss",
        "version": "1.0.0",
        "publisher": "example.org",
        "kind": "source",
        "entry": "main.py",
        "requires": ">=0.1",
        "permissions": {"hosts": [{"host": "example.org"}], "tables": ["items"]},
        "row_schemas": {"items": {"type": "object"}},
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def plugin_files(*, more: Mapping[str, bytes] | None = None, **changes: Any) -> dict[str, bytes]:
    """Return the files of a plugin, with these fields of plugin.yaml and more files."""
    declared = json.dumps(manifest(**changes)).encode()  # JSON is YAML
    return {"plugin.yaml": declared, "main.py": MAIN.encode(), **(more or {})}


def zipped(files: Mapping[str, bytes], prefix: str = "") -> bytes:
    """Return a zip archive of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(f"{prefix}{path}", content)
    return buffer.getvalue()


def signed(files: Mapping[str, bytes], key: bytes = PRIVATE_KEY) -> dict[str, bytes]:
    """Return the files with a signature of them."""
    return {**files, SIGNATURE_FILE: sign(files, key)}


def flipped(signature: bytes) -> bytes:
    """Return a signature with one other byte in its middle."""
    raw = bytearray(base64.b64decode(signature))
    raw[32] ^= 1
    return base64.b64encode(raw)

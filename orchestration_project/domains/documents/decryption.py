"""Encrypted files of Office, opened with passwords."""

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from orchestration_project.domains.documents.media_types import OLE


def decrypted(content: bytes, passwords: Sequence[str]) -> bytes | None:
    """Return a compound file decrypted with the first password that opens it.

    None: it is not an encrypted file of Office, or none opens it. A damaged file counts as not
    encrypted, as its reader has the reason code for the damage.

    Args:
        content: The file.
        passwords: Tried in their order.
    """
    if not passwords or not content.startswith(OLE):
        return None
    for password in passwords:
        with suppress(Exception):  # of any class for damaged files, and another for each wrong one
            file = _open_office_file(content)
            if not file.is_encrypted():
                return None
            file.load_key(password=password, **_select_options(file))
            target = BytesIO()
            file.decrypt(target)
            return target.getvalue()
    return None


def is_encrypted(content: bytes) -> bool:
    """Return whether a compound file is an encrypted one of Office; a damaged file is not."""
    with suppress(Exception):  # of any class for damaged files
        return bool(_open_office_file(content).is_encrypted())
    return False


def _open_office_file(content: bytes) -> Any:
    import msoffcrypto
    from msoffcrypto.format import doc97, ppt97, xls97

    # a worker may write no file, not even a temporary one
    for module in (doc97, ppt97, xls97):
        module.__dict__["tempfile"] = SimpleNamespace(TemporaryFile=BytesIO)
    return msoffcrypto.OfficeFile(BytesIO(content))


def _select_options(file: Any) -> dict[str, bool]:
    """Return the option that has a wrong password refused; formats before 2007 always do."""
    return {"verify_password": True} if file.format == "ooxml" else {}

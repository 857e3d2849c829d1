"""ZIP archives, alone or as the container of another format: members inflate within limits.

The sizes in an archive's directory are what its writer claims, so none is trusted.
"""

import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from posixpath import normpath
from zipfile import BadZipFile, ZipFile, ZipInfo

from orchestration_project.domains.documents.extracted import Draft, Limits
from orchestration_project.domains.documents.reasons import DocumentError

BLOCK = 65_536
LOCAL_HEADER_BYTES = 30
END_RECORD = b"PK\x05\x06"
IS_ENCRYPTED = 1
"""Flag bit of a member."""

AES = 99
"""Method of a member that WinZip's AES (AE-1 or AE-2) encrypts, which has no reader here."""

FAILURES = (
    *(BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, IndexError, OverflowError),
    RuntimeError,
)
"""Exceptions of `zipfile` for damaged archives."""


def read(content: bytes, draft: Draft) -> None:
    """Add the members as children; the archive itself has no pages.

    Links, and encrypted members that no password opens, are noted. A member whose name leads out
    of the archive refuses it as a whole, as none is created by accident.
    """
    with opened(content, draft.limits, draft.options.passwords) as archive:
        for member in archive.members:
            refuse_unsafe(member.filename)
        draft.went_to["folders"] = archive.folder_count
        locked = 0
        for member in archive.members:
            if is_link(member):
                draft.note("member_is_link", member.filename)
                draft.went_to["links"] += 1
                continue
            inflated = archive.unlocked(member)
            if inflated is None:
                locked += 1
                draft.note(f"member_{_lock_of(member)}", member.filename)
                draft.went_to["encrypted"] += 1
            else:
                draft.add_child(member.filename, inflated)
        if locked and locked == len(archive.members):
            codes = {_lock_of(member) for member in archive.members}
            code = "encrypted" if "encrypted" in codes else "encrypted_by_aes"
            raise DocumentError(code, f"{locked} members")


def _lock_of(member: ZipInfo) -> str:
    """Return the reason code of a member that no password has opened."""
    return "encrypted_by_aes" if member.compress_type == AES else "encrypted"


@contextmanager
def opened(content: bytes, limits: Limits, passwords: Sequence[str] = ()) -> Iterator["Archive"]:
    """Give the archive of these bytes; its damage ends as a reason.

    Raises:
        DocumentError: ``truncated``, ``corrupt``, ``archive_overlap``, ``too_many_children``, and
            what `Archive` raises.
    """
    try:
        with ZipFile(BytesIO(content)) as file:
            yield Archive(file, limits, passwords)
    except DocumentError:
        raise
    except RecursionError:
        raise
    except NotImplementedError as error:
        raise DocumentError("unsupported_feature", str(error)) from error
    except FAILURES as error:
        code = "corrupt" if END_RECORD in content else "truncated"
        raise DocumentError(code, f"ZIP: {error}") from error


class Archive:
    """The members of an archive, inflated within the limits of all together."""

    def __init__(self, file: ZipFile, limits: Limits, passwords: Sequence[str] = ()) -> None:
        self._file = file
        self._limits = limits
        self._passwords = [password.encode() for password in passwords]
        self._left = limits.inflated_bytes
        self.members = [zip_info for zip_info in file.infolist() if not zip_info.is_dir()]
        self.folder_count = len(file.infolist()) - len(self.members)
        if len(self.members) > limits.children:
            raise DocumentError("too_many_children", f"{len(self.members):,} members")
        _refuse_overlap(self.members)
        self._by_name = {member.filename: member for member in self.members}

    @property
    def names(self) -> Mapping[str, ZipInfo]:
        """The members by name; of a name that occurs twice the last."""
        return self._by_name

    def read(self, member: ZipInfo) -> bytes:
        """Return the bytes of a member.

        Raises:
            DocumentError: ``encrypted``, ``encrypted_by_aes``, ``archive_ratio`` or
                ``archive_too_large``.
        """
        inflated = self.unlocked(member)
        if inflated is None:
            raise DocumentError(_lock_of(member), member.filename)
        return inflated

    def unlocked(self, member: ZipInfo) -> bytes | None:
        """Return the bytes of a member; None: it is encrypted, and no password opens it.

        The check of ZIP lets one wrong password of 256 pass, so the checksum decides.

        Raises:
            DocumentError: ``archive_ratio`` or ``archive_too_large``.
        """
        if not member.flag_bits & IS_ENCRYPTED:
            return self._inflated(member)
        if member.compress_type == AES:
            return None
        for password in self._passwords:
            left = self._left
            with suppress(BadZipFile, zlib.error, RuntimeError, EOFError):
                return self._inflated(member, password)
            self._left = left
        return None

    def _inflated(self, member: ZipInfo, password: bytes | None = None) -> bytes:
        blocks, size = list[bytes](), 0
        number = max(member.compress_size, 1) * self._limits.ratio
        with self._file.open(member, pwd=password) as source:
            while block := source.read(BLOCK):
                size += len(block)
                self._left -= len(block)
                if size > self._limits.ratio_from_bytes and size > number:
                    raise DocumentError("archive_ratio", f"more than {self._limits.ratio}")
                if self._left < 0:
                    raise DocumentError(
                        "archive_too_large", f"more than {self._limits.inflated_bytes:,} bytes"
                    )
                blocks.append(block)
        return b"".join(blocks)

    def part(self, name: str) -> bytes | None:
        """Return the bytes of the member with a name; None if there is none."""
        member = self._by_name.get(name)
        return None if member is None else self.read(member)

    def optional(self, name: str, draft: Draft, use: Callable[[bytes], None]) -> None:
        """Call a function with a part that a document can be read without.

        One that is damaged is noted; limits, encryption and entities refuse the document.
        """
        try:
            content = self.part(name)
            if content is not None:
                use(content)
        except DocumentError as error:
            if error.reason_code not in ("corrupt", "truncated"):
                raise
            draft.note("parts_unreadable", name)
        except FAILURES:
            draft.note("parts_unreadable", name)


def _refuse_overlap(members: list[ZipInfo]) -> None:
    """Refuse an archive in which members share bytes: each has its own in a normal one."""
    end = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset < end:
            raise DocumentError("archive_overlap", member.filename[:100])
        end = member.header_offset + LOCAL_HEADER_BYTES + member.compress_size


def refuse_unsafe(name: str) -> None:
    """Refuse the name of a member that leads out of its archive.

    Raises:
        DocumentError: ``unsafe_path``.
    """
    path = name.replace("\\", "/")
    is_drive = len(path) > 1 and path[1] == ":" and path[0].isalpha()
    if path.startswith("/") or is_drive or ".." in path.split("/"):
        raise DocumentError("unsafe_path", name[:200])


def is_link(member: ZipInfo) -> bool:
    """Return whether a member is a symbolic link."""
    return stat.S_ISLNK(member.external_attr >> 16)


def relative(base: str, target: str) -> str:
    """Return the name of a part that another part names, e.g. ``../media/a.png``."""
    if target.startswith("/"):
        return normpath(target.lstrip("/"))
    with suppress(ValueError):
        folder = base.rpartition("/")[0]
        return normpath(f"{folder}/{target}" if folder else target)
    return target

"""Archives of plugins: verified before anything is unpacked, within bounds of everything."""

import hashlib
import re
import stat
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from orchestration_project.domains.plugins.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    Manifest,
    read_manifest,
)
from orchestration_project.errors import ContractError

Files = Mapping[str, bytes]
"""Content by path, with slashes, relative to the folder of the plugin."""

MAX_FILE_COUNT = 1_000
MAX_UNPACKED_BYTES = 64 * 2**20
MAX_ARCHIVE_BYTES = MAX_UNPACKED_BYTES
MAX_RATIO, RATIO_FROM_BYTES = 100, 2**20
MAX_PATH_CHARACTERS, MAX_DEPTH = 200, 10
BLOCK = 65_536
IS_ENCRYPTED = 1
LIB_FOLDER, WHEELS_FOLDER = "lib", "wheels"
FIRST_DATE = (1980, 1, 1, 0, 0, 0)

NATIVE_NAMES = re.compile(
    r"\.(so(\.\d+)*|dll|dylib|pyd|exe|node|a|o|lib|com|bat|ps1|class|jar|wasm)$", re.IGNORECASE
)
NATIVE_MAGIC = {
    b"\x7fELF": "ELF",
    b"\xfe\xed\xfa\xce": "Mach-O",
    b"\xfe\xed\xfa\xcf": "Mach-O",
    b"\xce\xfa\xed\xfe": "Mach-O",
    b"\xcf\xfa\xed\xfe": "Mach-O",
    b"\xca\xfe\xba\xbe": "Mach-O or Java",
    b"!<arch>\n": "a static library",
    b"\x00asm": "WebAssembly",
}
HIDDEN_CODE = re.compile(r"\.(pth|pyc|pyo|egg-link)$", re.IGNORECASE)
"""Files that Python runs at its start, or instead of the source that people can read."""

DAMAGES = (BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)
"""Exceptions of `zipfile` for damaged archives and unsupported methods."""


def read_archive(content: bytes) -> Files:
    """Return the files of a zip archive; nothing is written.

    One folder that holds all of them is left out.

    Raises:
        ContractError: It is damaged, or breaks a rule of this module.
    """
    inflated = _inflate_archive(content, MAX_UNPACKED_BYTES)
    tops = {path.partition("/")[0] for path in inflated}
    if MANIFEST_FILE not in inflated and len(tops) == 1:
        prefix = f"{tops.pop()}/"
        inflated = {path.removeprefix(prefix): chunk for path, chunk in inflated.items()}
    return check_files(inflated)


def check_files(files: Files) -> Files:
    """Return the files of a plugin, sorted, if each of them may be stored and unpacked.

    Raises:
        ContractError: There are too many, a name is unsafe, or one holds native code.
    """
    if len(files) > MAX_FILE_COUNT:
        raise _build_refusal(f"at most {MAX_FILE_COUNT} files", f"{len(files)} files")
    total = sum(map(len, files.values()))
    if total > MAX_UNPACKED_BYTES:
        raise _build_refusal(f"at most {MAX_UNPACKED_BYTES} bytes unpacked", f"{total} bytes")
    check_paths(files)
    for path, file in files.items():
        _refuse_code(path, file)
    if MANIFEST_FILE not in files:
        raise _build_refusal(f"a file {MANIFEST_FILE}", f"{len(files)} other files")
    return dict(sorted(files.items()))


def check_paths(paths: Iterable[str]) -> None:
    """Make sure that files of these paths stay in their folder, and are files of their own.

    Raises:
        ContractError: A path leads out of the folder, or two are one on some file system.
    """
    names: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        if (
            not path
            or len(path) > MAX_PATH_CHARACTERS
            or len(parts) > MAX_DEPTH
            or not path.isprintable()
            or any(part in ("", ".", "..") or part != part.strip() for part in parts)
            or any(character in path for character in '\\:*?"<>|')
        ):
            raise _build_refusal("paths below the folder, such as rss/main.py", f"{path[:100]!r}")
        for number in range(1, len(parts) + 1):
            text = "/".join(parts[:number])
            key = unicodedata.normalize("NFC", text).casefold()
            is_file = number == len(parts)
            if (is_file and key in names) or names.get(key, text + "/") != text + "/":
                raise _build_refusal(
                    "names that differ on every file system", f"{path[:100]!r} twice"
                )
            names[key] = text if is_file else text + "/"


def manifest_in(files: Files) -> Manifest:
    """Return the manifest of a plugin, whose entry and wheels are there.

    Raises:
        ConfigurationError: The manifest is invalid.
        ContractError: It names a file that the plugin lacks, or one with another hash.
    """
    content = files[MANIFEST_FILE]
    try:
        if len(content) > MAX_MANIFEST_BYTES:
            raise ValueError
        text = content.decode()
    except ValueError as error:
        raise _build_refusal(
            f"{MANIFEST_FILE} in UTF-8, of at most {MAX_MANIFEST_BYTES} bytes",
            f"{len(content)} bytes",
        ) from error
    manifest = read_manifest(text)
    if manifest.entry not in files:
        raise _build_refusal(f"the entry {manifest.entry}", "no such file").within(
            plugin=manifest.id
        )
    names = {f"{WHEELS_FOLDER}/{wheel.file}": wheel.sha256 for wheel in manifest.wheels}
    extra = [path for path in files if path.startswith(f"{WHEELS_FOLDER}/") and path not in names]
    if extra:
        raise _build_refusal("a line of wheels for each wheel", f"{extra[0][:100]!r} without one")
    for path, sha256 in names.items():
        hexdigest = hashlib.sha256(files[path]).hexdigest() if path in files else "no such file"
        if hexdigest != sha256:
            raise _build_refusal(f"{path} with the SHA-256 {sha256}", hexdigest)
    return manifest


def with_wheels(files: Files, manifest: Manifest) -> Files:
    """Return the files with those of its wheels in ``lib``; nothing of a wheel is run.

    Raises:
        ContractError: A wheel is not pure Python, or has a file that is there already.
    """
    chunks = dict(files)
    for wheel in manifest.wheels:
        if not wheel.file.endswith("-none-any.whl"):
            raise _build_refusal(
                "wheels of pure Python, such as a-1.0-py3-none-any.whl", wheel.file
            )
        room = MAX_UNPACKED_BYTES - sum(map(len, chunks.values()))
        members = _inflate_archive(files[f"{WHEELS_FOLDER}/{wheel.file}"], room)
        metadata = [
            member.decode("utf-8", "replace")
            for path, member in members.items()
            if path.endswith(".dist-info/WHEEL")
        ]
        if [name for name in metadata if "Root-Is-Purelib: true" in name] != metadata[:1]:
            raise _build_refusal("a wheel with Root-Is-Purelib: true", wheel.file)
        for path, member in members.items():
            if path.partition("/")[0].endswith(".data"):
                raise _build_refusal("a wheel without scripts and data", f"{path[:100]!r}")
            text = f"{LIB_FOLDER}/{path}"
            if text in chunks:
                raise _build_refusal("files that no other wheel has", f"{text[:100]!r} twice")
            chunks[text] = member
    return check_files(chunks)


def canonical_archive(files: Files) -> bytes:
    """Return the archive that equal files always make: sorted, not compressed, without dates."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for path, chunk in sorted(files.items()):
            member = ZipInfo(path, FIRST_DATE)
            member.create_system = 3
            member.external_attr = (stat.S_IFREG | 0o444) << 16
            archive.writestr(member, chunk)
    return buffer.getvalue()


def canonical_sha256(files: Files) -> str:
    """Return the SHA-256 of the canonical archive, by which a plugin is stored."""
    return hashlib.sha256(canonical_archive(files)).hexdigest()


def _inflate_archive(content: bytes, room: int) -> dict[str, bytes]:
    if len(content) > MAX_ARCHIVE_BYTES:
        raise _build_refusal(
            f"an archive of at most {MAX_ARCHIVE_BYTES} bytes", f"{len(content)} bytes"
        )
    try:
        with ZipFile(BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members)
            inflated = dict[str, bytes]()
            for member in members:
                if not member.is_dir():
                    inflated[member.filename] = _read(archive, member, room)
                    room -= len(inflated[member.filename])
            return inflated
    except DAMAGES as error:
        raise _build_refusal("a zip archive", str(error)[:200] or type(error).__name__) from error


def _check_members(members: Sequence[ZipInfo]) -> None:
    """Refuse an archive whose directory is invalid, before a byte of it is inflated."""
    if len(members) > MAX_FILE_COUNT:
        raise _build_refusal(f"at most {MAX_FILE_COUNT} files", f"{len(members)} files")
    for member in members:
        name = f"{member.filename[:100]!r}"
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _build_refusal("files and folders only", f"{name} is a link or device")
        if member.flag_bits & IS_ENCRYPTED:
            raise _build_refusal("an archive without a password", f"{name} is encrypted")
        if member.orig_filename != member.filename:
            raise _build_refusal("paths with slashes, without NUL", name)
    check_paths(zip_info.filename for zip_info in members if not zip_info.is_dir())
    check_paths(zip_info.filename.rstrip("/") for zip_info in members if zip_info.is_dir())


def _read(archive: ZipFile, member: ZipInfo, room: int) -> bytes:
    """Return a member; the sizes that the archive claims are not trusted."""
    content = bytearray()
    number = max(member.compress_size, 1) * MAX_RATIO
    with archive.open(member) as file:
        while block := file.read(BLOCK):
            content += block
            if len(content) > room:
                raise _build_refusal(f"at most {MAX_UNPACKED_BYTES} bytes unpacked", "more")
            if len(content) > RATIO_FROM_BYTES and len(content) > number:
                raise _build_refusal(
                    f"members that inflate at most {MAX_RATIO} times",
                    f"{member.filename[:100]!r} inflates more",
                )
    return bytes(content)


def _refuse_code(path: str, content: bytes) -> None:
    kind = next((name for magic, name in NATIVE_MAGIC.items() if content.startswith(magic)), "")
    if content.startswith(b"MZ") and b"\0" in content[:1024]:
        kind = "a program of Windows"
    if NATIVE_NAMES.search(path) or kind:
        raise _build_refusal("Python and data, no native code", f"{path[:100]!r} {kind}".strip())
    if HIDDEN_CODE.search(path):
        raise _build_refusal("Python as source, without .pth and .pyc", f"{path[:100]!r}")


def _build_refusal(expected: str, found: str) -> ContractError:
    return ContractError(
        "the plugin's archive is refused",
        expected=expected,
        found=found,
        remedy="build the archive again with plugin.yaml, Python source and data only",
    )

"""Archives of plugins: what is refused before anything of them is written."""

import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.plugins import archives
from orchestration_project.domains.plugins.archives import (
    canonical_archive,
    canonical_sha256,
    check_paths,
    manifest_in,
    read_archive,
    with_wheels,
)
from orchestration_project.errors import ConfigurationError, ContractError
from tests.plugin_files import plugin_files, zipped


def expect_refusal(content: bytes) -> str:
    with pytest.raises(ContractError) as refused:
        read_archive(content)
    assert refused.value.what == "the plugin's archive is refused"
    assert refused.value.remedy
    return f"{refused.value.expected}: {refused.value.found}"


def with_member(name: str, content: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> bytes:
    """Return the archive of a valid plugin with one more member."""
    buffer = io.BytesIO(zipped(plugin_files()))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, content)
    return buffer.getvalue()


def test_an_archive_has_its_files_also_below_one_folder():
    files = plugin_files(more={"data/a.txt": b"a"})
    assert read_archive(zipped(files)) == files
    assert read_archive(zipped(files, "rss-1.0.0/")) == files


def test_equal_files_have_one_canonical_archive_however_they_were_packed():
    files = plugin_files(more={"data/a.txt": b"a"})
    backwards = dict(reversed(list(files.items())))
    assert canonical_archive(files) == canonical_archive(backwards)
    assert read_archive(canonical_archive(files)) == files
    assert canonical_sha256(files) != canonical_sha256(files | {"data/a.txt": b"b"})


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../main.py",
            "a/../../main.py",
            "/etc/passwd",
            "C:/x.py",
            "a\\b.py",
            "a//b.py",
            "./a.py",
        ),
        *("a/./b.py", "a\n.py", "a\x7f.py", " a.py", "a /b.py", "a" * 201, "a/" * 10 + "b.py"),
        *("MAIN.py", "main.py/x.py", "Plugin.YAML"),
    ],
)
def test_a_member_with_an_unsafe_or_colliding_name_refuses_the_archive(name: str):
    assert "below the folder" in (found := expect_refusal(with_member(name))) or "differ" in found


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_refuses_the_archive():
    assert "'main.py' twice" in expect_refusal(with_member("main.py"))


def test_names_that_differ_in_unicode_alone_collide():
    with pytest.raises(ContractError, match="refused"):
        check_paths(["é.txt", "e\u0301.txt"])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_refuses_the_archive(kind: int):
    assert "link or device" in expect_refusal(with_member("a.txt", b"/etc/passwd", kind | 0o777))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(
            ("fast.so", b""),
            ("fast.so.1", b""),
            ("fast.PYD", b""),
            ("a.dll", b""),
            ("a.dylib", b""),
        ),
        *(("data.bin", b"\x7fELF\x02"), ("data", b"\xcf\xfa\xed\xfe"), ("x", b"MZ\x90\x00\x03")),
        *(("a.pth", b"import os"), ("main.pyc", b""), ("lib/x.pth", b"")),
    ],
)
def test_native_and_hidden_code_refuses_the_archive(name: str, content: bytes):
    assert repr(name) in expect_refusal(with_member(name, content))


def test_an_archive_that_inflates_too_much_is_refused_before_it_is_whole():
    bomb = with_member("zeros", bytes(8 * 2**20))
    assert len(bomb) < 20_000
    assert "'zeros' inflates more" in expect_refusal(bomb)


def test_more_files_or_bytes_than_allowed_refuse_the_archive(monkeypatch: pytest.MonkeyPatch):
    many = zipped({f"{number}.txt": b"" for number in range(1_001)})
    assert "1001 files" in expect_refusal(many)
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1_000)
    assert "1000 bytes unpacked" in expect_refusal(with_member("a", bytes(range(256)) * 4))


def test_an_encrypted_archive_is_refused():
    content = bytearray(with_member("a.txt"))
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = content.rfind(signature) + place
        flags = struct.unpack_from("<H", content, start)[0]
        struct.pack_into("<H", content, start, flags | 1)
    assert "is encrypted" in expect_refusal(bytes(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a zip",
        lambda content: content[:-30],
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"PK\x03\x04", b"PK\x03\x05"),
    ],
)
def test_a_damaged_archive_is_refused(damage: Callable[[bytes], bytes]):
    assert "a zip archive" in expect_refusal(damage(zipped(plugin_files())))


@given(st.integers(0, 2**32), st.binary(min_size=1, max_size=20))
def test_no_bytes_at_any_place_do_more_than_refuse_the_archive(place: int, written: bytes):
    content = zipped(plugin_files())
    start = place % len(content)
    try:
        files = read_archive(content[:start] + written + content[start + len(written) :])
        manifest_in(files)
    except (ContractError, ConfigurationError):
        pass


def test_a_plugin_without_a_manifest_or_entry_is_refused():
    assert "a file plugin.yaml" in expect_refusal(zipped({"main.py": b""}))
    files = plugin_files()
    del files["main.py"]
    with pytest.raises(ContractError) as refused:
        manifest_in(files)
    assert refused.value.expected == "the entry main.py"
    with pytest.raises(ContractError, match="refused"):
        manifest_in(plugin_files() | {"plugin.yaml": b"\xff"})


def wheel_of(files: dict[str, bytes], name: str = "dep-1.0-py3-none-any.whl", **changes: str):
    metadata = {"dep-1.0.dist-info/WHEEL": b"Root-Is-Purelib: true\n"}
    content = zipped(metadata | files)
    pin = {"file": name, "sha256": hashlib.sha256(content).hexdigest()} | changes
    return plugin_files(wheels=[pin], more={f"wheels/{name}": content})


def unpacked(files: dict[str, bytes]) -> set[str]:
    return set(with_wheels(files, manifest_in(files)))


def test_a_pinned_wheel_is_unpacked_into_lib():
    found = unpacked(wheel_of({"dep/__init__.py": b"", "dep-1.0.dist-info/entry_points.txt": b""}))
    assert {"lib/dep/__init__.py", "main.py"} <= found


@pytest.mark.parametrize(
    "files",
    [
        wheel_of({"dep.py": b""}, sha256="0" * 64),
        wheel_of({"dep.py": b""}, file="other-1.0-py3-none-any.whl"),
        wheel_of({"dep.py": b""}, name="dep-1.0-cp311-cp311-linux_x86_64.whl"),
        wheel_of({"dep.so": b""}),
        wheel_of({"dep.pth": b"import os"}),
        wheel_of({"../../dep.py": b""}),
        wheel_of({"dep-1.0.data/scripts/dep": b""}),
        wheel_of({"dep-1.0.dist-info/WHEEL": b"Root-Is-Purelib: false\n"}),
        plugin_files(more={"wheels/dep-1.0-py3-none-any.whl": b""}),
    ],
    ids=[
        "hash",
        "missing",
        "platform",
        "native",
        "pth",
        "traversal",
        "scripts",
        "flag",
        "unlisted",
    ],
)
def test_a_wheel_that_is_not_pinned_or_not_pure_python_is_refused(files: dict[str, bytes]):
    with pytest.raises(ContractError, match="refused"):
        unpacked(files)

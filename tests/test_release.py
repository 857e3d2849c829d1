"""`make release`: contents of the archives, and hashes of built files."""

import hashlib
import platform
import runpy
import tarfile
import tomllib

from packaging.requirements import Requirement

from orchestration_project.settings import PROJECT_ROOT

RELEASE = runpy.run_path(str(PROJECT_ROOT / ".ci" / "release.py"))
WHEEL = "orchestration_project-0.1.0-py3-none-any.whl"
LICENCE = "orchestration_project-0.1.0.dist-info/licenses/LICENSE"


def problems(file, *names):
    return list(RELEASE["problems_of"](file, list(names), ["LICENSE", "tests/pages.py"]))


def test_files_of_other_packages_in_a_wheel_and_a_missing_licence_are_problems():
    assert problems(WHEEL, "orchestration_project/errors.py", LICENCE) == []
    assert problems(WHEEL, "tests/pages.py", "orchestration_demo/__init__.py") == [
        f"{WHEEL} has orchestration_demo/__init__.py",
        f"{WHEEL} has tests/pages.py",
        f"{WHEEL} lacks LICENSE",
    ]


def test_the_source_distribution_has_the_files_of_the_commit_and_no_others():
    metadata, licence, tests = (f"p-1/{name}" for name in ("PKG-INFO", "LICENSE", "tests/pages.py"))
    assert problems("p-1.tar.gz", metadata, licence, tests) == []
    assert problems("p-1.tar.gz", metadata, tests, "p-1/.env") == [
        "p-1.tar.gz has .env",
        "p-1.tar.gz lacks LICENSE",
    ]


def test_each_built_file_has_its_hash(tmp_path):
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    assert list(RELEASE["hashes"](tmp_path).items()) == [
        (name, hashlib.sha256(content).hexdigest()) for name, content in (("a", b"1"), ("b", b"2"))
    ]


def test_the_archive_of_the_docs_has_sorted_members_without_owner_and_one_time(tmp_path):
    packed = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        (folder / "a").mkdir(parents=True)
        (folder / "b.html").write_text("2")
        (folder / "a" / "index.html").write_text("1")
        (folder / "b.html").chmod(0o600)
        RELEASE["pack"](folder, folder.with_suffix(".tar.gz"), 1_700_000_000, "docs/")
        packed.append(folder.with_suffix(".tar.gz").read_bytes())
    assert packed[0] == packed[1]
    assert packed[0][3:8] == bytes(5), "neither a name nor a time in the header of gzip"
    with tarfile.open(tmp_path / "first.tar.gz") as archive:
        assert [
            (member.name, member.mtime, member.uid, member.gid, member.uname, member.mode)
            for member in archive
        ] == [
            (name, 1_700_000_000, 0, 0, "", 0o644) for name in ("docs/a/index.html", "docs/b.html")
        ]


def test_cyclonedx_has_packages_licences_and_addresses_of_the_spdx_document():
    package = runpy.run_path(str(PROJECT_ROOT / "deploy" / "sbom.py"))["package"]
    uuid = "9f2b9a0e-6d0b-5a3e-8a52-0d5e4c1f7b11"
    found = RELEASE["cyclonedx"](
        {
            "documentNamespace": f"https://spdx.org/spdxdocs/p-{uuid}",
            "creationInfo": {"created": "2026-01-02T03:04:05Z"},
            "packages": [
                package("Project", "p", "1", "pkg:generic/p@1", licenseDeclared="Apache-2.0"),
                package("Python", "a", "2", "pkg:pypi/a@2", licenseDeclared="MIT OR Apache-2.0"),
                package("Python", "b", "3", "pkg:pypi/b@3", licenseComments="metadata: BSD"),
                package("Python", "c", "4", "pkg:pypi/c@4"),
            ],
        }
    )
    assert found["specVersion"] == "1.6"
    assert found["serialNumber"] == f"urn:uuid:{uuid}"
    assert found["metadata"] == {
        "timestamp": "2026-01-02T03:04:05Z",
        "component": {
            "type": "application",
            "bom-ref": "SPDXRef-Project-p",
            "name": "p",
            "version": "1",
            "licenses": [{"expression": "Apache-2.0"}],
            "purl": "pkg:generic/p@1",
        },
    }
    assert [(part["purl"], part.get("licenses")) for part in found["components"]] == [
        ("pkg:pypi/a@2", [{"expression": "MIT OR Apache-2.0"}]),
        ("pkg:pypi/b@3", [{"license": {"name": "BSD"}}]),
        ("pkg:pypi/c@4", None),
    ]
    names = ["SPDXRef-Python-a", "SPDXRef-Python-b", "SPDXRef-Python-c"]
    assert found["dependencies"] == [{"ref": "SPDXRef-Project-p", "dependsOn": names}]


def test_the_provenance_names_artifacts_commit_command_python_and_locks_alone():
    locks = {"dev.lock": "d", "docs.lock": "o", "other.lock": "x", "release.lock": "r"}
    locks["runtime.lock"] = "t"
    found = RELEASE["provenance"]({"a.whl": "1", "b.json": "2"}, "c0ffee", "1700000000", locks)
    builder = "pkg:generic/orchestration_project#.ci/release.py"
    assert found == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "a.whl", "digest": {"sha256": "1"}},
            {"name": "b.json", "digest": {"sha256": "2"}},
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": builder,
                "externalParameters": {"command": "make release", "commit": "c0ffee"},
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": "1700000000",
                    "python": platform.python_version(),
                },
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": "c0ffee"}},
                    {"name": "requirements/dev.lock", "digest": {"sha256": "d"}},
                    {"name": "requirements/docs.lock", "digest": {"sha256": "o"}},
                    {"name": "requirements/release.lock", "digest": {"sha256": "r"}},
                    {"name": "requirements/runtime.lock", "digest": {"sha256": "t"}},
                ],
            },
            "runDetails": {"builder": {"id": builder}},
        },
    }


def test_the_lock_of_releases_pins_the_build_backend_of_both_distributions():
    """`build --no-isolation` installs nothing: the lock must have what it needs."""
    pinned = runpy.run_path(str(PROJECT_ROOT / ".ci/locks.py"))["pinned"]
    lines = (PROJECT_ROOT / "requirements/release.lock").read_text().splitlines()
    for name in ("pyproject.toml", "demo/pyproject.toml"):
        system = tomllib.loads((PROJECT_ROOT / name).read_text())["build-system"]
        [requirement] = map(Requirement, system["requires"])
        assert system["build-backend"].partition(".")[0] == requirement.name == "hatchling"
        for python in ("3.11", "3.12", "3.13"):
            assert requirement.specifier.contains(pinned(lines, python)["hatchling"]), python
    assert "--no-isolation" in RELEASE["WITH_LOCKED_BACKEND"]

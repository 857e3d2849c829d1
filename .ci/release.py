"""Builds what a release has into dist/, twice, and compares the bytes of both builds.

`.ci/release.py`: source distribution, wheel, the wheel of the demo, the site of the docs, the image
as an archive of OCI, the SBOM as SPDX and CycloneDX, their provenance, and SHA256SUMS. The last
commit gives their times. Nothing is uploaded, and no tag is made.
"""

import gzip
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / ".venv-release/bin"
SITE_BUILDER = ROOT / ".venv-docs/bin/zensical"
TARGET = ROOT / "dist"
PACKAGE = "orchestration_project"
BUILDER = f"pkg:generic/{PACKAGE}#.ci/release.py"
LOCKS = ("dev.lock", "docs.lock", "release.lock", "runtime.lock")
"""Locks of the environments whose programs build the artifacts."""
WITH_LOCKED_BACKEND = ("--no-isolation",)
"""Option of `build` that takes hatchling of `release.lock`, and not the newest one of the index."""
LICENCE = ".dist-info/licenses/LICENSE"
BUILDERS = ("buildah", "mmdebstrap")
"""Debian's programs that build the image; without them a release has none, and says so."""
IMAGE = "image.oci.tar"


def run(*command: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Return the output of a command; end with it if the command fails."""
    done = subprocess.run(  # noqa: S603 - our own programs
        command, cwd=cwd, env=env, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(source: Path, folder: Path, commit: str, env: Mapping[str, str]) -> None:
    """Build all artifacts of a clean export of the commit into a folder."""
    builder = (str(PROGRAMS / "python"), "-m", "build", *WITH_LOCKED_BACKEND)
    run(*builder, "--outdir", str(folder), str(source), env=env)
    run(*builder, "--wheel", "--outdir", str(folder), str(source / "demo"), env=env)
    build_site(source, env)
    seconds = int(env["SOURCE_DATE_EPOCH"])
    pack(source / "site", folder / "docs.tar.gz", seconds, "docs/")
    if not missing_builders():
        layout = folder.with_name("image")
        run("python3", "deploy/image.py", "--layout", str(layout), env=env, cwd=source)
        pack(layout, folder / IMAGE, seconds)
    sbom = run(sys.executable, "deploy/sbom.py", "--without-system", env=env, cwd=source)
    (folder / "sbom.spdx.json").write_text(sbom)
    write_json(folder / "sbom.cdx.json", cyclonedx(json.loads(sbom)))
    locks = hashes(source / "requirements")
    statement = provenance(hashes(folder), commit, env["SOURCE_DATE_EPOCH"], locks)
    write_json(folder / "provenance.json", statement)


def build_site(source: Path, env: Mapping[str, str]) -> None:
    """Build the site as `make docs` does; end if docs/reference is not that of the code."""
    path = {"PYTHONPATH": str(source / "demo")}  # before the demo that is installed
    run(sys.executable, "-m", "tools.reference_pages", env={**env, **path}, cwd=source)
    run(str(SITE_BUILDER), "build", "--strict", "--clean", env=env, cwd=source)


def missing_builders() -> list[str]:
    """Return what an image cannot be built without, and is not here."""
    return [
        *(name for name in BUILDERS if shutil.which(name) is None),
        *(["the user root"] if os.geteuid() else []),
    ]


def pack(folder: Path, archive: Path, seconds: int, prefix: str = "") -> None:
    """Pack the files of a folder so that names and contents alone decide the bytes."""
    with ExitStack() as stack:
        written: IO[bytes] = stack.enter_context(archive.open("wb"))
        if archive.suffix == ".gz":
            written = stack.enter_context(gzip.GzipFile("", "wb", fileobj=written, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=written, mode="w"))
        for name in sorted(
            file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
        ):
            member = tarfile.TarInfo(f"{prefix}{name}")  # of owner 0, with mode 644
            member.size, member.mtime = (folder / name).stat().st_size, seconds
            with (folder / name).open("rb") as content:
                tar.addfile(member, content)


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a document with the indents of the SBOM."""
    file.write_text(f"{json.dumps(document, indent=1)}\n")


def cyclonedx(spdx: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an SPDX document of `deploy/sbom.py` as CycloneDX 1.6; references are SPDX IDs."""
    own, *parts = map(component, spdx["packages"])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{spdx['documentNamespace'][-36:]}",  # a hash of the packages
        "version": 1,
        "metadata": {
            "timestamp": spdx["creationInfo"]["created"],
            "component": {**own, "type": "application"},
        },
        "components": parts,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def component(package: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a package of SPDX as a component of CycloneDX."""
    declared, words = package["licenseDeclared"], package.get("licenseComments")
    if declared != "NOASSERTION":
        licences = {"licenses": [{"expression": declared}]}
    elif words:
        licences = {"licenses": [{"license": {"name": words.removeprefix("metadata: ")}}]}
    else:
        licences = {}
    [reference] = package["externalRefs"]
    return {
        "type": "library",
        "bom-ref": package["SPDXID"],
        "name": package["name"],
        "version": package["versionInfo"],
        **licences,
        "purl": reference["referenceLocator"],
    }


def provenance(
    artifacts: Mapping[str, str], commit: str, seconds: str, locks: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return an in-toto statement with a SLSA provenance of artifacts; it has nothing of the host.

    ``artifacts`` and ``locks`` are SHA-256 by the name of a file.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in artifacts.items()
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILDER,
                "externalParameters": {"command": "make release", "commit": commit},
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": seconds,
                    "python": platform.python_version(),
                },
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit}},
                    *(
                        {"name": f"requirements/{name}", "digest": {"sha256": locks[name]}}
                        for name in LOCKS
                    ),
                ],
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder by name."""
    found: dict[str, str] = {}
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            found[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def contents(file: Path) -> list[str]:
    """Return the names of the files in a wheel or a tar archive."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return wheel.namelist()
    with tarfile.open(file) as archive:
        return [member.name for member in archive if not member.isdir()]


def problems_of(file: str, names: list[str], sources: list[str]) -> Iterator[str]:
    """Yield the files that a wheel or source distribution lacks or may not have.

    A wheel has its own package alone, and the licence. A source distribution has ``sources``, the
    files of the commit, and the metadata.
    """
    if file.endswith(".whl"):
        package = file.partition("-")[0]
        unexpected = {name for name in names if not name.startswith((f"{package}/", f"{package}-"))}
        missing = set() if any(name.endswith(LICENCE) for name in names) else {"LICENSE"}
    else:
        found, expected = {name.partition("/")[2] for name in names}, {*sources, "PKG-INFO"}
        unexpected, missing = found - expected, expected - found
    yield from (f"{file} has {name}" for name in sorted(unexpected))
    yield from (f"{file} lacks {name}" for name in sorted(missing))


def main() -> int:
    """Build twice; return 1 if the builds differ or a content is wrong."""
    commit, seconds = run("git", "log", "-1", "--format=%H %ct").split()  # others may commit
    given = {"SOURCE_DATE_EPOCH": seconds, "REVISION": commit}
    env = {**os.environ, **given}  # noqa: TID251 - for programs
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / each for each in ("first", "second")]
        for folder in folders:
            source = folder / "source"
            source.mkdir(parents=True)
            run("git", "archive", "--output", str(folder / "source.tar"), commit)
            run("tar", "-xf", str(folder / "source.tar"), "-C", str(source))
            (folder / "dist").mkdir()
            build(source, folder / "dist", commit, env)
        first, second = (hashes(folder / "dist") for folder in folders)
        problems = [
            f"{each}: two builds differ" for each in first if first[each] != second.get(each)
        ]
        built, sources = folders[0] / "dist", contents(folders[0] / "source.tar")
        for file in [*sorted(built.glob("*.whl")), *built.glob(f"{PACKAGE}-*.tar.gz")]:
            names = contents(file)
            print(f"{file.name}: {len(names)} files")
            problems += problems_of(file.name, names, sources)
            run(str(PROGRAMS / "twine"), "check", "--strict", str(file))
        TARGET.mkdir(exist_ok=True)
        for file in sorted(built.iterdir()):
            shutil.copyfile(file, TARGET / file.name)
            print(f"{first[file.name]}  {file.stat().st_size:>9} bytes  {file.name}")
        sums = "".join(f"{digest}  {each}\n" for each, digest in first.items())
        (TARGET / "SHA256SUMS").write_text(sums)
    if lacking := missing_builders():
        print(f"{IMAGE} is not built: it needs {' and '.join(lacking)}")
    else:
        print(f"{IMAGE} is not scanned for known vulnerabilities: no scanner is part of this build")
    print(*problems, sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

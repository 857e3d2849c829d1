"""`make release`: what the wheel of the product may not have, and hashes of built files."""

import hashlib
import runpy

from orchestration_project.settings import PROJECT_ROOT

RELEASE = runpy.run_path(str(PROJECT_ROOT / ".ci" / "release.py"))
LICENCE = "orchestration_project-0.1.0.dist-info/licenses/LICENSE"


def test_tests_and_demo_in_the_wheel_and_a_missing_licence_are_problems():
    assert list(RELEASE["problems_of"](["orchestration_project/errors.py", LICENCE])) == []
    assert list(RELEASE["problems_of"](["tests/pages.py", "orchestration_demo/__init__.py"])) == [
        "the wheel has tests/pages.py",
        "the wheel has orchestration_demo/__init__.py",
        "the wheel lacks LICENSE",
    ]


def test_each_built_file_has_its_hash(tmp_path):
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    assert list(RELEASE["hashes"](tmp_path).items()) == [
        (name, hashlib.sha256(content).hexdigest()) for name, content in (("a", b"1"), ("b", b"2"))
    ]

"""Files that people and editors expect beside the code: hooks, templates, types, decisions."""

import json
import re
import runpy
import tomllib

import pytest
import yaml

from orchestration_project.settings import PROJECT_ROOT

PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
DECISIONS = sorted((PROJECT_ROOT / "docs" / "decisions").glob("*.md"))
MUTANTS = runpy.run_path(str(PROJECT_ROOT / ".ci" / "mutants.py"))
LOCKS = runpy.run_path(str(PROJECT_ROOT / ".ci" / "locks.py"))
COVERED = runpy.run_path(str(PROJECT_ROOT / ".ci" / "covered.py"))


def test_hooks_before_a_commit_are_programs_of_the_checkout():
    text = (PROJECT_ROOT / ".ci" / "pre-commit.yaml").read_text()
    repositories = yaml.safe_load(text)["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {"ruff", "ruff-format", "words", "prose"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        program, *arguments = hook["entry"].split()
        scripts = [argument for argument in arguments if argument.endswith(".py")]
        assert program.startswith(".venv/bin/")
        assert hook["language"] == "system"
        assert [script for script in scripts if not (PROJECT_ROOT / script).is_file()] == []


def test_the_container_of_editors_installs_by_a_target_of_make_with_a_supported_python():
    container = json.loads((PROJECT_ROOT / ".devcontainer/devcontainer.json").read_text())
    program, target = container["postCreateCommand"].split()
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    assert (program, target.partition("/")[0]) == ("make", ".venv")
    assert f"\n{target.replace('.venv', '$(VENV)')}: " in makefile
    [python] = re.findall(r"^python:(3\.\d+)-\w+$", container["image"])
    assert python in LOCKS["PYTHONS"]
    [port] = re.findall(r"(?m)^PORT \?= (\d+)$", makefile)
    assert container["forwardPorts"] == [int(port)]


def test_editors_and_the_linter_agree_on_the_length_of_a_line():
    text = (PROJECT_ROOT / ".editorconfig").read_text()
    [length] = re.findall(r"\[\*\.py\]\nmax_line_length = (\d+)", text)
    assert int(length) == PYPROJECT["tool"]["ruff"]["line-length"]


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_a_form_of_issues_asks_for_something(name: str):
    form = yaml.safe_load((PROJECT_ROOT / f".github/ISSUE_TEMPLATE/{name}.yaml").read_text())
    assert {"name", "description", "body"} == set(form)
    requested = [field["id"] for field in form["body"]]
    assert len(set(requested)) == len(requested) > 2
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_package_declares_that_it_is_typed():
    assert (PROJECT_ROOT / "orchestration_project" / "py.typed").is_file()
    assert PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        "orchestration_project"
    ]


def test_ten_decisions_name_what_was_rejected_and_its_price():
    assert len(DECISIONS) >= 10
    assert [path.name for path in DECISIONS if not re.match(r"\d\d-[a-z-]+\.md", path.name)] == []
    for path in DECISIONS:
        text = path.read_text()
        parts = ("# ", "**Decision.**", "**Rejected", "**Reasons**", "**Price")
        assert [part for part in parts if part not in text] == [], path.name
        assert 150 <= len(text.split()) <= 300, path.name


def test_the_site_lists_the_decisions():
    site = tomllib.loads((PROJECT_ROOT / "zensical.toml").read_text())
    entries = {title: pages for entry in site["project"]["nav"] for title, pages in entry.items()}
    assert "decisions/*" in entries["Explanation"]


def test_a_coverage_below_its_bound_is_named_and_one_within_the_tolerance_is_not():
    bounds = {"contracts": 90.0, "domains": 80.0, "tables": 70.0}
    measured = {"contracts": 89.8, "domains": 79.7}
    assert COVERED["fallen"](bounds, measured) == [
        "domains: 79.7 % covered, expected 80.0 % or more",
        "tables: 0.0 % covered, expected 70.0 % or more",
    ]


def test_coverage_counts_statements_and_branches_of_a_package_together():
    summary = {"covered_lines": 8, "num_statements": 10, "covered_branches": 1, "num_branches": 2}
    whole = {"covered_lines": 6, "num_statements": 6, "covered_branches": 2, "num_branches": 2}
    files = {
        "orchestration_project/engine/contracts/rules.py": {"summary": summary},
        "orchestration_project/engine/contracts/a/b.py": {"summary": whole},
        "orchestration_project/tables/spine.py": {"summary": whole},
    }
    assert COVERED["percentages"](files) == {"contracts": 85.0, "tables": 100.0}


def test_the_same_mutations_of_each_module_are_drawn_again_and_more_with_a_larger_sample():
    mutants = [f"app.{module}.x_f__mutmut_{number}" for module in "ab" for number in range(9)]
    drawn = MUTANTS["draw_sample"](mutants, 2, "seed")
    assert [name.split(".")[1] for name in sorted(drawn)] == ["a", "a", "b", "b"]
    assert MUTANTS["draw_sample"](mutants[::-1], 2, "seed") == drawn
    assert set(drawn) < set(MUTANTS["draw_sample"](mutants, 3, "seed"))
    assert set(drawn) != set(MUTANTS["draw_sample"](mutants, 2, "another seed"))


def test_the_score_of_a_module_counts_what_was_tried():
    statuses = ["killed", "timeout", "survived", "no tests", "not checked"]
    tried = {f"app.a.xǁCǁf__mutmut_{number}": status for number, status in enumerate(statuses)}
    lines = [*MUTANTS["score_lines"]({**tried, "app.b.x_f__mutmut_1": "not checked"})]
    assert lines[2:] == ["| `a` | 5 | 4 | 2 | 50 % |", "| `b` | 1 | 0 | 0 |  |"]

"""Every shell block of the pages is executed by a test, or says why it is not."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from orchestration_project.__main__ import COMMANDS
from orchestration_project.definitions import defs
from orchestration_project.settings import settings_class, settings_of_file
from orchestration_project.settings.loading import NAMED_BY_USERS
from orchestration_project.settings.settings import setting_names
from tests import pages

BLOCKS = [block for page in pages.pages() for block in pages.blocks(page)]
SHELL = [command for block in BLOCKS if block.language == "sh" for command in pages.commands(block)]
SETTINGS = [block for block in BLOCKS if block.language == "ini"]


def test_a_command_is_executed_or_has_one_reason_why_it_is_not():
    reasons = {
        pattern: [command for command in SHELL if re.search(pattern, command)]
        for pattern in pages.NOT_EXECUTED
    }
    assert [pattern for pattern, commands in reasons.items() if not commands] == []
    executed = [command for command in SHELL if not pages.reason_not_executed(command)]
    assert len(executed) > 70, "tests/slow/test_the_pages.py executes them"


WITHOUT_OUTPUT = {
    "use-another-database.md": "needs a server of Db2",
}
"""How-to pages that show no output, and why."""


def shows_output(page: Path) -> bool:
    """Whether a page has a command with its output, or a query with its rows."""
    languages = [block.language for block in pages.blocks(page)]
    pairs = set(itertools.pairwise(languages))
    return "console" in languages or bool(pairs & {("sh", "text"), ("sql", "text"), ("sh", "json")})


def test_each_how_to_begins_with_its_result_and_shows_an_output():
    how_to = sorted(pages.DOCS.glob("how-to/*.md"))
    beginnings = {page.name: page.read_text().split("\n\n")[1] for page in how_to}
    assert [name for name, text in beginnings.items() if not text.startswith("At the end, ")] == []
    assert [page.name for page in how_to if not shows_output(page)] == sorted(WITHOUT_OUTPUT)


def test_only_known_pages_have_shell_blocks():
    root = pages.PROJECT_ROOT
    known = {str(page.relative_to(root)) for page in pages.pages()}
    assert {
        str(path.relative_to(root))
        for path in [*root.glob("*.md"), *pages.DOCS.rglob("*.md")]
        if "```sh" in path.read_text()
    } <= known
    assert {block.language for block in BLOCKS} & {"bash", "shell", "zsh"} == set()


def test_pages_of_a_project_folder_are_executed_by_tests_that_exist():
    missing = [
        name
        for pair in pages.OF_A_PROJECT.items()
        for name in pair
        if not (pages.PROJECT_ROOT / name).is_file()
    ]
    assert missing == []


def test_a_command_that_is_not_executed_names_what_exists():
    jobs = set(defs.get_repository_def().job_names)
    for command in SHELL:
        for name in re.findall(r"dagster job execute .*-j (\w+)", command):
            assert name in jobs or name in ("web_lamps", "plugins_my_feed"), command
        for name in re.findall(r"(?:^|\s)orchestrate (?:--state-dir \S+ )?(\w[\w-]*)", command):
            assert name in COMMANDS, command


def test_a_shell_block_holds_commands_and_no_settings_alone():
    assert [
        command for command in SHELL if re.fullmatch(r"[A-Z][A-Z0-9_]+=(\S+|\".*\")", command)
    ] == []


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.page)
def test_settings_of_the_pages_are_known(block: pages.Block):
    names = {name.lower() for name in re.findall(r"^(\w+)=", block.text, re.MULTILINE)}
    unknown = names - {name.lower() for name in setting_names()}
    assert {name for name in unknown if not name.startswith(("aws_", *NAMED_BY_USERS))} == set()


def test_passwords_of_several_lines_are_read_from_env_as_the_page_writes_them(tmp_path):
    [block] = [setting for setting in SETTINGS if setting.page == "docs/how-to/use-documents.md"]
    (tmp_path / ".env").write_text(block.text)
    passwords = getattr(settings_of_file(tmp_path / ".env"), "documents_passwords")  # noqa: B009
    assert passwords.get_secret_value().split("\n") == ["first", "second"]


def test_the_tutorial_has_a_state_of_its_own():
    printed = [shlex.split(command)[1] for command in SHELL if command.startswith("printf ")]
    states = {settings.split("\\n")[0] for settings in printed}
    assert states == {"STATE_DIR=var/tutorial"}
    assert settings_class().model_fields["state_dir"].default.name == "var"


def test_programs_are_on_path_in_every_page_but_for_service_accounts():
    written = [
        f"{path.relative_to(pages.PROJECT_ROOT)}: {line.strip()}"
        for path in pages.pages()
        for line in path.read_text().replace("\\\n", " ").splitlines()
        if re.search(r"(?<![/\w])\.venv/bin/(orchestrate|dagster)", line) and "sudo -u" not in line
    ]
    assert written == []
    saying = [path.name for path in pages.pages() if "`uv run orchestrate`" in path.read_text()]
    assert saying == ["tutorial.md"]

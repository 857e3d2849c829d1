"""The instructions of deploy/Dockerfile, by stage, and the files that its build sees."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestration_project.settings import PROJECT_ROOT

DOCKERFILE = PROJECT_ROOT / "deploy" / "Dockerfile"
ALLOWED = PROJECT_ROOT / "deploy/Dockerfile.dockerignore"


class Instruction(NamedTuple):
    """One instruction, such as RUN, and what stands after it, on one line."""

    word: str
    text: str


def stages() -> Mapping[str, Sequence[Instruction]]:
    """Return the instructions of each stage by its name, each beginning with its FROM."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    found: list[list[Instruction]] = []
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(word, rest.strip()))
    return {stage[0].text.rpartition(" AS ")[2]: stage for stage in found}


def texts(stage: Sequence[Instruction], word: str) -> list[str]:
    """Return what stands after each ``word`` of a stage."""
    return [instruction.text for instruction in stage if instruction.word == word]


def allowed_paths() -> list[str]:
    """Return the paths that `Dockerfile.dockerignore` lets into the build."""
    lines = ALLOWED.read_text().splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def copy_context(folder: Path) -> None:
    """Copy what `COPY . ./` would copy."""
    without = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in allowed_paths():
        source, target = PROJECT_ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=without)
        else:
            shutil.copy(source, target)

"""Schema files of MQTT_KINDS_DIR as kinds of events."""

from pathlib import Path

from orchestration_project.domains.mqtt.kinds import Kinds, read_kinds

MAX_FILE_BYTES = 1_000_000
MAX_FILES = 1_000


def read_kind_files(folder: Path) -> Kinds:
    """Return the kinds of the `*.json` files of a folder; a broken file is a problem of them.

    A folder that is missing has no kinds.
    """
    contents: dict[str, bytes] = {}
    problems: dict[str, str] = {}
    files = sorted(folder.glob("*.json"))
    for file in files[:MAX_FILES]:
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            problems[file.name] = f"not readable: {error.strerror}"
            continue
        if len(content) > MAX_FILE_BYTES:
            problems[file.name] = f"expected up to {MAX_FILE_BYTES} bytes"
        else:
            contents[file.name] = content
    for file in files[MAX_FILES:]:
        problems[file.name] = f"expected up to {MAX_FILES} files"
    kinds = read_kinds(contents)
    return Kinds(kinds.versions, {**problems, **kinds.problems})

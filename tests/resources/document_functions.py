"""Functions of a worker that do what bad files make a reader do."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

from orchestration_project.domains.documents.extracted import Extracted
from orchestration_project.domains.documents.extraction import count_parts
from orchestration_project.domains.documents.language import identifier
from orchestration_project.resources.documents.worker import (
    ISOLATION,
    File,
    extract_file,
)


def misbehave(file: File) -> Extracted:
    """Do what the name of the file says, else extract it."""
    name = file.name.rpartition("/")[2]
    if name == "hang":
        signal.pause()
    elif name == "crash":
        ctypes.string_at(0)
    elif name == "eat":
        return Extracted(str(len(bytearray(10**12))), "", None, 0)
    elif name == "raise":
        raise ValueError("a reader's own error")
    elif name == "return":
        return Extracted("x" * 10**7, "", None, 0)
    return extract_file(file)


def burn(file: File) -> Extracted:
    """Use CPU time without an end, within the limit of a file that was extracted before."""
    extract_file(file)
    while True:
        pass


def connect(file: File) -> Extracted:
    """Return as name what a connection ends with, and whether the network should be there."""
    extract_file(file)
    try:
        with socket.create_connection(("127.0.0.1", int(file.content)), timeout=5):
            ended = "connected"
    except OSError as error:
        ended = type(error).__name__
    return Extracted(f"{ended} {ISOLATION.has_network}", "", None, 0)


def show_process(_: File) -> Extracted:
    """Return as name the arguments and the environment of the process."""
    shown = [Path(f"/proc/self/{name}").read_bytes() for name in ("cmdline", "environ")]
    return Extracted(b"".join(shown).decode(), "", None, 0)


def write(file: File) -> Extracted:
    """Return as name what writing a file ends with."""
    extract_file(file)
    try:
        with open(file.content.decode(), "wb") as target:  # noqa: PTH123 - as a library would
            target.write(b"x")
            target.flush()
    except OSError as error:
        return Extracted(type(error).__name__, "", None, 0)
    return Extracted("written", "", None, 0)


def classify(file: File) -> Extracted:
    """Return as name the languages of a text by likelihood, and whether the model is mapped."""
    extract_file(file)
    is_mapped = ".npz" in Path("/proc/self/maps").read_text()
    return Extracted(f"{is_mapped} {identifier().rank(file.content.decode())}", "", None, 0)


def open_many(file: File) -> Extracted:
    """Return as name how opening files without an end ends, and whether fewer than 64 are open."""
    extract_file(file)
    opened: list[int] = []
    try:
        while len(opened) < 1000:
            opened.append(os.open("/", os.O_RDONLY))
        ended = "no limit"
    except OSError as error:
        ended = errno.errorcode[error.errno or 0]
    for descriptor in opened:
        os.close(descriptor)
    return Extracted(f"{ended} {len(opened) < 64}", "", None, 0)


def start_and_hang(file: File) -> Extracted:
    """Start a program and return its process id as name; with a name of hang, never return."""
    if file.name == "hang":
        signal.pause()
    program = subprocess.Popen(["sleep", "600"])  # noqa: S607 - as a reader might
    return Extracted(str(program.pid), "", None, 0)


def lose_pages(file: File) -> Extracted:
    """Extract no page of a file that is called so."""
    found = extract_file(file)
    if "lossy" not in file.name:
        return found
    lost = replace(found, pages=(), chunk_spans=())
    return replace(lost, parts=count_parts(file.content, lost))

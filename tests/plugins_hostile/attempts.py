"""Plugins that try to reach what lies outside of their cage, and report how that went."""

from tests.plugins_hostile import HostilePlugin

REPORT = """
from plugin import start


def attempt(run):
{body}


with start() as run:
    try:
        got = attempt(run) or "succeeded"
    except Exception as error:
        got = "blocked: " + type(error).__name__
    run.emit("verdicts", [("attempt", {{"got": str(got)}})])
"""

SUCCEEDED, BLOCKED = "succeeded", "blocked: "


def _attempt(name: str, body: str, *, process: str = SUCCEEDED) -> HostilePlugin:
    """Return a plugin whose attempt is blocked with namespaces."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return HostilePlugin(
        name,
        REPORT.format(body=lines),
        namespaces="loaded",
        says=BLOCKED,
        process_says=process,
    )


ATTEMPTS = (
    _attempt(
        "sockets",
        """
import socket
socket.create_connection(("127.0.0.1", run.config["port"]), timeout=5).close()
""",
    ),
    _attempt(
        "abstract_sockets",
        """
import socket
with socket.socket(socket.AF_UNIX) as own:
    own.connect("\\0" + run.config["abstract"])
""",
    ),
    _attempt(
        "files",
        """
with open(run.config["secret_file"]) as file:
    return "succeeded" if file.read() else "empty"
""",
    ),
    _attempt(
        "database",
        """
import os
return "succeeded" if os.listdir(run.config["state_dir"]) else "empty"
""",
    ),
    _attempt(
        "passwords",
        """
with open("/etc/passwd") as file:
    return "succeeded" if file.read() else "empty"
""",
    ),
    _attempt(
        "own_folder",
        """
import os
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "more.py"), "w") as file:
    file.write("1")
""",
    ),
    _attempt(
        "links_out",
        """
import os, tempfile
link = os.path.join(tempfile.mkdtemp(), "out")
os.symlink(run.config["secret_file"], link)
with open(link) as file:
    return "succeeded" if file.read() else "empty"
""",
    ),
    _attempt(
        "processes_of_others",
        """
with open("/proc/%d/environ" % run.config["host_pid"], "rb") as file:
    return "succeeded" if file.read() else "blocked: it is empty"
""",
    ),
    _attempt(
        "signals",
        """
import os
os.kill(run.config["host_pid"], 0)
""",
    ),
    _attempt(
        "parent_memory",
        """
with open("/proc/%d/mem" % run.config["host_pid"], "rb") as file:
    return "succeeded"
""",
    ),
    _attempt(
        "environment",
        """
import os
found = run.config["planted"] in repr(dict(os.environ))
return "succeeded" if found else "blocked: not there"
""",
        process=BLOCKED,
    ),
    _attempt(
        "descriptors",
        """
import os
found = []
for number in range(3, 256):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
return "succeeded: %s" % found if len(found) > 1 else "blocked: only the pipe to the host"
""",
        process=BLOCKED,
    ),
    _attempt(
        "memory",
        """
bytearray(1 << 30)
""",
        process=BLOCKED,
    ),
    _attempt(
        "big_files",
        """
import os, tempfile
with open(os.path.join(tempfile.gettempdir(), "big"), "wb") as file:
    for _ in range(1 << 10):
        file.write(bytes(1 << 20))
""",
        process=BLOCKED,
    ),
    _attempt(
        "shared_memory",
        """
import ctypes
return "succeeded" if ctypes.CDLL(None).shmget(0, 1 << 30, 0o1600) >= 0 else "blocked: shmget"
""",
        process=BLOCKED,
    ),
    _attempt(
        "memory_files",
        """
import os
os.close(os.memfd_create("memory"))
""",
        process=BLOCKED,
    ),
    _attempt(
        "many_small_files",
        """
import os, tempfile
with tempfile.TemporaryDirectory() as folder:
    for number in range(20_000):
        os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))
""",
    ),
    _attempt(
        "many_files",
        """
import os
read_ends = [os.pipe() for _ in range(5000)]
""",
        process=BLOCKED,
    ),
)

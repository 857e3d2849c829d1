"""Runs ``python -m`` a module on a host: NAME NETWORK_NAMESPACE OWN_FOLDER SHARED_PATH MODULE ...

The program has the network and the name of its host. In its mount namespace, SHARED_PATH is the
folder of this host, and the folders of other hosts are hidden.
"""

import os
import socket
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

if __name__ == "__main__":
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        """Call a function of libc that returns 0."""
        if getattr(libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), name)

    host, namespace, own_folder, shared_path, *module = sys.argv[1:]
    with Path("/run/netns", namespace).open() as file:
        call("setns", file.fileno(), CLONE_NEWNET)
    call("unshare", CLONE_NEWUTS | CLONE_NEWNS)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", own_folder.encode(), shared_path.encode(), None, MS_BIND, None)
    hidden = Path(own_folder).parent
    call("mount", b"none", str(hidden).encode(), b"tmpfs", 0, None)
    socket.sethostname(host)
    os.execv(sys.executable, [sys.executable, "-m", *module])  # noqa: S606 - a program of the test

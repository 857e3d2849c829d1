"""Runs ``python -m`` the rest of the arguments on a host: NAME NETWORK_NAMESPACE MODULE ..."""

import os
import socket
import sys
from pathlib import Path

CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000

if __name__ == "__main__":
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    host, namespace, *module = sys.argv[1:]
    with Path("/run/netns", namespace).open() as file:
        failed = libc.setns(file.fileno(), CLONE_NEWNET) or libc.unshare(CLONE_NEWUTS)
    if failed:
        raise OSError(ctypes.get_errno(), "setns or unshare")
    socket.sethostname(host)
    os.execv(sys.executable, [sys.executable, "-m", *module])  # noqa: S606 - a test's program

"""Runs ``python -m`` the rest of the arguments in a namespace with another host name."""

import os
import socket
import sys

CLONE_NEWUTS = 0x04000000

if __name__ == "__main__":
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(sys.argv[1])
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])  # noqa: S606 - a test's program

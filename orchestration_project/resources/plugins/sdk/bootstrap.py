"""The first program of a plugin's process: sets limits, then executes the plugin's entry.

Arguments: memory (bytes), CPU time (seconds), processes, open files, file size (bytes), files in
/tmp or 0, a filter of system calls in hexadecimal or "-", the host's process ID or 0, the plugin's
folder, its entry.
"""

import gc
import sys

gc.disable()  # until the plugin begins: all that is made stays
sys.dont_write_bytecode = True
del sys.path[0]  # the standard library as a zip file: there is none


def _limit(memory: int, seconds: int, processes: int, files: int, file_size: int) -> None:
    import resource

    for which, limit in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, memory + 64 * 2**20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(which, (limit, limit))


def _terminate_with(parent: int) -> None:
    """Have the kernel kill this process when its host has ended, whatever it does then."""
    import ctypes
    import os

    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != parent:
        os._exit(1)


def _bound_files(count: int) -> None:
    """Bound the number of files in /tmp, and drop the capability to mount."""
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    flags = 32 | 2 | 4  # MS_REMOUNT, MS_NOSUID, MS_NODEV
    if libc.mount(b"tmpfs", b"/tmp", None, flags, b"nr_inodes=%d" % count):
        raise OSError(ctypes.get_errno(), "the files of /tmp cannot be bounded")
    libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")
    if not libc.mount(b"tmpfs", b"/tmp", None, flags, b"nr_inodes=0"):
        os._exit(1)


def _filter(program: bytes, *, is_required: bool) -> None:
    """Load a filter of system calls, where the kernel has them."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    code = ctypes.create_string_buffer(program, len(program))
    given_program = Program(len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    if libc.prctl(22, 2, ctypes.byref(given_program), 0, 0) and is_required:
        raise OSError(ctypes.get_errno(), "system calls cannot be filtered")


def _main() -> None:
    *limits, file_count, program, parent, folder, entry = sys.argv[1:]
    if parent != "0":
        _terminate_with(int(parent))
    has_namespaces = file_count != "0"
    if has_namespaces:
        _bound_files(int(file_count))
    if program != "-":
        _filter(bytes.fromhex(program), is_required=has_namespaces)
    _limit(*map(int, limits))
    import json  # noqa: F401 - almost every plugin needs it, and `plugin` does

    gc.freeze()
    gc.enable()
    text = sys.argv[0].rpartition("/")[0]
    sys.path[:0] = [folder, folder + "/lib", text]
    path = folder + "/" + entry
    sys.argv[:] = [path]
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes long to import
        code = compile(file.read(), path, "exec")
    space = {"__name__": "__main__", "__file__": path, "__builtins__": __builtins__}
    exec(code, space)  # noqa: S102 - the plugin itself, in its own process


_main()

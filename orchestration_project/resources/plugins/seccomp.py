"""Filters of system calls for the processes of plugins, as BPF programs.

Where the processor is none of those below, no filter is made: the other limits hold.
"""

import errno
import platform
import struct
from typing import Literal

Level = Literal["namespaces", "process"]

ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
CLONE_THREAD = 0x00010000
X32 = 0x40000000

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
FORKS = {"x86_64": (57, 58), "aarch64": ()}

OTHER_PROCESSES = {
    # ptrace, process_vm_readv and -writev, kcmp, pidfd_getfd
    "x86_64": (101, 310, 311, 312, 438),
    "aarch64": (117, 270, 271, 272, 438),
}
SYSTEM = {
    # mount, umount2, pivot_root, chroot, unshare, setns, open_tree to move_mount, fsopen to fspick,
    # mount_setattr, keys, bpf, perf_event_open, userfaultfd, modules, kexec, reboot, swap, io_uring
    "x86_64": (
        *(165, 166, 155, 161, 272, 308, 428, 429, 430, 431, 432, 433, 442, 248, 249, 250),
        *(321, 298, 323, 175, 176, 313, 246, 320, 169, 167, 168, 425, 426, 427),
    ),
    "aarch64": (
        *(40, 39, 41, 51, 97, 268, 428, 429, 430, 431, 432, 433, 442, 217, 218, 219),
        *(280, 241, 282, 105, 106, 273, 104, 294, 142, 224, 225, 425, 426, 427),
    ),
}
SHARED_MEMORY = {
    # shm, sem, msg, mq_open and mq_unlink, memfd_create, memfd_secret
    "x86_64": (29, 30, 31, 67, 64, 65, 66, 220, 68, 69, 70, 71, 240, 241, 319, 447),
    "aarch64": (194, 195, 196, 197, 190, 191, 192, 193, 186, 187, 188, 189, 180, 181, 279, 447),
}
"""Calls that make memory outside the limits of a process."""

SOCKETS = {"x86_64": (41, 53), "aarch64": (198, 199)}


def filter_program(level: Level, machine: str | None = None) -> bytes:
    """Return the filter of a level of isolation; empty: none is known for the processor.

    No process is started, no other one is traced, and no memory is made outside the limits of the
    process. ``namespaces`` refuses sockets, too.

    Args:
        level: Level of isolation.
        machine: Processor, as the kernel calls it; None: this one's.
    """
    name = machine or platform.machine()
    if name not in ARCHITECTURES:
        return b""
    refused = [*FORKS[name], *OTHER_PROCESSES[name], *SYSTEM[name], *SHARED_MEMORY[name]]
    if level == "namespaces":
        refused += SOCKETS[name]
    program = [
        _pack_statement(LOAD, ARCHITECTURE),
        _jump(JUMP_EQUAL, ARCHITECTURES[name], 1, 0),
        _pack_statement(RETURN, KILL),
        _pack_statement(LOAD, NUMBER),
    ]
    if name == "x86_64":
        program += [_jump(JUMP_AT_LEAST, X32, 0, 1), _pack_statement(RETURN, ERROR | errno.ENOSYS)]
    program += [_jump(JUMP_EQUAL, CLONE3, 0, 1), _pack_statement(RETURN, ERROR | errno.ENOSYS)]
    for number in sorted(set(refused)):
        program += [_jump(JUMP_EQUAL, number, 0, 1), _pack_statement(RETURN, ERROR | errno.EPERM)]
    program += [
        _jump(JUMP_EQUAL, CLONE[name], 0, 3),
        _pack_statement(LOAD, FIRST_ARGUMENT),
        _jump(JUMP_SET, CLONE_THREAD, 1, 0),
        _pack_statement(RETURN, ERROR | errno.EPERM),
        _pack_statement(RETURN, ALLOW),
    ]
    return b"".join(program)


def _pack_statement(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

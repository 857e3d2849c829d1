"""Health checks of containers: `health.py 5672`, `health.py --grpc 4266`; 0 is healthy.

A port: a program of this container is connected to it elsewhere. Workers and bridge serve no port,
and work while they are connected to their broker. With `--grpc`, a code server of this container
answers there that it serves. Nothing of the project is imported, so it takes milliseconds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED = "01"
SERVICE, ANSWER_SECONDS = "DagsterApi", 5.0
"""Name under which Dagster's code server reports its health; time for its answer."""


def is_connected(port: int, tables: Iterable[Path] = TABLES) -> bool:
    """Return whether the kernel's tables list an established connection to ``port``."""
    for table in filter(Path.exists, tables):
        for line in table.read_text().splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            if state == ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                return True
    return False


def is_serving(port: int) -> bool:
    """Return whether Dagster's code server says at ``port`` that it serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    request = health_pb2.HealthCheckRequest(service=SERVICE)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"{error}\n")
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def main(arguments: list[str]) -> int:
    """Return 0 if there is a connection or an answer, 1 if not, 2 for wrong arguments."""
    match arguments:
        case ["--grpc", port] if port.isdecimal():
            return 0 if is_serving(int(port)) else 1
        case [port] if port.isdecimal():
            pass
        case _:
            sys.stderr.write("invalid arguments: expected [--grpc] PORT, e.g. 5672\n")
            return 2
    if is_connected(int(arguments[0])):
        return 0
    sys.stderr.write(f"no connection to a port {arguments[0]}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

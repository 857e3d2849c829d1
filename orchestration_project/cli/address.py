"""Where to serve: the options of the commands that do, and whether the place is free."""

import argparse
import socket

from orchestration_project.errors import ConfigurationError


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add ``--host`` and ``--port``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (%(default)s)")
    parser.add_argument("--port", default=3000, type=_port, help="port to serve on (%(default)s)")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 65535")
    return int(text)


def refuse_taken(host: str, port: int) -> None:
    """Make sure that nothing else is served there.

    Raises:
        ConfigurationError: It is, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"the UI cannot be served on {origin(host, port)}",
            found=error.strerror or str(error),
            remedy="stop what uses that port, or choose another: make ui PORT=3001",
        ) from error


def origin(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

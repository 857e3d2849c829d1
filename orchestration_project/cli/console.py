"""What commands say to whoever started them."""


def echo(text: str) -> None:
    """Print a line at once: who waits sees it, and who has gone ends the command where it is."""
    print(text, flush=True)  # noqa: T201 - a command talks to its user

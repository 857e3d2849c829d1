"""The file beside a SQLite database through which many rows come."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection

FILE, ATTACHED, MAIN = "incoming file", "incoming files attached", "database file"
"""Keys of a connection's info: path of the incoming rows, number of attached files, path of the
database."""


def attach_bulk_file(driver: Any, info: dict[str, Any]) -> None:
    """Have a new connection know the file beside its database for rows on their way."""
    files = {name: file for _, name, file in driver.execute("PRAGMA database_list")}
    info |= {FILE: Path(f"{files['main']}-incoming"), ATTACHED: 0, MAIN: files["main"]}


def remove_left_file(connection: Connection) -> None:
    """Remove the file of a process that was killed: who has the database's one lock may."""
    connection.info[FILE].unlink(missing_ok=True)


def detach_files(driver: Any, record: Any) -> None:
    """Detach what a connection had attached, as it goes back to its pool.

    There is no ``driver`` any more where an interrupt broke a statement off.
    """
    if driver is None:
        return
    for number in range(record.info.get(ATTACHED, 0)):
        driver.execute(f"DETACH incoming_{number}")
    record.info[ATTACHED] = 0

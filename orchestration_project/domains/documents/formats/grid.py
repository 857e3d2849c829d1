"""Columns of cells in tables with merged cells, by one rule for all formats.

A merged cell has its text in its upper left column, and is empty in the others.
"""

MAX_COLUMN_SPAN, MAX_ROW_SPAN = 1000, 65_534
"""Limits of HTML's own rules."""

MAX_MERGED = 1_000_000
"""Empty cells that merged cells of a table add; spans beyond them count as one."""


class Grid:
    """Columns of a table's cells, asked for row by row from the left."""

    def __init__(self) -> None:
        self._below = dict[int, int]()  # column to the rows that a cell from above still covers
        self._next: dict[int, int] = {}
        self._column = 0
        self._merged = 0

    def begin_row(self) -> None:
        """Begin the next row."""
        self._below = {column: rows for column, rows in self._next.items() if rows > 0}
        self._merged += len(self._below)
        if self._merged > MAX_MERGED:
            self._below = {}
        self._next = {column: rows - 1 for column, rows in self._below.items()}
        self._column = 0

    def place(self, columns: int = 1, rows: int = 1) -> tuple[int, int]:
        """Return the column of the next cell, from 0, and the number of columns that it covers.

        Args:
            columns: Columns that the cell spans.
            rows: Rows that it spans.
        """
        while self._column in self._below:
            self._column += 1
        columns = min(max(columns, 1), MAX_COLUMN_SPAN)
        rows = min(max(rows, 1), MAX_ROW_SPAN)
        if self._merged + columns > MAX_MERGED:
            columns = 1
        start = self._column
        self._merged += columns - 1
        self._column += columns
        if rows > 1:
            self._next |= dict.fromkeys(range(start, self._column), rows - 1)
        return start, columns

    def skip(self, columns: int) -> None:
        """Leave columns of the row empty."""
        if 0 < columns <= MAX_COLUMN_SPAN:
            self._column += columns

    @property
    def width(self) -> int:
        """Columns of the row so far, with those that cells from above cover beside its last one."""
        width = self._column
        while width in self._below:
            width += 1
        return width


def set_cell(row: list[str], column: int, text: str, width: int) -> None:
    """Put the text of a cell into a row, after as many empty cells as are missing."""
    row.extend([""] * (column - len(row)))
    row.append(text)
    row.extend([""] * (width - 1))

"""Db2, as IBM's dialect speaks it, with what that lacks beside SQLAlchemy 2.1 and Alembic.

SQLAlchemy imports it where a URL begins with ``db2://``; the extra `db2` brings dialect and driver.
"""

import logging
import re
from typing import Any

from alembic.ddl.impl import DefaultImpl
from ibm_db_sa.base import DB2Compiler, DB2TypeCompiler
from ibm_db_sa.ibm_db import DB2Dialect_ibm_db
from ibm_db_sa.logger import logger
from sqlalchemy import Column

logger.setLevel(logging.CRITICAL)  # it repeats what it raises, and warns where nothing is wrong

TEXT_BYTES = 1024
"""The longest text that can be compared, sorted or a key; Db2 refuses a longer one. The contract
takes texts of up to 1000 bytes, and puts a word before some of them."""

DOCUMENTS = frozenset(
    (
        *("url", "request", "response_headers", "record", "reason"),
        *("expected", "found", "offenders"),
        *("title", "body", "assets", "partitions", "link", "open_problems", "last_error"),
        *("params", "error_message", "quality_metrics", "reasons", "failures_by_category"),
        *("tried", "got", "remedy", "entries"),
        *("headers", "payload"),
        *("claims", "target"),
        *("sentence", "figures"),
    )
)
"""Columns of text of any length, CLOB: nothing compares them or sorts by them.

One that is a key, such as the URL of a page, is of `TEXT_BYTES`.
"""


COMPARED_BYTES = 32_672
"""Longest VARCHAR of Db2; a comparison reads so many bytes of a CLOB at most."""

_VALUE = r"COALESCE\(\w+\.\w+, '[^']*'\)|\w+\.\w+|'[^']*'"
_COMPARISON = re.compile(
    rf"({_VALUE})(\s*(?:<>|!=|<=|>=|=|<|>)\s*)({_VALUE})|'[^']*'", re.IGNORECASE
)
_DOCUMENT = re.compile(rf"\w+\.(?:{'|'.join(sorted(DOCUMENTS))})\b", re.IGNORECASE)


def convert_clobs(sql: str) -> str:
    """Return the SQL of a text with each CLOB that it compares as VARCHAR of `COMPARED_BYTES`.

    Only columns with their table are read so: one alone may be assigned to.
    """

    def cast(comparison: re.Match[str]) -> str:
        first, operator, second = comparison.groups()
        if not operator:
            return comparison[0]  # a text between quotation marks
        return f"{_add_cast(first)}{operator}{_add_cast(second)}"

    return _COMPARISON.sub(cast, sql)


def _add_cast(value: str) -> str:
    is_document = not value.startswith("'") and _DOCUMENT.search(value)
    return f"CAST({value} AS VARCHAR({COMPARED_BYTES} OCTETS))" if is_document else value


class Db2Compiler(DB2Compiler):
    """Writes statements."""

    def visit_textclause(
        self, textclause: Any, add_to_result_map: Any = None, **options: Any
    ) -> str:
        """Write a text, such as that of a migration, with CLOBs in comparisons cast."""
        return convert_clobs(super().visit_textclause(textclause, add_to_result_map, **options))

    def for_update_clause(self, select: Any, **options: Any) -> Any:
        """Lock the rows until the transaction ends; IBM's reads what SQLAlchemy has no more."""
        return " WITH RS USE AND KEEP UPDATE LOCKS"


class Db2TypeCompiler(DB2TypeCompiler):
    """Writes types."""

    def visit_TEXT(self, type_: Any, **options: Any) -> Any:  # noqa: N802 - SQLAlchemy's name
        """Return CLOB for documents alone: Db2 neither compares one nor takes it as key."""
        column = options.get("type_expression")
        is_column = isinstance(column, Column)  # of a CAST it is the clause with its type
        if is_column and column.name in DOCUMENTS and not column.primary_key:
            return "CLOB"
        return f"VARCHAR({TEXT_BYTES} OCTETS)"


class Db2Dialect(DB2Dialect_ibm_db):
    """IBM's dialect, made whole."""

    statement_compiler = Db2Compiler
    type_compiler = Db2TypeCompiler
    supports_statement_cache = True


class Db2Impl(DefaultImpl):
    """Lets Alembic make tables; it finds this by the dialect's name."""

    __dialect__ = Db2Dialect.name
    transactional_ddl = True

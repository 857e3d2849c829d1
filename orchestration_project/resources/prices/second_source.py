"""Whether the second source of prices has failed for so long that somebody should look."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, select

from orchestration_project.domains.prices.audits import SECOND_SOURCE
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.symbol_fetch import NO_DATA_PREFIX, UNMAPPED_PREFIX
from orchestration_project.resources.prices.writing import NO_SECOND
from orchestration_project.tables.spine import audits

FAILS_FOR = timedelta(days=3, hours=-1)
"""Three days, less what the starts of daily runs differ."""

_audit = audits.c


def failing_second_source(warehouse: Warehouse) -> Mapping[str, Any]:
    """Return since when a second source has failed, and its last error; empty: not for three days.

    It fails while it answers for no symbol. Deliveries for which it was not asked do not count.
    """
    is_failure = _audit.found.startswith(NO_DATA_PREFIX, autoescape=True)
    is_unasked = (_audit.found == NO_SECOND) | _audit.found.startswith(
        UNMAPPED_PREFIX, autoescape=True
    )
    answers = _select_audits(func.max(_audit.audited_at)).where(~is_failure, ~is_unasked)
    failures = _select_audits(_audit.audited_at, _audit.found).where(is_failure)
    with warehouse.reading() as connection:
        answered_at = connection.execute(answers).scalar()
        if answered_at is not None:
            failures = failures.where(_audit.audited_at > answered_at)
        oldest, newest = (
            connection.execute(failures.order_by(order).limit(1)).first()
            for order in (_audit.audited_at, _audit.audited_at.desc())
        )
    if oldest is None or newest is None or newest.audited_at - oldest.audited_at < FAILS_FOR:
        return {}
    return {
        "second_source_fails_since": oldest.audited_at,
        "second_source_error": newest.found,
    }


def _select_audits(*columns: Any) -> "Select[*tuple[Any, ...]]":
    return select(*columns).where(
        _audit.table_name == prices_daily.name, _audit.name == SECOND_SOURCE
    )

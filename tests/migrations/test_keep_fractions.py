"""Whole shares become millionths under another name, and shares again."""

import pytest
from alembic import command
from sqlalchemy import inspect, text

from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.errors import ConfigurationError

VERSION = "0058"
"""That before the one with fractions."""

FENCE = text(
    "INSERT INTO fences (table_name, scope_key, token, known_from, landed_rule_version) "
    "VALUES (:name, :key, 1, '2026-01-05 12:00:00.000000', :version)"
)
SHORT = text(
    "INSERT INTO finra_short_interest (settlement_date, symbol, short_quantity, short_change, "
    "capture_id, known_from) VALUES ('2026-01-15', :symbol, :shares, -7, 1, "
    "'2026-01-05 12:00:00.000000')"
)
SOLD = text(
    "INSERT INTO finra_symbol_week_short (week_start, symbol, ats_share_quantity, short_quantity, "
    "short_day_count, loaded_day_count) VALUES ('2026-01-12', 'A', 5, 2500000, 5, 5)"
)


def rule_versions(connection):
    fences = "SELECT scope_key, landed_rule_version FROM fences ORDER BY scope_key"
    return [tuple(row) for row in connection.execute(text(fences))]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_shares_keep_their_value_and_write_no_history(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for symbol, shares in (("A", 0), ("B", 12), ("C", 9_223_372_036_854)):
            connection.execute(SHORT, {"symbol": symbol, "shares": shares})
        connection.execute(SOLD)
        command.upgrade(config, "head")
        stored = (
            "SELECT short_quantity_micros, short_change_micros FROM finra_short_interest "
            "ORDER BY symbol"
        )
        assert connection.execute(text(stored)).all() == [
            (0, -7_000_000),
            (12_000_000, -7_000_000),
            (9_223_372_036_854_000_000, -7_000_000),
        ]
        sold = (
            "SELECT ats_share_quantity_micros, short_quantity_micros FROM finra_symbol_week_short"
        )
        assert connection.execute(text(sold)).all() == [(5_000_000, 2_500_000)]  # as it was
        history = text("SELECT count(*) FROM finra_short_interest_history")
        assert connection.execute(history).scalar_one() == 0
        command.downgrade(config, VERSION)
        stored = "SELECT short_quantity, short_change FROM finra_short_interest ORDER BY symbol"
        assert connection.execute(text(stored)).all() == [
            (0, -7),
            (12, -7),
            (9_223_372_036_854, -7),
        ]
        command.upgrade(config, "head")


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_table_is_the_same_whether_it_had_rows_or_was_made_again(migrated):
    def described(connection):
        seen = inspect(connection)
        columns = [(column["name"], str(column["type"])) for column in seen.get_columns(name)]
        return columns, seen.get_pk_constraint(name), seen.get_indexes(name)

    name = "finra_short_interest"
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        made_without_rows = described(connection)
        command.downgrade(config, VERSION)
        before = described(connection)
        connection.execute(SHORT, {"symbol": "A", "shares": 1})
        command.upgrade(config, "head")
        assert described(connection) == made_without_rows
        command.downgrade(config, VERSION)
        assert described(connection) == before


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_shares_whose_millionths_64_bits_lack_stop_the_migration(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        connection.execute(SHORT, {"symbol": "A", "shares": 9_223_372_036_855})
        with pytest.raises(ConfigurationError, match="1 rows of finra_short_interest have"):
            command.upgrade(config, "head")
        connection.rollback()


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_loaded_partitions_are_not_loaded_again_unless_they_may_have_rejected_fractions(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for name, key, version in (
            ("finra_otc_weekly", "T1|2025-11-03", "4"),
            ("finra_otc_weekly", "T1|2025-11-10", "4"),
            ("finra_otc_weekly", "T1|2025-11-17", "3"),
            ("finra_treasury_weekly", "2025-11-10", "3"),
            ("prices_daily", "AAPL", "3"),
        ):
            connection.execute(FENCE, {"name": name, "key": key, "version": version})
        connection.execute(
            text(
                "INSERT INTO captures (capture_id, sha256, source, dataset, partition_key, "
                "part_number, group_id, url, request, response_headers, fetched_at, run_id) VALUES "
                "(1, 'x', 'api', 'weeklySummary', 'T1|2025-11-10', 1, 'g', 'u', '{}', '{}', "
                "'2026-01-05 12:00:00.000000', 'r')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO rejects (capture_id, table_name, line_number, byte_offset, record, "
                "reason_code, reason, run_id, rejected_at) VALUES (1, 'finra_otc_weekly', 2, 0, "
                "'x', 'fractional_quantity', 'x', 'r', '2026-01-05 12:00:00.000000')"
            )
        )
        command.upgrade(config, "head")
        assert rule_versions(connection) == [
            ("2025-11-10", "3"),
            ("AAPL", "4"),
            ("T1|2025-11-03", "5"),
            ("T1|2025-11-10", "4"),
            ("T1|2025-11-17", "3"),
        ]

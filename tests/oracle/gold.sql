-- Derived tables of docs/reference/tables.md, and tables that these are made from.
-- Decimals are whole numbers of 10^-6. Functions in lower case that SQLite lacks are in derived.py.

CREATE VIEW week_load AS
SELECT substr(partition_key, 1, instr(partition_key, '|') - 1) AS tier,
    substr(partition_key, instr(partition_key, '|') + 1) AS week_start, landed_at,
    dense_rank() OVER (ORDER BY substr(partition_key, instr(partition_key, '|') + 1)) AS week_number
FROM loads WHERE table_name = 'finra_otc_weekly';

CREATE VIEW complete_week AS
SELECT week_start, max(landed_at) AS known_from
FROM week_load GROUP BY week_start HAVING count(*) = 3;

CREATE TABLE weekly AS
SELECT *, market = 'ATS' AS is_ats,
    iif(firm_crd_number IS NOT 0, venue_id, NULL) AS venue,
    iif(firm_crd_number IS NOT 0, coalesce(firm_crd_number, venue_id), NULL) AS firm
FROM finra_otc_weekly;

-- Trading of each symbol, and of all symbols of a tier ('').
CREATE TABLE trading AS
SELECT week_start, tier, scope AS symbol,
    sum(share_quantity) AS share_quantity, sum(share_quantity) AS total_share_quantity,
    sum(iif(is_ats, share_quantity, 0)) AS ats_share_quantity,
    sum(iif(is_ats, 0, share_quantity)) AS non_ats_share_quantity,
    sum(trade_count) AS trade_count, sum(trade_count) AS total_trade_count,
    sum(iif(is_ats, trade_count, 0)) AS ats_trade_count,
    sum(iif(is_ats, 0, trade_count)) AS non_ats_trade_count,
    strict_sum(notional_usd) AS notional_usd,
    1.0 * strict_sum(notional_usd) / sum(share_quantity) AS vwap,
    1.0 * sum(iif(is_ats, share_quantity, 0)) / sum(share_quantity) AS ats_share_of_shares,
    1.0 * sum(iif(is_ats, trade_count, 0)) / sum(trade_count) AS ats_share_of_trades,
    1.0 * sum(share_quantity) / sum(trade_count) / 1e6 AS average_trade_size,
    count(*) AS row_count, count(DISTINCT symbol) AS symbol_count,
    count(DISTINCT iif(scope = '', market || ' ' || venue, venue)) AS venue_count,
    count(DISTINCT firm) AS firm_count,
    top_member(venue, share_quantity) AS top_venue_id,
    part_of_top(venue, share_quantity, 1) AS top_venue_share,
    part_of_top(venue, share_quantity, 3) AS top_3_venue_share,
    part_of_top(venue, share_quantity, 5) AS top_5_venue_share,
    hhi(venue, share_quantity, 0) AS hhi_lower, hhi(venue, share_quantity, 1) AS hhi_upper,
    hhi(firm, share_quantity, 0) AS firm_hhi_lower, hhi(firm, share_quantity, 1) AS firm_hhi_upper,
    max(issue_name) AS issue_name, max(last_update_date) || 'T00:00:00.000000Z' AS published_at
FROM (SELECT *, symbol AS scope FROM weekly UNION ALL SELECT *, '' FROM weekly)
GROUP BY week_start, tier, scope;

CREATE TABLE finra_symbol_week AS
SELECT trading.*, landed_at AS known_from, week_number,
    1.0 * notional_usd / strict_sum(notional_usd) OVER (PARTITION BY week_start, tier)
        AS notional_share
FROM trading JOIN week_load USING (tier, week_start) WHERE symbol <> '';
CREATE UNIQUE INDEX by_symbol ON finra_symbol_week (symbol, tier, week_start);

CREATE VIEW finra_tier_week AS
SELECT trading.*, known_from, 0 AS is_stale,
    1.0 * share_quantity / sum(share_quantity) OVER whole AS market_share,
    1.0 * notional_usd / strict_sum(notional_usd) OVER whole AS notional_share
FROM trading JOIN complete_week USING (week_start) WHERE symbol = ''
WINDOW whole AS (PARTITION BY week_start);

-- Trading of venues in each tier, and in all tiers of a week ('').
CREATE TABLE venue_trading AS
WITH named AS (
    SELECT *, row_number() OVER (
        PARTITION BY week_start, scope, market, venue_id ORDER BY tier DESC, symbol DESC
    ) = 1 AS is_last
    FROM (SELECT *, tier AS scope FROM weekly UNION ALL SELECT *, '' FROM weekly)
), venue AS (
    SELECT week_start, scope AS tier, market, venue_id, sum(share_quantity) AS share_quantity,
        sum(trade_count) AS trade_count, count(DISTINCT symbol) AS symbol_count,
        count(DISTINCT tier) AS tier_count, strict_sum(notional_usd) AS notional_usd,
        max(iif(is_last, firm_crd_number, NULL)) AS firm_crd_number,
        max(iif(is_last, participant_name, NULL)) AS participant_name,
        max(last_update_date) || 'T00:00:00.000000Z' AS published_at
    FROM named GROUP BY week_start, scope, market, venue_id
)
SELECT *, 1.0 * notional_usd / share_quantity AS vwap,
    1.0 * notional_usd / strict_sum(notional_usd) OVER whole AS notional_share,
    1.0 * share_quantity / sum(share_quantity) OVER whole AS share_of_all,
    1.0 * share_quantity / sum(share_quantity) OVER in_market AS share_in_market,
    iif(firm_crd_number IS NOT 0, rank() OVER named, NULL) AS rank,
    iif(firm_crd_number IS NOT 0, rank() OVER named_in_market, NULL) AS rank_in_market
FROM venue
WINDOW whole AS (PARTITION BY week_start, tier), in_market AS (PARTITION BY week_start, tier, market),
    named AS (PARTITION BY week_start, tier, firm_crd_number IS 0 ORDER BY share_quantity DESC),
    named_in_market AS (
        PARTITION BY week_start, tier, market, firm_crd_number IS 0 ORDER BY share_quantity DESC
    );

CREATE TABLE finra_venue_week AS
SELECT venue_trading.*, share_of_all AS tier_share, landed_at AS known_from
FROM venue_trading JOIN week_load USING (tier, week_start);

CREATE VIEW finra_venue_week_all_tiers AS
SELECT *, share_of_all AS market_share, 0 AS is_stale
FROM venue_trading JOIN complete_week USING (week_start) WHERE tier = '';

CREATE VIEW finra_firms AS
SELECT market, venue_id, coalesce(participant_name, venue_id) AS participant_name, firm_crd_number,
    (SELECT max(mpid) FROM weekly WHERE (market, venue_id) = (week.market, week.venue_id)) AS mpid,
    min(week_start) AS first_week, max(week_start) AS last_week,
    count(DISTINCT week_start) AS week_count
FROM finra_venue_week AS week WHERE firm_crd_number > 0 GROUP BY 1, 2, 3, 4;

-- Latest load of a week and the weeks before it, and how many of them are loaded.
CREATE TABLE window_load AS
SELECT week.tier, week.week_start, max(past.landed_at) AS window_load, count(*) AS week_count,
    max(iif(past.week_start >= date(week.week_start, '-7 days'), past.landed_at, NULL))
        AS pair_load
FROM week_load AS week JOIN week_load AS past
    ON past.tier = week.tier
    AND past.week_start BETWEEN date(week.week_start, '-35 days') AND week.week_start
GROUP BY week.tier, week.week_start;

-- Each week of a symbol with the weeks before it, the youngest of age 0.
CREATE TABLE symbol_window AS
WITH pair AS (
    SELECT week.week_start, week.tier, week.symbol, past.total_share_quantity AS shares,
        past.total_trade_count AS trades, past.published_at, past.hhi_lower, past.hhi_upper,
        CAST(julianday(week.week_start) - julianday(past.week_start) AS INTEGER) / 7 AS age
    FROM finra_symbol_week AS week JOIN finra_symbol_week AS past
        ON (past.symbol, past.tier) = (week.symbol, week.tier)
        AND past.week_start BETWEEN date(week.week_start, '-35 days') AND week.week_start
)
SELECT week_start, tier, symbol, count(*) AS weeks_in_window, count(*) - 1 AS trailing_week_count,
    avg(shares) / 1e6 AS average_shares_per_week, avg(trades) AS average_trades_per_week,
    min(shares) AS min_share_quantity, max(shares) AS max_share_quantity,
    min(trades) AS min_trade_count, max(trades) AS max_trade_count,
    avg(iif(age < 3, shares, NULL)) / avg(iif(age >= 3, shares, NULL)) AS trend,
    max(iif(age = 0, shares, NULL)) AS share_quantity,
    avg(iif(age > 0, shares, NULL)) / 1e6 AS trailing_mean,
    deviation(iif(age > 0, shares, NULL), 2) / 1e6 AS trailing_deviation,
    max(iif(age = 1, hhi_lower, NULL)) AS old_hhi_lower,
    max(iif(age = 1, hhi_upper, NULL)) AS old_hhi_upper,
    max(iif(age <= 1, published_at, NULL)) AS pair_published_at, max(published_at) AS published_at
FROM pair GROUP BY week_start, tier, symbol;

CREATE VIEW finra_symbol_rolling_6w AS
SELECT *, week_count = 6 AS is_complete, iif(week_count = 6, trend, NULL) AS trend_ratio,
    CASE WHEN week_count < 6 OR trend IS NULL THEN NULL
        WHEN trend > 1.1 THEN 'up' WHEN trend < 0.9 THEN 'down' ELSE 'flat' END AS trend_direction,
    window_load AS known_from, 0 AS is_stale
FROM symbol_window JOIN window_load USING (tier, week_start);

CREATE VIEW finra_concentration_week AS
SELECT week_start, tier, symbol, hhi_lower, hhi_upper,
    top_venue_share, top_3_venue_share, top_5_venue_share,
    hhi_lower - old_hhi_lower AS hhi_lower_change, hhi_upper - old_hhi_upper AS hhi_upper_change,
    pair_published_at AS published_at, pair_load AS known_from, 0 AS is_stale
FROM finra_symbol_week JOIN symbol_window USING (tier, week_start, symbol)
JOIN window_load USING (tier, week_start);

CREATE VIEW finra_symbol_anomalies_week AS
SELECT *, (share_quantity / 1e6 - trailing_mean) / trailing_deviation AS z_score,
    5 AS window_weeks, 4 AS min_week_count, 4.0 AS z_limit, window_load AS known_from, 0 AS is_stale
FROM symbol_window JOIN window_load USING (tier, week_start)
WHERE trailing_week_count >= 4 AND abs(z_score) >= 4;

-- Shares of symbols (market '') and venues beside those of the week before.
CREATE VIEW movers AS
WITH traded AS (
    SELECT week_start, tier, '' AS market, symbol AS member, total_share_quantity AS shares,
        published_at
    FROM finra_symbol_week
    UNION ALL
    SELECT week_start, tier, market, venue_id, share_quantity, published_at FROM finra_venue_week
), pair AS (
    SELECT *, shares AS new, NULL AS old FROM traded
    UNION ALL SELECT *, NULL, shares FROM (
        SELECT date(week_start, '+7 days'), tier, market, member, shares, published_at FROM traded
    )
), change AS (
    SELECT week_start, tier, market, member, coalesce(max(new), 0) AS share_quantity,
        coalesce(max(old), 0) AS previous_share_quantity, max(published_at) AS published_at,
        iif(max(new) IS NULL, 'left', iif(max(old) IS NULL, 'entered', 'moved')) AS movement
    FROM pair GROUP BY week_start, tier, market, member
), ratio AS (
    SELECT *, market = '' AS is_symbol, share_quantity - previous_share_quantity AS share_change,
        1.0 * (share_quantity - previous_share_quantity) / previous_share_quantity AS change_ratio
    FROM change
)
SELECT *, pair_load AS known_from, 0 AS is_stale,
    rank() OVER (
        PARTITION BY week_start, tier, is_symbol ORDER BY abs(share_change) DESC
    ) AS change_rank,
    iif(change_ratio IS NULL, NULL, rank() OVER (
        PARTITION BY week_start, tier, is_symbol ORDER BY abs(change_ratio) DESC NULLS LAST
    )) AS ratio_rank
FROM ratio JOIN window_load USING (tier, week_start)
WHERE EXISTS (SELECT 1 FROM week_load AS past
    WHERE past.tier = ratio.tier AND past.week_start = date(ratio.week_start, '-7 days'));

CREATE VIEW finra_symbol_movers_week AS
SELECT *, member AS symbol FROM movers
WHERE is_symbol AND (movement <> 'moved' OR change_rank <= 100 OR ratio_rank <= 100);

CREATE VIEW finra_venue_movers_week AS
SELECT *, member AS venue_id FROM movers WHERE NOT is_symbol;

-- Each week of a symbol: its tier with most shares.
CREATE TABLE symbol_week AS
SELECT * FROM (
    SELECT *, plain(issue_name) AS name, row_number() OVER most AS place,
        lead(tier) OVER most AS second_tier
    FROM finra_symbol_week
    WINDOW most AS (PARTITION BY symbol, week_start ORDER BY total_share_quantity DESC, tier)
) WHERE place = 1;

CREATE TABLE symbol_clock AS
SELECT symbol, max(landed_at) AS known_from, 0 AS is_stale,
    max(last_update_date) || 'T00:00:00.000000Z' AS published_at
FROM weekly JOIN week_load USING (tier, week_start) GROUP BY symbol;

CREATE TABLE finra_symbol_changes AS
WITH pair AS (
    SELECT *, lag(week_start) OVER weeks AS previous_week, lag(tier) OVER weeks AS old_tier,
        lag(issue_name) OVER weeks AS old_issue_name, lag(name) OVER weeks AS old_name,
        week_number - lag(week_number) OVER weeks - 1 AS gap_weeks
    FROM symbol_week WINDOW weeks AS (PARTITION BY symbol ORDER BY week_start)
), change AS (
    SELECT symbol, week_start, 'two_tiers' AS kind, week_start AS previous_week,
        second_tier AS previous_value, tier AS value, 0 AS gap_weeks
    FROM symbol_week WHERE second_tier IS NOT NULL
    UNION ALL SELECT symbol, week_start, 'tier_move', previous_week, old_tier, tier, gap_weeks
    FROM pair WHERE old_tier <> tier
    UNION ALL SELECT symbol, week_start,
        iif(gap_weeks >= 4 AND NOT has_common_word(old_name, name),
            'reuse_candidate', 'issue_name_change'),
        previous_week, old_issue_name, issue_name, gap_weeks
    FROM pair WHERE old_name <> name
)
SELECT * FROM change JOIN symbol_clock USING (symbol);

-- First and last weeks of symbols, with the bounds of the tier that has most of their shares.
CREATE TABLE edge AS
WITH bound AS (
    SELECT tier, min(week_number) AS oldest, max(week_number) AS newest
    FROM week_load GROUP BY tier
)
SELECT week.*, total_share_quantity AS shares,
    week_number > oldest AND week_number = min(week_number) OVER weeks AS has_begun,
    week_number < newest AND week_number = max(week_number) OVER weeks AS has_ended
FROM symbol_week AS week JOIN bound USING (tier)
WINDOW weeks AS (PARTITION BY symbol);

CREATE VIEW finra_symbol_renames AS
WITH pair AS (
    SELECT old.symbol, new.symbol AS new_symbol, old.week_start AS last_week,
        new.week_start AS first_week, new.week_number - old.week_number - 1 AS gap_weeks,
        old.tier, new.tier AS new_tier, old.issue_name, new.issue_name AS new_issue_name,
        coalesce(old.name = new.name, 0) AS has_same_issue_name,
        coalesce(new.week_number = old.week_number + 1 AND old.tier = new.tier
            AND old.top_venue_id = new.top_venue_id AND min(old.shares, new.shares) >= 1e12
            AND new.shares BETWEEN old.shares / 2.0 AND old.shares * 2, 0) AS has_similar_trading,
        1.0 * new.shares / old.shares AS share_ratio, 0 AS is_stale,
        later(old.known_from, new.known_from) AS known_from,
        later(old.published_at, new.published_at) AS published_at
    FROM edge AS old JOIN edge AS new ON old.has_ended AND new.has_begun
        AND new.week_number - old.week_number BETWEEN 1 AND 5
)
SELECT * FROM pair WHERE has_same_issue_name OR has_similar_trading;

CREATE VIEW finra_symbols AS
SELECT symbol, min(week_start) AS first_week, max(week_start) AS last_week,
    count(*) AS week_count, count(DISTINCT name) AS issue_name_count,
    substr(max(week_start || tier), 11) AS tier,
    substr(max(week_start || issue_name), 11) AS issue_name,
    (SELECT count(*) FROM finra_symbol_changes AS change
        WHERE change.symbol = week.symbol AND kind = 'tier_move') AS tier_move_count,
    EXISTS (SELECT 1 FROM finra_symbol_changes AS change
        WHERE change.symbol = week.symbol AND kind = 'reuse_candidate') AS is_reuse_candidate,
    clock.known_from, clock.published_at, is_stale
FROM symbol_week AS week JOIN symbol_clock AS clock USING (symbol) GROUP BY symbol;

CREATE VIEW prices_corporate_actions AS
SELECT symbol, trade_date, 'dividend' AS kind, dividend, NULL AS split_ratio, source, known_from
FROM prices_daily WHERE dividend <> 0
UNION ALL
SELECT symbol, trade_date, 'split', NULL, split_ratio, source, known_from
FROM prices_daily WHERE split_ratio <> 1000000;

CREATE VIEW prices_returns AS
WITH pair AS (
    SELECT symbol, trade_date, lag(trade_date) OVER days AS previous_date,
        1.0 * adjusted_close / lag(adjusted_close) OVER days AS adjusted_ratio,
        1.0 * close / lag(close) OVER days AS close_ratio,
        max(known_from) OVER (days ROWS 60 PRECEDING) AS known_from
    FROM prices_daily WINDOW days AS (PARTITION BY symbol ORDER BY trade_date)
), returned AS (
    SELECT *, adjusted_ratio IS NOT NULL AS is_adjusted,
        coalesce(adjusted_ratio, close_ratio) - 1 AS simple_return,
        ln(coalesce(adjusted_ratio, close_ratio)) AS log_return,
        session_count(date(previous_date, '+1 day'), date(trade_date, '-1 day')) AS missing_count
    FROM pair
), daily AS (
    SELECT *, missing_count > 0 AS is_after_gap,
        iif(missing_count = 0, log_return, NULL) AS daily_return
    FROM returned
)
SELECT * FROM (
    SELECT *, deviation(daily_return, 20) OVER (days ROWS 19 PRECEDING) AS volatility_20d,
        deviation(daily_return, 60) OVER (days ROWS 59 PRECEDING) AS volatility_60d
    FROM daily WINDOW days AS (PARTITION BY symbol ORDER BY trade_date)
) WHERE previous_date IS NOT NULL;

CREATE VIEW tape_volume AS
SELECT trade_date, 'A' AS tape, participant_code LIKE 'D%' AS is_off,
    tape_a_share_quantity AS shares, tape_a_notional_usd AS notional, tape_a_trade_count AS trades
FROM market_volume_daily
UNION ALL SELECT trade_date, 'B', participant_code LIKE 'D%', tape_b_share_quantity,
    tape_b_notional_usd, tape_b_trade_count FROM market_volume_daily
UNION ALL SELECT trade_date, 'C', participant_code LIKE 'D%', tape_c_share_quantity,
    tape_c_notional_usd, tape_c_trade_count FROM market_volume_daily
UNION ALL SELECT trade_date, 'all', participant_code LIKE 'D%', total_share_quantity,
    total_notional_usd, total_trade_count FROM market_volume_daily;

-- Volume on and off exchange by day ('') and by week.
CREATE TABLE off_exchange AS
SELECT period, tape, count(DISTINCT trade_date) AS day_count,
    sum(iif(is_off, 0, shares)) AS exchange_share_quantity,
    sum(iif(is_off, shares, 0)) AS off_exchange_share_quantity,
    1.0 * sum(iif(is_off, shares, 0)) / sum(shares) AS off_exchange_share_ratio,
    sum(iif(is_off, 0, notional)) AS exchange_notional_usd,
    sum(iif(is_off, notional, 0)) AS off_exchange_notional_usd,
    1.0 * sum(iif(is_off, notional, 0)) / sum(notional) AS off_exchange_notional_ratio,
    sum(iif(is_off, 0, trades)) AS exchange_trade_count,
    sum(iif(is_off, trades, 0)) AS off_exchange_trade_count,
    1.0 * sum(iif(is_off, trades, 0)) / sum(trades) AS off_exchange_trade_ratio,
    max(landed_at) AS loaded_at, sum(shares) AS all_shares
FROM (
    SELECT *, trade_date AS period FROM tape_volume
    UNION ALL SELECT *, 'week ' || date(trade_date, '-6 days', 'weekday 1') FROM tape_volume
) JOIN loads ON (table_name, partition_key) = ('market_volume_daily', trade_date)
GROUP BY period, tape;

CREATE VIEW off_exchange_share_daily AS
SELECT *, period AS trade_date, loaded_at AS known_from FROM off_exchange WHERE period NOT LIKE 'week %';

CREATE VIEW off_exchange_share_weekly AS
WITH nms AS (
    SELECT week_start, sum(ats_share_quantity) AS ats, sum(non_ats_share_quantity) AS non_ats,
        max(published_at) AS published_at, max(known_from) AS nms_load,
        count(DISTINCT tier) AS tier_count
    FROM finra_symbol_week WHERE tier IN ('T1', 'T2') GROUP BY week_start
), week AS (
    SELECT off_exchange.*, substr(period, 6) AS week_start,
        session_count(substr(period, 6), date(substr(period, 6), '+4 days')) AS session_count
    FROM off_exchange WHERE period LIKE 'week %'
), beside AS (
    SELECT week.*, later(loaded_at, nms_load) AS known_from, published_at,
        iif(tape = 'all' AND tier_count = 2, ats, NULL) AS finra_ats_share_quantity,
        iif(tape = 'all' AND tier_count = 2, non_ats, NULL) AS finra_non_ats_share_quantity,
        iif(day_count >= session_count, 1.0 * all_shares, NULL) AS whole
    FROM week LEFT JOIN nms USING (week_start)
)
SELECT *, finra_ats_share_quantity / whole AS finra_ats_share_ratio, 0 AS is_stale,
    finra_non_ats_share_quantity / whole AS finra_non_ats_share_ratio
FROM beside;

-- Short sales by week and FINRA's spelling of the symbol, if that traded in the week.
CREATE TABLE sale AS
SELECT date(trade_date, '-6 days', 'weekday 1') AS week_start, trade_date, short_quantity,
    short_exempt_quantity, total_quantity, landed_at,
    spell(symbol, date(trade_date, '-6 days', 'weekday 1')) AS symbol
FROM finra_reg_sho_daily
JOIN loads ON (table_name, partition_key) = ('finra_reg_sho_daily', trade_date);

-- Weeks with all tiers, and the latest settlement date by their Friday.
CREATE TABLE short_week AS
WITH settlement AS (
    SELECT settlement_date AS settled_on, max(known_from) AS settled_load
    FROM finra_short_interest GROUP BY settlement_date
), sales AS (
    SELECT week_start, max(landed_at) AS sales_load, count(DISTINCT trade_date) AS loaded_day_count
    FROM sale GROUP BY week_start
)
SELECT week_start, max(settled_on) AS settled_on, coalesce(loaded_day_count, 0) AS loaded_day_count,
    later(known_from, sales_load, settled_load) AS known_from
FROM complete_week LEFT JOIN sales USING (week_start)
LEFT JOIN settlement ON settled_on <= date(week_start, '+4 days')
GROUP BY week_start;

CREATE VIEW finra_symbol_week_short AS
WITH input AS (
    SELECT week_start, symbol, total_share_quantity AS otc_share_quantity, ats_share_quantity,
        published_at, NULL AS trade_date, NULL AS short_quantity, NULL AS short_exempt_quantity,
        NULL AS total_quantity
    FROM finra_symbol_week
    UNION ALL SELECT week_start, symbol, NULL, NULL, NULL, trade_date, short_quantity,
        short_exempt_quantity, total_quantity FROM sale
), member AS (
    SELECT week_start, symbol, sum(otc_share_quantity) AS otc_share_quantity,
        sum(ats_share_quantity) AS ats_share_quantity, max(published_at) AS published_at,
        count(DISTINCT trade_date) AS short_day_count, sum(short_quantity) AS short_quantity,
        sum(short_exempt_quantity) AS short_exempt_quantity, sum(total_quantity) AS total_quantity
    FROM input GROUP BY week_start, symbol
)
SELECT member.*, loaded_day_count, settlement_date, known_from, 0 AS is_stale,
    held.short_quantity AS short_interest_quantity,
    1.0 * member.short_quantity / total_quantity AS short_volume_ratio,
    1.0 * held.short_quantity / otc_share_quantity AS short_interest_to_otc_ratio
FROM member JOIN short_week USING (week_start)
LEFT JOIN (SELECT settlement_date, symbol AS held_symbol, short_quantity FROM finra_short_interest)
    AS held ON (settlement_date, held_symbol) = (settled_on, symbol);

CREATE VIEW finra_symbol_week_value AS
WITH priced AS (
    SELECT week.*, count(*) AS session_count,
        week_price(close, volume, later_splits) AS exact, min(later_splits) AS splits,
        1.0 * total_share_quantity / sum(volume) AS part
    FROM finra_symbol_week AS week JOIN prices_daily AS day
        ON day.symbol = week.symbol
        AND day.trade_date BETWEEN week_start AND date(week_start, '+4 days')
    GROUP BY week.symbol, week.tier, week_start
    HAVING count(*) = session_count(week_start, date(week_start, '+4 days'))
), valued AS (
    SELECT *, round_product(exact, 1000000) AS price,
        round_product(exact, total_share_quantity) AS estimated_notional_usd
    FROM priced
)
SELECT week_start, tier, symbol, total_share_quantity AS share_quantity, price, session_count,
    iif(price IS NULL, NULL, splits) AS undone_splits, NULL AS price_reason,
    estimated_notional_usd, 0 AS is_stale, published_at,
    1.0 * estimated_notional_usd / sum(estimated_notional_usd) OVER (PARTITION BY week_start, tier)
        AS dollar_volume_share,
    part * split_factor(splits) AS market_volume_share,
    later(
        (SELECT max(known_from) FROM finra_symbol_week AS week
            WHERE week.week_start = valued.week_start),
        (SELECT max(known_from) FROM prices_daily
            WHERE trade_date BETWEEN week_start AND date(week_start, '+4 days'))
    ) AS known_from
FROM valued;

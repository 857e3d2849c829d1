-- Derived tables of docs/reference/tables.md, and tables that these are made from.
-- Decimals are whole numbers of 10^-6. Functions in lower case that SQLite lacks are in derived.py.

-- Loads of a tier's weeks, and of all tiers ('') of a week that has three.
CREATE TABLE week_load AS
WITH tier_load AS (
    SELECT substr(partition_key, 1, instr(partition_key, '|') - 1) AS tier,
        substr(partition_key, -10) AS week_start, landed_at
    FROM loads WHERE table_name = 'finra_otc_weekly'
), load AS (
    SELECT * FROM tier_load
    UNION ALL SELECT '', week_start, max(landed_at)
    FROM tier_load GROUP BY week_start HAVING count(*) = 3
)
SELECT *, dense_rank() OVER (ORDER BY week_start) AS week_number,
    max(landed_at) OVER (weeks RANGE 35 PRECEDING) AS window_load,
    count(*) OVER (weeks RANGE 35 PRECEDING) AS week_count,
    max(landed_at) OVER (weeks RANGE 7 PRECEDING) AS pair_load,
    count(*) OVER (weeks RANGE 7 PRECEDING) = 2 AS has_week_before,
    min(week_start) OVER (PARTITION BY tier) AS oldest,
    max(week_start) OVER (PARTITION BY tier) AS newest
FROM load WINDOW weeks AS (PARTITION BY tier ORDER BY julianday(week_start));

-- Trading of symbols, of venues and of all in a tier, and of venues in all tiers ('').
CREATE TABLE trading AS
WITH weekly AS (
    SELECT *, market = 'ATS' AS is_ats, market <> 'ATS' AS is_other,
        iif(firm_crd_number IS 0, NULL, venue_id) AS venue,
        iif(firm_crd_number IS 0, NULL, coalesce(firm_crd_number, venue_id)) AS firm
    FROM finra_otc_weekly
), line AS (
    SELECT *, tier AS scope, 'symbol' AS kind, '' AS place, symbol AS member FROM weekly
    UNION ALL SELECT *, tier, 'tier', '', '' FROM weekly
    UNION ALL SELECT *, tier, 'venue', market, venue_id FROM weekly
    UNION ALL SELECT *, '', 'venue', market, venue_id FROM weekly
), named AS (
    SELECT *, row_number() OVER (
        PARTITION BY week_start, scope, kind, place, member ORDER BY tier DESC, symbol DESC
    ) = 1 AS is_last
    FROM line
)
SELECT week_start, scope AS tier, kind, place AS market, member,
    sum(share_quantity) AS share_quantity, sum(trade_count) AS trade_count,
    sum(is_ats * share_quantity) AS ats_share_quantity,
    sum(is_ats * trade_count) AS ats_trade_count,
    sum(is_other * share_quantity) AS non_ats_share_quantity,
    sum(is_other * trade_count) AS non_ats_trade_count,
    strict_sum(notional_usd) AS notional_usd, count(*) AS row_count,
    count(DISTINCT symbol) AS symbol_count, count(DISTINCT tier) AS tier_count,
    count(DISTINCT iif(kind = 'tier', market || ' ' || venue, venue)) AS venue_count,
    count(DISTINCT firm) AS firm_count,
    concentration(venue, share_quantity) AS of_venues,
    concentration(firm, share_quantity) AS of_firms,
    max(iif(is_last, firm_crd_number, NULL)) AS firm_crd_number,
    max(iif(is_last, firm_crd_number IS NOT 0, NULL)) AS is_named,
    max(iif(is_last, participant_name, NULL)) AS participant_name, max(issue_name) AS issue_name,
    max(last_update_date) || 'T00:00:00.000000Z' AS published_at
FROM named GROUP BY week_start, scope, kind, place, member;

CREATE TABLE traded AS
SELECT trading.*, member AS symbol, member AS venue_id, landed_at AS known_from,
    window_load, week_count, pair_load, week_number, oldest, newest,
    share_quantity AS total_share_quantity, trade_count AS total_trade_count,
    1.0 * notional_usd / share_quantity AS vwap,
    1.0 * ats_share_quantity / share_quantity AS ats_share_of_shares,
    1.0 * ats_trade_count / trade_count AS ats_share_of_trades,
    1.0 * share_quantity / trade_count / 1e6 AS average_trade_size,
    of_venues ->> 0 AS top_venue_id, of_venues ->> 1 AS hhi_lower, of_venues ->> 2 AS hhi_upper,
    of_venues ->> 3 AS top_venue_share, of_venues ->> 4 AS top_3_venue_share,
    of_venues ->> 5 AS top_5_venue_share,
    of_firms ->> 1 AS firm_hhi_lower, of_firms ->> 2 AS firm_hhi_upper,
    1.0 * notional_usd / strict_sum(notional_usd) OVER whole AS notional_share,
    1.0 * share_quantity / sum(share_quantity) OVER whole AS tier_share,
    1.0 * share_quantity / sum(share_quantity) OVER whole AS market_share,
    1.0 * share_quantity / sum(share_quantity) OVER in_market AS share_in_market,
    iif(is_named, rank() OVER (whole ORDER BY is_named DESC, share_quantity DESC), NULL) AS rank,
    iif(is_named, rank() OVER (in_market ORDER BY is_named DESC, share_quantity DESC), NULL)
        AS rank_in_market
FROM trading JOIN week_load AS load
    ON (load.week_start, load.tier) = (trading.week_start, iif(kind = 'tier', '', trading.tier))
WINDOW whole AS (PARTITION BY trading.week_start, kind, load.tier),
    in_market AS (PARTITION BY trading.week_start, kind, load.tier, market);

CREATE TABLE finra_symbol_week AS SELECT * FROM traded WHERE kind = 'symbol';
CREATE UNIQUE INDEX by_symbol ON finra_symbol_week (symbol, tier, week_start);
CREATE VIEW finra_tier_week AS SELECT * FROM traded WHERE kind = 'tier';
CREATE VIEW finra_venue_week AS SELECT * FROM traded WHERE kind = 'venue' AND tier <> '';
CREATE VIEW finra_venue_week_all_tiers AS SELECT * FROM traded WHERE kind = 'venue' AND tier = '';

CREATE VIEW finra_firms AS
SELECT market, venue_id, coalesce(participant_name, venue_id) AS participant_name, firm_crd_number,
    (SELECT max(mpid) FROM finra_otc_weekly AS line
        WHERE (line.market, line.venue_id) = (week.market, week.venue_id)) AS mpid,
    min(week_start) AS first_week, max(week_start) AS last_week,
    count(DISTINCT week_start) AS week_count
FROM finra_venue_week AS week WHERE firm_crd_number > 0 GROUP BY 1, 2, 3, 4;

-- Each week of a symbol, with the weeks before it.
CREATE TABLE symbol_window AS
SELECT week_start, tier, symbol, share_quantity, window_load, pair_load, week_count,
    hhi_lower, hhi_upper, top_venue_share, top_3_venue_share, top_5_venue_share,
    count(*) OVER six AS weeks_in_window, week_count = 6 AS is_complete,
    1.0 * sum(share_quantity) OVER six / count(*) OVER six / 1e6 AS average_shares_per_week,
    1.0 * sum(trade_count) OVER six / count(*) OVER six AS average_trades_per_week,
    min(share_quantity) OVER six AS min_share_quantity,
    max(share_quantity) OVER six AS max_share_quantity,
    min(trade_count) OVER six AS min_trade_count, max(trade_count) OVER six AS max_trade_count,
    1.0 * sum(share_quantity) OVER late / count(*) OVER late
        / (1.0 * sum(share_quantity) OVER early / count(*) OVER early) AS trend,
    count(*) OVER past AS trailing_week_count,
    1.0 * sum(share_quantity) OVER past / count(*) OVER past / 1e6 AS trailing_mean,
    deviation(share_quantity, 2, 1) OVER six / 1e6 AS trailing_deviation,
    hhi_lower - max(hhi_lower) OVER before AS hhi_lower_change,
    hhi_upper - max(hhi_upper) OVER before AS hhi_upper_change,
    max(published_at) OVER (weeks RANGE 7 PRECEDING) AS pair_published_at,
    max(published_at) OVER six AS window_published_at
FROM finra_symbol_week
WINDOW weeks AS (PARTITION BY tier, symbol ORDER BY julianday(week_start)),
    six AS (weeks RANGE 35 PRECEDING), past AS (weeks RANGE BETWEEN 35 PRECEDING AND 7 PRECEDING),
    early AS (weeks RANGE BETWEEN 35 PRECEDING AND 21 PRECEDING),
    late AS (weeks RANGE 14 PRECEDING), before AS (weeks RANGE BETWEEN 7 PRECEDING AND 7 PRECEDING);

CREATE VIEW finra_symbol_rolling_6w AS
SELECT *, iif(is_complete, trend, NULL) AS trend_ratio,
    CASE WHEN NOT is_complete OR trend IS NULL THEN NULL
        WHEN trend > 1.1 THEN 'up' WHEN trend < 0.9 THEN 'down' ELSE 'flat' END AS trend_direction,
    window_load AS known_from, window_published_at AS published_at
FROM symbol_window;

CREATE VIEW finra_concentration_week AS
SELECT *, pair_load AS known_from, pair_published_at AS published_at FROM symbol_window;

CREATE VIEW finra_symbol_anomalies_week AS
SELECT *, (share_quantity / 1e6 - trailing_mean) / trailing_deviation AS z_score,
    5 AS window_weeks, 4 AS min_week_count, 4.0 AS z_limit,
    window_load AS known_from, window_published_at AS published_at
FROM symbol_window WHERE trailing_week_count >= 4 AND abs(z_score) >= 4;

-- Shares of symbols and venues beside those of the week before.
CREATE TABLE movers AS
WITH pair AS (
    SELECT date(week_start, age || ' days') AS week_start, tier, kind, market, member, published_at,
        age = 0 AS is_new, share_quantity * (age = 0) AS new, share_quantity * (age > 0) AS old
    FROM traded JOIN (SELECT 0 AS age UNION ALL SELECT 7)
), change AS (
    SELECT week_start, tier, kind, market, member AS symbol, member AS venue_id,
        max(published_at) AS published_at, sum(new) AS share_quantity,
        sum(old) AS previous_share_quantity, sum(new - old) AS share_change,
        1.0 * sum(new - old) / sum(old) AS change_ratio,
        iif(count(*) = 2, 'moved', iif(max(is_new), 'entered', 'left')) AS movement
    FROM pair GROUP BY week_start, tier, kind, market, member
)
SELECT *, pair_load AS known_from,
    rank() OVER (week ORDER BY abs(share_change) DESC) AS change_rank,
    iif(change_ratio IS NULL, NULL, rank() OVER (week ORDER BY abs(change_ratio) DESC NULLS LAST))
        AS ratio_rank
FROM change JOIN week_load USING (tier, week_start) WHERE tier <> '' AND has_week_before
WINDOW week AS (PARTITION BY week_start, tier, kind);

CREATE VIEW finra_symbol_movers_week AS
SELECT * FROM movers
WHERE kind = 'symbol' AND (movement <> 'moved' OR change_rank <= 100 OR ratio_rank <= 100);

CREATE VIEW finra_venue_movers_week AS SELECT * FROM movers WHERE kind = 'venue';

-- Each week of a symbol in its tier with most shares, and the week before it.
CREATE TABLE symbol_week AS
SELECT *, lag(week_start) OVER weeks AS previous_week, lag(tier) OVER weeks AS old_tier,
    lag(issue_name) OVER weeks AS old_issue_name, lag(name) OVER weeks AS old_name,
    week_number - lag(week_number) OVER weeks - 1 AS gap_weeks,
    week_start > oldest AND row_number() OVER weeks = 1 AS has_begun,
    week_start < newest AND week_start = max(week_start) OVER (PARTITION BY symbol) AS has_ended
FROM (
    SELECT *, plain(issue_name) AS name, row_number() OVER most AS place,
        lead(tier) OVER most AS second_tier
    FROM finra_symbol_week
    WINDOW most AS (PARTITION BY symbol, week_start ORDER BY share_quantity DESC, tier)
) WHERE place = 1
WINDOW weeks AS (PARTITION BY symbol ORDER BY week_start);

CREATE TABLE symbol_clock AS
SELECT symbol, max(known_from) AS known_from, max(published_at) AS published_at
FROM finra_symbol_week GROUP BY symbol;

CREATE TABLE finra_symbol_changes AS
WITH change AS (
    SELECT symbol, week_start, 'two_tiers' AS kind, week_start AS previous_week,
        second_tier AS previous_value, tier AS value, 0 AS gap_weeks
    FROM symbol_week WHERE second_tier IS NOT NULL
    UNION ALL SELECT symbol, week_start, 'tier_move', previous_week, old_tier, tier, gap_weeks
    FROM symbol_week WHERE old_tier <> tier
    UNION ALL SELECT symbol, week_start,
        iif(gap_weeks >= 4 AND NOT has_common_word(old_name, name),
            'reuse_candidate', 'issue_name_change'),
        previous_week, old_issue_name, issue_name, gap_weeks
    FROM symbol_week WHERE old_name <> name
)
SELECT * FROM change JOIN symbol_clock USING (symbol);

CREATE VIEW finra_symbol_renames AS
SELECT old.symbol, new.symbol AS new_symbol, old.week_start AS last_week,
    new.week_start AS first_week, new.week_number - old.week_number - 1 AS gap_weeks,
    old.tier, new.tier AS new_tier, old.issue_name, new.issue_name AS new_issue_name,
    coalesce(old.name = new.name, 0) AS has_same_issue_name,
    coalesce(new.week_number = old.week_number + 1 AND old.tier = new.tier
        AND old.top_venue_id = new.top_venue_id
        AND min(old.share_quantity, new.share_quantity) >= 1e12
        AND 1.0 * new.share_quantity / old.share_quantity BETWEEN 0.5 AND 2, 0)
        AS has_similar_trading,
    1.0 * new.share_quantity / old.share_quantity AS share_ratio,
    later(old.known_from, new.known_from) AS known_from,
    later(old.published_at, new.published_at) AS published_at
FROM symbol_week AS old JOIN symbol_week AS new ON old.has_ended AND new.has_begun
    AND new.week_number - old.week_number BETWEEN 1 AND 5
WHERE has_same_issue_name OR has_similar_trading;

CREATE VIEW finra_symbols AS
SELECT symbol, min(week_start) AS first_week, max(week_start) AS last_week,
    count(*) AS week_count, count(DISTINCT name) AS issue_name_count,
    substr(max(week_start || tier), 11) AS tier,
    substr(max(week_start || issue_name), 11) AS issue_name,
    (SELECT count(*) FROM finra_symbol_changes AS change
        WHERE change.symbol = week.symbol AND kind = 'tier_move') AS tier_move_count,
    EXISTS (SELECT 1 FROM finra_symbol_changes AS change
        WHERE change.symbol = week.symbol AND kind = 'reuse_candidate') AS is_reuse_candidate,
    clock.known_from, clock.published_at
FROM symbol_week AS week JOIN symbol_clock AS clock USING (symbol) GROUP BY symbol;

CREATE VIEW prices_corporate_actions AS
SELECT symbol, trade_date, kind, source, known_from,
    iif(kind = 'split', NULL, dividend) AS dividend,
    iif(kind = 'split', split_ratio, NULL) AS split_ratio
FROM prices_daily JOIN (SELECT 'dividend' AS kind UNION ALL SELECT 'split')
WHERE iif(kind = 'split', split_ratio <> 1000000, dividend <> 0);

CREATE VIEW prices_returns AS
WITH pair AS (
    SELECT symbol, trade_date, lag(trade_date) OVER days AS previous_date,
        adjusted_close + lag(adjusted_close) OVER days IS NOT NULL AS is_adjusted,
        coalesce(1.0 * adjusted_close / lag(adjusted_close) OVER days,
            1.0 * close / lag(close) OVER days) AS growth,
        max(known_from) OVER (days ROWS 60 PRECEDING) AS known_from
    FROM prices_daily WINDOW days AS (PARTITION BY symbol ORDER BY trade_date)
), daily AS (
    SELECT *, growth - 1 AS simple_return, ln(growth) AS log_return,
        session_count(date(previous_date, '+1 day'), date(trade_date, '-1 day')) AS missing_count
    FROM pair
)
SELECT *, missing_count > 0 AS is_after_gap FROM (
    SELECT *, deviation(daily_return, 20, 0) OVER (days ROWS 19 PRECEDING) AS volatility_20d,
        deviation(daily_return, 60, 0) OVER (days ROWS 59 PRECEDING) AS volatility_60d
    FROM (SELECT *, iif(missing_count = 0, log_return, NULL) AS daily_return FROM daily)
    WINDOW days AS (PARTITION BY symbol ORDER BY trade_date)
) WHERE previous_date IS NOT NULL;

-- Volume on and off exchange of each tape, by day and by week.
CREATE TABLE off_exchange AS
WITH tape_volume AS (
    SELECT trade_date, participant_code LIKE 'D%' AS is_off, 'A' AS tape,
        tape_a_share_quantity AS shares, tape_a_notional_usd AS notional,
        tape_a_trade_count AS trades
    FROM market_volume_daily
    UNION ALL SELECT trade_date, participant_code LIKE 'D%', 'B', tape_b_share_quantity,
        tape_b_notional_usd, tape_b_trade_count FROM market_volume_daily
    UNION ALL SELECT trade_date, participant_code LIKE 'D%', 'C', tape_c_share_quantity,
        tape_c_notional_usd, tape_c_trade_count FROM market_volume_daily
    UNION ALL SELECT trade_date, participant_code LIKE 'D%', 'all', total_share_quantity,
        total_notional_usd, total_trade_count FROM market_volume_daily
), period AS (
    SELECT *, NOT is_off AS is_on,
        iif(is_week, date(trade_date, '-6 days', 'weekday 1'), trade_date) AS period
    FROM tape_volume JOIN (SELECT 0 AS is_week UNION ALL SELECT 1)
)
SELECT period, period AS week_start, is_week, tape, count(DISTINCT trade_date) AS day_count,
    sum(is_on * shares) AS exchange_share_quantity,
    sum(is_off * shares) AS off_exchange_share_quantity,
    1.0 * sum(is_off * shares) / sum(shares) AS off_exchange_share_ratio,
    sum(is_on * notional) AS exchange_notional_usd,
    sum(is_off * notional) AS off_exchange_notional_usd,
    1.0 * sum(is_off * notional) / sum(notional) AS off_exchange_notional_ratio,
    sum(is_on * trades) AS exchange_trade_count, sum(is_off * trades) AS off_exchange_trade_count,
    1.0 * sum(is_off * trades) / sum(trades) AS off_exchange_trade_ratio,
    max(landed_at) AS loaded_at, 1.0 * sum(shares) AS all_shares
FROM period JOIN loads ON (table_name, partition_key) = ('market_volume_daily', trade_date)
GROUP BY period, is_week, tape;

CREATE VIEW off_exchange_share_daily AS
SELECT *, period AS trade_date, loaded_at AS known_from FROM off_exchange WHERE NOT is_week;

CREATE VIEW off_exchange_share_weekly AS
WITH nms AS (
    SELECT week_start, sum(ats_share_quantity) AS ats, sum(non_ats_share_quantity) AS non_ats,
        max(published_at) AS published_at, max(known_from) AS nms_load,
        count(DISTINCT tier) = 2 AS is_whole
    FROM finra_symbol_week WHERE tier IN ('T1', 'T2') GROUP BY week_start
), week AS (
    SELECT *, session_count(week_start, date(week_start, '+4 days')) AS session_count,
        iif(is_whole AND tape = 'all', ats, NULL) AS finra_ats_share_quantity,
        iif(is_whole AND tape = 'all', non_ats, NULL) AS finra_non_ats_share_quantity
    FROM off_exchange LEFT JOIN nms USING (week_start) WHERE is_week
)
SELECT *, later(loaded_at, nms_load) AS known_from,
    iif(day_count < session_count, NULL, finra_ats_share_quantity / all_shares)
        AS finra_ats_share_ratio,
    iif(day_count < session_count, NULL, finra_non_ats_share_quantity / all_shares)
        AS finra_non_ats_share_ratio
FROM week;

-- Short sales by week and FINRA's spelling of the symbol, if that traded in the week.
CREATE TABLE sale AS
SELECT week_start, trade_date, short_quantity, short_exempt_quantity, total_quantity, landed_at,
    spell(symbol, week_start) AS symbol
FROM (SELECT *, date(trade_date, '-6 days', 'weekday 1') AS week_start FROM finra_reg_sho_daily)
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
    later(landed_at, sales_load, settled_load) AS known_from
FROM week_load LEFT JOIN sales USING (week_start)
LEFT JOIN settlement ON settled_on <= date(week_start, '+4 days')
WHERE tier = '' GROUP BY week_start;

CREATE VIEW finra_symbol_week_short AS
WITH input AS (
    SELECT week_start, symbol, share_quantity AS otc_share_quantity, ats_share_quantity,
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
SELECT member.*, loaded_day_count, settlement_date, known_from,
    held.short_quantity AS short_interest_quantity,
    1.0 * member.short_quantity / total_quantity AS short_volume_ratio,
    1.0 * held.short_quantity / otc_share_quantity AS short_interest_to_otc_ratio
FROM member JOIN short_week USING (week_start)
LEFT JOIN (SELECT settlement_date, symbol AS held_symbol, short_quantity FROM finra_short_interest)
    AS held ON (settlement_date, held_symbol) = (settled_on, symbol);

CREATE VIEW finra_symbol_week_value AS
WITH priced AS (
    SELECT week.*, count(*) AS session_count, min(later_splits) AS splits,
        week_value(close, volume, later_splits, share_quantity) AS value,
        1.0 * share_quantity / sum(volume) AS part
    FROM finra_symbol_week AS week JOIN prices_daily AS day
        ON day.symbol = week.symbol
        AND day.trade_date BETWEEN week_start AND date(week_start, '+4 days')
    GROUP BY week.symbol, week.tier, week_start
    HAVING count(*) = session_count(week_start, date(week_start, '+4 days'))
)
SELECT week_start, tier, symbol, share_quantity, session_count, published_at,
    value ->> 0 AS price, iif(value ->> 0 IS NULL, NULL, splits) AS undone_splits,
    NULL AS price_reason, value ->> 1 AS estimated_notional_usd,
    1.0 * (value ->> 1) / sum(value ->> 1) OVER (PARTITION BY week_start, tier)
        AS dollar_volume_share,
    part * (value ->> 2) AS market_volume_share,
    later(
        (SELECT max(known_from) FROM finra_symbol_week AS week
            WHERE week.week_start = priced.week_start),
        (SELECT max(known_from) FROM prices_daily
            WHERE trade_date BETWEEN week_start AND date(week_start, '+4 days'))
    ) AS known_from
FROM priced;

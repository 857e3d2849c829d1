-- Rates are exact: whole millionths, which become a number with a point here alone.
select
    substr(rate_date, 1, 7) as rate_month,
    currency_code,
    count(*) as day_count,
    min(rate) / 1000000.0 as lowest_rate,
    max(rate) / 1000000.0 as highest_rate
from {{ source("fx", "fx_rates_daily") }}
where rate is not null
group by rate_month, currency_code

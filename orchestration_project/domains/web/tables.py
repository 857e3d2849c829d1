"""Web: frontier, fetches, items with fields and changes, crawls, switches, proposals, robots."""

from orchestration_project.tables.schema import (
    count,
    day,
    flag,
    history_of,
    index_loads,
    moment,
    ratio,
    scaled,
    table,
    text,
)

web_frontier = table(
    "web_frontier",
    "One row per URL that a crawl found; the work on it is a work item.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    day("day", "UTC day of the crawl", key=True),
    text("url", "URL in one spelling, without fragment", key=True, from_senders=True),
    count("depth", "Followed links from a start URL"),
    text("found_on", "URL of the page with the link; NULL: a start URL", optional=True),
    text(
        "verdict",
        "Verdict: page, unchanged, blocked, login, gone (404 or 410 alone), redirected, disallowed "
        "(robots.txt), refused (4xx, or by our limits) or failed (no page; the next run retries); "
        "NULL: waits",
        optional=True,
    ),
    text("reason", "Reason of the verdict; NULL: none", optional=True, from_senders=True),
    text("final_url", "URL after redirects; NULL: not fetched", optional=True, from_senders=True),
    text("content_type", "Content-Type of the page; NULL: none", optional=True, from_senders=True),
    text("sha256", "SHA-256 of the page's bytes, hex; NULL: none", optional=True),
    moment("fetched_at", "UTC time of the answer; NULL: not fetched", optional=True),
    day(
        "last_success_on",
        "UTC day of the latest crawl that read it, where this one did not; its items stay as they "
        "were then, unless it is gone; NULL: none, or read",
        optional=True,
    ),
    text(
        "found_by",
        "Kind of page that leads to it: index (of sitemaps; it must be a sitemap), page (also a "
        "sitemap, or the site file) or feed (feeds alone: an item is not removed as it is absent); "
        "NULL: not known",
        values=("index", "page", "feed"),
        optional=True,
    ),
)

web_pages = table(
    "web_pages",
    "One row per URL of a site: its latest fetch. The history has every earlier one.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    text("url", "URL as it was requested, without fragment", key=True, from_senders=True),
    day("day", "UTC day of the crawl"),
    count("status", "HTTP status of the last answer"),
    text("content_type", "Content-Type; NULL: none", optional=True, from_senders=True),
    text("etag", "ETag; NULL: none", optional=True, from_senders=True),
    text("last_modified", "Last-Modified; NULL: none", optional=True, from_senders=True),
    text("final_url", "URL after redirects", from_senders=True),
    text("sha256", "SHA-256 of the page's bytes, hex; of an unchanged page, those it had"),
    text("verdict", "Verdict: page, unchanged, blocked, login, gone, refused or failed"),
    text("robots_verdict", "Verdict of robots.txt: allowed"),
    moment("fetched_at", "UTC time of the answer"),
    text("run_id", "Dagster run that fetched it"),
    text("rule", "Rules by which it was judged"),
    count("capture_id", "Capture of the answer"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)
history_of(web_pages)
index_loads(web_pages, "site")

web_items = table(
    "web_items",
    "One row per item of a site.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    text("item_key", "Values of the key fields", key=True, from_senders=True),
    text("url", "URL of its page", from_senders=True),
    text("payload", "Fields, canonical JSON; prices are exact decimals", from_senders=True),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)
web_items_history = history_of(web_items)
index_loads(web_items, "site")

web_item_fields = table(
    "web_item_fields",
    "One row per value of a field of an item, made from the payload when the item is loaded.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    text("item_key", "Values of the key fields", key=True, from_senders=True),
    text("field", "Field of the site file", key=True),
    count("position", "Position among the values of the field, from 1", key=True),
    text("text_value", "Value as text; of a list or object, JSON", from_senders=True),
    scaled(
        "amount",
        "Number, in 10^-6; NULL: not a number, or with more than 6 places or 12 digits before them",
        optional=True,
    ),
    text(
        "currency",
        "Currency of a price: its own, else the item's field <field>_currency, else currency; "
        "NULL: none",
        optional=True,
        from_senders=True,
    ),
    moment("time_value", "Date or time, UTC where it has no zone; NULL: neither", optional=True),
)

web_changes = table(
    "web_changes",
    "One row per field of an item that a crawl changed, or per item that it added or removed. "
    "Items of a site's first load have none.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    moment("at", "UTC time of the load (system time)", key=True),
    text("item_key", "Values of the key fields", key=True, from_senders=True),
    text("field", "Field of the site file; empty: the whole item", key=True),
    text("kind", "Kind: added, changed or removed", values=("added", "changed", "removed")),
    text("before", "Value before, as text; NULL: none", optional=True, from_senders=True),
    text("after", "Value after, as text; NULL: none", optional=True, from_senders=True),
    text("change_cause", "Cause: source (other pages) or ours (new rules)"),
)

web_crawls = table(
    "web_crawls",
    "One row per site and day: a crawl, and how it ended.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    day("day", "UTC day of the crawl", key=True),
    text(
        "outcome",
        "Outcome: running, complete, budget (a limit was reached), stopped (URLs are left), "
        "blocked or login (it failed)",
    ),
    text("reason", "Reason of an outcome other than complete; NULL: none", optional=True),
    moment("started_at", "UTC time of the first run's start"),
    moment("ended_at", "UTC time of the latest run's end; NULL: it runs", optional=True),
    ratio("seconds", "Time of requests and loads, all runs together, seconds"),
    scaled("cost", "Cost of the requests, in 10^-6 of the unit of the site file"),
    count("slice_count", "Deliveries of pages"),
    count("request_count", "Requests of pages, redirects included"),
    count("byte_count", "Size of their bodies, decoded, bytes"),
    count("url_count", "URLs of the frontier"),
    count("left_out_count", "Links that were left out, as the limit of URLs was reached"),
    count("page_count", "Pages with a body, unchanged ones included"),
    count("item_count", "Items of the latest extraction"),
    count("reject_count", "Rejected items of the latest extraction"),
    text(
        "fill_rates",
        "Share of items with a value, by field, JSON; NULL: no items were read",
        optional=True,
    ),
    text("run_id", "Dagster run, the latest"),
    count(
        "carried_count",
        "Loaded items that stay as they were: the page was not read or the item not understood; "
        "NULL: not counted",
        optional=True,
    ),
)

web_switches = table(
    "web_switches",
    "One row per change of a site's kill switch. The latest one counts.",
    text("site", "Site, by its file in WEB_SITES_DIR", key=True),
    count("change_number", "Number of the change, from 1", key=True),
    flag("is_off", "Whether no request may leave"),
    text("reason", "Reason, as the user gave it"),
    text("changed_by", "User"),
    moment("changed_at", "UTC time of the change"),
    text("run_id", "Dagster run that made it"),
)

web_robots = table(
    "web_robots",
    "One row per origin: the latest answer for its robots.txt.",
    text("origin", "Scheme, host and port", key=True),
    count("status", "HTTP status after redirects; NULL: no answer", optional=True),
    text("body", "Text, up to 500 KiB", from_senders=True),
    moment("fetched_at", "UTC time of the answer"),
)

web_proposals = table(
    "web_proposals",
    "One row per proposal of selectors; accepted ones apply over the rules of the site file.",
    text("proposal_id", "Site, and digest of rules and selectors", key=True),
    text("site", "Site, by its file in WEB_SITES_DIR"),
    text(
        "state",
        "State: open, accepted, rejected or superseded (by a later proposal)",
        values=("open", "accepted", "rejected", "superseded"),
    ),
    text(
        "fields",
        "Old and new selector of each field, a JSON object",
        from_senders=True,
    ),
    text(
        "evidence",
        "Items and fill rates before and after, tried candidates, and differences of items, JSON",
        from_senders=True,
    ),
    text("base_rules", "Version of the item rules in the site file for which it was made"),
    moment("made_at", "UTC time of the proposal"),
    text("run_id", "Dagster run that made it"),
    text("decided_by", "User who decided; NULL: open or superseded", optional=True),
    text("decision_reason", "Reason that the user gave; NULL: none", optional=True),
    moment("decided_at", "UTC time of the decision; NULL: open", optional=True),
)

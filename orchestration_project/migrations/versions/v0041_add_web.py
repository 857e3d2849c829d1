"""Add web."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0041"
down_revision = "0040"

# fmt: off
CHANGES = [
    CreateTable(Table("web_frontier", "One row per URL that a crawl found; the work on it is a work item.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("day", "date", "UTC day of the crawl", key=True),
        Column("url", "text", "URL in one spelling, without fragment", key=True),
        Column("depth", "bigint", "Followed links from a start URL"),
        Column("found_on", "text", "URL of the page with the link; NULL: a start URL", optional=True),
        Column("verdict", "text", "Verdict: page, unchanged, blocked, login, gone, redirected, disallowed (robots.txt), refused or failed (no answer; the next run retries); NULL: waits", optional=True),
        Column("reason", "text", "Reason of the verdict; NULL: none", optional=True),
        Column("final_url", "text", "URL after redirects; NULL: not fetched", optional=True),
        Column("content_type", "text", "Content-Type of the page; NULL: none", optional=True),
        Column("sha256", "text", "SHA-256 of the page's bytes, hex; NULL: none", optional=True),
        Column("fetched_at", "timestamp", "UTC time of the answer; NULL: not fetched", optional=True),
    ])),
    CreateTable(Table("web_pages", "One row per URL of a site: its latest fetch. The history has every earlier one.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("url", "text", "URL as it was requested, without fragment", key=True),
        Column("day", "date", "UTC day of the crawl"),
        Column("status", "bigint", "HTTP status of the last answer"),
        Column("content_type", "text", "Content-Type; NULL: none", optional=True),
        Column("etag", "text", "ETag; NULL: none", optional=True),
        Column("last_modified", "text", "Last-Modified; NULL: none", optional=True),
        Column("final_url", "text", "URL after redirects"),
        Column("sha256", "text", "SHA-256 of the page's bytes, hex; of an unchanged page, those it had"),
        Column("verdict", "text", "Verdict: page, unchanged, blocked, login, gone or redirected"),
        Column("robots_verdict", "text", "Verdict of robots.txt: allowed"),
        Column("fetched_at", "timestamp", "UTC time of the answer"),
        Column("run_id", "text", "Dagster run that fetched it"),
        Column("rule", "text", "Rules by which it was judged"),
        Column("capture_id", "bigint", "Capture of the answer"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("web_pages_history", "One row per earlier state of a row of web_pages, valid from known_from to known_to.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("url", "text", "URL as it was requested, without fragment", key=True),
        Column("day", "date", "UTC day of the crawl"),
        Column("status", "bigint", "HTTP status of the last answer"),
        Column("content_type", "text", "Content-Type; NULL: none", optional=True),
        Column("etag", "text", "ETag; NULL: none", optional=True),
        Column("last_modified", "text", "Last-Modified; NULL: none", optional=True),
        Column("final_url", "text", "URL after redirects"),
        Column("sha256", "text", "SHA-256 of the page's bytes, hex; of an unchanged page, those it had"),
        Column("verdict", "text", "Verdict: page, unchanged, blocked, login, gone or redirected"),
        Column("robots_verdict", "text", "Verdict of robots.txt: allowed"),
        Column("fetched_at", "timestamp", "UTC time of the answer"),
        Column("run_id", "text", "Dagster run that fetched it"),
        Column("rule", "text", "Rules by which it was judged"),
        Column("capture_id", "bigint", "Capture of the answer"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("web_items", "One row per item of a site.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("item_key", "text", "Values of the key fields", key=True),
        Column("url", "text", "URL of its page"),
        Column("payload", "text", "Fields, canonical JSON; prices are exact decimals"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("web_items_history", "One row per earlier state of a row of web_items, valid from known_from to known_to.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("item_key", "text", "Values of the key fields", key=True),
        Column("url", "text", "URL of its page"),
        Column("payload", "text", "Fields, canonical JSON; prices are exact decimals"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("web_item_fields", "One row per value of a field of an item, made from the payload when the item is loaded.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("item_key", "text", "Values of the key fields", key=True),
        Column("field", "text", "Field of the site file", key=True),
        Column("position", "bigint", "Position among the values of the field, from 1", key=True),
        Column("text_value", "text", "Value as text; of a list or object, JSON"),
        Column("amount", "bigint", "Number, in 10^-6; NULL: not a number, or with more than 6 places or 12 digits before them", optional=True),
        Column("currency", "text", "Currency of a price: its own, else the item's field <field>_currency, else currency; NULL: none", optional=True),
        Column("time_value", "timestamp", "Date or time, UTC where it has no zone; NULL: neither", optional=True),
    ])),
    CreateTable(Table("web_changes", "One row per field of an item that a crawl changed, or per item that it added or removed. Items of a site's first load have none.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("at", "timestamp", "UTC time of the load (system time)", key=True),
        Column("item_key", "text", "Values of the key fields", key=True),
        Column("field", "text", "Field of the site file; empty: the whole item", key=True),
        Column("kind", "text", "Kind: added, changed or removed"),
        Column("before", "text", "Value before, as text; NULL: none", optional=True),
        Column("after", "text", "Value after, as text; NULL: none", optional=True),
        Column("change_cause", "text", "Cause: source (other pages) or ours (new rules)"),
    ])),
    CreateTable(Table("web_crawls", "One row per site and day: a crawl, and how it ended.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("day", "date", "UTC day of the crawl", key=True),
        Column("outcome", "text", "Outcome: running, complete, budget (a limit was reached), stopped (URLs are left), blocked or login (it failed)"),
        Column("reason", "text", "Reason of an outcome other than complete; NULL: none", optional=True),
        Column("started_at", "timestamp", "UTC time of the first run's start"),
        Column("ended_at", "timestamp", "UTC time of the latest run's end; NULL: it runs", optional=True),
        Column("seconds", "double", "Time of requests and loads, all runs together, seconds"),
        Column("cost", "bigint", "Cost of the requests, in 10^-6 of the unit of the site file"),
        Column("slice_count", "bigint", "Deliveries of pages"),
        Column("request_count", "bigint", "Requests of pages, redirects included"),
        Column("byte_count", "bigint", "Size of their bodies, decoded, bytes"),
        Column("url_count", "bigint", "URLs of the frontier"),
        Column("left_out_count", "bigint", "Links that were left out, as the limit of URLs was reached"),
        Column("page_count", "bigint", "Pages with a body, unchanged ones included"),
        Column("item_count", "bigint", "Items of the latest extraction"),
        Column("reject_count", "bigint", "Rejected items of the latest extraction"),
        Column("fill_rates", "text", "Share of items with a value, by field, JSON; NULL: no items were read", optional=True),
        Column("run_id", "text", "Dagster run, the latest"),
    ])),
    CreateTable(Table("web_switches", "One row per change of a site's kill switch. The latest one counts.", [
        Column("site", "text", "Site, by its file in WEB_SITES_DIR", key=True),
        Column("change_number", "bigint", "Number of the change, from 1", key=True),
        Column("is_off", "boolean", "Whether no request may leave"),
        Column("reason", "text", "Reason, as the user gave it"),
        Column("changed_by", "text", "User"),
        Column("changed_at", "timestamp", "UTC time of the change"),
        Column("run_id", "text", "Dagster run that made it"),
    ])),
    CreateTable(Table("web_robots", "One row per origin: the latest answer for its robots.txt.", [
        Column("origin", "text", "Scheme, host and port", key=True),
        Column("status", "bigint", "HTTP status after redirects; NULL: no answer", optional=True),
        Column("body", "text", "Text, up to 500 KiB"),
        Column("fetched_at", "timestamp", "UTC time of the answer"),
    ])),
    CreateTable(Table("web_proposals", "One row per proposal of selectors; accepted ones apply over the rules of the site file.", [
        Column("proposal_id", "text", "Site, and digest of rules and selectors", key=True),
        Column("site", "text", "Site, by its file in WEB_SITES_DIR"),
        Column("state", "text", "State: open, accepted, rejected or superseded (by a later proposal)"),
        Column("fields", "text", "Old and new selector of each field, a JSON object"),
        Column("evidence", "text", "Items and fill rates before and after, tried candidates, and differences of items, JSON"),
        Column("base_rules", "text", "Version of the item rules in the site file for which it was made"),
        Column("made_at", "timestamp", "UTC time of the proposal"),
        Column("run_id", "text", "Dagster run that made it"),
        Column("decided_by", "text", "User who decided; NULL: open or superseded", optional=True),
        Column("decision_reason", "text", "Reason that the user gave; NULL: none", optional=True),
        Column("decided_at", "timestamp", "UTC time of the decision; NULL: open", optional=True),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)

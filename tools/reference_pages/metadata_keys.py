"""Every key of the metadata that runs report to Dagster, with its unit and meaning.

`docs/reference/metadata.md` is made of it. A key with `*` stands for keys that data names, such as
a domain or a symbol. Dagster plots every number over time.
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple


class MetadataKey(NamedTuple):
    """Unit and meaning of a key; a `ratio` lies between 0 and 1."""

    unit: str
    meaning: str


class KeyGroup(NamedTuple):
    """Keys of one subject, for the page."""

    title: str
    keys: dict[str, MetadataKey]


def _keys(unit: str, **meanings: str) -> dict[str, MetadataKey]:
    return {name: MetadataKey(unit, meaning) for name, meaning in meanings.items()}


LOADS = KeyGroup(
    "Loads",
    {
        "change": MetadataKey("text", "Change of the load in a sentence; the first key"),
        "outcome": MetadataKey("text", "Result of the partition, or why nothing was done"),
        "renamed_from": MetadataKey("asset", "Asset before its table was renamed"),
        "renamed_event_run": MetadataKey("run", "Run that loaded the partition by an earlier name"),
        "renamed_event_at": MetadataKey("timestamp", "Time of the event of that run"),
        "dagster/row_count": MetadataKey("rows", "Rows of the partition after the load"),
        **_keys(
            "rows",
            rows="Rows that the run wrote or exported",
            rows_added="Rows with a new key",
            rows_changed="Rows whose values differ from the loaded ones",
            rows_removed="Rows that the source no longer has",
            rows_unchanged="Rows equal to the loaded ones",
            rows_written="Rows written by the run",
            rows_replaced="Earlier rows moved to the history",
            rejects="Lines rejected by the contract",
            rejects_of_the_run="Lines of all partitions of the run that the contract rejected",
            restated_rows="Loaded rows that the source changed",
        ),
        **_keys(
            "bytes",
            bytes="Bytes fetched; of lists of artifacts: bytes stored",
            stored_bytes="Bytes of the captures as stored, compressed",
            bytes_of_the_run="Bytes that the run fetched for all partitions",
        ),
        **_keys(
            "count",
            captures="Captured responses or files; in lists: a table of them",
            captures_of_the_run="Captures of the run for all partitions",
            audits_passed="Audits that passed",
            audits_warning="Audits that warned",
            audits_not_applicable="Audits that do not apply to the partition",
            symbols_added="Symbols with shares now and none before",
            symbols_removed="Symbols with shares before and none now",
            symbols_unchanged="Symbols whose prices are the loaded ones at the source",
            symbols_not_asked="Symbols for which the run did not ask the source",
            symbols_landed="Symbols of the month that are loaded",
            symbols_waiting="Symbols of the month that wait for another request",
            symbols_refused="Symbols of the month whose delivery was quarantined or refused",
            symbols_unmapped="Symbols of the month that the source cannot spell",
            symbols_restated="Symbols of the month with changed rows",
            symbols_derived="Symbols that were derived again",
            partitions_derived="Partitions that were derived again",
            quota_left="Requests left of the source's daily quota",
            recomputed_week_count="Weeks derived again",
            **{
                "*_item_count": "Work items of the run in this state",
                "*_document_count": "Delivered documents of the run in this state; unchanged: "
                "loaded before; not_read: not read by a replay, as the present rules made them",
                "*_count": "Number of what the key names",
            },
        ),
        **_keys(
            "shares",
            shares_before="Shares of the week before the restatement",
            shares_after="Shares of the week after the restatement",
        ),
        **_keys(
            "trades",
            trades_before="Trades of the week before the restatement",
            trades_after="Trades of the week after the restatement",
        ),
        **_keys("seconds", seconds="Time to read, validate and load, or to derive"),
        **_keys("ratio", restated_share_ratio="Moved shares among all shares of the week"),
        **_keys("timestamp", known_from="Time of the load that made the current rows"),
        **_keys(
            "text",
            balance="Equations of the delivery: what came in, and where it went",
            balance_of_the_run="The same of the whole run, added up",
            source="Source that the rows came from",
            source_version="Version of the delivery, as the source names it",
            data="SYNTHETIC DATA: the rows are of the demo",
            group_id="Identifier of the delivery",
            artifact="File of the staged rows",
            category="Error category of a quarantined partition",
            reason="Why a partition was quarantined or has no data",
            expected="What the check or the load expected",
            found="What it found",
            where="Partition, run, asset and source of an error",
            all_rejects="Command that exports all rejected lines",
            notice="Changes that ask for attention",
            notice_kind="restatement, items_failed, or landed for a new partition",
            made_of="Version of the inputs that were read",
            recomputed_weeks="Weeks derived again",
            failed="Keys that failed the check",
            quarantined="Partitions that the run did not load",
        ),
        **_keys("flag", is_retryable="Whether a retry may succeed"),
        **_keys(
            "link",
            run="Run that quarantined the partition",
            pages="Pages of the partitions",
            table_rows="Rows of the webhook deliveries",
        ),
        **_keys("run", landed_by="Run that loaded the current rows"),
        **_keys(
            "link",
            captured_as="Partition of the captures",
            captured="Captures of the delivery",
            explanation="How the shares of the row with most shares came about",
            diff="Rows that the load added, changed or removed, with both values",
            log_lines="Log lines of the run, for operators",
            trace="Trace of the run",
            downloads="Downloads of the captures",
            made_of_weekly="Partitions that the picture was drawn from",
        ),
        **_keys(
            "table",
            first_rows="First rows of the partition",
            first_captures="First captures of the partition",
            first_failures="First work items that failed",
            largest="Rows with most shares",
            largest_moves="Rows with the largest changes of shares",
            open_symbols="Symbols that are not loaded, and why",
            failures="Deliveries that failed the check",
            offenders="Rows that failed the check, the first ones",
            rejected_lines="Rejected lines: place, reason and record, the first ones",
            deliveries="Webhook deliveries of the run",
        ),
        **_keys("picture", recent_shares="Shares of the tier by week"),
    },
)

DOCUMENTS = KeyGroup(
    "Documents",
    {
        "document_verdict": MetadataKey("text", "Verdict on the run's documents: good, watch, bad"),
        "document_score": MetadataKey("points", "Weighted share that reached each stage, 0-100"),
        **_keys("text", verdict_reasons="Why the verdict is not good; none: it is"),
        **_keys("pages per second", pages_per_second="Pages of the run by the time of its load"),
        **_keys(
            "table",
            outcomes_by_type="Documents of the run and their pages, by media type and state",
            first_chunks="First chunk of some documents: file, page, words, beginning of the text",
        ),
        **_keys(
            "count",
            page_count="Pages of the run's documents",
            chunk_count="Chunks of the run's documents",
            compared_count="Documents that were compared with others",
            same_text_count="Documents of these whose words were those of before",
            removed_pair_count="Pairs of similar documents that other text removed",
            cut_count="Documents with more similar ones than are looked up or kept",
        ),
    },
)
WEB = KeyGroup(
    "Web",
    {
        **_keys(
            "text",
            crawl_outcome="How the crawl ended: complete, budget, stopped or blocked",
            site="Site, by its file",
            changed_by="User who set the switch",
        ),
        **_keys("flag", is_off="Whether the site's kill switch is off"),
        **_keys("cost", cost="Cost of the crawl's requests, in the unit of the site file"),
        **_keys(
            "table",
            latest_crawls="Latest crawls of all sites",
            carried_items="Items that the crawl did not read, taken from the crawl before",
            first_changes="First changes of the load: item, field, values",
        ),
        **_keys(
            "text",
            day="UTC day of the crawl whose pages were read",
            proposal_id="ID of the proposal in the table web_proposals",
            proposal_state="State of the proposal: open, accepted or rejected",
            decided_by="User who decided on the proposal",
            unsolved="Fields that fell, and for which no selector was found",
        ),
        **_keys(
            "items",
            items_before="Loaded items",
            items_without_proposal="Items of the latest crawl by the present selectors",
            items_after="Items of the latest crawl by the proposed selectors",
        ),
        **_keys(
            "table",
            selectors="Old and proposed selector of each field, how many known values it finds, "
            "and the share of items with a value",
        ),
    },
)
MQTT = KeyGroup(
    "MQTT",
    {
        **_keys(
            "count",
            event_count="New events in the mirror",
            duplicate_count="Further arrivals of events that are mirrored",
            cleared_count="Empty messages, which end a retained value of their topic",
            dead_letter_count="Messages of the run that are dead letters",
            skewed_count="New events whose time is far from their arrival",
            unknown_kind_count="New events of kinds without a schema",
            range_count="Ranges of arrivals that the run loaded",
            waiting_count="Messages that wait for the mirror",
            message_count="Messages of the hour that the run loaded",
            removed_message_count="Mirrored messages older than MQTT_INBOX_DAYS that were deleted",
            removed_key_count="Idempotency keys older than MQTT_KEYS_DAYS that were deleted",
            folded_count="Entities that the run folded",
            open_letter_count="Dead letters that no replay has ended",
            selected_count="Dead letters that the run's options select",
            mirrored_count="Dead letters that became events",
            refused_count="Dead letters that were refused again",
            component_count="Components of all projects",
            dependency_count="Dependencies of components",
            left_out_count="Components that the picture does not show",
        ),
        **_keys("seconds", oldest_waiting_seconds="Age of the oldest message that waits; 0: none"),
        **_keys(
            "table",
            events_by_topic="New events by topic and kind",
            events_of_hour="Mirrored events of the partition's hour by kind",
            letters_by_reason="Dead letters by reason",
        ),
        **_keys("text", mermaid="The graph as a flowchart of Mermaid"),
    },
)
PICTURES = KeyGroup(
    "Charts and reports",
    {
        **_keys(
            "picture",
            picture="The chart",
            coverage="Loaded days by symbol",
            flow="Tasks on their way to issues",
            **{
                "chart_*": "Candlesticks of a symbol",
                "shares_*": "Shares of a tier by week",
                "*_rows_by_day": "Rows loaded by day of a domain",
            },
        ),
        **_keys(
            "path",
            svg_file="The chart as SVG",
            png_file="The chart as PNG",
            coverage_file="The chart of loaded days as SVG",
            file="The exported archive",
            **{"*_file": "The symbol's chart as SVG"},
        ),
        **_keys(
            "date",
            week_start="Monday of the newest week shown",
            first_session="First trading day shown",
            last_session="Last trading day shown",
        ),
        **_keys("shares", share_quantity="Shares of the newest week, all tiers"),
        **_keys("trades", trade_count="Trades of the newest week, all tiers"),
        **_keys("dollars", notional_dollars="Estimated value of the week, US dollars"),
        **_keys(
            "ratio",
            coverage_ratio="Share of the volume or of the days that has prices",
            de_minimis_share="Share of the week's volume of De Minimis Firms",
            valued_share="Share of the week's volume that has prices",
        ),
        **_keys("count", weeks_shown="Weeks in the chart"),
        **_keys(
            "table",
            top_symbols="Symbols with most shares",
            top_venues="Venues with most shares",
            tiers="Figures of each tier in the newest week",
        ),
    },
)

CONTROL_TOWER = KeyGroup(
    "Control tower",
    {
        **_keys(
            "text",
            verdict="Domains by state, the worst first",
            releases="Releases of the programs that run; two at once during an upgrade",
            backup="Latest backup, and the latest restore with --check",
            **{"*_verdict": "State of a domain, each reason, what to do, and links to it"},
        ),
        **_keys(
            "runs",
            queue_depth="Runs that wait to start",
            runs_under_way="Runs in progress",
            **{
                "*_runs_24h": "Runs of a domain that ended in the last 24 h",
                "*_failures_24h": "Runs of a domain that failed in the last 24 h",
            },
        ),
        **_keys("rows", **{"*_rows_landed_24h": "Rows of a domain loaded in the last 24 h"}),
        **_keys("bytes", **{"*_bytes_24h": "Bytes of a domain fetched in the last 24 h"}),
        **_keys("ratio", **{"*_success_share_24h": "Succeeded runs of a domain, last 24 h"}),
        **_keys(
            "table",
            domains="Figures of each domain and window",
            assets_7d="Figures of each asset, last 7 days",
            hosts="Programs by host: state, release, runs in progress, memory, free disk",
            objectives="Error budgets and burn rates of objectives, the least left first",
            queues="Waiting and running runs by queue and priority, and the oldest wait",
        ),
        **_keys("picture", error_budgets="Error budgets of objectives, and what each day spent"),
    },
)

OPERATIONS = KeyGroup(
    "Operations",
    {
        **_keys("items", dead="Work items that used up their attempts"),
        **_keys("text", retry_with="Command or run config that retries what is listed"),
        **_keys(
            "runs",
            runs="Runs of the listed sessions, or with deleted logs",
            runs_failed="Failed runs of the listed sessions",
            runs_missing="Runs that the ledger lacked",
            runs_differing="Runs that the ledger had differently",
            runs_same="Runs that the ledger had",
            runs_gone="Runs that Dagster has deleted",
            runs_not_in_ledger="Runs with logs that the ledger lacks",
        ),
        **_keys("rows", rows_landed="Rows loaded by the listed sessions"),
        **_keys(
            "count",
            sessions_listed="Listed sessions",
            evaluations="Deleted evaluations of automation conditions",
            earlier_states="Deleted events of earlier states of alerts, presets, settings and runs",
            captures_listed="Listed captures",
            artifacts="Artifacts",
            members="Files of the archive",
            open="Open alerts",
            waiting="Alerts that wait for a channel",
            fields_changed="Settings that the preset changes",
            version="Version of the schedule or flag after the edit",
            undated_rows="Rows whose time of publication is not known",
        ),
        **_keys("timestamp", before="Logs of runs that ended before it are deleted"),
        **_keys(
            "count",
            damaged_count="Artifacts that are damaged",
            expired_count="Objects of earlier repairs that were deleted",
            lost_count="Damaged artifacts that nothing can repair",
            open_artifact_count="Damaged artifacts that are not repaired",
            rederived_count="Damaged artifacts replaced by equal rows in other bytes",
            repaired_count="Damaged artifacts repaired with the same bytes",
            captures_deleted="Captures that an erasure deleted",
            captures_redacted="Captures whose bytes an erasure redacted",
            artifacts_deleted="Artifacts that an erasure deleted, without captures",
            files_changed="Files and tables of Dagster that an erasure changed",
        ),
        **_keys(
            "rows",
            rows_deleted="Rows that an erasure deleted",
            rows_masked="Rows in which an erasure masked an identifier",
        ),
        **_keys(
            "table",
            rows_by_table="Rows that an erasure deleted and masked, by table",
            not_reached="Places that an erasure does not reach",
        ),
        **_keys("text", subject_kind="Kind of the subject of an erasure"),
        **_keys(
            "flag",
            dry_run="Whether the run only listed what it would do",
            is_signed="Whether the plugin is signed",
        ),
        **_keys("ratio", share="Share of the partitions that the plugin runs for"),
        **_keys(
            "text",
            channels="Channels of alerts",
            change_with="How the configuration is changed",
            repair_with="Job that repairs the ledger",
            switched="Whether schedules and sensors are switched on or off",
            left_to_admins="Schedules and sensors that only an admin may switch on",
            paused="Subject that is paused",
            resumed="Subject whose pause is ended",
            pause="The pause in words, with its reason, user and end",
            preset="Name of the preset",
            description="Description of the preset",
            job="Job that the preset is for",
            in_force_before="Preset that was applied before",
            sha256="SHA-256 of the archive, hex",
            manifest_sha256="SHA-256 of its manifest, hex",
            backfill="Launched backfill, or why none was launched",
            replayed="Deliveries that a replay takes, in words",
            run_count="Load runs of a replay",
            backfills="Launched backfills, or why none were launched",
            partitions="Partitions of the backfill",
            first_month="First month of the backfill",
            last_month="Last month of the backfill",
            items_missing="Keys of work items that do not exist",
            next_runs_after_edit="Next runs of the edited schedule, in its time zone",
            used_by="What uses the edited flag",
            plugin="ID of the edited plugin",
            plugin_version="Version of the plugin that ran",
            plugins_isolation="How plugins are isolated on this machine",
            state="State of the plugin after the edit",
            not_answered="Tiers that the source did not answer for",
            tiers_left_out="Tiers that are not documented",
        ),
        **_keys("json", about="Content of the archive"),
        **_keys(
            "table",
            alerts="Open alerts",
            latest_runs="The latest runs of the ledger",
            presets="The presets, and which are applied",
            put_back="Requeued webhook deliveries; of a dry run, those that would be",
            contents="Files of the archive",
            difference="Settings or fields before and after",
            differences="What differs",
            due="Partitions that are retried",
            exports="Exports of the run, with loads, rows and place, or why there is none",
            overdue_exports="Exports that wait for longer than they may",
            left_out="Partitions that are not retried, and why",
            item_topics="Work items by topic",
            items="Work items",
            kinds="Artifacts by kind",
            emptied_rows="Rows whose bytes were deleted, by kind",
            missing_keys="Keys without a row at the time, the first ones",
            plugins="Plugins with state, share and reason",
            open_artifacts="Damaged artifacts that are not repaired, with what is lost",
            repairs="Damaged artifacts, with the outcome of their repair and what is lost",
            examples="Some of the artifacts",
            schedules="Schedules that are data, with state and next runs",
            flags="Flags with share, listed keys, owner, expiry and what uses them",
            sessions="The sessions",
            settings="Settings with value and origin",
            stores="Stores of logs, with size",
            findings="Results of the readiness checks",
        ),
    },
)

SYNC = KeyGroup(
    "PeopleForce and Jira",
    {
        **_keys(
            "count",
            tasks="Tasks that are known",
            issues="Tasks with an issue",
            dead_letters="Changes that were given up",
            still_refused="Dead letters after the run",
            differed="Issues that differ from their task",
            unreadable="Issues that a person has to correct",
            rules_not_examined="Rules that the target could not validate",
            seen="Tasks that the poll returned",
            gone="Tasks that no longer exist",
            planned="Tasks with a change to write",
            completed_before="Tasks completed before they had an issue",
            drop="Tasks that a rule leaves out",
            hold="Tasks whose rule is disabled",
            overtaken="Tasks that another run has polled later",
            sync="Tasks that a rule syncs",
            unresolved="Values that no mapping resolves",
            left="Issues that still differ",
            disabled="Rules that the target refuses",
            tasks_that_differ="Tasks that the edited rules treat differently",
            tasks_refused="Tasks that the edited rules refuse",
            **{
                "no rule": "Tasks that no rule matches",
                "applied_*": "Changes that ended so",
                "tasks_of_*": "Tasks that the rule decides",
            },
        ),
        **_keys(
            "seconds",
            interval_seconds="Time between two polls",
            oldest_waits_seconds="Age of the oldest change that waits",
        ),
        **_keys(
            "ratio",
            unmatched_share="Share of the tasks that no rule matches",
            refused_share="Dead letters among the synced tasks",
        ),
        **_keys("flag", is_paused="Whether polling is paused"),
        **_keys(
            "timestamp",
            triggered_at="Time of the manual trigger",
            started_at="Time of the latest poll's start",
            synced_at="Time of the latest complete poll",
        ),
        **_keys(
            "text",
            webhook="Result of the webhook delivery",
            event="Kind of the webhook's event",
            added="Added rules",
            changed="Changed rules",
            ended="Removed rules",
            not_known="Rules that could not be examined",
            based_on="Version of the rules in effect, which an edit names",
            rules_version="Version of the routing rules after the edit",
            refused_by_target="Rules that the target refuses",
            without_a_dead_letter="Task IDs without a dead letter",
        ),
        **_keys(
            "table",
            by_rule_says="Tasks by decision of the rules",
            intentions="Planned changes by state",
            refused="Dead letters; of a poll and a check: their number",
            latest="Latest entries of the audit log",
            actions="Routed actions of the run and their outcomes, the first 100",
            letters="Dead letters of routing, their outcomes and reasons, the first 100",
            rules_in_effect="Routing rules in effect, the first 100",
            actions_by_rule="Routed actions of all runs by rule and outcome",
            drift="Issues that differ",
            unreadable_issues="Issues that a person has to correct",
        ),
    },
)

CHECKS = KeyGroup(
    "Asset checks",
    {
        **_keys(
            "count",
            fields_known="Declared fields",
            fields_listed="Fields that the source lists",
            months_late="Due months that are not loaded",
            months_quarantined="Late months that are quarantined",
            partitions_landed="Loaded partitions",
            partitions_late="Due partitions that are not loaded",
            partitions_listed="Partitions that the source lists",
            partitions_quarantined="Late partitions that are quarantined",
            symbols_wanted="Symbols that are expected",
            symbols_with_short_interest="Symbols of the week with short interest",
            symbols_with_short_sales="Symbols of the week with short sales",
            weeks="Weeks that were checked",
            weeks_differing="Weeks whose estimate differs too much",
            tried_in_vain="Alert deliveries that failed",
            overdue="Alert deliveries that are late",
            given_up="Alert deliveries that were given up",
            **{
                "*_passed": "Partitions or symbols that passed the audit",
                "*_not_applicable": "Partitions or symbols that the audit does not apply to",
                "*_failed": "Partitions or symbols that failed the audit",
                "weeks_*": "Weeks in the named state",
            },
        ),
        **_keys("days", days_late="Days since the oldest missing partition was due"),
        **_keys("ratio", least_coverage_ratio="Least share of the volume that needs prices"),
        **_keys("factor", max_notional_factor="Largest factor between estimate and FINRA's value"),
        **_keys("of the check", limit="Limit of the audit"),
        **_keys("flag", evaluated_by_load="Evaluated in the step of a load; raises no alert"),
        **_keys(
            "text",
            dependency="Dependency that was verified",
            tried="What was tried",
            got="What was found",
            remedy="What to do",
            what_to_do="What to do",
            problem="Error of the configuration",
            config_hash="Hash of the settings in effect",
            oldest_month="Oldest month that lacks a session",
            due_at="Time when it was due",
            second_source_fails_since="Time since when the second source fails",
            second_source_error="Error of the second source",
        ),
        **_keys(
            "table",
            newest="Newest loaded partitions, and when the next is due",
            symbols="Symbols that failed the check, the first ones",
            missing_weeks="Due weeks that are not loaded, and why",
            unknown_tiers="Partitions of tiers that are not documented",
            short="Weeks below the limit",
            differing="Weeks whose estimate differs too much",
            entries="Settings in effect",
        ),
    },
)

GROUPS = (LOADS, DOCUMENTS, WEB, MQTT, PICTURES, CONTROL_TOWER, OPERATIONS, SYNC, CHECKS)


@cache
def key_named(name: str) -> MetadataKey | None:
    """Return the declaration of a key; None: it has none."""
    for group in GROUPS:
        if name in group.keys:
            return group.keys[name]
    patterns = [
        (pattern, key) for group in GROUPS for pattern, key in group.keys.items() if "*" in pattern
    ]
    found = [(len(pattern), key) for pattern, key in patterns if fnmatchcase(name, pattern)]
    return max(found, default=(0, None), key=lambda each: each[0])[1]

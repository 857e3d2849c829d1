"""Posts one digest of projects a day, by the outbox: a retried run posts no second one."""

import json
from collections import Counter

from plugin import start

URL = "https://slack.com/api/chat.postMessage"

with start() as run:
    projects = run.read("projects")
    counts = Counter(each["status"] or "unknown" for each in projects)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    day = run.partition or "today"
    text = f"Projects on {day}: {listed or 'none'}"
    run.page("markdown", text)
    run.act(
        "post_message",
        day,
        method="POST",
        url=run.config.get("url", URL),
        headers={
            "Authorization": "Bearer {{secret:SLACK_TOKEN}}",
            "Content-Type": "application/json; charset=utf-8",
        },
        body=json.dumps({"channel": run.config.get("channel", "#projects"), "text": text}),
    )

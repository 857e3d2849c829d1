"""Loads the entries of an RSS feed, and publishes how many there are."""

from xml.etree import ElementTree

from plugin import start

FEED_URL = "https://example.org/feed.rss"


def entries(feed):
    """Yield key and payload of each entry of a feed."""
    for item in ElementTree.fromstring(feed).iter("item"):
        link = item.findtext("link", "").strip()
        yield (
            item.findtext("guid") or link,
            {
                "title": item.findtext("title") or link,
                "link": link,
                "published_at": item.findtext("pubDate"),
            },
        )


with start() as run:
    answer = run.fetch(run.config.get("url", FEED_URL))
    if answer.status != 200:
        raise SystemExit(f"the feed answered with status {answer.status}")
    rows = list(entries(answer.text))
    run.emit("items", rows)
    run.publish("plugins/rss/new", "feed", {"item_count": len(rows)})

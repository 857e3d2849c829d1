"""Writers of formats that are text: plain text, Markdown, HTML, CSV, JSON, XML, RTF and mail."""

import csv
import json
from collections.abc import Iterable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from io import StringIO

from orchestration_demo.documents.story import Story

BOUNDARY = "=-=-synthetic-=-="


def plain(story: Story) -> str:
    """Return a story as lines of text, with its table in columns."""
    parts = [story.title]
    for section in story.sections:
        parts += ["", section.heading, *section.paragraphs]
    return "\n".join([*parts, "", *("  ".join(row) for row in story.cells), ""])


def log(story: Story) -> str:
    """Return a story as a log: each line with a time and a level."""
    stamp = f"{story.created_at:%Y-%m-%dT%H:%M:%S}Z INFO"
    return "".join(f"{stamp} {line}\n" for line in plain(story).splitlines() if line)


def markdown(story: Story) -> str:
    """Return a story as Markdown: its title and headings, and its table."""
    parts = [f"# {story.title}"]
    for section in story.sections:
        parts += [f"## {section.heading}", *section.paragraphs]
    first, *more = (f"| {' | '.join(row)} |" for row in story.cells)
    return "\n\n".join([*parts, "\n".join([first, "|---|---|---|", *more])]) + "\n"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table of HTML."""
    inside = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table>{inside}</table>"


def html(story: Story, *, charset: str = "utf-8") -> bytes:
    """Return a story as HTML in an encoding that it declares, with a hidden script."""
    body = [f"<h1>{escape(story.title)}</h1>"]
    for section in story.sections:
        body.append(f"<h2>{escape(section.heading)}</h2>")
        body += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    return (
        f'<!DOCTYPE html>\n<html lang="{story.language}"><head><meta charset="{charset}">'
        f"<title>{escape(story.title)}</title>"
        f'<meta name="author" content="{escape(story.author)}">'
        f'<meta name="date" content="{story.created_at.isoformat()}">'
        f'</head><body><script>var hidden = "{story.deleted}";</script>'
        f"{''.join(body)}{html_table(story.cells)}</body></html>\n"
    ).encode(charset)


def delimited(story: Story, delimiter: str = ",") -> str:
    """Return the table and the text of a story as CSV; its text has quoted line breaks."""
    target = StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter)
    writer.writerows(story.cells)
    writer.writerow([story.title, "", ""])
    for section in story.sections:
        writer.writerow([section.heading, "\n".join(section.paragraphs), ""])
    return target.getvalue()


def _records(story: Story) -> list[dict[str, object]]:
    return [
        {"heading": section.heading, "paragraphs": list(section.paragraphs)}
        for section in story.sections
    ]


def as_json(story: Story) -> str:
    """Return a story as one JSON document, in which letters beyond ASCII are escaped."""
    document = {"title": story.title, "sections": _records(story), "rows": story.cells}
    return json.dumps(document, indent=1)


def json_lines(story: Story) -> str:
    """Return a story as JSONL: its title, a line for each section, and its table."""
    lines = [{"title": story.title}, *_records(story), {"rows": story.cells}]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def xml(story: Story) -> str:
    """Return a story as XML, with headings in attributes."""
    sections = "".join(
        f'<section heading="{escape(section.heading)}">'
        + "".join(f"<p>{escape(text)}</p>" for text in section.paragraphs)
        + "</section>"
        for section in story.sections
    )
    rows = "".join(
        f"<row>{''.join(f'<cell>{escape(cell)}</cell>' for cell in row)}</row>"
        for row in story.cells
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<story title="{escape(story.title)}">'
        f"{sections}<table>{rows}</table></story>\n"
    )


def rtf(story: Story) -> bytes:
    """Return a story as RTF, with letters beyond ASCII in its code page or by number."""
    lines = [story.title]
    for section in story.sections:
        lines += [section.heading, *section.paragraphs]
    text = "".join(f"{_rtf_text(line)}\\par\n" for line in lines)
    rows = "".join(
        "\\trowd" + "".join(f"\\intbl {_rtf_text(cell)}\\cell" for cell in row) + "\\row\n"
        for row in story.cells
    )
    at = story.created_at
    numbers = zip(
        ("yr", "mo", "dy", "hr", "min", "sec"),
        (at.year, at.month, at.day, at.hour, at.minute, at.second),
        strict=True,
    )
    created = "\\creatim" + "".join(f"\\{name}{number}" for name, number in numbers)
    info = (
        f"{{\\info{{\\title {_rtf_text(story.title)}}}{{\\author {_rtf_text(story.author)}}}"
        f"{{{created}}}}}"
    )
    return f"{{\\rtf1\\ansi\\ansicpg1252\\deff0{info}\n{text}{rows}}}".encode("ascii")


def _rtf_text(text: str) -> str:
    return "".join(
        f"\\{each}"
        if each in "\\{}"
        else each
        if each.isascii()
        else f"\\'{ord(each):02x}"
        if ord(each) < 256
        else f"\\u{ord(each)}?"
        for each in text
    )


def mail(story: Story, attachments: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return a story as a mail: plain text and HTML beside it, and its attachments."""
    message = EmailMessage(policy=SMTP)
    message["From"] = f"{story.author} <author@example.org>"
    message["To"] = "Office <office@example.org>"
    message["Subject"] = story.title
    message["Date"] = format_datetime(story.created_at)
    message["Message-ID"] = f"<{story.words[0]}@example.org>"
    message.set_content(plain(story))
    message.add_alternative(html(story).decode(), subtype="html")
    for name, content in attachments:
        message.add_attachment(content, "application", "octet-stream", filename=name)
    for number, part in enumerate(each for each in message.walk() if each.is_multipart()):
        part.set_boundary(f"{BOUNDARY}{number}")  # else it is random
    return message.as_bytes()

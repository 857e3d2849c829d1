"""Sources that a project declares in its own folder, over the installed wheel.

They are the ECB's rates and Cboe's market volume, written as a user writes a source. Nothing in the
package names them: what it does for its own sources, it does for these.
"""

import os
import runpy
import shutil
import subprocess

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests.faulty_server import FaultyServer, Reply

WHEEL = runpy.run_path(str(PROJECT_ROOT / ".ci" / "wheel.py"))

PROJECT = """\
[project]
name = "market"
version = "0"
dependencies = ["orchestration_project"]

[tool.orchestrate]
"""

RATES = '''\
"""Euro reference rates of the ECB."""

from xml.etree import ElementTree

from orchestration_project import Daily, Dataset, Field, decimal, http_source, positive


def rates_in(body: bytes):
    """Yield the rates of each day of a document."""
    for day in ElementTree.fromstring(body).iterfind(".//*[@time]"):
        for rate in day.iterfind("*[@currency]"):
            yield {"rate_date": day.get("time"), **rate.attrib}


rates = Dataset(
    "rates_daily",
    key=["rate_date", "currency"],
    partitions=Daily(since="2026-11-02", calendar="XECB", column="rate_date"),
    fields=[
        Field("rate_date", "date", "TARGET working day"),
        Field("currency", str, "ISO 4217"),
        Field("rate", decimal(12, 6), "units per euro", check=positive),
    ],
    source=http_source("{url}/eurofxref-hist-90d.xml", parse=rates_in),
)
'''

VOLUME = '''\
"""Market volume of US exchanges, of Cboe."""

from orchestration_project import Daily, Dataset, Field, http_source

volume = Dataset(
    "volume_daily",
    key=["trade_date", "participant"],
    partitions=Daily(since="2026-11-02", calendar="XNYS", column="trade_date"),
    fields=[
        Field("trade_date", "date", "day of the trades", source="Day"),
        Field(
            "participant",
            str,
            "exchange",
            source="Market Participant",
            subject="participant",
        ),
        Field("share_quantity", int, "shares of all tapes", source="Total Shares"),
    ],
    source=http_source("{url}/market_history_{partition:%Y}.csv", format="csv"),
)
'''

RATES_XML = """\
<Envelope><Cube>
<Cube time="2026-11-03">
<Cube currency="USD" rate="{usd}"/><Cube currency="JPY" rate="161.07"/>
</Cube>
<Cube time="2026-11-02"><Cube currency="USD" rate="1.0801"/></Cube>
</Cube></Envelope>
"""
VOLUME_CSV = """\
Day,Market Participant,Total Shares
2026-11-02,NYSE (N),5
2026-11-03,NYSE (N),{nyse}
2026-11-03,MEMX (U),7
"""
RATES_FIRST = [
    "rate_date,currency,rate",
    "2026-11-03,JPY,161.070000",
    "2026-11-03,USD,1.090000",
]
RATES_LATER = [*RATES_FIRST[:2], "2026-11-03,USD,1.080000"]
VOLUME_FIRST = [
    "trade_date,participant,share_quantity",
    "2026-11-03,MEMX (U),7",
    "2026-11-03,NYSE (N),100",
]
VOLUME_LATER = [*VOLUME_FIRST[:2], "2026-11-03,NYSE (N),90"]
DAY = "2026-11-03"


@pytest.fixture
def vendors():
    """The documents of both vendors, which a test may replace, and the server that has them."""
    documents = {
        "/eurofxref-hist-90d.xml": RATES_XML.format(usd="1.09"),
        "/market_history_2026.csv": VOLUME_CSV.format(nyse=100),
    }

    def answer(request):
        text = documents.get(request.target)
        return Reply(404) if text is None else Reply(body=text.encode())

    with FaultyServer(answer) as server:
        yield documents, server


@pytest.fixture
def project(tmp_path, vendors):
    """A project with two sources, and ``orchestrate`` of the wheel that is installed beside it."""
    folder = tmp_path / "market"
    for name, source in (("rates", RATES), ("volume", VOLUME)):
        (folder / "defs" / name).mkdir(parents=True)
        (folder / "defs" / name / "source.py").write_text(source.replace("{url}", vendors[1].url))
    (folder / "pyproject.toml").write_text(PROJECT)
    programs = WHEEL["install"](WHEEL["build_wheel"](tmp_path), tmp_path / "environment")
    environment = {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": str(folder),
        "DEMO_CLOCK_NOW": "2026-11-04T09:00:00+00:00",
    }

    def orchestrate(*arguments, text=None):
        program = shutil.which("orchestrate", path=environment["PATH"])
        done = subprocess.run(  # noqa: S603 - our own program
            [str(program), *arguments],
            cwd=folder,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    return orchestrate


@pytest.mark.slow
def test_two_sources_outside_the_package_have_what_its_own_have(project, vendors):
    documents, server = vendors
    project("migrate")
    for table in ("rates_daily", "volume_daily"):
        project("load", table, DAY)
    first = {name: read_day(project, name) for name in ("rates_daily", "volume_daily")}
    assert first == {"rates_daily": RATES_FIRST, "volume_daily": VOLUME_FIRST}
    before_change = {
        table: max(project("export", table, "--columns", "known_from")[1:]) for table in first
    }

    documents["/eurofxref-hist-90d.xml"] = RATES_XML.format(usd="1.08")
    documents["/market_history_2026.csv"] = VOLUME_CSV.format(nyse=90)
    for table, later in (("rates_daily", RATES_LATER), ("volume_daily", VOLUME_LATER)):
        project("load", table, DAY)
        assert read_day(project, table) == later
        assert read_day(project, table, "--as-of", before_change[table]) == first[table]

    requested = len(server.requests)
    for table, later in (("rates_daily", RATES_LATER), ("volume_daily", VOLUME_LATER)):
        project("replay", "--table", table, DAY)
        assert read_day(project, table) == later
    assert len(server.requests) == requested
    project("verify", "--balance")

    project(
        "erase",
        "market/participant",
        "--reason",
        "asked",
        "--yes",
        "--only-database",
        text="NYSE (N)\n",
    )
    assert read_day(project, "volume_daily") == VOLUME_LATER[:2]
    assert (
        read_day(project, "volume_daily", "--as-of", before_change["volume_daily"])
        == VOLUME_FIRST[:2]
    )
    assert read_day(project, "rates_daily") == RATES_LATER


def read_day(project, table, *options):
    """Return the lines of the day's rows, as they are exported."""
    column = "rate_date" if table == "rates_daily" else "trade_date"
    names = VOLUME_FIRST[0] if table == "volume_daily" else RATES_FIRST[0]
    return project("export", table, "--where", f"{column}={DAY}", "--columns", names, *options)

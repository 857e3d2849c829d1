"""FX: the ECB's euro reference rates by day."""

import polars as pl

from orchestration_project import Daily, Dataset, Document, http_source
from orchestration_project.catalog.factory import PackagedSource, packaged_domain
from orchestration_project.domains.fx.settings import FIRST_DAY, URL
from orchestration_project.domains.fx.settings import RATES as TEXTS
from orchestration_project.domains.fx.tables import FX_FIELDS, fx_rates_daily
from orchestration_project.engine.contracts.capture_forms import Form
from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.own.packaged import build_fields


def _match_value(name: str, group: str) -> str:
    return rf"""\s+{name}\s*=\s*["']\s*(?P<{group}>[^"']*?)\s*["']"""


DAY, CODE = _match_value("time", "date"), _match_value("currency", "currency")
SOURCE = PackagedSource(
    texts=TEXTS,
    declared=Dataset(
        fx_rates_daily.name,
        key=["rate_date", "currency_code"],
        partitions=Daily(FIRST_DAY, calendar="XECB", zone="Europe/Berlin", column="rate_date"),
        fields=build_fields(FX_FIELDS),
        source=http_source(
            URL,
            documents=[
                Document("eurofxref-daily.xml", days=2, is_listing=False),
                Document("eurofxref-hist-90d.xml", days=85),
                Document("eurofxref-hist.zip"),
            ],
            format="xml",
            records="Envelope/Cube/Cube/Cube",
            names={"date": "../@time", "currency": "@currency", "rate": "@rate"},
            null_values=["N/A"],
            skip_blank="rate",
            zipped={
                "format": "csv",
                "member": "*.csv",
                "encoding": "ascii",
                "max_bytes": 64 * 2**20,
                "names": {"date": "Date"},
                "unpivot": ["currency", "rate"],
            },
            expects="a document of euro reference rates: an XML document of elements Cube with "
            "currency and rate (XML without a document type), or a zip archive with one CSV file, "
            "in ASCII, with a first column Date and as many fields as the header in each line",
        ),
        checks=[
            Claim(
                "has_positive_rates",
                "Every rate is above 0, or not available.",
                (pl.col("rate") <= 0).fill_null(value=False),
            )
        ],
        licence="ECB: free reuse, with the source named",
        owners=["team:market-data"],
        rule_version="2",
    ),
    table=fx_rates_daily,
    fields=FX_FIELDS,
    source_dataset="eurofxref",
    demo_path="eurofxref",
    horizon_days=85,
    probe="fetched the rates of the last 90 days",
    forms=[
        Form("^PK", [("lines", [",", ["date", "currency", "rate"]])], "eurofxref-hist.csv"),
        Form("<Cube", [("matches", [f"<Cube{DAY}|<Cube{CODE}{_match_value('rate', 'rate')}"])]),
        Form("", [("none", ["XML of the ECB or its zipped CSV", "another file"])]),
    ],
)
RATES, RULES, FX = SOURCE.dataset, SOURCE.rules, packaged_domain(SOURCE, __name__)

"""Venues of the demo's market: alternative trading systems, and firms.

Their figures are synthetic, so their names are, too.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

ATS = "ATS"
OTC = "OTC"
DE_MINIMIS = "De Minimis Firms"

# MPID and name, largest first: the order is their weight. Every name is invented.
_NMS_SYSTEMS = (
    ("QZAB", "QUILLMERE ATS"),
    ("QZVX", "VORNAY X2"),
    ("QZTA", "TARNWICK ATS"),
    ("QZIC", "ISLEBROOK CROSS LLC"),
    ("QZDX", "DUNMALLOW-X"),
    ("QZBP", "BRINDLEMOOR POOL (ATS-4)"),
    ("QZCL", "CARROWICK ATS"),
    ("QZCR", "CRESSFENNER"),
    ("QZLX", "LANTHORNE ATS ('LX')"),
    ("QZSX", "SKERRAVALE ATS"),
    ("QZOB", "OLDMERROW ATS"),
    ("QZMV", "MARLOVENT MATCH ATS"),
    ("QZPH", "PHENNICK"),
    ("QZGO", "GORSEVANE, LLC"),
    ("QZNX", "NETHERQUILL X"),
    ("QZWS", "WEXENSTREAM"),
    ("QZHA", "HALLOWFEN ATS"),
    ("QZHB", "HALLOWFEN H2O"),
    ("QZDB", "DUNMALLOW-B"),
    ("QZEB", "EMBERLEIGH BLOCKCROSS"),
    ("QZEC", "EMBERLEIGH CONTINUOUS BLOCK CROSSING SYSTEM (CBX)"),
    ("QZFB", "FENMARROW BLOC"),
    ("QZRW", "ROOKVALE WEB"),
    ("QZBT", "BRINDLEMOOR TRAJECTORY CROSS (ATS-1)"),
    ("QZBR", "BRINDLEMOOR RETAIL POOL (ATS-6)"),
    ("QZUM", "UMBERLYNX"),
    ("QZKX", "KESTERHOLM X"),
    ("QZYA", "YARROWQUAY SECURITIES L.P."),
    ("QZZM", "ZEPHYRMOOR"),
    ("QZJT", "JUNIVOSS SECURITIES, INC."),
)
_OTC_SYSTEMS = (
    ("OTCN", "OVERBROOK LINK NQB IDQS"),
    ("QYBX", "OVERBROOK LINK ECN ATS"),
    ("QYCG", "GLENMORVEN OTC"),
    ("QYDM", "MOTHWING ATS"),
    ("QYEI", "INGLEVANE OTC DEALER"),
    ("QYFV", "VANTHORPE ATS"),
    ("QYGT", "TRELLISBOOK OTC"),
    ("QYHP", "PELLWORTH ATS"),
    ("QYIR", "RAVENSILL FUND"),
)
_FIRMS = (
    ("QUILLMERE SECURITIES LLC", 900_797),
    ("VORNAY AMERICAS LLC", 900_823),
    ("E7 EXECUTION SERVICES, LLC", 900_528),
    ("TARN ALLEY CAPITAL, LLC", 900_782),
    ("NINE LANTERNS SECURITIES, LLC", 900_960),
    ("OXQ EXECUTION SERVICES LLC", 900_144),
)
_FIRM_STEMS = (
    "ALDERQUILL POINT", "BEACONWICK", "CANDLEFORTH", "DRYDENMOOR", "EASTERWYN", "FAIRMOSSE",
    "GRANDELVE", "HOLLOWBEY", "IRONTHISTLE", "JUNIPERFELL", "KEYSTRAND", "LAKEWARREN",
    "MERIDOVANE", "NORTHERQUAY", "OLDPOSTERN", "PARKENROW", "QUARRYVALE", "REDOAKEN",
)  # fmt: skip
_FIRM_KINDS = ("SECURITIES, LLC", "CAPITAL MARKETS INC.", "& CO.")
_NMS_PRESENCE = -0.11 * np.arange(len(_NMS_SYSTEMS))
_SYSTEM_PRESENCE = {  # one system has four fifths of the OTC market, and most there are tiny
    "T1": _NMS_PRESENCE,
    "T2": _NMS_PRESENCE,
    "NMS": _NMS_PRESENCE,
    "OTCE": np.array([2.3, 0.6, -0.7, -4.0, -4.6, -5.0, -5.3, -5.6, -6.0]),
}


@dataclass(frozen=True, eq=False)
class Venues:
    """The venues of one tier, a position each.

    ``frame`` has the columns market, MPID, marketParticipantName, firmCRDNumber; ``presence`` says
    how many symbols a venue trades and ``size`` how large its trades are, both as log weights.
    The last venue is the lump of De Minimis firms.
    """

    frame: pl.DataFrame
    presence: np.ndarray
    size: np.ndarray

    @property
    def is_ats(self) -> np.ndarray:
        """Return for each position whether it is an alternative trading system."""
        return (self.frame["market"] == ATS).to_numpy()


def venues_of(tier: str) -> Venues:
    """Return the venues that trade ``tier``."""
    systems = _OTC_SYSTEMS if tier == "OTCE" else _NMS_SYSTEMS
    records = [
        (ATS, mpid, f"{mpid} {name}", 907_000 + 977 * position)
        for position, (mpid, name) in enumerate(systems)
    ]
    records += [(OTC, None, name, crd) for name, crd in _firms()]
    records.append((OTC, None, DE_MINIMIS, 0))
    frame = pl.DataFrame(
        records,
        schema={
            "market": pl.String,
            "MPID": pl.String,
            "marketParticipantName": pl.String,
            "firmCRDNumber": pl.Int64,
        },
        orient="row",
    )
    firms = -0.09 * np.arange(len(records) - len(systems) - 1)
    presence = np.concatenate([_SYSTEM_PRESENCE[tier], firms, [1.5]])
    return Venues(frame, presence, size=0.8 * presence)


def _firms() -> list[tuple[str, int]]:
    """Return name and CRD number of about sixty firms that trade outside any system."""
    invented = [f"{stem} {kind}" for kind in _FIRM_KINDS for stem in _FIRM_STEMS]
    return [*_FIRMS, *((name, 920_011 + 741 * n) for n, name in enumerate(invented))]

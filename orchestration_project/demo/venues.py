"""Who trades in the demo's market: the alternative trading systems and the firms beside them."""

from dataclasses import dataclass

import numpy as np
import polars as pl

ATS = "ATS"
OTC = "OTC"
DE_MINIMIS = "De Minimis Firms"

# MPID and name, largest first: the order is their weight.
_NMS_SYSTEMS = (
    ("UBSA", "UBS ATS"),
    ("SGMT", "SIGMA X2"),
    ("IATS", "IBKR ATS"),
    ("INCR", "INTELLIGENT CROSS LLC"),
    ("JPMX", "JPM-X"),
    ("MSPL", "MS POOL (ATS-4)"),
    ("EBXL", "LEVEL ATS"),
    ("CROS", "CROSSFINDER"),
    ("LATS", "BARCLAYS ATS ('LX')"),
    ("DBAX", "SUPERX ATS"),
    ("BIDS", "BIDS ATS"),
    ("KCGM", "VIRTU MATCHIT ATS"),
    ("ITGP", "POSIT"),
    ("CGXS", "ONECHRONOS, LLC"),
    ("MLIX", "INSTINCT X"),
    ("PURE", "PURESTREAM"),
    ("LQNT", "LIQUIDNET ATS"),
    ("LQNA", "LIQUIDNET H2O"),
    ("JPBX", "JPB-X"),
    ("BLKX", "INSTINET BLOCKCROSS"),
    ("XIST", "INSTINET CONTINUOUS BLOCK CROSSING SYSTEM (CBX)"),
    ("CBLC", "CITIBLOC"),
    ("DLTA", "DEALERWEB"),
    ("MSTX", "MS TRAJECTORY CROSS (ATS-1)"),
    ("MSRP", "MS RETAIL POOL (ATS-6)"),
    ("LTPL", "LUMINEX"),
    ("STFX", "STIFEL X"),
    ("AQUA", "AQUA SECURITIES L.P."),
    ("NYFX", "MILLENNIUM"),
    ("USTK", "USTOCKTRADE SECURITIES, INC."),
)
_OTC_SYSTEMS = (
    ("OTCN", "OTC LINK NQB IDQS"),
    ("OTCX", "OTC LINK ECN ATS"),
    ("ARCA", "GLOBAL OTC"),
    ("MOON", "MOONSHINE ATS"),
    ("INTL", "INTL OTC DEALER"),
    ("VNDM", "VANDHAM ATS"),
    ("TRDB", "TRADEBOOK OTC"),
    ("PPEX", "PPEX ATS"),
    ("RTSX", "RTX FUND"),
)
_FIRMS = (
    ("CITADEL SECURITIES LLC", 116797),
    ("VIRTU AMERICAS LLC", 149823),
    ("G1 EXECUTION SERVICES, LLC", 111528),
    ("JANE STREET CAPITAL, LLC", 103782),
    ("TWO SIGMA SECURITIES, LLC", 148960),
    ("HRT EXECUTION SERVICES LLC", 152144),
)
_FIRM_STEMS = (
    "ALDER POINT", "BEACON HARBOR", "CANAL STREET", "DRYDEN", "EAST RIVER", "FAIRMOUNT",
    "GRANITE STATE", "HUDSON BAY", "IRONBRIDGE", "JUNIPER", "KEYSTONE", "LAKESHORE",
    "MERIDIAN", "NORTHGATE", "OLD POST", "PARK ROW", "QUARRY HILL", "RED OAK",
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
        (ATS, mpid, f"{mpid} {name}", 7_000 + 977 * position % 290_000)
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
    return [*_FIRMS, *((name, 20_011 + 2_741 * n) for n, name in enumerate(invented))]

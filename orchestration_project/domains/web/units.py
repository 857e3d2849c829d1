"""Amounts with a currency or a unit of measure, as exact decimals."""

import re
from collections.abc import Mapping
from fractions import Fraction

CURRENCIES = frozenset(
    re.findall(
        "[A-Z]{3}",
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN "
        "BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD "
        "FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY "
        "KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP "
        "MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR "
        "RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND "
        "TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ",
    )
)
"""Codes of ISO 4217."""

SYMBOLS: Mapping[str, str] = {
    "€": "EUR",
    "£": "GBP",
    "US$": "USD",
    "R$": "BRL",
    "₹": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "₺": "TRY",
    "₴": "UAH",
    "₪": "ILS",
    "₫": "VND",
    "zł": "PLN",
    "Kč": "CZK",
    "Ft": "HUF",
    "lei": "RON",
    "円": "JPY",
    "\u0440\u0443\u0431.": "RUB",
    "A$": "AUD",
    "C$": "CAD",
    "HK$": "HKD",
    "NZ$": "NZD",
}
"""Symbols that mean one currency; others, such as $ and kr, need a declared one."""

AMBIGUOUS: Mapping[str, frozenset[str]] = {
    "$": frozenset(("AUD", "CAD", "HKD", "MXN", "NZD", "SGD", "TWD", "USD", "ARS", "CLP", "COP")),
    "¥": frozenset(("CNY", "JPY")),
    "kr": frozenset(("DKK", "ISK", "NOK", "SEK")),
    "kr.": frozenset(("DKK", "ISK", "NOK", "SEK")),
    "Fr.": frozenset(("CHF",)),
    **dict.fromkeys(("Rs", "Rs.", "₨"), frozenset(("INR", "LKR", "MUR", "NPR", "PKR", "SCR"))),
}
"""Symbols of several currencies."""

NUMBER = re.compile(r"[\d.,'\s+-]+")

_SCALES: Mapping[str, Mapping[str, str]] = {
    "mass": {
        "mg": "0.000001",
        "g": "0.001",
        "kg": "1",
        "t": "1000",
        "lb": "0.45359237",
        "lbs": "0.45359237",
        "oz": "0.028349523125",
    },
    "length": {
        "mm": "0.001",
        "cm": "0.01",
        "dm": "0.1",
        "m": "1",
        "km": "1000",
        "in": "0.0254",
        '"': "0.0254",
        "ft": "0.3048",
        "yd": "0.9144",
        "mi": "1609.344",
    },
    "area": {"cm²": "0.0001", "m²": "1", "m2": "1", "sqm": "1", "ha": "10000", "km²": "1000000"},
    "volume": {
        "ml": "0.001",
        "cl": "0.01",
        "dl": "0.1",
        "l": "1",
        "hl": "100",
        "cm³": "0.001",
        "m³": "1000",
        "m3": "1000",
    },
    "time": {"ms": "0.001", "s": "1", "sec": "1", "min": "60", "h": "3600", "d": "86400"},
    "energy": {"wh": "0.001", "kwh": "1", "mwh": "1000"},
    "power": {"w": "1", "kw": "1000", "hp": "745.69987158227022"},
    "data": {
        "b": "1",
        "kb": "1000",
        "mb": "1000000",
        "gb": "1000000000",
        "tb": "1000000000000",
        "kib": "1024",
        "mib": "1048576",
        "gib": "1073741824",
        "tib": "1099511627776",
    },
    "count": {"pcs": "1", "pc": "1", "piece": "1", "pieces": "1", "x": "1"},
    "percent": {"%": "1"},
}

UNITS: Mapping[str, tuple[str, Fraction]] = {
    name: (kind, Fraction(factor))
    for kind, factors in _SCALES.items()
    for name, factor in factors.items()
}
"""Quantity and exact factor of each unit, in lower case."""


def is_currency(text: str) -> bool:
    """Whether a text is the code or symbol of a currency, though perhaps of several."""
    return text.upper() in CURRENCIES or text in SYMBOLS or text in AMBIGUOUS


def currency_of(text: str, declared: str | None) -> str:
    """Return the code of the currency that stands beside a number.

    Args:
        text: The price.
        declared: The currency of the field; None: the text has it.

    Raises:
        ValueError: The text has none, an ambiguous one, or another than the declared.
    """
    symbol = NUMBER.sub(" ", text.replace("\u00a0", " ")).strip()
    if not symbol and declared:
        return declared
    code = symbol.upper() if symbol.upper() in CURRENCIES else SYMBOLS.get(symbol)
    if code is None and declared and declared in AMBIGUOUS.get(symbol, ()):
        return declared
    if code is None or (declared and code != declared):
        expected = declared or "a currency such as EUR or €"
        raise ValueError(f"expected {expected}, found {symbol[:20]!a}")
    return code


def converted(number: str, unit: str, target: str) -> str:
    """Return an amount in another unit, exact.

    Args:
        number: A decimal, such as ``1.50``.
        unit: Unit of it, in any case.
        target: A key of `UNITS`.

    Raises:
        ValueError: The unit is unknown or of another quantity, or the result has no end.
    """
    if unit == target:
        return number
    kind, factor = UNITS.get(unit.lower(), ("", Fraction(1)))
    text, divisor = UNITS[target.lower()]
    if kind != text:
        raise ValueError(f"expected a unit such as {target}, found {unit[:20]!a}")
    return exact_decimal(Fraction(number) * factor / divisor, target)


def exact_decimal(value: Fraction, unit: str) -> str:
    """Return a fraction as a decimal.

    Raises:
        ValueError: It has no end, as 1 kg in lb.
    """
    denominator, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator, count = denominator // prime, count + 1
        places = max(places, count)
    if denominator != 1 or places > 20:
        raise ValueError(f"expected an amount that is exact in {unit}")
    digits = abs(value.numerator) * 10**places // value.denominator
    text = str(digits).rjust(places + 1, "0")
    whole, part = (text[:-places], text[-places:]) if places else (text, "")
    return f"{'-' if value < 0 else ''}{whole}{'.' if part else ''}{part}"

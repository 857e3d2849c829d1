"""Recompute a published number of an evidence archive from its captured bytes.

    python recompute.py archive.zip finra_symbol_week 'T1|2026-10-05' AAAI notional_usd

It needs Python 3.11 alone. The fourth argument is the rest of the row's key, as ATS|AAAI|VENUE.
Exit status: 0: equal, 1: not equal or changed, 2: it cannot be computed from this archive."""

import csv, datetime, functools, hashlib, json, math, re, sys, zipfile, zlib
from decimal import Decimal, getcontext

PLAIN, JAVA = r"[0-9]+(\.[0-9]{1,6})?", r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?"
DAY = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}"
KINDS = {"BIGI": int, "NUME": Decimal}  # by the first letters of a type; others are texts or JSON
OF_LOADS = ("capture_id", "known_from")  # of a row that a later load did not change they stay
FINDINGS = []  # what of the archive is changed, by place
getcontext().prec = 99

def refuse(message):
    sys.stderr.write("\n".join([*dict.fromkeys(FINDINGS), message, ""]))
    sys.exit(1 if FINDINGS else 2)

def units(text, scale, pattern=JAVA):
    number = Decimal(text).scaleb(scale) if re.fullmatch(pattern, text or "") else Decimal("0.5")
    return int(number) if number % 1 == 0 and number < 2**63 else None

known = lambda vs: [v for v in vs if v is not None]
pair = lambda f: lambda e, rows, *ab: None if None in (vs := [e(a, rows) for a in ab]) else f(*vs)
single = lambda f: lambda e, rows, a, *arguments: f(e(a, rows), *arguments)
total = lambda f: lambda e, rows, a, *keys: f(e.each(rows, a, keys))
sha256_of = lambda content: hashlib.sha256(content).hexdigest()
plus_days = lambda a, n: f"{datetime.date.fromisoformat(a) + datetime.timedelta(n)}"
day = lambda a: re.fullmatch(DAY, a or "") and {plus_days(f"{a[:8]}01", int(a[8:]) - 1): a}.get(a)
is_same = lambda old, new: old and all(old[n] == v for n, v in new.items() if n not in OF_LOADS)
is_within = lambda row, scope: all(s["first"] <= row[n] <= s["last"] if isinstance(s, dict)
                                   else row[n] in s for n, s in scope.items())

OPERATORS = {  # described in rules.json
    "add": pair(lambda a, b: a + b), "subtract": pair(lambda a, b: a - b),
    "multiply": pair(lambda a, b: a * b), "greater": pair(lambda a, b: a > b),
    "ratio": pair(lambda a, b: float(a) / float(b) if b > 0 else None),
    "absolute": single(lambda a: None if a is None else abs(a)), "not": single(lambda a: not a),
    "filled": single(lambda a: a or None), "size": single(lambda a: len((a or "").encode())),
    "whole": single(lambda a: units(a, 0, "[0-9]+")), "scaled": single(units),
    "plain": single(lambda a: units(a, 6, PLAIN)), "day": single(day),
    "signed": single(lambda a, n: (v := units(a.removeprefix("-"), n)) and (-v if a < "0" else v)),
    "quantity": single(lambda a: None if a is None else Decimal(a).scaleb(-6)),
    "midnight": single(lambda a: a and f"{a}T00:00:00.000000Z"), "days_after": single(plus_days),
    "int64": single(lambda a: a if a is not None and -(2**63) <= a < 2**63 else None),
    "in": single(lambda a, texts: a in texts), "lookup": single(lambda a, texts: texts.get(a)),
    "matches": single(lambda a, pattern: re.search(pattern, a or "") is not None),
    "sum": total(lambda vs: sum(known(vs))), "count": total(lambda vs: len(known(vs))),
    "sum_complete": total(lambda vs: None if None in vs else sum(vs)),
    "min": total(lambda vs: min(known(vs), default=None)),
    "max": total(lambda vs: max(known(vs), default=None)),
    "sum_largest": lambda e, rows, n, f, *keys: (
        sum(sorted(vs)[-n:]) if (vs := e.each(rows, f, keys)) else None),
    "lowest_of_greatest": lambda e, rows, f, key: (
        min(k for v, k in zip(vs, e.each(rows, key, [key]), strict=True) if v == max(vs))
        if (vs := e.each(rows, f, [key])) else None),
    "rank": lambda e, rows, f, names, *keys: None if (own := e(f, rows)) is None else 1 + sum(
        v > own for v in known(e.each(e.sharing(names, rows[0]), f, keys))),
    "text": lambda e, rows, text: text, "given": lambda e, rows, name: e.given.get(name),
    "equal": lambda e, rows, a, b: e(a, rows) == e(b, rows),
    "and": lambda e, rows, *fs: all(e(f, rows) for f in fs),
    "if": lambda e, rows, a, b, c=None: e(b if e(a, rows) else c, rows),
    "coalesce": lambda e, rows, *fs: next((v for f in fs if (v := e(f, rows)) is not None), None),
    "format": lambda e, rows, t, f: None if (v := e(f, rows)) is None else t.replace("{}", str(v)),
    "where": lambda e, rows, a, f: e(f, [row for row in rows if e(a, [row])]),
    "over": lambda e, rows, names, f: e(f, e.sharing(names, rows[0])),
}

class Formulas:
    """Evaluates formulas on rows; `given` has what is not a column, `all_rows` is the table."""
    def __init__(self, given, all_rows=()):
        self.given, self.all_rows = given, all_rows
    def __call__(self, formula, rows):
        if isinstance(formula, str):
            return rows[0].get(formula.lower(), "") if rows else None
        return OPERATORS[formula[0]](self, rows, *formula[1:]) if type(formula) is list else formula
    def sharing(self, names, row):
        return [other for other in self.all_rows if all(other[n] == row[n] for n in names)]
    def each(self, rows, formula, keys):
        groups = {}
        for place, row in enumerate(rows):
            groups.setdefault(tuple(self(k, [row]) for k in keys) or place, []).append(row)
        return [self(formula, group) for group in groups.values()]

class Archive:
    def __init__(self, path):
        self.zip, self.places, self.loaded_at = zipfile.ZipFile(path), {}, None
        self.manifest = self.zip.read("manifest.json")
        self.sums = {m["name"]: m["sha256"] for m in json.loads(self.manifest)["members"]}
        rules = json.loads(self.read("rules.json"))
        self.tables = rules["tables"]
        for place, sha256 in rules["sha256"].items():
            rule = functools.reduce(lambda part, name: part[name], place.split("/"), self.tables)
            if sha256_of(json.dumps(rule, sort_keys=True).encode()) != sha256:
                FINDINGS.append(f"changed rule: {place}")
    def read(self, name):
        if name not in self.sums:
            refuse(f"invalid archive: expected the member {name}, found none")
        try:
            content = self.zip.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            content = f"{error}".encode()
        if sha256_of(content) != self.sums[name]:
            FINDINGS.append(f"changed member: {name}")
        return content
    def lines(self, name, **wanted):
        for number, line in enumerate(self.read(name).decode(errors="replace").split("\n"), 1):
            try:
                row = json.loads(line or "{}")
            except ValueError:
                row = FINDINGS.append(f"changed row: {name}, line {number}")
            yield from [row] if row and wanted.items() <= row.items() else []
    @functools.cache
    def published(self, table):
        columns, rows = self.tables[table]["columns"], {}
        for row in self.lines(f"rows/{table}.jsonl"):
            for name in (n for n in columns if columns[n]["type"][:4] in KINDS and row[n]):
                row[name] = KINDS[columns[name]["type"][:4]](row[name])
            rows[tuple(str(row[name]) for name in self.tables[table]["key"])] = row
        return rows
    def captured(self, rules, capture, given):
        content = self.read(f"bytes/{capture['sha256']}")
        lines, offset, mark = content.removesuffix(b"\n").split(b"\n"), 0, rules["delimiter"]
        is_quoted, end = lines[0][:1] == b'"', "\r" if lines[0].endswith(b"\r") else ""
        e, names = Formulas({**json.loads(capture["request"]), **given}), []
        conditions = [*(f for _, f in rules["rejects"]), *rules["filters"].values()]
        for number, line in enumerate(lines, 1):
            text = line.decode(errors="replace").removeprefix("\ufeff").removesuffix(end)
            texts = next(csv.reader([text], delimiter=mark)) if is_quoted else text.split(mark)
            names = names or [name.strip().lower() for name in texts]
            row = [dict(zip(names, map(str.strip, texts), strict=False))]
            is_row = number > 1 and len(texts) == len(names) and not set("\0\r\ufffd") & set(text)
            if is_row and not any(e(condition, row) for condition in conditions):
                row = {name: e(c["formula"], row) for name, c in rules["columns"].items()}
                key = tuple(str(row[name]) for name in rules["key"])
                self.places[given["capture_id"], key] = capture, number, offset, text
                yield key, row
            offset += len(line) + 1
    @functools.cache
    def recompute(self, table, partition):
        """Return the rows of a partition by key, after each of its loads, and compare them."""
        rules, rows, published = self.tables[table], {}, self.published(table)
        deliveries = {r["group_id"]: r for r in self.lines("deliveries.jsonl", table_name=table)}
        given = dict(zip(rules["partition"], partition.split("|"), strict=False))
        landings = self.lines("landings.jsonl", table_name=table)
        for load in sorted(landings, key=lambda load: load["landed_at"]):
            delivery, before = deliveries[load["group_id"]], rows
            scope, group = json.loads(delivery["scope"]), delivery["replay_of"] or load["group_id"]
            rows = {k: row for k, row in rows.items() if not is_within(row, scope)}
            for capture in self.lines("captures.jsonl", group_id=group):
                given |= {"loaded_at": load["landed_at"], "capture_id": int(capture["capture_id"])}
                if int(capture["part_number"]) <= int(delivery["part_count"]):
                    rows |= dict(self.captured(rules, capture, given))
            rows = {k: before[k] if is_same(before.get(k), row) else row for k, row in rows.items()}
            if any(int(load[f"rows_{what}"]) for what in ("added", "changed", "removed")):
                self.loaded_at = load["landed_at"]
        for key in sorted(rows.keys() | published.keys(), key=str):
            new, old = rows.get(key, {}), published.get(key, {})
            if names := [name for name in rules["columns"] if new.get(name) != old.get(name)]:
                FINDINGS.append(f"changed row: {table} {'|'.join(key)}: {', '.join(names)}")
        return rows

def explain(archive, table, partition, rest, column):
    rules = archive.tables.get(table, {"columns": {}, "rows_of": "lines"})
    formula = rules["columns"].get(column, {}).get("formula", "not declared")
    source = table if rules["rows_of"] == "lines" else rules["rows_of"]
    if formula == "not declared" or archive.tables[source]["rows_of"] != "lines":
        refuse(f"invalid column: expected one of captured rows' formulas, found {table}.{column}")
    key = tuple(f"{partition}|{rest}".split("|", len(rules["key"]) - 1))
    rows, published = archive.recompute(source, partition), archive.published(table).get(key)
    inputs = {k: r for k, r in rows.items() if tuple(str(r[n]) for n in rules["key"]) == key}
    if not inputs or not published:
        refuse(f"invalid key: expected that of a published row, found {'|'.join(key)}")
    old = published[column]
    new = rows[key][column] if source == table else Formulas(
        {"loaded_at": archive.loaded_at}, list(rows.values()))(formula, list(inputs.values()))
    is_near = type(new) is type(old) is float and abs(new - old) <= 2 * math.ulp(old)
    lines = [f"{table} {'|'.join(key)} {column}", f"formula    {json.dumps(formula)}",
             f"published  {old}", f"recomputed {new}"]
    for key, row in inputs.items():
        capture, number, offset, line = archive.places[row["capture_id"], key]
        lines += [f"row        {'|'.join(key)}: capture {capture['capture_id']}, line {number}, "
                  f"byte {offset}, SHA-256 {capture['sha256']}", f"           {line}"]
    lines += [f"manifest   SHA-256 {sha256_of(archive.manifest)}", *dict.fromkeys(FINDINGS)]
    print(*lines, "equal" if new == old or is_near else "not equal", sep="\n")
    return int(bool(FINDINGS) or not (new == old or is_near))

def main(arguments):
    if len(arguments) != 5:
        refuse(f"invalid arguments: expected ARCHIVE TABLE PARTITION KEY COLUMN, found {arguments}")
    try:
        return explain(Archive(arguments[0]), *arguments[1:])
    except Exception as error:
        refuse(f"invalid archive: expected a whole one of evidence, found {error!r}")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

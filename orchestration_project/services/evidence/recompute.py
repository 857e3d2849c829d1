"""Recompute a published number of an evidence archive from its captured bytes.

    python recompute.py archive.zip finra_symbol_week 'T1|2026-10-05' AAAI notional_usd
It needs Python 3.11 alone. The fourth argument is the rest of the row's key, as ATS|AAAI|VENUE.
Exit status: 0: equal, 1: not equal or changed, 2: it cannot be computed from this archive."""
import csv, datetime, functools, hashlib, json, math, re, sys, zipfile, zlib
from decimal import Decimal, getcontext
PLAIN, JAVA = r"[0-9]+(\.[0-9]{1,6})?", r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?"
DAY = r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}"
CUSIP = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
KINDS, CAPTURED = {"BIGI": int, "NUME": Decimal}, ("lines", "captures")  # by letters of a type
LINE = "row        {}: capture {}, line {}, byte {}, SHA-256 {}\n           {}"
FINDINGS, getcontext().prec = [], 99  # what of the archive is changed, by place
def refuse(message):
    print(*dict.fromkeys(FINDINGS), message, sep="\n", file=sys.stderr)
    sys.exit(1 if FINDINGS else 2)
def units(text, scale, pattern=JAVA):
    number = Decimal(text).scaleb(scale) if re.fullmatch(pattern, text or "") else Decimal("0.5")
    return int(number) if number % 1 == 0 and number < 2**63 else None
known = lambda vs: [v for v in vs if v is not None]
pair = lambda f: lambda e, rows, *ab: None if None in (vs := [e(a, rows) for a in ab]) else f(*vs)
single = lambda f: lambda e, rows, a, *arguments: f(e(a, rows), *arguments)
total = lambda f: lambda e, rows, a, *keys: f(e.each(rows, a, keys))
texts_of = lambda row, names: tuple(str(row[name]) for name in names)
sha256_of = lambda content: hashlib.sha256(content).hexdigest()
later = lambda a, n: f"{datetime.date.fromisoformat(a) + datetime.timedelta(n)}"
day = lambda a: re.fullmatch(DAY, a or "") and {later(f"{a[:8]}01", int(a[8:]) - 1): a}.get(a)
is_same = lambda a, b: a and all(a[n] == b[n] for n in b if n not in ("capture_id", "known_from"))
is_within = lambda row, scope: all(s["first"] <= row[n] <= s["last"] if isinstance(s, dict)
                                   else row[n] in s for n, s in scope.items())
OPERATORS = {  # described in rules.json
    "add": pair(lambda a, b: a + b), "count": total(lambda vs: len(known(vs))),
    "subtract": pair(lambda a, b: a - b), "quantity": single(lambda a: a and Decimal(a).scaleb(-6)),
    "multiply": pair(lambda a, b: a * b), "equal": lambda e, rows, a, b: e(a, rows) == e(b, rows),
    "greater": pair(lambda a, b: a > b), "max": total(lambda vs: max(known(vs), default=None)),
    "ratio": pair(lambda a, b: float(a) / float(b) if b > 0 else None), "days_after": single(later),
    "not": single(lambda a: not a),
    "absolute": single(lambda a: a and abs(a)), "given": lambda e, rows, name: e.given.get(name),
    "and": lambda e, rows, *fs: all(e(f, rows) for f in fs), "filled": single(lambda a: a or None),
    "sum": total(lambda vs: sum(known(vs))), "min": total(lambda vs: min(known(vs), default=None)),
    "size": single(lambda a: len((a or "").encode())), "root": single(lambda a: a and math.sqrt(a)),
    "whole": single(lambda a: units(a, 0, "[0-9]+")), "plain": single(lambda a: units(a, 6, PLAIN)),
    "signed": single(lambda a, n: (v := units(a.removeprefix("-"), n)) and (-v if a < "0" else v)),
    "int64": single(lambda a: a if a is not None and -(2**63) <= a < 2**63 else None),
    "scaled": single(units), "if": lambda e, rows, a, b, c=None: e(b if e(a, rows) else c, rows),
    "log": single(lambda a: None if a is None else math.log(a)), "text": lambda e, rows, text: text,
    "in": single(lambda a, texts: a in texts), "lookup": single(lambda a, texts: texts.get(a)),
    "matches": single(lambda a, pattern: re.search(pattern, a or "") is not None),
    "extract": single(lambda a, p: m[1] if (m := re.search(p, a or "")) else ""),
    "day": single(day), "where": lambda e, rows, a, f: e(f, [row for row in rows if e(a, [row])]),
    "sum_complete": total(lambda vs: None if None in vs else sum(vs)),
    "over": lambda e, rows, names, f: e(f, e.alike(names, rows[0])),
    "coalesce": lambda e, rows, *fs: next((v for f in fs if (v := e(f, rows)) is not None), None),
    "format": lambda e, rows, t, f: None if (v := e(f, rows)) is None else t.replace("{}", str(v)),
    "check_digit": single(lambda a: None if len(a) < 8 or set(a[:8]) - set(CUSIP) else str(-sum(
        sum(divmod(CUSIP.index(c) * (1 + n % 2), 10)) for n, c in enumerate(a[:8])) % 10)),
    "sum_largest": lambda e, r, n, f, *k: sum(sorted(v)[-n:]) if (v := e.each(r, f, k)) else None,
    "lowest_of_greatest": lambda e, rows, f, key: (
        min(k for v, k in zip(vs, e.each(rows, key, [key]), strict=True) if v == max(vs))
        if (vs := e.each(rows, f, [key])) else None),
    "rank": lambda e, rows, f, names, *keys: None if (own := e(f, rows)) is None else 1 + sum(
        v > own for v in known(e.each(e.alike(names, rows[0]), f, keys))),
    "up_to": lambda e, r, ns, a, n, f: e(f, [o for o in e.alike(ns, r[0]) if o[a] <= r[0][a]][-n:]),
}
def group_by(rows, key):
    groups = {}
    for row in rows: groups.setdefault(key(row), []).append(row)
    return list(groups.values())
class Formulas:  # `given` has what is not a column, `all_rows` is the table
    def __init__(self, given, all_rows=()):
        self.given, self.all_rows = given, all_rows
    def __call__(self, formula, rows):
        if isinstance(formula, str): return rows[0].get(formula.lower(), "") if rows else None
        return OPERATORS[formula[0]](self, rows, *formula[1:]) if type(formula) is list else formula
    def alike(self, names, row):
        return [other for other in self.all_rows if all(other[n] == row[n] for n in names)]
    def each(self, rows, formula, keys):
        key = lambda row: tuple(self(k, [row]) for k in keys) or id(row)
        return [self(formula, group) for group in group_by(rows, key)]
class Archive:
    def __init__(self, path):
        self.zip, self.places = zipfile.ZipFile(path), {}
        self.manifest = self.zip.read("manifest.json")
        self.sums = {m["name"]: m["sha256"] for m in json.loads(self.manifest)["members"]}
        rules = json.loads(self.read("rules.json"))
        self.tables, self.of_partition = rules["tables"], rules["inputs"]
        for place, sha256 in rules["sha256"].items():
            rule = functools.reduce(lambda part, name: part[name], place.split("/"), self.tables)
            if sha256_of(json.dumps(rule, sort_keys=True).encode()) != sha256:
                FINDINGS.append(f"changed rule: {place}")
    def read(self, name):
        if name not in self.sums: refuse(f"invalid archive: expected the member {name}, found none")
        try: content = self.zip.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error: content = f"{error}".encode()
        if sha256_of(content) != self.sums[name]: FINDINGS.append(f"changed member: {name}")
        return content
    def lines(self, name, **wanted):
        for number, line in enumerate(self.read(name).decode(errors="replace").split("\n"), 1):
            try: row = json.loads(line or "{}")
            except ValueError: row = FINDINGS.append(f"changed row: {name}, line {number}")
            yield from [row] if row and wanted.items() <= row.items() else []
    def published(self, table, partition):  # rows by key
        rules = self.tables[table]
        own = zip(rules["partition"], partition.split("|"), strict=False)
        kinds = {n: KINDS.get(c["type"][:4], lambda v: v) for n, c in rules["columns"].items()}
        rows = [{n: None if row[n] is None else kinds[n](row[n]) for n in kinds}
                for row in self.lines(f"rows/{table}.jsonl", **dict(own))]
        return {texts_of(row, rules["key"]): row for row in rows}
    def captured(self, rules, capture, given):
        content = self.read(f"bytes/{capture['sha256']}")
        lines, offset, mark = content.removesuffix(b"\n").split(b"\n"), 0, rules["delimiter"]
        is_quoted, end = mark == "," or lines[0][:1] == b'"', "\r" * lines[0].endswith(b"\r")
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
                key = texts_of(row, rules["key"])
                self.places[given["capture_id"], key] = number, offset, capture["sha256"], text
                yield key, row
            offset += len(line) + 1
    @functools.cache
    def recompute(self, table, partition):  # compared rows by key, and when they last changed
        rules, rows, loaded_at = self.tables[table], {}, None
        if rules["rows_of"] == "captures": return self.published(table, partition), None
        wanted = {"table_name": table, "partition_key": partition}
        deliveries = {r["group_id"]: r for r in self.lines("deliveries.jsonl", **wanted)}
        given = dict(zip(rules["partition"], partition.split("|"), strict=False))
        for load in sorted(self.lines("landings.jsonl", **wanted), key=lambda x: x["landed_at"]):
            delivery, before = deliveries[load["group_id"]], rows
            scope, group = json.loads(delivery["scope"]), delivery["replay_of"] or load["group_id"]
            rows = {k: row for k, row in rows.items() if not is_within(row, scope)}
            for capture in self.lines("captures.jsonl", group_id=group):
                given |= {"loaded_at": load["landed_at"], "capture_id": int(capture["capture_id"])}
                if int(capture["part_number"]) <= int(delivery["part_count"]):
                    rows |= dict(self.captured(rules, capture, given))
            rows = {k: before[k] if is_same(before.get(k), row) else row for k, row in rows.items()}
            if any(int(load[f"rows_{what}"]) for what in ("added", "changed", "removed")):
                loaded_at = load["landed_at"]
        published = self.published(table, partition)
        for key in sorted(rows.keys() | published.keys(), key=str):
            new, old = rows.get(key, {}), published.get(key, {})
            if names := [name for name in rules["columns"] if new.get(name) != old.get(name)]:
                FINDINGS.append(f"changed row: {table} {'|'.join(key)}: {', '.join(names)}")
        return rows, loaded_at
    def derive(self, table, partition, names):  # rows of any table, with these columns
        rules, is_captured = self.tables[table], self.tables[table]["rows_of"] in CAPTURED
        rows, loaded_at = self.recompute(table if is_captured else rules["rows_of"], partition)
        e = Formulas({"loaded_at": loaded_at}, list(rows.values()))
        return list(rows.values()) if is_captured else [
            {name: e(rules["columns"][name]["formula"], group) for name in names}
            for group in group_by(rows.values(), lambda row: texts_of(row, rules["key"]))]
    def place(self, capture_id, key):  # of a row; where captures have no lines, of its capture
        if (capture_id, key) in self.places: return self.places[capture_id, key]
        sha256 = next(self.lines("captures.jsonl", capture_id=str(capture_id)))["sha256"]
        self.read(f"bytes/{sha256}")
        return "-", "-", sha256, "as published"
def explain(archive, table, partition, rest, column):
    rules = archive.tables.get(table, {"columns": {}})
    formula = rules["columns"].get(column, {}).get("formula", "not declared")
    if formula == "not declared":
        refuse(f"invalid column: expected one with a formula, found {table}.{column}")
    text = f"{partition}|{rest}" if rules["partition"] else rest
    key = tuple(text.split("|", len(rules["key"]) - 1))
    captured, keys = archive.of_partition.get(table, (table, [partition]))
    held = {row["partition_key"] for row in archive.lines("deliveries.jsonl", table_name=captured)}
    if missing := set(keys) - held:
        refuse(f"invalid archive: expected {captured} of {min(keys)} to {max(keys)}, found none of "
               f"{', '.join(sorted(missing))}; export it with --include-inputs")
    source, used = table if table == captured else rules["rows_of"], [formula, rules["key"]]
    names = [n for n in archive.tables[source]["columns"] if f'"{n}"' in json.dumps(used)]
    rows = [row for part in keys for row in archive.derive(source, part, names)]
    given = dict(zip(rules["key"], key, strict=True))
    own = {n: v for n, v in given.items() if n != rules.get("window", " ")[0]}
    is_input = lambda row: all(str(row.get(n, v)) == v for n, v in own.items())
    inputs, published = [*filter(is_input, rows)], archive.published(table, partition).get(key)
    if not inputs or not published:
        refuse(f"invalid key: expected that of a published row, found {'|'.join(key)}")
    e = Formulas(given | {"loaded_at": archive.recompute(captured, keys[0])[1]}, rows)
    old, new = published[column], inputs[0][column] if source == table else e(formula, inputs)
    ok = new == old or (type(new) is type(old) is float and abs(new - old) <= 2 * math.ulp(old))
    print(f"{table} {'|'.join(key)} {column}\nformula    {json.dumps(formula)}")
    print(f"published  {old}\nrecomputed {new}")
    for row in filter(is_input, (r for k in keys for r in archive.derive(captured, k, ()))):
        key, capture_id = texts_of(row, archive.tables[captured]["key"]), row["capture_id"]
        print(LINE.format("|".join(key), capture_id, *archive.place(capture_id, key)))
    print(f"manifest   SHA-256 {sha256_of(archive.manifest)}", *dict.fromkeys(FINDINGS), sep="\n")
    print("equal" if ok else "not equal")
    return int(bool(FINDINGS) or not ok)
if __name__ == "__main__":
    if len(sys.argv) != 6:
        refuse(f"invalid arguments: expected ARCHIVE TABLE PARTITION KEY COLUMN, found {sys.argv}")
    try: sys.exit(explain(Archive(sys.argv[1]), *sys.argv[2:]))
    except Exception as error:
        refuse(f"invalid archive: expected a whole one of evidence, found {error!r}")

"""Recompute a published number of an evidence archive from its captured bytes.
    python recompute.py archive.zip finra_symbol_week 'T1|2026-10-05' AAAI notional_usd
It needs Python 3.11 alone. The fourth argument is the rest of the row's key, as ATS|AAAI|VENUE.
Exit status: 0: equal, 1: not equal or changed, 2: it cannot be computed from this archive."""
import contextlib, csv, datetime, functools, hashlib, io, json, math, re, struct, sys, zipfile, zlib
from decimal import Decimal, getcontext
NUMBER = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?"
CUSIP = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
FINDINGS, getcontext().prec = {}, 99  # what of the archive is changed, by place
report = lambda is_changed, place: FINDINGS.setdefault(f"changed {place}") if is_changed else None
def fail(what, expected, found):
    message = f"invalid {what}: expected {expected}, found {found}"
    print(*FINDINGS, message, sep="\n", file=sys.stderr)
    sys.exit(1 if FINDINGS else 2)
def try_call(function, *arguments):  # None: it fails
    with contextlib.suppress(KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return function(*arguments)
def scaled(text, scale):
    number = Decimal(text).scaleb(scale) if re.fullmatch(NUMBER, text or "") else Decimal("0.5")
    return int(number) if number % 1 == 0 and number < 2**63 else None
known = lambda vs: [v for v in vs if v is not None]
pair = lambda f: lambda e, rows, *ab: None if None in (vs := [e(a, rows) for a in ab]) else f(*vs)
single = lambda f: lambda e, rows, a, *arguments: f(e(a, rows), *arguments)
total = lambda f: lambda e, rows, a, *keys: f(e.each(rows, a, keys))
key_of = lambda row, names: "|".join(str(row[name]) for name in names)
single_of = lambda text: struct.unpack("f", struct.pack("f", float(text)))[0]  # of 32 bits
sha256_of = lambda content: hashlib.sha256(content).hexdigest()
later = lambda a, n: f"{datetime.date.fromisoformat(a) + datetime.timedelta(n)}"
day = lambda a: a if f"{try_call(datetime.date.fromisoformat, a or '')}" == a else None
is_same = lambda a, b: a and not {n for n in b if a[n] != b[n]} - {"capture_id", "known_from", "at"}
is_within = lambda row, scope: all(s["first"] <= row[n] <= s["last"] if isinstance(s, dict)
                                   else row[n] in s for n, s in scope.items())
def is_equal(old, new):  # a published value has its numbers as text; a double differs by 2 units
    are_same = Decimal(old) == new if old and type(new) in (int, Decimal) else old == new
    return abs(new - old) <= 2 * math.ulp(old) if type(old) is type(new) is float else are_same
OPERATORS = {  # described in rules.json
    "format": lambda e, rows, t, f: None if (v := e(f, rows)) is None else t.replace("{}", str(v)),
    "sum_largest": lambda e, r, n, f, *k: sum(sorted(v)[-n:]) if (v := e.each(r, f, k)) else None,
    "up_to": lambda e, r, ns, a, n, f: e(f, [o for o in e.alike(ns, r[0]) if o[a] <= r[0][a]][-n:]),
    "matches": single(lambda a, pattern: re.search(pattern, a or "") is not None),
    "extract": single(lambda a, p: m[1] if (m := re.search(p, a or "")) else ""),
    "where": lambda e, rows, a, f: e(f, [row for row in rows if e(a, [row])]),
    "if": lambda e, rows, a, b, c=None: e(b if e(a, rows) else c, rows), "days_after": pair(later),
    "quotient": pair(lambda a, b: f"{round(Decimal(a) / b, 6).normalize():f}"), "day": single(day),
    "sum_complete": total(lambda vs: None if None in vs else sum(vs)),
    "ratio": pair(lambda a, b: float(a) / float(b) if b > 0 else None), "scaled": single(scaled),
    "over": lambda e, rows, names, f: e(f, e.alike(names, rows[0])), "not": single(lambda a: not a),
    "quantity": single(lambda a: a and Decimal(a).scaleb(-6)), "text": lambda e, rows, text: text,
    "equal": lambda e, rows, a, b: e(a, rows) == e(b, rows), "multiply": pair(lambda a, b: a * b),
    "given": lambda e, rows, name: e.given.get(name), "log": single(lambda a: a and math.log(a)),
    "and": lambda e, rows, *fs: all(e(f, rows) for f in fs), "subtract": pair(lambda a, b: a - b),
    "min": total(lambda vs: min(known(vs), default=None)), "greater": pair(lambda a, b: a > b),
    "max": total(lambda vs: max(known(vs), default=None)), "add": pair(lambda a, b: a + b),
    "size": single(lambda a: len((a or "").encode())), "sum": total(lambda vs: sum(known(vs))),
    "root": single(lambda a: a and math.sqrt(a)), "count": total(lambda vs: len(known(vs))),
    "join": total(lambda vs: ", ".join(sorted(known(vs))) or "none"),
    "check_digit": single(lambda a: None if len(a) < 8 or set(a[:8]) - set(CUSIP) else str(-sum(
        sum(divmod(CUSIP.index(c) * (1 + n % 2), 10)) for n, c in enumerate(a[:8])) % 10)),
    "rank": lambda e, rows, f, names, *keys: None if (own := e(f, rows)) is None else 1 + sum(
        v > own for v in known(e.each(e.alike(names, rows[0]), f, keys))),
    "single": single(lambda a: next((round(Decimal(t) * 10**6) for t in (
        f"{float(a):.{n}g}" for n in range(1, 10)) if single_of(t) == float(a)), None)),
    "whole": single(lambda a: a is None or a % 1 == 0)}
def group_by(rows, key):
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())
class Formulas:  # `given` has what is not a column, `all_rows` is the table
    def __init__(self, given, all_rows=()):
        self.given, self.all_rows = given, all_rows
    def __call__(self, formula, rows):
        if isinstance(formula, str):
            return rows[0].get(formula.lower(), "") if rows else None
        return OPERATORS[formula[0]](self, rows, *formula[1:]) if type(formula) is list else formula
    def alike(self, names, row):
        return [other for other in self.all_rows if all(other[n] == row[n] for n in names)]
    def each(self, rows, formula, keys):
        key = lambda row: tuple(self(k, [row]) for k in keys) or id(row)
        return [self(formula, group) for group in group_by(rows, key)]
def read_lines(content, mark, unpivot=(), renamed=()):  # yields byte, text, fields of records
    names, is_quoted = [], mark == "," or content[:1] == b'"'
    end = "\r" * content.partition(b"\n")[0].endswith(b"\r")
    for line in re.finditer(rb"[^\n]+", content):
        text = line[0].decode(errors="replace").removeprefix("\ufeff").removesuffix(end)
        texts = next(csv.reader([text], delimiter=mark)) if is_quoted else text.split(mark)
        cells = [*zip(names, map(str.strip, texts), strict=False)]
        if names and len(texts) == len(names) and not set("\0\r\ufffd") & set(text):
            rows = [zip(unpivot, (texts[0], *cell), strict=True) for cell in cells[1:] if all(cell)]
            for fields in rows if unpivot else [[(name.lower(), text) for name, text in cells]]:
                yield line.start(), text, dict(fields)
        names = names or [dict(renamed).get(name.lower(), name) for name in map(str.strip, texts)]
def read_matches(content, pattern):
    fields = {}
    for match in re.finditer(pattern.encode(), content):
        fields |= {n: text.decode() for n, text in match.groupdict().items() if text is not None}
        lists = (re.split(r",\s*", text) for text in fields.values())
        for values in zip(*lists, strict=True) if match[match.re.groups] else ():
            yield match.start(), ", ".join(values), dict(zip(fields, values, strict=True))
def move_events(rows, names, at="time"):  # one without these at the next record that has them all
    times = sorted(int(r[at]) for r in rows if all(r.get(n, "null") != "null" for n in names))
    for row in (r for r in rows if names[0] not in r and int(r[at]) >= int(rows[0][at])):
        row[at] = next((f"{time}" for time in times if time + 43_200 > int(row[at])), row[at])
READERS = {"lines": read_lines, "matches": read_matches, "none": lambda _, *w: fail("file", *w)}
class Archive:
    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)
        self.manifest = self.zip.read("manifest.json")
        self.sums = {m["name"]: m["sha256"] for m in json.loads(self.manifest)["members"]}
        rules = json.loads(self.read("rules.json"))
        self.tables, self.of_partition = rules["tables"], rules["inputs"]
        for place, sha256 in rules["sha256"].items():
            rule = functools.reduce(lambda part, name: part[name], place.split("/"), self.tables)
            report(sha256_of(json.dumps(rule, sort_keys=True).encode()) != sha256, f"rule: {place}")
    def read(self, name):
        content = try_call(self.zip.read, name) or b""
        report(sha256_of(content) != self.sums[name], f"member: {name}")
        return content
    def lines(self, name, **wanted):
        for number, line in enumerate(self.read(name).decode(errors="replace").split("\n"), 1):
            row = try_call(json.loads, line or "{}")
            report(row is None, f"row: {name}, line {number}")
            yield from [row] if row and wanted.items() <= row.items() else []
    def published(self, table, partition):  # rows by key
        columns = dict(zip(self.tables[table]["partition"], partition.split("|"), strict=False))
        rows = self.lines(f"rows/{table}.jsonl", **columns)
        return {key_of(row, self.tables[table]["key"]): row for row in rows}
    def captured(self, rules, given):
        body = self.read(f"bytes/{given['sha256']}")
        form = next(f for f in rules["forms"] if re.search(f["contains"].encode(), body))
        body = zipfile.ZipFile(io.BytesIO(body)).read(m) if (m := form.get("member")) else body
        records = [r for name, how in form["records"] for r in READERS[name](body, *how)]
        conditions = [*rules["filters"].values(), *(f for _, f in rules["rejects"])]
        fields_of_all = [fields for *_, fields in records]
        "moved_to" in form and move_events(fields_of_all, form["moved_to"])
        for offset, text, fields in records:
            e = Formulas(fields | given, fields_of_all)
            if not any(e(condition, [fields]) for condition in conditions):
                row = {name: e(c["formula"], [fields]) for name, c in rules["columns"].items()}
                yield row | {"at": (body, offset, given["sha256"], text)}
    @functools.cache
    def recompute(self, table, partition):  # compared rows by key, and when they last changed
        rules, rows, loaded_at = self.tables[table], {}, None
        target = {"table_name": table, "partition_key": partition}
        if not (deliveries := {r["group_id"]: r for r in self.lines("deliveries.jsonl", **target)}):
            fail("archive", f"{table} {partition}", "none: --include-inputs")
        own = dict(zip(rules["partition"], partition.split("|"), strict=False))
        for load in sorted(self.lines("landings.jsonl", **target), key=lambda x: x["landed_at"]):
            delivery, before = deliveries[load["group_id"]], rows
            scope, group = json.loads(delivery["scope"]), delivery["replay_of"] or load["group_id"]
            rows = {k: row for k, row in rows.items() if not is_within(row, scope)}
            for capture in self.lines("captures.jsonl", group_id=group):
                if int(capture["part_number"]) <= int(delivery["part_count"]):
                    values = json.loads(capture["request"]) | capture | own
                    read = self.captured(rules, values | {"loaded_at": load["landed_at"]})
                    rows |= {key_of(r, rules["key"]): r for r in read if is_within(r, scope)}
            rows = {k: before[k] if is_same(before.get(k), row) else row for k, row in rows.items()}
            loaded_at = loaded_at if rows == before else load["landed_at"]
        published = self.published(table, partition)
        for key in sorted(rows.keys() | published.keys()):
            new, old = rows.get(key, {}), published.get(key, {})
            names = [n for n in rules["columns"] if not is_equal(old.get(n), new.get(n))]
            report(names, f"row: {table} {key}: {', '.join(names)}")
        return rows, loaded_at
    def derive(self, table, partition, names):  # rows of any table, with these columns
        rules, is_captured = self.tables[table], self.tables[table]["rows_of"] == "captures"
        rows, loaded_at = self.recompute(table if is_captured else rules["rows_of"], partition)
        e = Formulas({"loaded_at": loaded_at}, list(rows.values()))
        return e.all_rows if is_captured else [
            {name: e(rules["columns"][name]["formula"], group) for name in names}
            for group in group_by(e.all_rows, lambda row: key_of(row, rules["key"]))]
def explain(archive, table, partition, rest, column):
    rules = archive.tables.get(table, {"columns": {}})
    entry = rules["columns"].get(column, {"formula": "not declared"})
    entry["formula"] != "not declared" or fail("column", "one with formula", f"{table}.{column}")
    window, key = rules.get("window", ()), f"{partition}|{rest}" if rules["partition"] else rest
    captured, keys = archive.of_partition.get(table, (table, [partition]))
    source = table if table == captured else entry.get("rows_of", rules["rows_of"])
    names = [n for n in archive.tables[source]["columns"] if f"'{n}'" in f"{entry} {rules['key']}"]
    rows = [row for part in keys for row in archive.derive(source, part, names)]
    parts = dict(zip(rules["key"], key.split("|", len(rules["key"]) - 1), strict=True))
    is_input = lambda row: all(str(row.get(n, v)) == v for n, v in parts.items() if n not in window)
    inputs, published = [*filter(is_input, rows)], archive.published(table, partition).get(key)
    (inputs and published) or fail("key", "that of a published row", key)
    e = Formulas(parts | {"loaded_at": archive.recompute(captured, keys[0])[1]}, rows)
    new = inputs[0][column] if source == table else e(entry["formula"], inputs)
    verdict = "equal" if is_equal(published[column], new) else "not equal"
    print(f"{table} {key} {column}\nformula    {json.dumps(entry['formula'])}")
    print(f"published  {published[column]}\nrecomputed {new}")
    for row in filter(is_input, (r for k in keys for r in archive.derive(captured, k, ()))):
        body, offset, sha256, text = row["at"]
        line, own = body.count(b"\n", 0, offset) + 1, key_of(row, archive.tables[captured]["key"])
        place = f"capture {row['capture_id']}, line {line}, byte {offset}, SHA-256 {sha256}"
        print(f"row        {own}: {place}\n           {text}")
    print(f"manifest   SHA-256 {sha256_of(archive.manifest)}", *FINDINGS, verdict, sep="\n")
    return int(bool(FINDINGS) or verdict != "equal")
if __name__ == "__main__":
    len(sys.argv) == 6 or fail("arguments", "ARCHIVE TABLE PARTITION KEY COLUMN", sys.argv)
    sys.excepthook = lambda _, error, __: fail("archive", "a whole one of evidence", repr(error))
    sys.exit(explain(Archive(sys.argv[1]), *sys.argv[2:]))

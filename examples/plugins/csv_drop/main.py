"""Loads the lines of the CSV files in the folder `drop`; the first line of each has the names."""

import csv
import os

from plugin import start


def lines(folder):
    """Yield key and payload of each line of the files in a folder."""
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".csv"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8-sig", newline="") as file:
            for number, values in enumerate(csv.DictReader(file, restkey="more"), start=1):
                texts = {key: "|".join(v) if key == "more" else v for key, v in values.items()}
                yield f"{name}:{number}", {"file": name, "line": number, "values": texts}


with start() as run:
    run.emit("lines", lines(run.folders["drop"]))

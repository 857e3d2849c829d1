"""Compares docs/reference with the code, or with `--write` writes its pages.

Run as `python -m tools.reference_pages`. Neither environment nor `.env` changes the result:
both are left out before the code is imported that reads them.
"""

import sys
import tempfile

from tools.clean_environment import clean_environment


def main() -> int:
    """Write the pages, or name those that are outdated, and what they lack; return 1 if any is."""
    with tempfile.TemporaryDirectory() as folder:
        clean_environment(folder)
        from tools.reference_pages import pages

        if "--write" in sys.argv:
            pages.write_all()
            return 0
        outdated, left, missing = pages.outdated(), pages.left(), pages.missing()
    for name in outdated:
        print(f"docs/reference/{name} is outdated: run `python -m tools.reference_pages --write`")
    for name in left:
        print(f"docs/reference/{name} is generated no longer: delete it")
    for line in missing:
        print(line)
    return 1 if outdated or left or missing else 0


if __name__ == "__main__":
    sys.exit(main())

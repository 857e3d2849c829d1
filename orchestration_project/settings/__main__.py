"""Prints docs/settings.md; with --example, .env.example."""

import sys

from orchestration_project.settings.page import example, page

if __name__ == "__main__":
    sys.stdout.write(example() if sys.argv[1:] == ["--example"] else page())

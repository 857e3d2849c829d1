"""Prints .env.example."""

import sys

from orchestration_project.settings.page import example

if __name__ == "__main__":
    sys.stdout.write(example())

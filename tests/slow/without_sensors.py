"""The project's definitions without sensors: only the runs of a test are launched."""

from tests.slow.hurried import definitions_with

defs = definitions_with()

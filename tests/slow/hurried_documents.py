"""The project's definitions, with the sensor of documents alone, which ticks every few seconds."""

from tests.slow.hurried import definitions_with

defs = definitions_with("documents_on_arrival")

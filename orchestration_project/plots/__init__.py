"""FIGURES: values and frames in, SVG, PNG and their data URIs out; no I/O, no Dagster."""

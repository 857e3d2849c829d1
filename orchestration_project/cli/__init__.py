"""Commands of `orchestrate`; each parses its options and calls a resource or a rule."""

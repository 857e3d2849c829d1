"""A year in the life: real programs under a stepped calendar, judged by code that is not theirs."""

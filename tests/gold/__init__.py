"""Gold tables computed a second time, in pandas and from the words of their columns alone.

No module here imports code of the domains: what is expected cannot repeat a fault of theirs.
"""

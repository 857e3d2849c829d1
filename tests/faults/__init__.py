"""The fault matrix: what is done to a load, at which stage, on which database, and what follows.

`matrix.py` has it as data, `docs/reliability.md` for readers; the tests here carry it out.
"""

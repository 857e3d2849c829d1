"""The fault matrix: what is done to a load, at which stage, on which database, and what follows.

`matrix.py` has it as data; the tests here carry it out. The generated page is
`docs/reference/fault-matrix.md`; `README.md` describes the method.
"""

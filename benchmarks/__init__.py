"""How fast and how large, as ratios in one run against named peers and the limit (`make bench`).

Not part of the installed package. `source` and `child` are programs; `ours` and `peers` hold what
is measured, each run in a process of its own; `measures` has what is compared with what.
"""

"""Two demo systems that work is kept equal in: PeopleForce's tasks and Jira Cloud's issues.

`python -m orchestration_demo.saas --state-dir DIR` serves both on one port, `/peopleforce`
and `/jira` before the paths that the real ones have, and what people do there below `/demo`. What
they hold is synthetic, stays in memory, and starts from a seed.
"""

"""Sources that a project declares in its own folder: what they are, and how their bytes are read.

`orchestration_project` itself gives the names of `declarations` to users.
"""

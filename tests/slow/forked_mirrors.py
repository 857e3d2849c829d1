"""`python -m tests.slow.forked_mirrors TABLE FILE`: mirrors of the example that a test kills.

For each line of the input, a fork of this process, which has imported everything, keeps the file up
to date by small transactions; its process ID is printed.
"""

import os
import runpy
import sys

from orchestration_project.settings import PROJECT_ROOT

MIRROR = str(PROJECT_ROOT / "examples" / "mirror" / "mirror.py")
BATCH_CHANGES = 50


def main() -> None:
    """Start a mirror for each line."""
    mirror = runpy.run_path(MIRROR)
    update = mirror["main"]
    update.__globals__["BATCH_CHANGES"] = BATCH_CHANGES
    sys.argv += ["--wait", "0.02"]
    for _ in sys.stdin:
        process = os.fork()
        if not process:
            update()
            os._exit(0)
        sys.stderr.write(f"{process}\n")
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()

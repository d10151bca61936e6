"""Run a command that ends when its parent process ends, however that ends.

    python parent_death.py PARENT_PID command [argument...]

The process manager uses it for every service process. It is run as a file, so that it imports no code of ours.
Processes that the command starts are not bound to the parent: supervisors and their children outlive it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # The parent died before the line above.
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  a list, no shell


if __name__ == "__main__":
    main()

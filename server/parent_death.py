"""Run a command that ends when the process that started it ends, however that ends.

    python tether.py PARENT_PID command [argument...]

Used by the supervisor for every service process. It is run as a file, so that it imports nothing of ours.
A process that the command starts is not tethered: keepers and their children outlive everything.
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
    if os.getppid() != parent:  # It died before the line above could tell.
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  a list, no shell


if __name__ == "__main__":
    main()

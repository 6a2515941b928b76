"""Ends its process group once whoever started it is gone; run as a program of its own, by its path.

It reads standard input, to which nothing is ever written: the end of it is the end of the process that holds the other
side, even where that was killed.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 10.0
"""Left to the group between being asked to end and being killed."""


def main() -> None:
    """Returns never: it is a member of its group."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

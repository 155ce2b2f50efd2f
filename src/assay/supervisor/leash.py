"""Run as a file: becomes another program, which dies with the process that started it.

::

    python leash.py PARENT_PID COMMAND [ARGUMENT …]

The kernel is asked to send SIGKILL when the parent ends, however it ends; the request outlives
`exec`. It imports nothing of assay, so that it costs a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fasten the leash and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):  # it ended before the leash was on
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 — without a shell is what is wanted


if __name__ == "__main__":
    main()

"""A process that appends for ever and prints what it may acknowledge; tests stop it.

``writer_child.py FOLDER FIRST SEED [NAME=VALUE ...]`` is one writer; ``writer_child.py nursery``
forks one per line of the same arguments, which saves each the start of Python.
"""

import os
import random
import resource
import sys
import time
from pathlib import Path

from assay.clock import SystemClock
from assay.errors import JournalError, StalledError
from assay.journal.entries import EntryHead
from assay.journal.log import Log


def payload(i: int) -> bytes:
    """Return record i: its size and bytes follow from its number."""
    return EntryHead(1, 200, 0, 24, i, 0).encode() + b"%d." % i * (i % 97)


def say(text: str) -> None:
    """Print in one piece, which a pipe never tears."""
    os.write(1, text.encode())


def append(log: Log, numbers: range) -> list[int]:
    """Append and sync records as soon as that is possible."""
    positions: list[int] = []
    while True:
        try:
            positions = positions or log.append([payload(i) for i in numbers])
            log.sync()
        except StalledError as error:
            say(f"stalled {error}\n")
            time.sleep(0.01)
        else:
            return positions


def main(folder: str, first: int, seed: int, *, file_bytes_max: int = 0, groups: int = -1) -> None:
    """Append groups of 1 to 40 records until something stops it."""
    log = Log.open(Path(folder), SystemClock(), segment_bytes=200_000)
    if file_bytes_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
    sizes = random.Random(seed)
    try:
        while groups:
            numbers = range(first, first + sizes.randint(1, 40))
            positions = append(log, numbers)
            say("".join(f"{i} {p}\n" for i, p in zip(numbers, positions, strict=True)))
            first, groups = numbers.stop, groups - 1
    except JournalError as error:
        again = []
        for act in (log.sync, lambda: log.append([payload(0)])):
            try:
                act()
            except JournalError as later:
                again.append(str(later))
        say(f"error {error}\nagain {len(again)} {again[-1]}\n")


def run(arguments: list[str]) -> None:
    """Run one writer as its command line says."""
    folder, first, seed, *options = arguments
    named = dict(option.split("=") for option in options)
    main(folder, int(first), int(seed), **{name: int(value) for name, value in named.items()})


def nursery() -> None:
    """Fork a writer per line of input; print its process id, and when it is dead."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            say(f"pid {os.getpid()}\n")
            try:
                run(line.split())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        say("dead\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["nursery"]:
        nursery()
    else:
        run(sys.argv[1:])

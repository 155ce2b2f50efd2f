"""A process that appends for ever and prints what it may acknowledge; tests stop it."""

import os
import random
import resource
import sys
from pathlib import Path

from assay.clock import SystemClock
from assay.errors import JournalError
from assay.journal.entries import EntryHead
from assay.journal.log import Log


def payload(i: int) -> bytes:
    """Return record i: its size and bytes follow from its number."""
    return EntryHead(1, 200, 0, 24, i, 0).encode() + b"%d." % i * (i % 97)


def main(folder: str, first: int, seed: int, file_bytes_max: int) -> None:
    """Append groups of 1 to 40 records until something stops it."""
    log = Log.open(Path(folder), SystemClock(), segment_bytes=200_000)
    if file_bytes_max:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
    sizes = random.Random(seed)
    try:
        while True:
            numbers = range(first, first + sizes.randint(1, 40))
            positions = log.append([payload(i) for i in numbers])
            log.sync()
            lines = [f"{i} {p}\n" for i, p in zip(numbers, positions, strict=True)]
            os.write(1, "".join(lines).encode())
            first = numbers.stop
    except JournalError as error:
        again = []
        for act in (log.sync, lambda: log.append([payload(0)])):
            try:
                act()
            except JournalError as later:
                again.append(str(later))
        os.write(1, f"error {error}\nagain {len(again)} {again[-1]}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

"""A supervisor in a process of its own, over small programs; prints every change as JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from assay.supervisor.program import Program
from assay.supervisor.status import Status
from assay.supervisor.supervisor import Supervisor

TOY = str(Path(__file__).with_name("program.py"))


def tell(status: Status) -> None:
    sys.stdout.write(json.dumps(asdict(status)) + "\n")
    sys.stdout.flush()


async def main() -> None:
    programs = [
        Program(name, lambda: [sys.executable, TOY], "TOY_PORT") for name in ("one", "two", "three")
    ]
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Supervisor(programs, Path(sys.argv[1]), tell).run(stop)


if __name__ == "__main__":
    asyncio.run(main())

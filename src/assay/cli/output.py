"""What every verb shares: JSON for tools, progress and errors for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from assay.bootstrap.progress import Progress as Report

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"

PEOPLE = Console(stderr=True)

LEFT_OUT = (
    "{rows:,} imported rows are not in the scorer's windows, because its stream began before they "
    "came; models learn from them all the same. To begin a new stream with them, stop the scorer "
    "and move .assay/journal, .assay/tables/stream and .assay/control.sqlite away together "
    "(docs/datasets.md)."
)


def show(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: one line of JSON, or name and value in columns."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        return
    width = max(len(name) for name in result)
    for name, value in result.items():
        text = f"{value:,.4g}" if isinstance(value, float) else _plain(value)
        sys.stdout.write(printable(f"{name:<{width}}  {text}") + "\n")


def printable(text: str) -> str:
    r"""Return text on one line that a terminal only shows.

    Controls, line breaks, marks that turn the direction of text and invisible ones are written
    as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``: text that callers sent must not move the cursor,
    forge a line or hide one.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    code = ord(char)
    if char.isprintable():
        return char
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return str(value)


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Give a callback that draws one bar a step on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=PEOPLE) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                if not PEOPLE.is_terminal:  # bars show in the end only
                    sys.stderr.write(f"{step} …\n")
                    sys.stderr.flush()
                tasks[step] = bars.add_task(step, total=None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield report

"""Labels from a file to the running scorer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.worker import make_client
from assay.clock import Clock, SystemClock
from assay.errors import CardNumberError, InputError, SettingsError, UnavailableError
from assay.feedback.book import SEND_MAX
from assay.feedback.label_file import LabelFile
from assay.ingest.dead_letters import DeadLetters
from assay.ingest.decode import event_time_ms
from assay.ingest.files import read_columns, read_pieces
from assay.ingest.firewall import contains_card_number, masked
from assay.records import FUTURE_ALLOWANCE_MS
from assay.workspace import Workspace


def report_labels(
    workspace: Workspace,
    file: Path,
    columns: tuple[str, str, str],
    dead_letters: Path,
    *,
    api_key: str | None = None,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Report a file's labels to the workspace's scorer, which must be running.

    Parameters
    ----------
    workspace : Workspace
    file : Path
        CSV, Parquet or JSON lines.
    columns : tuple of str
        Names of the columns with transaction id, verdict, and time of report.
    dead_letters : Path
        Where refused rows go.
    api_key : str, optional
        Names who reports; the internal key by default.
    clock : Clock, optional
    progress : callable

    Returns
    -------
    dict
        ``read`` is the sum of ``reported``, ``duplicates``, ``rejected`` and the number of
        ``conflicts``, which are the lines of those; ``reasons`` tells of the rejected.

    Raises
    ------
    SettingsError
        If a column is missing.
    DatasetError
        If the file cannot be read.
    UnavailableError
        If no scorer answers, or it stops answering.
    """
    client = make_client(workspace, api_key, timeout_s=10.0)
    client.health()
    present = read_columns(file)
    if missing := [name for name in columns if name not in present]:
        shown = ", ".join(masked(name[:80]) for name in present)
        raise SettingsError(f"the file has no column {missing[0]!r}; accepted: one of {shown}")
    check = _check(workspace, (clock or SystemClock()).now_ms() + FUTURE_ALLOWANCE_MS)
    progress("read the file", 0, 0)
    with DeadLetters(dead_letters, frozenset()) as letters:
        found = LabelFile.load(
            lambda: read_pieces(file, frozenset(columns)), columns, check, letters
        )
    progress("read the file", 1, 1)
    labels, sent = found.labels(), 0
    while batch := list(islice(labels, SEND_MAX)):
        try:
            client.report(batch)
        except UnavailableError as error:
            raise UnavailableError(
                f"{sent} of {len(found)} labels were reported, then {error}; run it again: "
                "what was reported counts as duplicate"
            ) from None
        sent += len(batch)
        progress("report labels", sent, len(found))
    return {
        "read": found.read,
        "reported": sent,
        "duplicates": found.duplicates,
        "conflicts": found.conflicts,
        "rejected": found.rejected,
        "reasons": found.reasons,
    }


def _check(workspace: Workspace, latest_ms: int) -> Callable[[str, str | int], int]:
    exempt = "transaction_id" in workspace.settings.exempt

    def check(transaction_id: str, reported_at: str | int) -> int:
        if not exempt and contains_card_number(transaction_id):
            raise CardNumberError("transaction_id")
        reported_ms = event_time_ms(reported_at, "reported_at")
        if reported_ms > latest_ms:
            raise InputError("reported_at", "a time to come", "a time that has passed")
        return reported_ms

    return check

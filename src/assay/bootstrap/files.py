"""Files in, and what a table holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.bootstrap.door import IMPORT_MEMO, make_encoder
from assay.bootstrap.progress import Progress, quiet
from assay.clock import Clock, SystemClock
from assay.datasets.table import TransactionTable
from assay.errors import (
    SettingsError,
)
from assay.ingest.encode import Encoder
from assay.ingest.importer import import_file, read_transactions
from assay.ingest.mapping import Mapping
from assay.ingest.quality import QualityReport
from assay.workspace import Workspace

if TYPE_CHECKING:
    pass


def import_transactions(
    workspace: Workspace,
    file: Path,
    mapping_file: Path,
    dead_letters: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> QualityReport:
    """Bring a file's transactions into the workspace's table."""
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise SettingsError("--since is not before --until; accepted: a range that holds something")
    mapping = Mapping.load(mapping_file)
    return import_file(
        file,
        mapping,
        _import_encoder(workspace, mapping),
        TransactionTable(workspace.tables),
        dead_letters,
        now_ms=(clock or SystemClock()).now_ms(),
        since_ms=since_ms,
        until_ms=until_ms,
        progress=partial(progress, f"import {file.name}"),
    )


def client_bodies(
    workspace: Workspace,
    file: Path,
    mapping_file: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Iterator[tuple[bytes, bool | None]]:
    """Yield a file's transactions as a client would POST them, with their label if known."""
    mapping = Mapping.load(mapping_file)
    encoder = _import_encoder(workspace, mapping)
    return read_transactions(file, mapping, encoder, since_ms=since_ms, until_ms=until_ms)


def imported_ids(workspace: Workspace) -> frozenset[str]:
    """Return the transaction ids that the workspace's table holds."""
    return frozenset(TransactionTable(workspace.tables).read().transaction_ids.to_list())


def _import_encoder(workspace: Workspace, mapping: Mapping) -> Encoder:
    missing = sorted(mapping.exempt - set(workspace.settings.exempt))
    if missing:
        raise SettingsError(
            f"the mapping exempts {missing} and assay.toml does not, so the scorer would refuse "
            f"what the import takes; add to assay.toml: exempt = {sorted(mapping.exempt)}"
        )
    return make_encoder(workspace, memo=IMPORT_MEMO)

"""Data versions: what was imported and streamed, and which model came of what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from assay.bootstrap.bundles import bundle_folders, read_manifest
from assay.bootstrap.features import workspace_features
from assay.datasets.snapshots import read_snapshots
from assay.datasets.stream_view import read_stream
from assay.datasets.table import TransactionTable
from assay.errors import AssayError, DatasetError
from assay.features.definitions import FeatureSet
from assay.ingest.firewall import masked
from assay.scoring.manifest import Manifest
from assay.workspace import Workspace

T = TypeVar("T")

Document = dict[str, Any]


def data_report(workspace: Workspace) -> Document:
    """Return the document of the page *Data versions*, also where parts are missing or damaged.

    Returns
    -------
    dict
        ``error`` (text or None), ``imports`` and ``snapshots`` (newest first), ``stream`` (None
        before there is one), ``feature_sets``, and ``models`` (newest first). A feature set is
        ``current`` if ``features.py`` defines it still, so that its models can go live.
    """
    errors: list[str] = []
    nothing: list[Document] = []
    manifests, models = _models(workspace)
    return {
        "imports": _or(errors, lambda: _imports(workspace), nothing),
        "stream": _or(errors, lambda: _stream(workspace), None),
        "snapshots": _or(errors, lambda: _snapshots(workspace, manifests, errors), nothing),
        "feature_sets": _feature_sets(
            manifests, _or(errors, lambda: workspace_features(workspace), None)
        ),
        "models": models,
        "error": "; ".join(errors) or None,
    }


def find_data(workspace: Workspace, name: str) -> Document:
    """Return one entry of the report: ``stream``, a snapshot or an import.

    Parameters
    ----------
    workspace : Workspace
    name : str
        ``stream``, an import's file, or the beginning of a checksum.

    Raises
    ------
    DatasetError
        If nothing or more than one thing has that name, or what it names is damaged.
    """
    report = data_report(workspace)
    if name == "stream" and report["stream"]:
        return {"kind": "stream", **report["stream"]}
    found: list[Document] = [
        {"kind": kind, **entry}
        for kind, entries, keys in (
            ("snapshot", report["snapshots"], ("snapshot",)),
            ("import", report["imports"], ("file", "sha256", "source_sha256")),
        )
        for entry in entries
        if any(name and str(entry[key]).startswith(name) for key in keys)
    ]
    if len(found) != 1:
        trouble = f" ({report['error']})" if report["error"] else ""
        raise DatasetError(
            f"{len(found) or 'no'} snapshots or imports begin with {masked(name[:64])!r}{trouble}; "
            "accepted: stream, or the start of a checksum that assay dataset list shows"
        )
    return found[0]


def _or(errors: list[str], read: Callable[[], T], instead: T) -> T:
    """Return what is read; if it cannot be, say why and go on."""
    try:
        return read()
    except AssayError as error:
        errors.append(str(error))
    except OSError as error:
        errors.append(f"a file of the tables cannot be read: {error.strerror}")
    return instead


_IMPORT = (
    *("file", "source", "sha256", "source_sha256", "created_ms", "rows", "first_ms", "last_ms"),
    *("fields", "mapping", "fx", "time_zones"),
)


def _imports(workspace: Workspace) -> list[Document]:
    table = TransactionTable(workspace.tables)
    sizes = [path.stat().st_size if path.is_file() else None for path in table.files()]
    entries = [
        {name: entry.get(name) for name in _IMPORT} | {"bytes": size}
        for entry, size in zip(table.imports(), sizes, strict=True)
    ]
    return entries[::-1]


def _stream(workspace: Workspace) -> Document | None:
    view = read_stream(workspace.stream)
    if not view.stream:
        return None
    decided = [part for part in view.parts if part.rows]
    return {
        "stream": view.stream,
        "position": view.position,
        "rows": view.rows,
        "labels": view.label_rows,
        "first_ms": min((part.first_ms for part in decided), default=None),
        "last_ms": max((part.last_ms for part in decided), default=None),
        "updated_ms": view.manifest.updated_ms,
        "parts": [msgspec.to_builtins(part) for part in view.parts],
    }


def _snapshots(
    workspace: Workspace, manifests: list[Manifest], errors: list[str]
) -> list[Document]:
    found, damaged = read_snapshots(workspace.snapshots)
    errors += damaged
    return [
        msgspec.to_builtins(one)
        | {"models": [m.model_id for m in manifests if m.dataset_snapshot == one.snapshot]}
        for one in found
    ]


def _models(workspace: Workspace) -> tuple[list[Manifest], list[Document]]:
    manifests, models = [], []
    for folder in bundle_folders(workspace):
        row: Document = {"model": folder.name, "snapshot": None, "feature_set": None}
        row |= {"created_ms": None, "error": None}
        try:
            manifest = read_manifest(workspace, folder)
        except AssayError as error:
            row["error"] = str(error)
        else:
            manifests.append(manifest)
            row["snapshot"], row["feature_set"] = manifest.dataset_snapshot, manifest.feature_set
            row["created_ms"] = manifest.created_ms
        models.append(row)
    return manifests, models


def _feature_sets(manifests: list[Manifest], defined: FeatureSet | None) -> list[Document]:
    by_digest: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        by_digest.setdefault(manifest.feature_set, []).append(manifest)
    return [
        {
            "digest": digest,
            "features": len(users[0].features),
            "models": [manifest.model_id for manifest in users],
            "current": None if defined is None else _defines(defined, users[0]),
        }
        for digest, users in by_digest.items()
    ]


def _defines(defined: FeatureSet, manifest: Manifest) -> bool:
    wanted = set(manifest.features)
    kept = FeatureSet(tuple(f for f in defined.features if f.name in wanted))
    return kept.digest == manifest.feature_set

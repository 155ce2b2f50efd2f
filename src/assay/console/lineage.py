"""Lays out which model came from which data: three columns and the lines between them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from assay.console.ports import Document

ROW: Final = 64
COLUMN: Final = 330
BOX: Final = (230, 46)
_ROWS_MAX: Final = 12  # the newest; the tables below list all


class Box(NamedTuple):
    """One thing of the picture, at its place."""

    key: str
    x: int
    y: int
    title: str
    detail: str
    kind: str  # source, snapshot, model


class Picture(NamedTuple):
    """Boxes, lines as SVG path data, and the size of it all."""

    boxes: list[Box]
    lines: list[str]
    width: int
    height: int


def draw(document: Document) -> Picture | None:
    """Return the lineage of every snapshot and model; None if there is neither."""
    snapshots = list(document.get("snapshots") or [])[:_ROWS_MAX]
    models = list(document.get("models") or [])[:_ROWS_MAX]
    if not snapshots and not models:
        return None
    columns = [_sources(document), _snapshots(snapshots), _models(models)]
    tallest = max(map(len, columns))
    boxes = {}
    for number, column in enumerate(columns):
        shift = (tallest - len(column)) * ROW // 2
        for row, (key, title, detail, kind) in enumerate(column):
            boxes[key] = Box(key, number * COLUMN, shift + row * ROW, title, detail, kind)
    links = _links(document, snapshots, models)
    lines = [_line(boxes[a], boxes[b]) for a, b in links if a in boxes and b in boxes]
    return Picture(list(boxes.values()), lines, 2 * COLUMN + BOX[0], tallest * ROW)


Row = tuple[str, str, str, str]


def _sources(document: Document) -> list[Row]:
    rows: list[Row] = [
        (
            f"i:{entry.get('sha256')}",
            str(entry.get("source") or entry.get("file")),
            f"{entry.get('rows') or 0:,} rows",
            "source",
        )
        for entry in (document.get("imports") or [])[:_ROWS_MAX]
    ]
    stream = document.get("stream")
    if stream:
        rows.append(("stream", "live stream", f"{stream.get('rows') or 0:,} rows", "source"))
    return rows


def _snapshots(snapshots: list[Any]) -> list[Row]:
    return [
        (
            f"s:{entry.get('snapshot')}",
            str(entry.get("snapshot"))[:16],
            f"{entry.get('rows') or 0:,} rows · {entry.get('frauds') or 0:,} frauds",
            "snapshot",
        )
        for entry in snapshots
    ]


def _models(models: list[Any]) -> list[Row]:
    return [
        (
            f"m:{entry.get('model')}",
            str(entry.get("model")),
            f"features {str(entry.get('feature_set'))[:12]}",
            "model",
        )
        for entry in models
    ]


def _links(document: Document, snapshots: list[Any], models: list[Any]) -> list[tuple[str, str]]:
    every = [str(entry.get("sha256")) for entry in document.get("imports") or []]
    links = []
    for entry in snapshots:
        name, imports = f"s:{entry.get('snapshot')}", entry.get("imports")
        used = [str(item) for item in imports] if isinstance(imports, list) else every
        links += [(f"i:{sha}", name) for sha in every if any(_same(sha, item) for item in used)]
        if entry.get("stream_rows"):
            links.append(("stream", name))
    links += [(f"s:{entry.get('snapshot')}", f"m:{entry.get('model')}") for entry in models]
    return links


def _same(a: str, b: str) -> bool:
    """Return whether two digests, one of them perhaps shortened, are of one thing."""
    return a.startswith(b) or b.startswith(a)


def _line(a: Box, b: Box) -> str:
    x0, y0, x1, y1 = a.x + BOX[0], a.y + BOX[1] // 2, b.x, b.y + BOX[1] // 2
    middle = (x0 + x1) // 2
    return f"M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}"

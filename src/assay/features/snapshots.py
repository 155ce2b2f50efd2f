"""Snapshots of the feature state: written whole or not at all, checked before they are used."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from assay import durable
from assay.clock import Clock
from assay.errors import DamageError, JournalError, StalledError
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.manifest import (
    FORMAT,
    MANIFEST,
    Body,
    Mark,
    Snapshot,
    encode_manifest,
    read_manifest,
)
from assay.features.pieces import state_digest
from assay.features.section_file import Part, section_bytes, section_parts, write_section
from assay.features.sections import section_digests
from assay.features.snapshot_folder import drafts, held, new_draft, remove, remove_free

__all__ = ["Mark", "Snapshot", "Snapshots", "newest_fold"]

SETS_KEPT: Final = 3
"""Most sets of sections that snapshots are kept of: the live one's, the one before, a new one's."""

_SETTINGS: Final = {
    "lateness_ms": "lateness_s",
    "entities_max": "entities_max",
    "events_max": "entity_events_max",
}

log = logging.getLogger("assay.features")


class Snapshots:
    """The snapshots of a workspace's feature state.

    Any number of processes may write, load and prune at the same time: each snapshot is a folder
    of its own, whoever works in it holds its lock, and only a folder without is removed.

    Parameters
    ----------
    folder : Path
        Where they lie; made by the first write.
    clock : Clock
    reserve_bytes : int
        How much free disk a write leaves to others.
    """

    def __init__(self, folder: Path, clock: Clock, *, reserve_bytes: int = 0) -> None:
        self._folder, self._clock, self._reserve_bytes = folder, clock, reserve_bytes
        self._told: set[str] = set()

    def write(self, fold: Fold, mark: Mark) -> Snapshot:
        """Write the state durably; the caller has synced the journal up to the mark.

        Raises
        ------
        StalledError
            If the disk has no room; nothing is left behind.
        JournalError
            If the disk fails.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_room(sum(map(section_bytes, fold.state.entities.values())))
        with new_draft(self._folder) as draft:
            try:
                body = self._write(fold, mark, draft)
                name = f"{mark.position:016x}-{body.created_ms:011x}-{draft.name[-6:]}"
                path = draft.rename(self._folder / name)
                durable.sync_folder(self._folder)
            except OSError as error:
                shutil.rmtree(draft, ignore_errors=True)
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise (StalledError if full else JournalError)(
                    f"cannot write a snapshot of the feature state: {error.strerror}"
                ) from None
        return Snapshot(path, body)

    def _write(self, fold: Fold, mark: Mark, folder: Path) -> Body:
        state, bounds = fold.state, fold.bounds
        digests = section_digests(fold.feature_set, **bounds)
        sections = {
            name: write_section(_file(folder, name), entity, digests[name])
            for name, entity in state.entities.items()
        }
        shard_time_ms, *refused = state.scalars.tolist()
        body = Body(
            format=FORMAT,
            mark=mark,
            feature_set=fold.feature_set.digest,
            bounds=bounds,
            sections=sections,
            scalars=(shard_time_ms, refused[0], refused[1]),
            state=state_digest(state, {name: list(s.sums) for name, s in sections.items()}),
            created_ms=self._clock.now_ms(),
        )
        durable.write_new(folder / MANIFEST, encode_manifest(body))
        durable.sync_folder(folder)
        return body

    def _check_room(self, need: int) -> None:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free < need + self._reserve_bytes:
            raise StalledError(
                f"a snapshot of the feature state needs {need >> 20} MB beside the reserve, "
                f"{free >> 20} MB are free; accepted: more room, the journal goes on without"
            )

    def usable(
        self,
        feature_set: FeatureSet,
        *,
        lateness_ms: int,
        entities_max: int,
        events_max: int,
        stream: str,
    ) -> Iterator[Snapshot]:
        """Yield the snapshots of a stream that hold these sections, newest first.

        Only manifests are read; one that is damaged, not readable or of a newer format is logged
        and left out, as is one whose sections were made with other settings or other features.
        """
        bounds = _bounds(lateness_ms, entities_max, events_max)
        want = section_digests(feature_set, **bounds)
        for snapshot in self._all():
            if snapshot.mark.stream != stream:
                continue
            if reasons := _misfits(want, snapshot, bounds):
                why = f"snapshot {snapshot.path.name} does not fit: {', '.join(reasons)}"
                self._tell(logging.INFO, why)
                continue
            yield snapshot

    def load(
        self,
        snapshot: Snapshot,
        feature_set: FeatureSet,
        *,
        lateness_ms: int,
        entities_max: int,
        events_max: int,
    ) -> Fold:
        """Return the state of a snapshot; its files may be removed as soon as this returns.

        Raises
        ------
        DamageError
            If a file is missing, cut, changed or not readable.
        """
        fold = Fold(feature_set, **_bounds(lateness_ms, entities_max, events_max))
        try:
            with held(snapshot.path), ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(Part.read, _parts(fold, snapshot)))
                list(pool.map(fold.reindex, fold.state.entities))
        except FileNotFoundError:
            raise DamageError(snapshot.path.name, 0, "it is gone") from None
        except OSError as error:
            raise DamageError(snapshot.path.name, 0, str(error.strerror)) from None
        fold.state.scalars[:] = snapshot.body.scalars
        return fold

    def drop_ahead(self, stream: str, end_position: int) -> None:
        """Delete a stream's snapshots beyond the journal's end: their events were never durable.

        Only for the one who holds the journal's lock: to others its end may look too near.
        """
        for snapshot in self._all():
            if snapshot.mark.stream == stream and snapshot.mark.position > end_position:
                log.warning("snapshot %s is ahead of the journal: deleted", snapshot.path.name)
                remove(snapshot.path)

    def prune(self, keep: int = 2) -> list[Path]:
        """Delete all but the newest of each stream and set of sections, and what is of no use.

        Of no use is what a crash left and what has a damaged manifest; what cannot be read stays,
        and so does what a newer version of Assay wrote.

        Returns
        -------
        list of Path
            What was deleted. A snapshot that is being loaded stays until the next time.
        """
        groups: dict[tuple[str, ...], list[Snapshot]] = {}
        found, spare = self._read()
        for snapshot in found:
            key = (snapshot.mark.stream, *sorted(snapshot.digests.values()))
            groups.setdefault(key, []).append(snapshot)
        newest = sorted(
            groups.values(), key=lambda group: max(s.body.created_ms for s in group), reverse=True
        )
        kept = [snapshot for group in newest[:SETS_KEPT] for snapshot in group[:keep]]
        spare += [s.path for group in newest for s in group if s not in kept]
        return [path for path in spare + drafts(self._folder) if remove_free(path)]

    def _all(self) -> list[Snapshot]:
        """Return what can be read, the furthest in its stream first; the newest of equals."""
        return self._read()[0]

    def _read(self) -> tuple[list[Snapshot], list[Path]]:
        """Return what can be read, and what is damaged."""
        found, damaged = [], []
        for path in self._folder.glob("[0-9a-f]*-*"):
            try:
                found.append(read_manifest(path))
            except DamageError as error:
                if path.exists():  # else it was removed between two looks
                    damaged.append(path)
                    self._tell(logging.WARNING, f"a snapshot is of no use: {error}")
            except JournalError as error:
                self._tell(logging.WARNING, f"a snapshot is of no use: {error}")
        found.sort(key=lambda s: (s.mark.position, s.body.created_ms), reverse=True)
        return found, damaged

    def _tell(self, level: int, message: str) -> None:
        """Log a message once: the same folder is looked at every few seconds."""
        if message not in self._told:
            self._told.add(message)
            log.log(level, message)


def newest_fold(
    snapshots: Snapshots,
    feature_set: FeatureSet,
    *,
    lateness_ms: int,
    entities_max: int,
    events_max: int,
    stream: str,
    fits: Callable[[Mark], bool],
) -> tuple[Fold, Mark] | None:
    """Return the newest sound state whose mark fits, or None if there is none.

    A damaged snapshot is logged with its file, and the one before it is taken.
    """
    bounds = _bounds(lateness_ms, entities_max, events_max)
    tried: set[Path] = set()
    while True:
        # Looked up anew each time: while one was tried, others may have been written or removed.
        found = snapshots.usable(feature_set, **bounds, stream=stream)
        fitting = (s for s in found if s.path not in tried and fits(s.mark))
        snapshot = next(fitting, None)
        if snapshot is None:
            return None
        tried.add(snapshot.path)
        try:
            return snapshots.load(snapshot, feature_set, **bounds), snapshot.mark
        except DamageError as error:
            log.warning("a snapshot is of no use, an older one is looked for: %s", error)


def _parts(fold: Fold, snapshot: Snapshot) -> Iterator[Part]:
    for name, entity in fold.state.entities.items():
        yield from section_parts(_file(snapshot.path, name), entity, snapshot.body.sections[name])


def _misfits(want: dict[str, str], snapshot: Snapshot, bounds: dict[str, int]) -> list[str]:
    """Return why a snapshot cannot be loaded: settings that are others now, else its sections."""
    have, then = snapshot.digests, snapshot.body.bounds
    if all(have.get(name) == digest for name, digest in want.items()):
        return []
    changed = [f"{_SETTINGS[name]} is another" for name in bounds if bounds[name] != then.get(name)]
    return changed or [f"no section for {n} as it is now" for n in want if have.get(n) != want[n]]


def _bounds(lateness_ms: int, entities_max: int, events_max: int) -> dict[str, int]:
    return {"lateness_ms": lateness_ms, "entities_max": entities_max, "events_max": events_max}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.section"

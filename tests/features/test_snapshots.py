from __future__ import annotations

import itertools
import logging
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.clock import VirtualClock
from assay.errors import DamageError, StalledError
from assay.features.default_set import PAYMENT, default_features
from assay.features.definitions import Count, FeatureSet, Input, Ratio, ZScore
from assay.features.fold import Fold
from assay.features.manifest import encode_manifest, read_manifest
from assay.features.snapshot_folder import held
from assay.features.snapshots import Mark, Snapshot, Snapshots, newest_fold

sys.path.insert(0, str(Path(__file__).parent))
from streams import stream

HOUR_MS = 3_600_000
SET = default_features()
BOUNDS = {"lateness_ms": HOUR_MS, "entities_max": 1024, "events_max": 65_536}
STREAM = "0123456789abcdef"


def mark(position: int, name: str = STREAM) -> Mark:
    return Mark(name, position, position + 1, 1_700_000_000_000, position, "base")


def folded(events: np.ndarray, feature_set: FeatureSet = SET) -> Fold:
    fold = Fold(feature_set, **BOUNDS)
    fold(events)
    return fold


def make(folder: Path, **options: int) -> Snapshots:
    return Snapshots(folder, VirtualClock(1_700_000_000_000), **options)


def newest(
    snapshots: Snapshots, end_position: int = 1 << 60, feature_set: FeatureSet = SET, **other: int
) -> tuple[Fold, Mark] | None:
    bounds = BOUNDS | other
    return newest_fold(
        snapshots,
        feature_set,
        **bounds,
        stream=STREAM,
        fits=lambda mark: mark.position <= end_position,
    )


def usable(
    snapshots: Snapshots, feature_set: FeatureSet = SET, name: str = STREAM
) -> list[Snapshot]:
    return list(snapshots.usable(feature_set, **BOUNDS, stream=name))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with snapshots of the same stream at 200 and 300 of 400 events: never changed."""
    folder = tmp_path_factory.mktemp("two")
    events = stream(3, 400, HOUR_MS)
    fold = folded(events[:200])
    make(folder).write(fold, mark(200))
    fold(events[200:300])
    make(folder).write(fold, mark(300))
    return folder


def copied(two: Path, tmp_path: Path) -> tuple[Snapshots, Path, Path]:
    """A copy of `two`, and its snapshots' folders, the older one first."""
    folder = tmp_path / "state"
    shutil.copytree(two, folder)
    older, newer = sorted(folder.iterdir())
    return make(folder), older, newer


# --- the state after a load is the state that was written -----------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    at=st.integers(0, 300),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    lateness_ms=st.sampled_from([0, HOUR_MS, 48 * HOUR_MS]),
    crowd=st.booleans(),
)
def test_going_on_from_a_snapshot_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    at: int,
    cuts: list[int],
    lateness_ms: int,
    crowd: bool,
) -> None:
    """Wherever a fold is saved and loaded, features, state hash and every check stay the same."""
    events = stream(seed, 300, lateness_ms)
    if crowd:  # all in one shard, beyond its bound
        events["card"] = np.arange(1, 301, dtype=np.uint64) << np.uint64(40)
    bounds = BOUNDS | {"lateness_ms": lateness_ms}
    whole, saved = Fold(SET, **bounds), Fold(SET, **bounds)
    want = whole(events)
    saved(events[:at])
    snapshots = make(tmp_path_factory.mktemp("state"))
    written = snapshots.write(saved, mark(at))
    fold, found = newest(snapshots, **bounds) or pytest.fail("no snapshot")
    assert (found, fold.digest()) == (mark(at), saved.digest())
    assert written.body.state == fold.digest()
    edges = [at, *sorted(cut for cut in cuts if cut > at), 300]
    parts = [fold(events[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), want[at:])
    assert fold.digest() == whole.digest()
    assert fold.refused == whole.refused
    assert (fold.refused[0] > 0) == crowd
    assert [fold.check(i) for i in range(256)] == [whole.check(i) for i in range(256)]


def test_the_index_is_made_again_as_it_was(tmp_path: Path) -> None:
    """The key index, which is in no file, has the same words in the same places."""
    fold = folded(stream(2, 500, HOUR_MS))
    make(tmp_path).write(fold, mark(1))
    loaded, _ = newest(make(tmp_path)) or pytest.fail("no snapshot")
    for name, entity in fold.state.entities.items():
        np.testing.assert_array_equal(entity.index, loaded.state.entities[name].index)


def test_a_loaded_state_leaves_its_files_alone(two: Path, tmp_path: Path) -> None:
    """Folding on changes no byte of a snapshot, and goes on when the snapshot is gone."""
    snapshots, _, newer = copied(two, tmp_path)
    before = {path.name: path.read_bytes() for path in newer.iterdir()}
    fold, _ = newest(snapshots) or pytest.fail("no snapshot")
    events = stream(3, 400, HOUR_MS)
    fold(events[300:350])
    assert {path.name: path.read_bytes() for path in newer.iterdir()} == before
    shutil.rmtree(newer)
    fold(events[350:])
    assert fold.digest() == folded(events).digest()


# --- damage ---------------------------------------------------------------------------------------


def damages(folder: Path) -> Iterator[tuple[str, Path, bytes | None]]:
    """What may happen to a snapshot's files: (name, file, content after; None is missing)."""
    rng = np.random.default_rng(11)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        yield f"{path.name} missing", path, None
        for size in (0, len(content) // 2, len(content) - 1):
            yield f"{path.name} cut to {size}", path, content[:size]
        yield f"{path.name} longer", path, content + b"\0"
        if path.suffix == ".section":
            places = [*range(0, 64, 8), *rng.integers(0, len(content), 12).tolist()]
            for at in places:
                yield f"{path.name} bit at {at}", path, flipped(content, at, 1 << at % 8)


def flipped(content: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= bit
    return bytes(changed)


def test_every_damage_is_named_and_the_older_state_goes_on(
    two: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing, cut or changed file is told by its name; fallback and replay give the same hash.

    Row 39 of the fault matrix, the state's part.
    """
    snapshots, older, newer = copied(two, tmp_path)
    events = stream(3, 400, HOUR_MS)
    want, tried = folded(events).digest(), 0
    for what, path, content in list(damages(newer)):
        sound = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        caplog.clear()
        found = newest(make(snapshots._folder))
        assert found is not None, what
        assert found[1].position == 200, what
        assert f"{newer.name}/{path.name}: damaged at offset" in caplog.text, what
        if tried % 40 == 0:
            found[0](events[200:])
            assert found[0].digest() == want, what
        path.write_bytes(sound)
        tried += 1
    assert tried > 90
    shutil.rmtree(older)
    (newer / "card.section").unlink()
    assert newest(snapshots) is None


def test_every_byte_of_a_manifest_counts(two: Path, tmp_path: Path) -> None:
    """A change of any byte of a manifest is damage, and makes its snapshot unusable."""
    snapshots, older, newer = copied(two, tmp_path)
    path = newer / "manifest.json"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(flipped(content, at, 1 << at % 8))
        with pytest.raises(DamageError, match=r"manifest\.json: damaged"):
            read_manifest(newer)
    assert [s.path for s in usable(snapshots)] == [older]


@pytest.mark.parametrize("name", ["manifest.json", "card.section"])
@pytest.mark.parametrize("how", ["folder", "loop"])
def test_what_cannot_be_read_is_passed_over_and_kept(
    two: Path, tmp_path: Path, name: str, how: str
) -> None:
    """A file that the disk does not give leads to the older snapshot; its folder is not deleted."""
    snapshots, _, newer = copied(two, tmp_path)
    (newer / name).rename(newer / "aside")
    if how == "folder":
        (newer / name).mkdir()
    else:
        (newer / name).symlink_to(name)
    found = newest(snapshots)
    assert found is not None
    assert found[1].position == 200
    assert snapshots.prune() == []
    (newer / name).rmdir() if how == "folder" else (newer / name).unlink()
    (newer / "aside").rename(newer / name)
    found = newest(snapshots)
    assert found is not None
    assert found[1].position == 300


def test_a_newer_format_is_refused_by_its_name(
    two: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a newer Assay wrote is not taken for damage, is not loaded, and is not deleted."""
    snapshots, older, newer = copied(two, tmp_path)
    (found,) = (s for s in usable(snapshots) if s.path == newer)
    body = encode_manifest(type(found.body)(**{**_fields(found.body), "format": 2}))
    (newer / "manifest.json").write_bytes(body)
    assert [s.path for s in usable(snapshots)] == [older]
    assert "has format 2; accepted: 1, or a newer Assay" in caplog.text
    snapshots.prune()
    assert newer.exists()


def _fields(body: object) -> dict[str, object]:
    return {name: getattr(body, name) for name in body.__struct_fields__}  # type: ignore[attr-defined]


def test_impossible_counts_are_damage(two: Path, tmp_path: Path) -> None:
    """A manifest whose counts lie beyond the bounds is refused before anything is read."""
    snapshots, _, _ = copied(two, tmp_path)
    found = usable(snapshots)[0]
    card = found.body.sections["card"]
    pool = ((73, 0, 0), *card.pool[1:])
    changed = type(card)(card.digest, pool, card.sums, card.bytes)
    fields = _fields(found.body) | {"sections": found.body.sections | {"card": changed}}
    with pytest.raises(DamageError, match="beyond its bounds"):
        snapshots.load(replace(found, body=type(found.body)(**fields)), SET, **BOUNDS)


# --- which snapshot fits --------------------------------------------------------------------------


PLAIN = FeatureSet(
    tuple(
        replace(f, description="In other words.")
        for f in SET.features
        if not isinstance(f, Ratio | ZScore | Input)
    )
)


def test_wording_derived_and_row_features_keep_all_sections(two: Path) -> None:
    """A set that differs in wording, derived or row features only takes the same snapshot."""
    assert PLAIN.digest != SET.digest
    assert len(usable(make(two), PLAIN)) == 2
    events = stream(3, 400, HOUR_MS)
    fold, _ = newest(make(two), feature_set=PLAIN) or pytest.fail("no snapshot")
    np.testing.assert_array_equal(fold(events[300:]), Fold(PLAIN, **BOUNDS)(events)[300:])


def test_a_set_with_fewer_entities_takes_what_it_needs(two: Path) -> None:
    """A feature set that keeps no customers loads the sections of the others."""
    fewer = FeatureSet(tuple(f for f in PLAIN.features if not f.name.startswith("customer")))
    events = stream(3, 400, HOUR_MS)
    fold, _ = newest(make(two), feature_set=fewer) or pytest.fail("no snapshot")
    assert list(fold.state.entities) == ["card", "merchant", "device"]
    np.testing.assert_array_equal(fold(events[300:]), Fold(fewer, **BOUNDS)(events)[300:])


def test_another_plan_or_setting_is_said_and_no_error(
    two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An entity's new window, or another bound, makes the snapshots unfit, with a line each."""
    caplog.set_level(logging.INFO)
    fresh = Count(
        name="fresh", entity="merchant", window_ms=300_000, where=PAYMENT, description="New."
    )
    assert newest(make(two), feature_set=FeatureSet((*SET.features, fresh))) is None
    assert "does not fit: no section for merchant as it is now" in caplog.text
    assert "card" not in caplog.text
    for name, setting in [
        ("lateness_ms", "lateness_s"),
        ("entities_max", "entities_max"),
        ("events_max", "entity_events_max"),
    ]:
        caplog.clear()
        assert newest(make(two), **{name: BOUNDS[name] * 2}) is None
        assert f"does not fit: {setting} is another" in caplog.text


def test_only_what_the_journal_holds_counts(two: Path, tmp_path: Path) -> None:
    """A snapshot beyond the journal's end or of another stream is not loaded."""
    snapshots, older, newer = copied(two, tmp_path)
    assert usable(snapshots, name="another") == []
    for end, position in [(300, 300), (299, 200), (200, 200)]:
        found = newest(snapshots, end)
        assert found is not None
        assert found[1].position == position
    assert newest(snapshots, 199) is None
    snapshots.drop_ahead("another", 0)
    snapshots.drop_ahead(STREAM, 299)
    assert (older.exists(), newer.exists()) == (True, False)


# --- writing and pruning --------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """Without room for a snapshot and the reserve nothing is written; it may be tried again."""
    snapshots = make(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(StalledError, match="needs"):
        snapshots.write(folded(stream(1, 50, HOUR_MS)), mark(1))
    assert list(tmp_path.iterdir()) == []


def test_prune_keeps_the_newest_two_of_each_set(tmp_path: Path) -> None:
    """Two sets of sections keep two snapshots each; a fourth set pushes the oldest out."""
    clock = VirtualClock(1)
    snapshots = Snapshots(tmp_path, clock)
    fold = folded(stream(1, 50, HOUR_MS))
    others = [Fold(SET, **(BOUNDS | {"entities_max": 1024 + 64 * i})) for i in range(1, 4)]
    for position in range(1, 5):
        clock.advance(10)
        snapshots.write(fold, mark(position))
    snapshots.write(others[0], mark(1))
    assert sorted(p.name[:16] for p in snapshots.prune()) == [f"{1:016x}", f"{2:016x}"]
    assert [s.mark.position for s in usable(snapshots)] == [4, 3]
    for other in others[1:]:
        clock.advance(10)
        snapshots.write(other, mark(9))
    snapshots.write(others[0], mark(9))
    snapshots.prune()
    assert usable(snapshots) == []
    assert len(list(tmp_path.iterdir())) == 4


def test_prune_clears_up_after_crashes_only(two: Path, tmp_path: Path) -> None:
    """What a crash left goes; what another is writing or loading stays until it is done."""
    snapshots, older, newer = copied(two, tmp_path)
    left, writing = newer.parent / ".draft-1", newer.parent / ".draft-2"
    for folder in (left, writing):
        folder.mkdir()
        (folder / "card.section").write_bytes(b"half")
    with held(writing), held(older):
        assert snapshots.prune(1) == [left]
    assert sorted(snapshots.prune(1)) == sorted([older, writing])
    (newer / "manifest.json").unlink()
    assert snapshots.prune() == [newer]


def test_writers_loaders_and_pruners_do_not_hurt_each_other(tmp_path: Path) -> None:
    """Beside writers that prune, every load finds a whole state: the worker beside a backfill."""
    events = stream(5, 200, HOUR_MS)
    states = {position: folded(events[:position]) for position in (50, 100, 150, 200)}
    digests = {position: fold.digest() for position, fold in states.items()}
    make(tmp_path).write(states[50], mark(50))
    failed: list[object] = []

    def write(positions: tuple[int, ...]) -> None:
        for position in positions * 3:
            try:
                make(tmp_path).write(states[position], mark(position))
                make(tmp_path).prune()
            except Exception as error:  # noqa: BLE001 — told by the assertion below
                failed.append(error)

    writers = [threading.Thread(target=write, args=(p,)) for p in ((50, 100), (150, 200))]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        found = newest(make(tmp_path))
        if found is None or found[0].digest() != digests[found[1].position]:
            failed.append(found)
    assert failed == []
    assert not list(tmp_path.glob(".draft-*"))

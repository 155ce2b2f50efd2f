"""Compiles a plan's kernel once, in a child process, and loads it from the cache after that.

Numba takes seconds for a new feature set; in the serving process that would stall every other
thread, so a child does it and leaves machine code in a file named by the source's digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from assay.errors import FeatureError
from assay.features.plan import Plan
from assay.features.source import write_source


class Kernel(NamedTuple):
    """The compiled functions of a plan; `source` says what they take."""

    run: Callable[..., None]
    reindex: Callable[..., None]


def cache_folder() -> Path:
    """Return where kernels are kept: ``$ASSAY_CACHE``, else ``$XDG_CACHE_HOME/assay``."""
    if folder := os.environ.get("ASSAY_CACHE"):
        return Path(folder) / "kernels"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "assay" / "kernels"


def load_kernel(plan: Plan) -> Kernel:
    """Return the compiled kernel of a plan, compiling it first if no one has.

    Raises
    ------
    FeatureError
        If the kernel cannot be compiled, or others may write where it is kept.
    """
    source = write_source(plan)
    path = cache_folder() / f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:32]}.py"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_ours(path.parent)
    with _locked(path.with_suffix(".lock")):
        # A foreign or torn file under this name must never run.
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            _write(path, source)
        if not any(path.parent.glob(f"__pycache__/{path.stem}.run-*.nbc")):
            _compile_in_child(path, plan)
    module = _import(path)
    return Kernel(module.run, module.reindex)


def _check_ours(folder: Path) -> None:
    """Refuse a folder that others may write: Numba runs the machine code it finds there."""
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise FeatureError(
            f"{folder} may be written by others; accepted: a folder that only its user writes "
            "(chmod go-w), or another one in ASSAY_CACHE"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(path: Path, source: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(source, encoding="utf-8")
    temporary.replace(path)


@cache
def _import(path: Path) -> ModuleType:
    """Load a kernel's machine code, once a process: the file's name is the digest of its text."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Numba's cache looks the module up by its name
    spec.loader.exec_module(module)
    return module


def _compile_in_child(path: Path, plan: Plan) -> None:
    """Import the file elsewhere: its explicit signature compiles and caches it on import.

    Under its own name: the symbols of its machine code begin with it, and those of two kernels in
    one process must differ.
    """
    program = "import sys; sys.path.insert(0, sys.argv[1]); __import__(sys.argv[2])"
    done = subprocess.run(  # noqa: S603 — our own interpreter on our own generated file
        [sys.executable, "-c", program, str(path.parent), path.stem],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise FeatureError(
            f"kernel of feature set {plan.feature_set.digest[:12]} does not compile: {reason[0]}"
        )

"""Who may import whom: stages meet in records.py, and heavy libraries wait until asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "assay"

SHARED = {"records", "errors", "settings", "clock", "durable", "owner", "control", "listener"}
"""Modules that every stage may import."""

ALLOWED = {
    "records": set(),
    "errors": set(),
    "clock": set(),
    "durable": set(),
    "owner": {"errors", "durable"},
    "control": {"errors", "clock"},
    "listener": {"errors"},
    "settings": {"errors"},
    "training": {"features"},
    "workspace": {"errors", "settings"},
    "simulation": {"bootstrap", "workspace"},
}
"""Edges beside those to `SHARED`; a part that is not listed has none."""

FREE = {"bootstrap", "cli", "__init__", "__main__"}
"""Parts that introduce the others, and so may import any."""

HEAVY = {"xgboost", "sklearn", "onnx", "aiohttp", "litestar", "jinja2"}
"""Libraries of the extras: the scorer must start without them.

SciPy is not among them: Numba loads it by itself where it is installed.
"""

HEAVY_HOMES = {"training", "simulation", "console"}
"""Parts that exist for an extra and may import its libraries at module level."""


def part_of(path: Path) -> str:
    """Return the top-level module or package of assay that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.AST, path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that is imported anywhere below a node."""
    package = ("assay", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield module
            if module == "assay":
                yield from (f"assay.{alias.name}" for alias in node.names)


def edges() -> dict[str, set[str]]:
    """Return which parts each part imports, function-level imports included."""
    out: dict[str, set[str]] = {part_of(path): set() for path in sources()}
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in imported(tree, path):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top == "assay" and target in out:
                out[part_of(path)].add(target)
    return {part: targets - {part} for part, targets in out.items()}


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return one cycle as a list of parts, or an empty list."""
    done: set[str] = set()

    def visit(part: str, trail: list[str]) -> list[str]:
        if part in trail:
            return [*trail[trail.index(part) :], part]
        if part in done:
            return []
        for target in sorted(graph[part]):
            if cycle := visit(target, [*trail, part]):
                return cycle
        done.add(part)
        return []

    return next((cycle for part in sorted(graph) if (cycle := visit(part, []))), [])


def module_level(tree: ast.Module) -> ast.Module:
    """Return what runs on import: everything outside functions."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, _node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, _node: ast.AsyncFunctionDef) -> None:
            return None

    stripped = Strip().visit(tree)
    assert isinstance(stripped, ast.Module)
    return stripped


def test_no_cycle() -> None:
    """No part of assay imports itself by way of others."""
    assert find_cycle(edges()) == []


def test_no_undeclared_edge() -> None:
    """A stage imports the shared modules and what the table above declares, nothing else."""
    undeclared = {
        f"{part} → {target}"
        for part, targets in edges().items()
        if part not in FREE
        for target in targets - ALLOWED.get(part, set()) - (SHARED if part not in SHARED else set())
    }
    assert undeclared == set()


def test_heavy_libraries_wait() -> None:
    """Outside the parts that exist for an extra, its libraries are imported in functions only."""
    early = {
        f"{path.relative_to(ROOT)} → {name}"
        for path in sources()
        if part_of(path) not in HEAVY_HOMES
        for name in imported(module_level(ast.parse(path.read_text(encoding="utf-8"))), path)
        if name.partition(".")[0] in HEAVY
    }
    assert early == set()


@pytest.mark.parametrize("module", ["assay.cli.app", "assay.serving", "assay.bootstrap"])
def test_the_base_install_starts(module: str) -> None:
    """Importing what the scorer starts from loads no library of the extras."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    if not (path.with_suffix(".py").exists() or path.is_dir()):
        pytest.skip(f"{module} is not there")
    script = (
        f"import sys, importlib, pkgutil; m = importlib.import_module({module!r});"
        "[importlib.import_module(i.name)"
        " for i in pkgutil.walk_packages(getattr(m, '__path__', []), m.__name__ + '.')];"
        f"print(sorted({HEAVY!r} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_the_search_for_cycles(graph: dict[str, set[str]], cycle: list[str]) -> None:
    """The search finds a cycle where there is one, and none where there is none."""
    assert find_cycle(graph) == cycle


def test_the_walk_sees_every_form() -> None:
    """Plain, from, relative and function-level imports are all seen."""
    text = (
        "import assay.journal.frame\n"
        "def f():\n    from assay import features\n"
        "from ..scoring import bundle\n"
        "from . import near\n"
    )
    path = SOURCE / "training" / "fit.py"
    assert set(imported(ast.parse(text), path)) == {
        "assay.journal.frame",
        "assay",
        "assay.features",
        "assay.scoring",
        "assay.training",
    }
    assert set(imported(module_level(ast.parse(text)), path)).isdisjoint({"assay.features"})

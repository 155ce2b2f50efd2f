"""What every test must have."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def test_every_test_says_what_must_hold() -> None:
    """Every test has a docstring of one sentence that ends in a full stop."""
    silent = {
        f"{path.relative_to(TESTS)}::{function.name}"
        for path in TESTS.rglob("test_*.py")
        for function in functions(path)
        if function.name.startswith("test_")
        and not (ast.get_docstring(function) or "").partition("\n\n")[0].endswith(".")
    }
    assert silent == set()


def test_tests_are_found() -> None:
    """Every file that holds tests has a name that pytest collects."""
    lost = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if not path.name.startswith("test_")
        for function in functions(path)
        if function.name.startswith("test_")
    }
    assert lost == set()

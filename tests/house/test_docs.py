"""The documents keep up with the code, and the code stays small."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from assay.decisions.fields import fields_with
from assay.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "assay"
DOCS = ROOT / "docs"

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]


def test_every_setting_is_documented() -> None:
    """docs/settings.md has one row for each setting, with its default and its help."""
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", _read("docs/settings.md"))
    want = [
        (f.name, f"`{_shown(f.default)}`", f.metadata["unit"], f.metadata["help"])
        for f in fields(Settings)
    ]
    assert rows == want


def _shown(default: object) -> str:
    return "[]" if default == () else str(default)


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_stage_has_a_page() -> None:
    """Each package of assay is explained in docs/ under its own name."""
    stages = {path.parent.name for path in SOURCE.glob("*/__init__.py")} - {"bootstrap"}
    assert {stage for stage in stages if not (DOCS / f"{stage}.md").exists()} == set()


def test_every_dependency_has_its_reason() -> None:
    """ARCHITECTURE.md names each library that pyproject.toml asks for, and no other."""
    project = tomllib.loads(_read("pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = {re.split(r"[\[>=<~! ]", line)[0] for group in groups for line in group} - {"assay"}
    table = _read("ARCHITECTURE.md").partition("## Dependencies")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.*?`) \|", table)
    assert set(re.findall(r"`(.*?)`", " ".join(rows))) == asked


def test_every_rule_field_is_documented() -> None:
    """docs/decisions.md lists each transaction field that a condition may name, and no other."""
    table = _read("docs/decisions.md").partition("| name | kind |")[2].partition("\n\n")[0]
    named = re.findall(r"(?m)^\| (`.*?`) \|", table)
    assert set(re.findall(r"`(.*?)`", " ".join(named))) == set(fields_with({"EUR": 978}))


@pytest.mark.parametrize("page", PAGES + sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the project."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's length without its docstring: explaining more is never punished."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_functions_fit_on_a_screen() -> None:
    """No function is longer than the line that none may cross."""
    long = {
        f"{path.relative_to(ROOT)}::{node.name} {body_lines(node)}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and body_lines(node) > FUNCTION_LINES_MAX
    }
    assert long == set()


def test_modules_stay_small() -> None:
    """No module, and no test file, is longer than the line that none may cross."""
    long = {
        f"{path.relative_to(ROOT)} {lines}"
        for folder in (SOURCE, ROOT / "tests")
        for path in folder.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES_MAX
    }
    assert long == set()


def test_every_fault_names_a_test_that_exists() -> None:
    """Each row of the fault matrix in docs/reliability.md names tests, and each of them exists."""
    rows = re.findall(r"(?m)^\| (\d+) \| (.*) \|$", _read("docs/reliability.md"))
    assert [int(number) for number, _ in rows] == [*range(1, 13), 36, 38, 39]
    for number, row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, f"row {number} names no test"
        for path, test in named:
            assert f"def {test}(" in _read(path), f"row {number}: {path} has no {test}"

"""Leaks: every way is refused by the rule that stands against it, and the matrix in docs/leaks.md has it.

What is refused at the run's start is set here all at once, since the start names every fault that it finds.
What it takes a build to see is set alone by `make prove`; test_artefacts.py builds one of them.
"""

import re
from pathlib import Path

import pytest
from conftest import ROOT, Project
from leaks import DETECTORS, LEAKS, PACKS, examine_pack, names_the_rule


@pytest.mark.parametrize("start", PACKS)
def test_refused_at_the_runs_start(sample: Project, tmp_path: Path, start: str) -> None:
    """Each leak of a pack is named, and nothing that is published changes."""
    findings = examine_pack(start, sample, tmp_path / "project")
    assert [name for name, found in findings.items() if not names_the_rule(LEAKS[name], found)] == []
    assert all(found["second parser"] for name, found in findings.items() if LEAKS[name].sql)


def matrix() -> dict[str, list[str]]:
    """The rows of docs/leaks.md, by leak."""
    text = (ROOT / "docs" / "leaks.md").read_text()
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", text, re.M)
    return {name: cells.split(" | ") for name, cells in rows if name != "leak"}


def test_matrix_is_of_these_leaks() -> None:
    """Each row of docs/leaks.md has the rule that must be named, and some detector that saw the leak."""
    rows = matrix()
    assert len(rows) > 40
    for name, cells in rows.items():
        assert cells[-1] == f"`{LEAKS[name].rule}`"
        assert any(cell.strip() for cell in cells[: len(DETECTORS)]), name


@pytest.mark.prove
def test_matrix_has_every_leak() -> None:
    """No leak is left out (make prove writes docs/leaks.md anew)."""
    assert list(matrix()) == list(LEAKS)

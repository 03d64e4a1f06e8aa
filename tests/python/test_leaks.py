"""Leaks: every way is refused by the rule that stands against it, and the matrix in docs/leaks.md has it.

What is refused at the run's start is set here all at once, since the start names every fault that it finds.
What it takes a build to see is set alone by `make prove`; test_artefacts.py builds two of those together.
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


def test_matrix_has_every_leak() -> None:
    """docs/leaks.md is of these leaks, and some detector saw each (make prove writes it anew)."""
    rows = dict(re.findall(r"^\| (.*?) \| (.*) \|$", (ROOT / "docs" / "leaks.md").read_text(), re.M))
    for name, leak in LEAKS.items():
        cells = rows[name].split(" | ")
        assert cells[-1] == f"`{leak.rule}`"
        assert any(cell.strip() for cell in cells[: len(DETECTORS)]), name

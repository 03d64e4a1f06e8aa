"""Leaks: every way is refused by the rule that stands against it, and the matrix in docs/leaks.md has it.

What is refused at the run's start is set here all at once, since the start names every fault that it finds.
What it takes a build to see is set alone by `make prove`; test_artefacts.py builds two of those together.
"""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Project
from leaks import DETECTORS, LEAKS, Scene

PACKS = {
    "the gate can be passed by:": (
        "A hard-coded relation name",
        "An incremental model keeps a withdrawn member",
        "A hash model minted from staging",
        "A post-hook inserts rows",
        "A source declared on the identity schema stands in for a ref",
        "A mart reads a file (read_csv, a quoted path)",
        "A mart names its relation by query_table",
        "A mart runs run_query over identity while it is compiled",
        "A snapshot of staging keeps every contact ever held",
        "An on-run-end hook copies identity to the published schema",
        "A staging model is materialized in the published schema by its config",
        "A grant opens the identity schema to the readers of BI",
        "An ephemeral model carries staging across the border",
    ),
    "the guards are not those of": (
        "A test switched off",
        "A project macro shadows dbt's ref",
        "A project macro shadows get_where_subquery and empties every generic test",
        "store_failures writes contacts' values to a table of their own",
        "A test of severity warn, by a line in dbt_project.yml",
        "A where, limit, error_if or fail_calc loosens a test",
    ),
    "nothing may be published:": (
        "A test left out by selection",
        "A retired model's table left readable",
    ),
}


@pytest.mark.parametrize("start", PACKS)
def test_refused_at_the_runs_start(sample: Project, tmp_path: Path, start: str) -> None:
    """Each leak of a pack is named, and nothing that is published changes."""
    scene = Scene(Path(shutil.copytree(sample.path, tmp_path / "project")))
    for name in PACKS[start]:
        scene.leak(LEAKS[name])
    before = scene.published()
    run = scene.build(*(argument for name in PACKS[start] for argument in LEAKS[name].arguments))
    assert not run.success and start in run.output
    assert [name for name in PACKS[start] if LEAKS[name].rule not in run.output] == []
    assert scene.published() == before


def test_matrix_has_every_leak() -> None:
    """docs/leaks.md is of these leaks, and some detector saw each (make prove writes it anew)."""
    rows = dict(re.findall(r"^\| (.*?) \| (.*) \|$", (ROOT / "docs" / "leaks.md").read_text(), re.M))
    for name, leak in LEAKS.items():
        cells = rows[name].split(" | ")
        assert cells[-1] == f"`{leak.rule}`"
        assert any(cell.strip() for cell in cells[: len(DETECTORS)]), name

"""The README says what is so: its invariants are those of the project, its output is what is printed."""

import json
import re

import pytest
import show_published
from click.testing import CliRunner
from conftest import ROOT, Project

README = (ROOT / "README.md").read_text()


def test_invariants_are_those_of_the_project(sample: Project) -> None:
    """The table has every invariant with its tests and its twin."""
    manifest = json.loads((sample.path / "target" / "manifest.json").read_text())
    expected = set()
    switched_off = [node for (node,) in manifest["disabled"].values()]
    for node in [*manifest["nodes"].values(), *switched_off]:
        meta = node["config"].get("meta", {})
        if node["resource_type"] == "test" and "invariant" in meta:
            name = "no_identifiers" if node["name"].startswith("no_identifiers") else node["name"]
            expected.add((meta["invariant"], name, meta.get("twin")))
    described = set()
    for number, tests, twin in re.findall(r"^\| (INV-\d+) \|[^|]*\| ([^|]*) \|([^|]*)\|$", README, re.M):
        for name in re.findall(r"`(\w+)`", tests):
            described.add((number, name, twin.strip(" `") or None))
    assert described == expected


def test_quoted_output_is_what_is_printed(sample: Project) -> None:
    """Each line quoted from the end of `make build` is in the output for the sample."""
    answer = CliRunner().invoke(show_published.main, ["--warehouse", str(sample.warehouse)])
    assert answer.exit_code == 0, answer.output
    (block,) = re.findall(r"and ends like this:\n\n```text\n(.*?)```", README, re.S)
    for line in block.splitlines():
        assert line == "..." or line in answer.output.splitlines(), line


def test_withdrawal_example_takes_four_memberships(sample: Project) -> None:
    """The user of the worked example is in four delivered tailored lists of the sample."""
    (user_id,) = re.findall(r"echo 'withdrawal-1,(\w+),", README)
    assert sample.query(
        f"select count(*) from delivery.tailored_audience_members where user_id = '{user_id}'"
    ) == [(4,)]
    assert sample.query("select count(*) from delivery.tailored_audience_members") == [
        (int(re.findall(r"\((\d+) tailored memberships before", README)[0]),)
    ]


@pytest.mark.parametrize("table", ["benchmark", "mutation"])
def test_tables_are_what_the_scripts_wrote(table: str) -> None:
    """Measured figures are those that a script left in docs."""
    assert (ROOT / "docs" / f"{table}.md").read_text().strip() in README

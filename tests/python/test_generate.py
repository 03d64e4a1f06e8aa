"""Generated inputs: the same rows every time, within the contract, and judged as they were planted."""

from pathlib import Path

import duckdb
import generate
import incident_oracle
import oracle
import pytest
from click.testing import CliRunner
from conftest import ROOT, Project, copy_project

SIZES = ["--users", "1500", "--lists", "60", "--entries", "6000", "--seed", "7"]


def generated(out: Path) -> Path:
    """Inputs of a few thousand rows in a folder."""
    answer = CliRunner().invoke(generate.main, [*SIZES, "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    return out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated inputs."""
    return generated(tmp_path_factory.mktemp("generated") / "inputs")


@pytest.fixture(scope="module")
def built(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project built on them."""
    project = copy_project(tmp_path_factory.mktemp("built") / "project")
    variables = (
        f"{{input: files, input_path: {inputs}, as_of: '{generate.AS_OF}', incident_assessment: true}}"
    )
    run = project.build("--vars", variables)
    assert run.success, run.output
    return project


def test_same_arguments_give_the_same_rows(inputs: Path, tmp_path: Path) -> None:
    """A second run writes the same rows into every table."""
    again = generated(tmp_path / "again")
    names = sorted(path.name for path in inputs.glob("*.parquet"))
    assert len(names) == len(generate.TABLES) + 1
    for name in names:
        rows = duckdb.sql(f"select * from '{inputs / name}' order by all").fetchall()
        assert rows == duckdb.sql(f"select * from '{again / name}' order by all").fetchall(), name


def test_planted_users_are_judged_as_planted(built: Project, inputs: Path) -> None:
    """Whoever must be a member is one, and whoever must not is none, on each of the planted lists."""
    truth = duckdb.sql(
        f"select list_id, user_id, must_be_member from '{inputs}/ground_truth.parquet'"
    ).fetchall()
    members = set(built.query("select list_id, user_id from marts.tailored_audience_members"))
    assert {must_be_member for *_, must_be_member in truth} == {True, False}
    wrong = {row for row in truth if (row[:2] in members) != row[2]}
    assert wrong == set()


def test_every_operation_and_most_reasons_are_there(built: Project, inputs: Path) -> None:
    """The data is no happy path: operations, statuses, decisions and row reasons of many kinds."""
    operations = duckdb.sql(f"select distinct operation from '{inputs}/raw_list_uploads.parquet'").fetchall()
    assert len(operations) == 4
    assert len(built.query("select distinct decision from marts.contact_decisions")) >= 13
    assert len(built.query("select distinct reason from marts.list_reports")) >= 12
    assert len(built.query("select distinct list_status from marts.audiences")) >= 4


def test_agrees_with_the_oracle(built: Project, inputs: Path) -> None:
    """Decisions, members, list reports and the classes of the log are those of the independent reading."""
    as_of = oracle.as_utc(oracle.datetime.fromisoformat(generate.AS_OF))
    world = oracle.World.from_parquet(inputs, ROOT / "seeds" / "policy" / "purposes.csv")
    decisions = built.query("select contact_id, data_use, decision from marts.contact_decisions")
    assert {(contact, use): decision for contact, use, decision in decisions} == oracle.decide(world, as_of)
    members = built.query("""
        select 'tailored', list_id, advertiser_id, user_id from marts.tailored_audience_members
        union all
        select 'partner', list_id, advertiser_id, user_id from marts.partner_audience_members
    """)
    assert set(members) == set(oracle.members(world, as_of))
    reports = built.query("select list_id, reason, entries from marts.list_reports")
    assert {(list_id, reason): n for list_id, reason, n in reports} == oracle.list_reports(world, as_of)
    classes = dict(built.query("select match_id, match_class from incident.incident_matches"))
    assert classes == incident_oracle.match_classes(world, as_of)
    assert len(set(classes.values())) == 5

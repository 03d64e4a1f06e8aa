"""Who was affected: every class against brute force, the number and its bounds, and nothing left behind."""

import csv
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import incident_oracle
import oracle
import pytest
import show_incident
from click.testing import CliRunner
from conftest import ROOT, Project, Run, copy_project
from test_manifest import guards

AS_OF = datetime(2019, 9, 17, tzinfo=UTC)
VARIABLES = json.dumps({"incident_assessment": True, "as_of": "2019-09-17 00:00:00"})
LOG = "seeds/sample/raw_legacy_matches.csv"
PERTURBED = 700
README = (ROOT / "README.md").read_text()


def assess(project: Project, *selection: str) -> Run:
    """Build the assessment alone, as `make incident` does."""
    arguments = ["--select", *selection, "--indirect-selection", "cautious", "--vars", VARIABLES]
    return project.build(*arguments)


@pytest.fixture(scope="module")
def world() -> oracle.World:
    """The sample as the oracle reads it."""
    return oracle.World.from_csv(ROOT / "seeds" / "sample", ROOT / "seeds" / "policy" / "purposes.csv")


@pytest.fixture(scope="module")
def assessed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The assessment of the sample's own log, with its own unit tests."""
    project = copy_project(tmp_path_factory.mktemp("incident") / "project")
    run = assess(project, "+path:models/marts/incident")
    assert run.success, run.output
    run = project.dbt("test", "--select", "path:models/marts/incident,test_type:unit", "--vars", VARIABLES)
    assert run.success and len(run.statuses) > 10, run.output
    return project


@pytest.fixture
def copy_of_assessed(assessed: Project, tmp_path: Path) -> Project:
    """A copy of the assessment with its warehouse, to be changed."""
    return Project(Path(shutil.copytree(assessed.path, tmp_path / "project")))


def classes(project: Project) -> dict[str, str]:
    """Class by match, as the warehouse has it."""
    return dict(project.query("select match_id, match_class from incident.incident_matches"))


def test_number_is_that_of_brute_force(assessed: Project, world: oracle.World) -> None:
    """Every match of the sample has the class that the oracle gives it, and the same users are affected."""
    assert classes(assessed) == incident_oracle.match_classes(world, AS_OF)
    rows = assessed.query("""
        select user_id, first_matched_at, last_matched_at, matches, list_ids, purposes
        from incident.affected_users
    """)
    purposes = {row["contact_id"]: row["purpose"] for row in world.raw_contacts}
    expected = {
        user_id: (
            min(match["matched_at"] for match in matches),
            max(match["matched_at"] for match in matches),
            len(matches),
            "|".join(sorted({match["list_id"] for match in matches})),
            "|".join(sorted({purposes[match["contact_id"]] for match in matches})),
        )
        for user_id, matches in incident_oracle.affected_users(world, AS_OF).items()
    }
    assert {row[0]: row[1:] for row in rows} == expected
    assert len(expected) > 500


def test_sample_has_every_class(assessed: Project) -> None:
    """The log of the sample has matches of each class, and each that is unexplained in its way."""
    found = assessed.query("select distinct match_class, unexplained_reason from incident.incident_matches")
    reasons = ("contact_unknown", "list_unknown", "contact_of_another_user", "not_collected", "not_on_list")
    assert set(found) == {
        *[(name, None) for name in ("permitted", "also_permitted", "security_only", "other_refused")],
        *[("unexplained", reason) for reason in reasons],
    }


def test_summary_adds_up(assessed: Project) -> None:
    """The summary has all security_only matches, and at least one row per user affected."""
    ((matches, users),) = assessed.query("select sum(matches), sum(users) from incident.incident_summary")
    logged = "select count(*) from incident.incident_matches where match_class = 'security_only'"
    assert assessed.query(logged) == [(matches,)]
    assert assessed.query(f"select count(*) <= {users} from incident.affected_users") == [(True,)]


def test_complete_log_lies_within_the_bounds(assessed: Project) -> None:
    """The sample's log is complete: it has the whole lower bound, and nobody above the upper one."""
    lower = "select user_id from incident.incident_replay where is_lower_bound"
    upper = "select user_id from incident.incident_replay"
    affected = "select user_id from incident.affected_users"
    assert assessed.query(f"({lower}) except ({affected})") == []
    assert assessed.query(f"({affected}) except ({upper})") == []
    ((low, number, high),) = assessed.query(
        f"select (select count(distinct user_id) from ({lower})),"
        f" (select count(*) from ({affected})), (select count(distinct user_id) from ({upper}))"
    )
    assert 0 < low <= number <= high
    bounds = assessed.query("select users_up_to_here from incident.incident_bounds order by reason_rank")
    assert (bounds[0], bounds[-1]) == ((low,), (high,))


def test_nobody_is_notified_through_a_security_contact(assessed: Project) -> None:
    """Whoever has an account is to be notified, by a contact given for service or at the next login."""
    assert (
        assessed.query("""
        select affected_users.user_id
        from incident.affected_users
        inner join sample.raw_users using (user_id)
        where account_status <> 'deleted' and user_id not in (select user_id from incident.users_to_notify)
    """)
        == []
    )
    purposes = assessed.query("""
        select distinct split_part(contacts.purpose, '.', 1)
        from incident.users_to_notify
        inner join sample.raw_contacts as contacts on notify_contact_id = contact_id
    """)
    assert purposes == [("service",)]


def test_readme_quotes_what_is_printed(assessed: Project) -> None:
    """The worked example of the README prints this number and these bounds."""
    answer = CliRunner().invoke(show_incident.main, ["--warehouse", str(assessed.warehouse)])
    assert answer.exit_code == 0, answer.output
    (block,) = re.findall(r"\$ make incident\n\.\.\.\n(.*?)```", README, re.S)
    assert block.splitlines() == answer.output.splitlines()[-len(block.splitlines()) :]
    assert "users affected" in block


def test_models_of_the_assessment(assessed: Project) -> None:
    """All private in their own group and schema, under contracts, described; no guard is loosened."""
    manifest = json.loads((assessed.path / "target" / "manifest.json").read_text())
    models = [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and "incident" in (node["group"], node["schema"])
    ]
    assert len(models) == 11
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    for node in models:
        assert (node["group"], node["schema"], node["access"]) == ("incident", "incident", "private")
        assert node["config"]["contract"]["enforced"], node["name"]
        assert node["description"].startswith("One row") and "ever a" in node["description"], node["name"]
        assert node["name"] in tested
        columns = assessed.query(
            "select column_name from information_schema.columns"
            f" where table_schema = 'incident' and table_name = '{node['name']}'"
        )
        described = {name for name, column in node["columns"].items() if column["description"]}
        assert {name for (name,) in columns} == described, node["name"]
    own = [guard for guard in guards(manifest).values() if guard["group"] == "incident"]
    assert len(own) > 50
    for guard in own:
        config = guard["config"]
        assert (config["severity"].lower(), config["where"], config["limit"]) == ("error", None, None)
        assert (config["fail_calc"], config["error_if"], config["enabled"]) == ("count(*)", "!= 0", True)


def moments_of(world: oracle.World) -> dict[str, list[datetime]]:
    """Per user and per list the moments at which something changes."""
    moments: dict[str, list[datetime]] = {}
    tables = (world.raw_contacts, world.raw_consent_events, world.raw_list_uploads)
    for rows in tables:
        for row in rows:
            owner = row.get("user_id") or row["list_id"]
            moments.setdefault(owner, []).extend(m for m in row.values() if isinstance(m, datetime))
    return moments


def perturbed_matches(world: oracle.World, count: int, seed: int = 46) -> Iterator[dict[str, Any]]:
    """Matches of the log with their moment, contact, list or user changed, often to where a rule turns."""
    rng = random.Random(seed)
    moments = moments_of(world)
    contacts_of: dict[str, list[str]] = {}
    for row in world.raw_contacts:
        contacts_of.setdefault(row["user_id"], []).append(row["contact_id"])
    owner_of = {row["contact_id"]: row["user_id"] for row in world.raw_contacts}
    planted = set(
        list(contacts_of)[: len(contacts_of) // 5]
    )  # one rule each, and most of the changes in time
    of_planted = [match for match in world.raw_legacy_matches if match["user_id"] in planted]
    for number in range(count):
        match = dict(rng.choice(of_planted if rng.random() < 0.5 else world.raw_legacy_matches))
        if rng.random() < 0.4 and match["user_id"] in contacts_of:
            match["contact_id"] = rng.choice(contacts_of[match["user_id"]])
        if rng.random() < 0.1:
            match["list_id"] = rng.choice(world.raw_audience_lists)["list_id"]
        if rng.random() < 0.05:
            match["contact_id"] = rng.choice(world.raw_contacts)["contact_id"]
            match["user_id"] = rng.choice((match["user_id"], owner_of[match["contact_id"]]))
        turns = moments.get(match["user_id"], []) + moments.get(match["list_id"], [])
        later = [turn for turn in turns if turn >= match["matched_at"] - timedelta(hours=1)]
        kind = rng.random()
        if kind < 0.1:
            match["matched_at"] = rng.choice(turns)
        elif kind < 0.5 and later:
            match["matched_at"] = rng.choice(later) + timedelta(microseconds=rng.choice((-1, 0, 0, 1)))
        elif kind < 0.9:
            match["matched_at"] += timedelta(days=rng.randrange(-20, 220))
        yield match | {"match_id": f"perturbed{number}"}


def test_perturbed_matches_agree(copy_of_assessed: Project, world: oracle.World) -> None:
    """Several hundred changed matches, most of them where a rule turns, have the oracle's classes too."""
    matches = list(perturbed_matches(world, PERTURBED))
    with (copy_of_assessed.path / LOG).open("w", newline="") as stream:
        log = csv.DictWriter(stream, list(matches[0]), lineterminator="\n")
        log.writeheader()
        log.writerows(matches)
    run = assess(copy_of_assessed, "raw_legacy_matches+")
    assert run.success, run.output
    expected = incident_oracle.match_classes(replace(world, raw_legacy_matches=matches), AS_OF)
    assert classes(copy_of_assessed) == expected
    counts = Counter(expected.values())
    assert len(counts) == 5 and min(counts.values()) >= 20, counts


def test_normal_build_leaves_nothing(copy_of_assessed: Project, tmp_path: Path) -> None:
    """A build without the var drops the schema and asks for no log; one with it asks, and names the table."""
    in_schema = "select table_name from information_schema.tables where table_schema = 'incident'"
    assert len(copy_of_assessed.query(in_schema)) == 12
    ignored = shutil.ignore_patterns("raw_legacy_matches.csv")
    folder = shutil.copytree(copy_of_assessed.path / "seeds" / "sample", tmp_path / "inputs", ignore=ignored)
    variables = {"input": "files", "input_path": str(folder)}
    run = copy_of_assessed.dbt("build", "--resource-type", "seed", "--vars", json.dumps(variables))
    assert run.success, run.output
    assert copy_of_assessed.query(in_schema) == []
    answer = CliRunner().invoke(show_incident.main, ["--warehouse", str(copy_of_assessed.warehouse)])
    assert answer.exit_code == 1 and "no assessment" in answer.output

    variables["incident_assessment"] = True
    run = copy_of_assessed.dbt("build", "--resource-type", "seed", "--vars", json.dumps(variables))
    assert not run.success and "raw_legacy_matches" in run.output

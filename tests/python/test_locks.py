"""The locks: guards, policy and identity are as a review agreed to, and every kind of change is seen."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lock
import pytest
from click import UsageError
from conftest import ROOT, Project, working_directory
from dbt_artifacts import Artifacts

Json = dict[str, Any]
HOW = "build once, then: python scripts/lock.py write {} --review ID --reason '...'"


@pytest.fixture(autouse=True)
def at_the_root() -> Iterator[None]:
    """The locks are found from the project's root."""
    with working_directory(ROOT):
        yield


@pytest.fixture
def artifacts(sample: Project) -> Artifacts:
    """What the build of the sample left, to be broken."""
    return Artifacts.read(sample.path / "target")


@pytest.mark.parametrize("name", ["guards", "policy"])
def test_nothing_changed_without_a_review(artifacts: Artifacts, name: str) -> None:
    """Privacy review: a changed guard, policy seed, model of identity or macro stands in reviews.csv."""
    locked, content = lock.contents(artifacts)[name]
    assert len(content) > 50
    assert locked.faults(content) == [], HOW.format(name)


def test_reviews_tell_enough() -> None:
    """Each review has an id of its own, a date and a reason, and the dates are in order."""
    reviews = lock.read_reviews()
    assert len({(review["lock"], review["id"]) for review in reviews}) == len(reviews) > 0
    assert [review["date"] for review in reviews] == sorted(review["date"] for review in reviews)
    assert all(len(review["reason"].split()) >= 3 and review["changed"] for review in reviews)
    ids = {review["id"] for review in reviews}
    assert {entry.review for kept in (lock.GUARDS, lock.POLICY) for entry in kept.entries()} <= ids


def node(manifest: Json, name: str) -> Json:
    """A node by name."""
    (found,) = [node for node in manifest["nodes"].values() if node["name"] == name]
    return found


def compiled_without_purpose(artifacts: Artifacts) -> None:
    """The SQL of an invariant asks for less."""
    key = node(artifacts.manifest, "security_contacts_never_behind_members")["unique_id"]
    result = artifacts.results_by_id[key]
    assert "security" in result["compiled_code"]
    result["compiled_code"] = result["compiled_code"].replace("security", "securities")


def without_unit_test(artifacts: Artifacts) -> None:
    """A unit test is gone."""
    units = artifacts.manifest["unit_tests"]
    del units[next(key for key in units if key.endswith("rule_8_held_for_protection"))]


def macro_that_sees_nothing(artifacts: Artifacts) -> None:
    """The walk of the graph, whose outcome shows in no compiled SQL."""
    macro = artifacts.manifest["macros"]["macro.consented_audiences.paths_around"]
    macro["macro_sql"] = "{% macro paths_around(model, input, gate) %}{{ return([]) }}{% endmacro %}"


def incident_test(artifacts: Artifacts) -> None:
    """A test of the assessment, which this build is without."""
    macro = artifacts.manifest["macros"]["macro.consented_audiences.test_every_logged_match_has_one_class"]
    macro["macro_sql"] = macro["macro_sql"].replace("<> 1", "> 1")


CHANGES: dict[str, tuple[str, str, Callable[[Artifacts], object]]] = {
    "sql": ("guards", "changed data_test security_contacts_never_behind_members", compiled_without_purpose),
    "severity": (
        "guards",
        "changed data_test members_are_explained",
        lambda run: node(run.manifest, "members_are_explained")["config"].update(severity="WARN"),
    ),
    "where": (
        "guards",
        "changed data_test members_are_explained",
        lambda run: node(run.manifest, "members_are_explained")["config"].update(where="true"),
    ),
    "test": (
        "guards",
        "removed data_test members_are_explained",
        lambda run: run.manifest["nodes"].pop(node(run.manifest, "members_are_explained")["unique_id"]),
    ),
    "unit test": (
        "guards",
        "removed unit_test usable_contact_decisions.usable_contact_decisions_rule_8_held_for_protection",
        without_unit_test,
    ),
    "contract": (
        "guards",
        "changed contract audiences",
        lambda run: node(run.manifest, "audiences")["columns"]["reported_size"].update(data_type="varchar"),
    ),
    "check of the graph": ("guards", "changed run_start check_graph()", macro_that_sees_nothing),
    "judged in Jinja": ("guards", "changed data_test every_path_passes_the_gate", macro_that_sees_nothing),
    "incident": (
        "guards",
        "changed incident_test every_logged_match_has_one_class",
        incident_test,
    ),
    "model of identity": (
        "policy",
        "changed model stg_contacts",
        lambda run: node(run.manifest, "stg_contacts").update(raw_code="select 1"),
    ),
    "access": (
        "policy",
        "changed model stg_contacts",
        lambda run: node(run.manifest, "stg_contacts")["config"].update(access="public"),
    ),
    "macro of identity": (
        "policy",
        "changed macro normalize_identifiers",
        lambda run: run.manifest["macros"]["macro.consented_audiences.normalize_identifiers"].update(
            macro_sql=""
        ),
    ),
    "new model": (
        "policy",
        "added model stg_phone_book",
        lambda run: run.manifest["nodes"].update(
            new=node(run.manifest, "stg_contacts") | {"name": "stg_phone_book"}
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen(artifacts: Artifacts, change: str) -> None:
    """Each kind of change to what is locked is named."""
    name, sentence, edit = CHANGES[change]
    edit(artifacts)
    locked, content = lock.contents(artifacts)[name]
    assert sentence in locked.faults(content)


def test_a_policy_seed_is_locked(artifacts: Artifacts, sample: Project, tmp_path: Path) -> None:
    """One flag of one purpose."""
    shutil.copytree(sample.path / "seeds", tmp_path / "seeds")
    purposes = tmp_path / "seeds" / "policy" / "purposes.csv"
    purposes.write_text(purposes.read_text().replace("security,true,false", "security,true,true", 1))
    with working_directory(tmp_path):
        content = lock.policy_of(artifacts.manifest)
    assert lock.POLICY.faults(content) == ["changed seed purposes"]


def test_a_lock_takes_a_review(artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written with an id and a reason only; a line edited by hand is seen; a review is used once."""
    content = lock.policy_of(artifacts.manifest)
    monkeypatch.setattr(lock, "REVIEWS", tmp_path / "reviews.csv")
    policy = dataclasses.replace(lock.POLICY, file=tmp_path / "policy.csv")
    for review, reason in (("", "a good reason, at length"), ("1", "because")):
        with pytest.raises(UsageError):
            policy.write(content, review, reason)
    policy.write(content, "1", "the first of all")
    assert policy.faults(content) == []
    content["model", "stg_contacts"] = "0" * 32
    line = next(line for line in policy.file.read_text().splitlines() if "model,stg_contacts," in line)
    policy.file.write_text(policy.file.read_text().replace(line, f"model,stg_contacts,{'0' * 32},1"))
    assert policy.faults(content) == ["policy.csv is not what the last review of it agreed to"]
    content["model", "stg_users"] = "0" * 32
    with pytest.raises(UsageError):
        policy.write(content, "1", "the same once more")
    assert policy.write(content, "2", "two models read better") == ["changed model stg_users"]
    assert policy.faults(content) == []
    assert policy.file.read_text().count(",2\n") == 1


def test_the_lock_is_the_same_for_every_moment_and_place(sample: Project, tmp_path: Path) -> None:
    """Another moment, another run, another database's name and a first build compile to the same hashes."""
    files = [sample.path / "target" / name for name in ("manifest.json", "run_results.json")]
    artifacts = Artifacts.read(sample.path / "target")
    compiled = lock.Compiled(artifacts)
    state = node(artifacts.manifest, "state_published_sizes")
    columns = ", ".join(
        f"cast(null as {column['data_type']}) as {name}" for name, column in state["columns"].items()
    )
    first = f"(\n select {columns}\n where false\n )"
    for file in files:
        text = json.dumps(json.loads(file.read_text()), ensure_ascii=False)
        text = text.replace(compiled.moment, "cast('2019-09-17 00:00:00+00:00' as timestamptz)")
        text = text.replace(artifacts.run_id, "00000000-0000-0000-0000-000000000000")
        text = text.replace('\\"warehouse\\".', '\\"elsewhere\\".').replace('"warehouse"', '"elsewhere"')
        moved = state["relation_name"].replace("warehouse", "elsewhere")
        results = json.loads(text)
        for result in results.get("results", []):
            if result["unique_id"].startswith("test."):
                result["compiled_code"] = (result["compiled_code"] or "").replace(moved, first)
        (tmp_path / file.name).write_text(json.dumps(results))
    elsewhere = Artifacts.read(tmp_path)
    assert elsewhere.database == "elsewhere"
    assert lock.guards_of(elsewhere) == lock.guards_of(artifacts)

"""dbt's manifest: groups and access, contracts, docs, invariants, and what stands behind what."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import pytest
from conftest import Project

Node = dict[str, Any]
GATE = "contacts_consented_for_ads"
LEAVING = {"published", "delivery"}
LAST = LEAVING | {"state"}


@pytest.fixture(scope="module")
def manifest(sample: Project) -> dict[str, Any]:
    """The manifest of the sample's build."""
    return json.loads((sample.path / "target" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, Node]:
    """The project's models by name."""
    nodes = manifest["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] == "model"}


@pytest.fixture(scope="module")
def graph(manifest: dict[str, Any]) -> networkx.DiGraph:
    """The refs, from parent to child."""
    return networkx.DiGraph(
        (parent, child) for child, parents in manifest["parent_map"].items() for parent in parents
    )


def test_only_the_gate_leaves_identity(models: dict[str, Node]) -> None:
    """Of identity nothing is open to other models but the gate and what is published."""
    identity = {name: node for name, node in models.items() if node["group"] == "identity"}
    assert len(identity) > 10
    opened = {
        name
        for name, node in identity.items()
        if node["access"] != "private" and node["schema"] not in LEAVING
    }
    assert opened == {GATE}
    assert models[GATE]["config"]["materialized"] == "view"


def test_every_model_belongs_to_a_group(models: dict[str, Node]) -> None:
    """No model stands outside the two groups."""
    assert {node["group"] for node in models.values()} == {"identity", "audiences"}


def test_contracts(models: dict[str, Node], manifest: dict[str, Any]) -> None:
    """The gate, every mart and everything published has an enforced contract, tables with keys.

    contact_decisions is a view: its key is a test, and its check stands on the table that it shows.
    """
    (key,) = [g for g in guards(manifest).values() if g["name"] == "every_contact_has_one_decision"]
    assert models["contact_decisions"]["unique_id"] in key["depends_on"]["nodes"]
    assert models["usable_contact_decisions"]["constraints"]
    for name, node in models.items():
        if name == GATE or node["schema"] in LAST | {"marts"}:
            assert node["config"]["contract"]["enforced"], name
        if node["schema"] in LAST | {"marts"}:
            keys = {constraint["type"] for constraint in node["constraints"]} & {"primary_key"}
            assert keys or name == "contact_decisions", name
        if node["schema"] == "marts":
            checks = [c for c in node["constraints"] if c["type"] == "check"]
            assert checks or name == "contact_decisions", name


def test_names_fit_every_engine(manifest: dict[str, Any]) -> None:
    """PostgreSQL has room for 63 characters: a unit test is a relation of its own name for a moment."""
    nodes = [*manifest["nodes"].values(), *manifest["unit_tests"].values()]
    names = [node["name"] for node in nodes if node["resource_type"] != "test"]
    assert len(names) > 100
    assert [name for name in names if len(name) > 63] == []


def test_docs_are_complete(sample: Project, models: dict[str, Node]) -> None:
    """Every model says its grain, and every column of every relation is described."""
    for name, node in models.items():
        assert node["description"].startswith(("One row", "THE GATE. One row")), name
        columns = {
            row[0]
            for row in sample.query(
                "select column_name from information_schema.columns "
                f"where table_schema = '{node['schema']}' and table_name = '{node['alias']}'"
            )
        }
        described = {column for column, entry in node["columns"].items() if entry["description"]}
        assert columns == described, name


def test_marts_say_what_never_appears(models: dict[str, Node]) -> None:
    """The description of a mart ends with what is never in it."""
    for name, node in models.items():
        if node["schema"] == "marts":
            assert "ever a" in node["description"], name


def guards(manifest: dict[str, Any]) -> dict[str, Node]:
    """Every data test by id."""
    return {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "test"}


def test_published_models_stand_behind_every_guard(
    manifest: dict[str, Any], models: dict[str, Node], graph: networkx.DiGraph
) -> None:
    """`dbt build` runs a test before a model only if all that the test reads is upstream of the model."""
    published = [node["unique_id"] for node in models.values() if node["schema"] in LAST]
    assert len(published) == 9
    for model in published:
        upstream = networkx.ancestors(graph, model)
        outside = {
            guard["name"]
            for guard in guards(manifest).values()
            if not set(guard["depends_on"]["nodes"]) <= upstream
        }
        assert outside == set(), model


def test_state_is_replaced_last(models: dict[str, Node], graph: networkx.DiGraph) -> None:
    """A build that breaks off while it publishes leaves the state from which the next one must start."""
    published = {node["unique_id"] for node in models.values() if node["schema"] in LEAVING}
    states = [node for node in models.values() if node["schema"] == "state"]
    assert states
    for state in states:
        assert published <= networkx.ancestors(graph, state["unique_id"]), state["name"]
        assert state["access"] == "private"


def test_guards_are_not_loosened(manifest: dict[str, Any]) -> None:
    """No guard is a warning, is limited, filtered, counted otherwise, stored or switched off."""
    assert len(guards(manifest)) > 150
    for node in guards(manifest).values():
        config = node["config"]
        settings = (
            config["severity"].lower(),
            config["where"],
            config["limit"],
            config["fail_calc"],
        )
        assert settings == ("error", None, None, "count(*)"), node["name"]
        assert (config["error_if"], config["enabled"], bool(config["store_failures"])) == (
            "!= 0",
            True,
            False,
        ), node["name"]
    switched_off = {
        node["original_file_path"]
        for key, (node,) in manifest["disabled"].items()
        if key.startswith(("test.", "model."))
    }
    assert {Path(path).parent.as_posix() for path in switched_off} == {"models/marts/incident"}


def test_invariants_have_numbers_descriptions_and_twins(manifest: dict[str, Any]) -> None:
    """INV-1 to INV-n without a gap, each described; a twin that is named exists and names it back.

    Those of the incident assessment, which this build is without, are among them.
    """
    switched_off = {key: node for key, (node,) in manifest["disabled"].items()}
    by_name = {node["name"]: node for node in guards({"nodes": manifest["nodes"] | switched_off}).values()}
    invariants = {
        name: node["config"]["meta"]
        for name, node in by_name.items()
        if "invariant" in node["config"]["meta"]
    }
    numbers = {int(meta["invariant"].removeprefix("INV-")) for meta in invariants.values()}
    assert numbers == set(range(1, max(numbers) + 1)) and len(numbers) >= 15
    for name, meta in invariants.items():
        if not name.startswith("no_identifiers"):
            assert by_name[name]["description"], name
        if "twin" in meta:
            assert meta["invariant"] in by_name[meta["twin"]]["config"]["meta"]["twin_of"], name


def test_exposures_cover_what_leaves(manifest: dict[str, Any], models: dict[str, Node]) -> None:
    """Every published model is in an exposure with an owner, and no exposure reads anything else."""
    exposed = {
        node for exposure in manifest["exposures"].values() for node in exposure["depends_on"]["nodes"]
    }
    assert exposed == {node["unique_id"] for node in models.values() if node["schema"] in LEAVING}
    assert all(exposure["owner"]["email"] for exposure in manifest["exposures"].values())


def test_every_rule_has_a_unit_test(manifest: dict[str, Any]) -> None:
    """The models that decide, fold, match and withhold have unit tests."""
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    assert {
        "stg_contacts",
        "stg_list_entries",
        "usable_contacts",
        "normalized_list_entries",
        "consent_states",
        "protective_block_keys",
        "contacts_clear_of_protection",
        "contacts_clear_of_suppression",
        "usable_contact_decisions",
        "contact_decisions",
        GATE,
        "list_entry_keys",
        "folded_list_entries",
        "contact_match_keys",
        "list_matches",
        "audience_eligibilities",
        "audience_matches",
        "tailored_audience_members",
        "partner_audience_members",
        "list_reports",
        "audiences",
        "measurement_events_shared",
        "previous_members",
        "removed_members",
        "membership_changes",
        "release_delivered_members",
        "release_list_reports",
        "release_consent_funnel",
    } <= tested


def test_usual_commands_work(copy_of_sample: Project) -> None:
    """dbt test, dbt build --select and dbt docs generate work as everywhere."""
    for arguments in (
        ["test", "--exclude-resource-type", "unit_test"],
        ["build", "--select", "contact_decisions+1"],
        ["docs", "generate"],
    ):
        run = copy_of_sample.dbt(*arguments)
        assert run.success, run.output
    assert (copy_of_sample.path / "target" / "catalog.json").is_file()


def test_deprecations_are_errors(fresh_project: Callable[[], Project]) -> None:
    """A parse from nothing reports none; one that is planted fails it."""
    project = fresh_project()
    run = project.dbt("parse", "--no-partial-parse")
    assert run.success, run.output
    path = "models/matching/_matching__models.yml"
    project.edit(
        path,
        "      - unique_combination: {arguments: {columns: [list_id, contact_id]}}\n",
        "      - unique_combination: {columns: [list_id, contact_id]}\n",
    )
    run = project.dbt("parse", "--no-partial-parse")
    assert not run.success
    assert "Deprecation" in run.output

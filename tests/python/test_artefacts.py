"""Nothing in artefacts: planted values, errors of every kind, and no value in anything that is left behind.

The input holds a value of its own per table and column that may hold one. What dbt prints, logs and writes
to target/, every table outside the schemas that hold identifiers, and everything that is published is
searched for each of them, for its SHA-256 and for what is left of it in another spelling.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import publish
import pytest
from click.testing import CliRunner
from conftest import Project, working_directory
from leaks import LEAKS, Scene

HOLDERS = {"sample", "inputs", "input_views", "staging", "consent", "matching", "audit", "incident"}
"""Schemas that hold values or keys, and that nobody but dbt may read."""

CANARIES = {
    "contact for security": "Zanzibar.Quill+2fa@Example.com",
    "contact for ads": "zanzibar.ads.quill@example.com",
    "phone": "+1 (201) 555-0187",
    "no address at all": "zanzibar'); drop table {{ env_var('HOME') }}; =cmd|quill",
    "entry": "zanzibar.entry.quill@example.com",
    "suppression": "zanzibar.suppressed.quill@example.com",
}
NEEDLES = {
    needle.lower().encode()
    for value in CANARIES.values()
    for needle in (value, *(hashlib.sha256(text.encode()).hexdigest() for text in (value, value.lower())))
} | {b"zanzibar", b"2015550187", hashlib.sha256(b"+12015550187").hexdigest().encode()}


def plant(seeds: Path) -> None:
    """Add the canaries to the sample's inputs."""
    contacts = {
        "contact for security": ("u0001", "email", "security.two_factor"),
        "contact for ads": ("u0001", "email", "ads.audience_matching"),
        "phone": ("u0002", "phone", "ads.audience_matching"),
        "no address at all": ("u0002", "email", "ads.audience_matching"),
    }
    rows = {
        "raw_contacts": [
            (f"z{number}", user, channel, CANARIES[name], purpose, "2019-01-01", "2019-01-01", "")
            for number, (name, (user, channel, purpose)) in enumerate(contacts.items())
        ],
        "raw_list_entries": [
            ("l01-u1", str(900000 + number), "phone" if value.startswith("+") else "email", value, "")
            for number, value in enumerate(CANARIES.values())
        ],
        "raw_suppressions": [("z1", "email", CANARIES["suppression"], "", "2019-01-01")],
    }
    for table, added in rows.items():
        with (seeds / f"{table}.csv").open("a") as file:
            file.writelines(",".join(row) + "\n" for row in added)


def places(project: Project, output: str) -> dict[str, bytes]:
    """Everything that is left behind where no value may be, in lower case, by place."""
    found = {"output": output.encode()}
    for folder in ("target", "logs", "build/publish"):
        for file in (project.path / folder).rglob("*"):
            if file.is_file():
                found[file.relative_to(project.path).as_posix()] = file.read_bytes()
    with duckdb.connect(str(project.warehouse), read_only=True) as warehouse:
        relations = warehouse.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'warehouse'"
        ).fetchall()
        for schema, name in relations:
            if schema not in HOLDERS:
                rows = warehouse.execute(f'select * from "{schema}"."{name}"').fetchall()
                found[f"{schema}.{name}"] = repr(rows).encode()
    return {place: content.lower() for place, content in found.items()}


def holding(places: dict[str, bytes]) -> set[str]:
    """Places that hold a canary."""
    return {place for place, content in places.items() if any(needle in content for needle in NEEDLES)}


LEAK = LEAKS["Counts that differ by one"]


def test_no_value_in_any_artefact(sample: Project, tmp_path: Path) -> None:
    """A build over canaries, with a leak: red by its rule, nothing published, and a canary nowhere."""
    scene = Scene(Path(shutil.copytree(sample.path, tmp_path / "project")))
    plant(scene.path / "seeds" / "sample")
    scene.leak(LEAK)
    before = scene.published()
    run = scene.build()
    assert run.failed() == {LEAK.rule}
    assert scene.published() == before
    left = places(scene, run.output)
    assert len(left) > 300
    assert holding(left) == set()
    # the search is not blind: what holds the values is found by it
    with duckdb.connect(str(scene.warehouse), read_only=True) as warehouse:
        staged = repr(warehouse.execute("select * from staging.stg_contacts").fetchall()).lower()
        keys = repr(warehouse.execute("select * from matching.contact_match_keys").fetchall()).lower()
    assert holding({"staged": staged.encode(), "keys": keys.encode()}) == {"staged", "keys"}


ERRORS: dict[str, tuple[Callable[[Scene], object], tuple[str, ...], str]] = {
    "a bad line of a seed": (
        lambda scene: (
            (scene.path / "seeds/sample/raw_contacts.csv")
            .open("a")
            .write(f'z9,u0001,email,"{CANARIES["entry"]}\n')
        ),
        ("build",),
        "raw_contacts",
    ),
    "error() and a strict cast": (
        lambda scene: (
            scene.wrap("stg_contacts", "select * replace (cast(value as integer) as value) from unaltered"),
            scene.wrap(
                "usable_contacts", "select * replace (error(normalized_value) as channel) from unaltered"
            ),
        ),
        ("build",),
        "stg_contacts raises an error or casts an identifier",
    ),
    "dbt show": (lambda scene: None, ("show", "--select", "stg_contacts"), "dbt show: stg_contacts may hold"),
    "dbt show of a query": (
        lambda scene: None,
        ("show", "--inline", "select value from {{ ref('raw_contacts') }}"),
        "dbt show: raw_contacts may hold",
    ),
}


@pytest.mark.parametrize("error", ERRORS)
def test_errors_tell_no_value(copy_of_sample: Project, error: str) -> None:
    """What would have DuckDB or dbt print a value is refused before it does."""
    scene = Scene(copy_of_sample.path)
    plant(scene.path / "seeds" / "sample")
    change, arguments, message = ERRORS[error]
    change(scene)
    run = scene.dbt(*arguments)
    assert not run.success
    assert message in run.output
    assert holding(places(scene, run.output)) == set()


def test_marts_may_be_shown(copy_of_sample: Project) -> None:
    """dbt show works where no value can be."""
    run = copy_of_sample.dbt("show", "--select", "audiences,resource_type:model", "--limit", "1")
    assert run.success, run.output
    assert "list_status" in run.output


def test_no_constraint_quotes_a_value(sample: Project) -> None:
    """DuckDB prints a key that is violated: none stands on a column that may hold a value or a hash."""
    manifest = json.loads((sample.path / "target" / "manifest.json").read_text())
    keyed = set()
    for node in manifest["nodes"].values():
        for name, column in node["columns"].items():
            keyed |= {
                name for constraint in column.get("constraints", []) if constraint["type"] != "not_null"
            }
        for constraint in node.get("constraints", []):
            keyed |= set(constraint["columns"])
    assert len(keyed) > 5
    assert {
        name for name in keyed if name.endswith(("value", "identifier", "_key", "hash_hex", "number"))
    } == set()


@pytest.mark.prove
def test_nothing_published_holds_a_value(sample: Project, tmp_path: Path) -> None:
    """A green build over canaries, published: a canary in no artifact and in no byte of the generation."""
    scene = Scene(Path(shutil.copytree(sample.path, tmp_path / "project")))
    plant(scene.path / "seeds" / "sample")
    run = scene.build()
    assert run.success, run.output
    with working_directory(scene.path):
        answer = CliRunner().invoke(publish.main, ["publish"])
    assert answer.exit_code == 0, answer.output
    left = places(scene, run.output + answer.output)
    assert any(place.endswith("delivery.duckdb") for place in left)
    assert holding(left) == set()

"""Compiled SQL by a second parser: what is really read is what the refs declare."""

import json

import pytest
from compiled_reads import UnreadableError, read_faults, relations_read
from conftest import Project
from dbt_artifacts import Artifacts

STAGED = '"warehouse"."staging"."stg_contacts"'


@pytest.fixture(scope="module")
def artifacts(sample: Project) -> Artifacts:
    """What the build of the sample left."""
    return Artifacts.read(sample.path / "target")


def test_everything_reads_what_it_declares(artifacts: Artifacts) -> None:
    """Every model and every data test."""
    read = [
        relations_read(result["compiled_code"])
        for result in artifacts.results_by_id.values()
        if result["unique_id"].startswith("model.")
    ]
    assert len([relations for relations in read if relations]) > 50
    assert read_faults(artifacts) == []


@pytest.mark.parametrize(
    "sql",
    [
        f"select * from {STAGED}",
        f"with mine as (select * from {STAGED}) select * from mine",
        f"select 1 where exists (select 1 from {STAGED} as contacts where contacts.value is not null)",
        f"select (select max(value) from {STAGED}) as value",
        f"select 1 as value union all select value from {STAGED}",
        f"from {STAGED}",
        f"with recursive r as (select 1 as n union all select n + 1 from r, {STAGED}) select * from r",
        "with stg_contacts as (select 1) select * from warehouse.staging.stg_contacts",
        f"select * from (pivot {STAGED} on channel using count(*))",
        f"select 1 limit (select count(*) from {STAGED})",
    ],
)
def test_reads_are_found(sql: str) -> None:
    """Wherever a relation stands."""
    assert relations_read(sql) == {STAGED}


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select * from read_csv('contacts.csv')", "reads from a function"),
        ("select * from read_parquet('contacts.parquet')", "reads from a function"),
        ("select * from read_text('contacts.csv')", "calls read_text"),
        ("select * from parquet_scan('contacts.parquet')", "calls parquet_scan"),
        ("select * from query_table('staging.stg_contacts')", "calls query_table"),
        ("select * from query('from staging.stg_contacts')", "calls query"),
        ("select * from postgres_scan('', 'staging', 'stg_contacts')", "calls postgres_scan"),
        ("select getvariable('contacts')", "calls getvariable"),
        ("select getenv('HOME')", "calls getenv"),
        ("select * from 'contacts.csv'", "neither a ref nor declared"),
        ("select * from staging.stg_contacts", "neither a ref nor declared"),
        ("select * from stg_contacts", "neither a ref nor declared"),
        ("with stg_contacts as (select * from stg_contacts) select * from stg_contacts", "neither a ref"),
        ("select * from (with mine as (select 1) select * from mine) as a, mine", "neither a ref"),
        ("insert into members select 1", "is not one query"),
        ("copy members to 'members.csv'", "is not one query"),
        ("attach 'other.duckdb'", "is not one query"),
        ("select 1; select 2", "is not one query"),
        ("", "is not one query"),
        ("select from where", "does not parse"),
    ],
)
def test_what_no_ref_shows_is_refused(sql: str, why: str) -> None:
    """Each way to read something that is neither a ref nor declared in the query."""
    with pytest.raises(UnreadableError, match=why):
        relations_read(sql)


def test_differences_from_the_refs_are_named(artifacts: Artifacts) -> None:
    """A model that reads more, one that reads less, and a test that does not parse."""
    changed = {
        "list_matches": lambda sql: f"select matched.* from ({sql}) as matched cross join {STAGED}",
        "audience_matches": lambda sql: "select 1 as list_id",
        "members_are_explained": lambda sql: "select from",
    }
    results = json.loads(json.dumps(artifacts.results))
    for result in results["results"]:
        name = result["unique_id"].split(".")[2]
        if name in changed:
            result["compiled_code"] = changed[name](result["compiled_code"])
    faults = read_faults(Artifacts(artifacts.manifest, results))
    assert f"list_matches reads {STAGED} without a ref" in faults
    assert 'audience_matches refs "warehouse"."matching"."list_matches" and does not read it' in faults
    assert "members_are_explained does not parse" in faults
    assert {fault.split()[0] for fault in faults} == set(changed)

"""Licences, sensitive topics and explanations: what a model forgets, the invariants see by another way."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import oracle
import pytest
from conftest import ROOT, Project

COMPILED = Path("target") / "compiled" / "consented_audiences"
TOPICS = oracle.read_csv(ROOT / "seeds" / "policy" / "sensitive_list_topics.csv")

# What audience_matches and member_explanations would hold if audience_eligibilities let the list through
LET_THROUGH = """
    insert into marts.member_explanations
    select
        list_id, '{advertiser}', user_id, contact_id, channel, purpose, consent_event_id,
        '{upload}', {licence}, matched_at, valid_until
    from matching.list_matches
    where list_id = '{list_id}'
"""
FORGOTTEN = {
    "the topic of a tailored list": (
        LET_THROUGH.format(list_id="l15", advertiser="a08", upload="l15-u1", licence="null"),
        {"sensitive_lists_have_no_members", "members_rest_on_a_match"},
    ),
    "the topic of a partner list": (
        LET_THROUGH.format(list_id="l26", advertiser="a10", upload="l26-u1", licence="'lic16'"),
        {"sensitive_lists_have_no_members", "members_rest_on_a_match"},
    ),
    "that a list without a name says nothing": (
        "update sample.raw_audience_lists set name = ' ' where list_id = 'l01'",
        {"sensitive_lists_have_no_members", "members_rest_on_a_match"},
    ),
    "a topic of the policy": (
        "delete from policy.sensitive_list_topics where topic = 'religion'",
        # nobody is a member of l26, and now everybody there would be
        {"policy_is_valid", "everybody_matched_is_a_member"},
    ),
    "the uses of a licence": (
        LET_THROUGH.format(list_id="l23", advertiser="a05", upload="l23-u1", licence="'lic14'"),
        {"members_are_licensed", "members_rest_on_a_match"},
    ),
    "that no uses allow nothing": (
        LET_THROUGH.format(list_id="l23", advertiser="a01", upload="l23-u1", licence="'lic15'"),
        {"members_are_licensed", "members_rest_on_a_match"},
    ),
    "a revocation": (
        "update sample.raw_partner_licences set revoked_at = '2019-09-01' where licence_id = 'lic09'",
        {"members_are_licensed", "members_rest_on_a_match"},
    ),
    "uses that were taken out of a licence": (
        "update sample.raw_partner_licences set allowed_data_uses = 'ads.measurement'"
        " where licence_id = 'lic09'",
        {"members_are_licensed", "members_rest_on_a_match"},
    ),
    "that another licence is longer": (
        "update sample.raw_partner_licences set ends_at = '2090-01-01' where licence_id = 'lic03';"
        "insert into sample.raw_partner_licences (licence_id, partner_id, advertiser_id, list_id, starts_at,"
        " allowed_data_uses) values ('lic99', 'p01', 'a05', 'l21', '2019-01-01', 'ads')",
        {"members_are_licensed"},
    ),
    "which licence it is": (
        "update marts.member_explanations set licence_id = 'lic01' where licence_id = 'lic03'",
        {"members_are_licensed"},
    ),
    "that a tailored list has no licence": (
        "update marts.member_explanations set licence_id = 'lic01' where list_id = 'l01'",
        {"members_are_licensed"},
    ),
    "which upload added the entry": (
        "update marts.member_explanations set upload_id = 'l01-u1' where upload_id = 'l01-u2'",
        {"members_rest_on_a_match"},
    ),
    "whose partner a click is for": (
        "update marts.measurement_events_shared set measurement_partner_id = 'm02'"
        " where measurement_partner_id = 'm01'",
        {"measurement_shares_nothing_else", "measurement_shares_everything_due"},
    ),
    "which country it came from": (
        "update marts.measurement_events_shared set country_code = 'XX'",
        {"measurement_shares_nothing_else", "measurement_shares_everything_due"},
    ),
}
WATCHED = set().union(*(names for _, names in FORGOTTEN.values()))


@pytest.fixture(scope="module")
def warehouse(
    sample: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of the sample's warehouse, for changes that are rolled back."""
    copy = shutil.copy(sample.warehouse, tmp_path_factory.mktemp("lists") / "warehouse.duckdb")
    with duckdb.connect(str(copy)) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def red(sample: Project, warehouse: duckdb.DuckDBPyConnection, names: set[str]) -> set[str]:
    """Those of the invariants that return a row, as the sample's build compiled them."""
    found = set()
    for name in names:
        compiled = (sample.path / COMPILED / "tests" / "invariants" / f"{name}.sql").read_text()
        if warehouse.execute(compiled).fetchone():
            found.add(name)
    return found


def test_invariants_are_green_on_the_sample(sample: Project, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Nothing is red before anything is forgotten."""
    assert red(sample, warehouse, WATCHED) == set()


@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_a_model_forgets_is_seen(
    sample: Project, warehouse: duckdb.DuckDBPyConnection, name: str
) -> None:
    """Each invariant of the rule turns red."""
    change, expected = FORGOTTEN[name]
    warehouse.execute("begin")
    try:
        for statement in change.split(";"):
            warehouse.execute(statement)
        if "sample." in change or "policy." in change:  # what a build would derive anew from the raw inputs
            derived = (sample.path / COMPILED / "models" / "audit" / "rederived_members.sql").read_text()
            warehouse.execute(f"create or replace table audit.rederived_members as {derived}")
        assert red(sample, warehouse, expected) == expected
    finally:
        warehouse.execute("rollback")


def names_about_anything() -> list[str]:
    """Words of the seed's patterns, bare and inside other words, in cases, accents and punctuation."""
    chance = random.Random(9)
    words = sorted({word for row in TOPICS for word in oracle.re.findall("[a-z]{3,}", row["name_pattern"])})
    accents = str.maketrans("aeiou", "áèîöü")
    names = []
    for _ in range(3000):
        parts = chance.choices(words, k=chance.choice([1, 2, 3]))
        if chance.random() < 0.3:
            parts[0] += chance.choice(["x", "s", "ish", "2"])
        name = chance.choice([" ", "-", "_", " / ", "  ", "\u00a0", "&"]).join(parts)
        names.append(
            chance.choice([str.lower, str.upper, str.title, lambda text: text.translate(accents)])(name)
        )
    return [*names, "", " ", "2024", "Список", "名簿", "List 0"]


def test_three_readings_of_a_topic_agree(sample: Project) -> None:
    """The model, the invariants and the oracle refuse the same names."""
    names = names_about_anything()
    model = (
        sample.path / COMPILED / "models" / "matching" / "lists_clear_of_sensitive_topics.sql"
    ).read_text()
    invariant = (
        sample.path / COMPILED / "tests" / "invariants" / "sensitive_lists_have_no_members.sql"
    ).read_text()
    with duckdb.connect(":memory:") as connection:
        connection.execute("attach ':memory:' as warehouse; use warehouse")
        for schema in ("staging", "policy", "sample", "marts"):
            connection.execute(f"create schema {schema}")
        connection.execute(
            "create table policy.sensitive_list_topics as from read_csv"
            f"('{ROOT}/seeds/policy/sensitive_list_topics.csv', header = true, all_varchar = true)"
        )
        connection.execute("create table sample.raw_audience_lists (list_id varchar, name varchar)")
        connection.executemany("insert into sample.raw_audience_lists values (?, ?)", enumerate(names))
        connection.execute(
            "create view staging.stg_audience_lists as"
            " select list_id, name as list_name from sample.raw_audience_lists"
        )
        connection.execute(
            "create view marts.member_explanations as"
            " select list_id, 'a' as advertiser_id, 'u' as user_id from sample.raw_audience_lists"
        )
        clear = {int(row[0]) for row in connection.execute(model).fetchall()}
        sensitive = {int(row[0]) for row in connection.execute(invariant).fetchall()}
    expected = {number for number, name in enumerate(names) if oracle.is_sensitive(name, TOPICS)}
    assert len(expected) > 1000 and len(names) - len(expected) > 300
    assert sensitive == expected
    assert clear == set(range(len(names))) - expected

"""The bundled sample: what it must contain, and that its result is the same on any later day."""

from collections.abc import Callable
from pathlib import Path

import make_sample
import oracle
import pytest
from click.testing import CliRunner
from conftest import ROOT, Project

DECISIONS = {
    "accepted",
    "not_collected",
    "purpose_unknown",
    "purpose_security",
    "purpose_not_ads",
    "removed",
    "not_verified",
    "invalid_value",
    "held_for_protection",
    "user_not_active",
    "user_not_adult",
    "suppressed",
    "consent_denied",
    "consent_expired",
    "consent_unknown",
}
STATUSES = {
    "not_created",
    "expired",
    "not_attested",
    "partner_inactive",
    "licence_not_in_force",
    "advertiser_inactive",
    "terms_not_accepted",
    "sensitive_topic",
    "too_small",
    "withheld_differencing",
    "serving",
}
REASONS = {
    "hash_in_plain_list",
    "plain_in_hashed_list",
    "hash_format",
    "sentinel_hash",
    "invalid_email",
    "phone_no_country",
    "invalid_phone",
    "removal_row",
    "superseded",
    "membership_expired",
    "duplicate_in_list",
    "matched",
    "not_matched",
}
MARTS = [
    "tailored_audience_members",
    "partner_audience_members",
    "audiences",
    "list_reports",
    "contact_decisions",
    "consent_funnel",
    "member_explanations",
    "measurement_events_shared",
]


@pytest.mark.parametrize(
    ("column", "relation", "expected"),
    [
        ("decision", "marts.contact_decisions", DECISIONS),
        ("list_status", "marts.audiences", STATUSES),
        ("reason", "marts.list_reports", REASONS),
        ("operation", "sample.raw_list_uploads", {"append", "remove", "replace", "remove_all"}),
        ("normalization_profile", "sample.raw_audience_lists", {"x", "meta", "google", "uid2"}),
    ],
)
def test_contains_an_example_of_each(sample: Project, column: str, relation: str, expected: set[str]) -> None:
    """At least one of every decision, list status, row reason, operation and profile."""
    assert {row[0] for row in sample.query(f"select distinct {column} from {relation}")} == expected


def test_tells_the_story_of_2019(sample: Project) -> None:
    """Two-factor, recovery and re-authentication contacts stand on tailored and on partner lists."""
    on_lists = sample.query("""
        select contacts.purpose, lists.list_kind
        from sample.raw_contacts as contacts
        inner join matching.normalized_list_entries as entries
            on sha256(entries.normalized_value) = sha256(
                case when contacts.channel = 'email' then lower(trim(contacts.value)) else contacts.value end
            )
        inner join sample.raw_list_uploads as uploads on entries.upload_id = uploads.upload_id
        inner join sample.raw_audience_lists as lists on uploads.list_id = lists.list_id
        where contacts.purpose like 'security.%'
        group by all
    """)
    for purpose in ("two_factor", "account_recovery", "reauthentication"):
        assert {(f"security.{purpose}", "tailored"), (f"security.{purpose}", "partner")} <= set(on_lists)


def test_has_several_lists_above_the_minimum(sample: Project) -> None:
    """At least five audiences are served, tailored and partner, and their members are delivered."""
    serving = sample.query(
        "select list_kind, count(*) from published.audiences where list_status = 'serving' group by 1"
    )
    assert {kind for kind, _ in serving} == {"tailored", "partner"}
    assert sum(count for _, count in serving) >= 5
    assert sample.query("select count(*) > 500 from delivery.tailored_audience_members") == [(True,)]


def test_is_what_the_script_writes(tmp_path: Path) -> None:
    """The committed files are the script's output, byte for byte."""
    answer = CliRunner().invoke(make_sample.main, ["--out", str(tmp_path)])
    assert answer.exit_code == 0, answer.output
    written = {file.name: file.read_bytes() for file in tmp_path.glob("*.csv")}
    committed = {file.name: file.read_bytes() for file in (ROOT / "seeds" / "sample").glob("*.csv")}
    assert written == committed


@pytest.mark.prove
def test_any_moment_is_green(fresh_project: Callable[[], Project]) -> None:
    """In the middle of the story, too; and `dbt test` on a later day judges what was built for its moment."""
    project = fresh_project()
    run = project.build("--vars", "as_of: 2019-06-15 00:00:00")
    assert run.success, run.output
    assert project.query("select count(*) from release.release where as_of = '2019-06-15 00:00:00+00'") == [
        (1,)
    ]
    run = project.dbt("test", "--exclude", "test_type:unit")
    assert run.success, run.output


def test_agrees_with_the_oracle(sample: Project) -> None:
    """An independent reading of DESIGN in Python gives the same decisions, members and reports."""
    ((as_of,),) = sample.query("select as_of from release.release")
    policy = ROOT / "seeds" / "policy"
    world = oracle.World.from_csv(
        ROOT / "seeds" / "sample",
        policy / "purposes.csv",
        sensitive_list_topics=oracle.read_csv(policy / "sensitive_list_topics.csv"),
    )
    decisions = sample.query("select contact_id, data_use, decision from marts.contact_decisions")
    assert {(contact, use): decision for contact, use, decision in decisions} == oracle.decide(world, as_of)
    reports = sample.query("select list_id, reason, entries from marts.list_reports")
    assert {(list_id, reason): entries for list_id, reason, entries in reports} == oracle.list_reports(
        world, as_of
    )
    members = sample.query("""
        select 'tailored', list_id, advertiser_id, user_id,
            matched_email, matched_phone, first_matched_at, valid_until
        from marts.tailored_audience_members
        union all
        select 'partner', list_id, advertiser_id, user_id,
            matched_email, matched_phone, first_matched_at, valid_until
        from marts.partner_audience_members
    """)
    columns = ["matched_email", "matched_phone", "first_matched_at", "valid_until"]
    assert {row[:4]: dict(zip(columns, row[4:], strict=True)) for row in members} == oracle.members(
        world, as_of
    )
    shared = sample.query("select engagement_id from marts.measurement_events_shared")
    assert {row[0] for row in shared} == set(oracle.measurement(world, as_of))

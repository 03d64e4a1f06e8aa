"""The answer to an access request: all of one person, in words, and nothing about anybody else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import explain
import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, Project
from test_sample import DECISIONS

IDS = re.compile(r"\b(?:u\d{4}|c\d{5}|e\d{5}|g\d{4}|canary-[\w-]+)\b")  # users, contacts, consents, views
KEYS = {
    *("user_id", "as_of", "account", "contacts", "consents", "audiences", "engagements"),
    *("delivered", "first_matched_at", "changes", "change", "previous_as_of"),
    *("country_code", "is_adult", "account_status", "created_at"),
    *("contact_id", "channel", "purpose", "purpose_class", "collected_at", "verified_at", "removed_at"),
    *("decisions", "data_use", "decision", "reason"),
    *("state", "consent_event_id", "events", "status", "occurred_at", "recorded_at", "expires_at"),
    *("list_id", "list_name", "list_kind", "advertiser_id", "advertiser_name", "partner_id", "partner_name"),
    *("is_delivered", "matches", "upload_id", "uploaded_at", "licence_id", "matched_at", "valid_until"),
    *("engagement_id", "event", "shared_with", "shared_country_code"),
}


def run(project: Project, *arguments: str) -> Result:
    """Run the script on a project's warehouse."""
    return CliRunner().invoke(explain.main, [*arguments, "--warehouse", str(project.warehouse)])


def picture(project: Project, user_id: str) -> dict[str, Any]:
    """The JSON answer about one person."""
    answer = run(project, user_id, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.output)


@pytest.fixture(scope="module")
def people(sample: Project) -> list[str]:
    """One user per decision, with views, in most audiences, without an account, and the canaries."""
    users = sample.query("""
        select min(user_id) from marts.contact_decisions group by decision
        union
        select min(engagements.user_id)
        from sample.raw_ad_engagements as engagements
        inner join marts.measurement_events_shared as shared
            on engagements.engagement_id = shared.engagement_id
        union
        select min(user_id) from sample.raw_ad_engagements
        union
        select user_id from (
            select user_id from marts.member_explanations
            group by user_id order by count(*) desc, user_id limit 1
        )
        union
        select user_id from sample.raw_users where user_id like 'canary-%'
        union
        select min(user_id) from sample.raw_contacts
        where user_id not in (select user_id from sample.raw_users)
    """)
    return sorted(user for (user,) in users)


def keys_of(content: object) -> set[str]:
    """Every key of a JSON answer, at any depth."""
    if isinstance(content, dict):
        return content.keys() | {key for value in content.values() for key in keys_of(value)}
    if isinstance(content, list):
        return {key for value in content for key in keys_of(value)}
    return set()


def test_says_all_of_it(sample: Project, people: list[str]) -> None:
    """Every contact, decision, consent event, membership and view of the person."""
    assert len(people) > 10
    for user_id in people:
        told = picture(sample, user_id)
        mine = f"where user_id = '{user_id}'"
        assert told["user_id"] == user_id
        assert (told["account"] is not None) == bool(sample.query(f"select 1 from sample.raw_users {mine}"))
        contacts = {(row["contact_id"], row["purpose"]) for row in told["contacts"]}
        assert contacts == set(sample.query(f"select contact_id, purpose from sample.raw_contacts {mine}"))
        decisions = {
            (row["contact_id"], made["data_use"], made["decision"])
            for row in told["contacts"]
            for made in row["decisions"]
        }
        assert decisions == set(
            sample.query(f"select contact_id, data_use, decision from marts.contact_decisions {mine}")
        )
        events = {
            (consent["data_use"], event["consent_event_id"], event["status"])
            for consent in told["consents"]
            for event in consent["events"]
        }
        assert events == set(
            sample.query(f"select data_use, consent_event_id, status from sample.raw_consent_events {mine}")
        )
        audiences = {
            (audience["list_id"], audience["advertiser_id"], match["contact_id"], match["upload_id"])
            for audience in told["audiences"]
            for match in audience["matches"]
        }
        assert audiences == set(
            sample.query(
                f"select list_id, advertiser_id, contact_id, upload_id from marts.member_explanations {mine}"
            )
        )
        delivered = {
            (row["list_id"], row["advertiser_id"]) for row in told["audiences"] if row["is_delivered"]
        }
        assert delivered == set(
            sample.query(
                f"select list_id, advertiser_id from delivery.tailored_audience_members {mine} union all "
                f"select list_id, advertiser_id from delivery.partner_audience_members {mine}"
            )
        )
        state = {(row["list_id"], row["advertiser_id"], row["contact_id"]) for row in told["delivered"]}
        assert state == set(
            sample.query(f"select list_id, advertiser_id, contact_id from state.delivered_members {mine}")
        )
        changes = {(row["list_id"], row["advertiser_id"], row["change"]) for row in told["changes"]}
        assert changes == set(
            sample.query(f"select list_id, advertiser_id, change from delivery.membership_changes {mine}")
        )
        views = {(row["engagement_id"], row["shared_with"] is not None) for row in told["engagements"]}
        assert views == set(
            sample.query(
                "select engagement_id,"
                " engagement_id in (select engagement_id from delivery.measurement_events_shared)"
                f" from sample.raw_ad_engagements {mine}"
            )
        )


def test_says_who_is_only_named_in_a_removal(copy_of_sample: Project) -> None:
    """Somebody erased, whose id the ad server is told once more: that is held, and nothing else."""
    with duckdb.connect(str(copy_of_sample.warehouse)) as connection:
        connection.execute("""
            insert into delivery.membership_changes by name
            select 'tailored' as list_kind, 'l01' as list_id, 'a01' as advertiser_id, 'u9999' as user_id,
                'remove' as change, 'user_erased' as reason, as_of
            from release.release
        """)
    told = picture(copy_of_sample, "u9999")
    assert told["account"] is None
    assert [(row["change"], row["reason"]) for row in told["changes"]] == [("remove", "user_erased")]
    assert "user_erased" in run(copy_of_sample, "u9999").output


def test_says_why(sample: Project) -> None:
    """In a partner audience: whose list, for whom, which contact, purpose, consent, upload and licence."""
    audience = next(row for row in picture(sample, "u0110")["audiences"] if row["list_id"] == "l21")
    assert audience["partner_name"] == "Meridian Household Data"
    assert audience["advertiser_name"] == "Elderbrook Games"
    (match,) = audience["matches"]
    assert (match["purpose"], match["upload_id"], match["licence_id"]) == (
        "ads.audience_matching",
        "l21-u2",
        "lic03",
    )
    assert sample.query(
        f"select status, data_use from sample.raw_consent_events "
        f"where consent_event_id = '{match['consent_event_id']}'"
    ) == [("granted", "ads.audience_matching.partner")]


def test_tells_nothing_of_anybody_else(sample: Project, people: list[str]) -> None:
    """No other person's id, no contact's value, no size of a list; neither as text nor as JSON."""
    values = [value for (value,) in sample.query("select distinct trim(value) from sample.raw_contacts")]
    for user_id in people:
        mine = f"where user_id = '{user_id}'"
        own = {user_id} | {
            identifier
            for table, column in (
                ("raw_contacts", "contact_id"),
                ("raw_consent_events", "consent_event_id"),
                ("raw_ad_engagements", "engagement_id"),
            )
            for (identifier,) in sample.query(f"select {column} from sample.{table} {mine}")
        }
        for arguments in ([user_id], [user_id, "--json"]):
            output = run(sample, *arguments).output
            assert user_id in output
            assert set(IDS.findall(output)) <= own
            assert not [value for value in values if len(value) > 6 and value in output]
        assert keys_of(picture(sample, user_id)) <= KEYS


def test_text_has_what_json_has(sample: Project, people: list[str]) -> None:
    """Every id of the JSON answer stands in the text, and every decision in words."""
    for user_id in people:
        told = picture(sample, user_id)
        output = run(sample, user_id).output
        assert set(IDS.findall(json.dumps(told))) <= set(IDS.findall(output))
        words = re.sub(r"[\s│]+", " ", output)
        for row in told["contacts"]:
            for made in row["decisions"]:
                assert made["decision"] in words and made["reason"][:30] in words


def test_every_decision_has_words() -> None:
    """Accepted and every reason for refusal; only accepted says that something may be matched."""
    assert explain.REASONS.keys() == DECISIONS
    assert {key for key, words in explain.REASONS.items() if not words.startswith("not matched: ")} == {
        "accepted"
    }


def test_nobody_of_that_id(sample: Project) -> None:
    """Exit code 1, a message on standard error, and nothing on standard output."""
    for user_id in ("u9999", "", "u0110' or user_id like '%"):
        answer = run(sample, user_id, "--json")
        assert answer.exit_code == 1
        assert answer.stdout == ""
        assert answer.stderr == "Nothing is held about this id.\n"


def test_warehouse_that_was_not_built(tmp_path: Path) -> None:
    """Exit code 2 and what to do, for a file that is no warehouse and for one without the marts."""
    (tmp_path / "text").write_text("no database")
    duckdb.connect(str(tmp_path / "empty")).close()
    for name in ("text", "empty", "missing"):
        answer = CliRunner().invoke(explain.main, ["u0110", "--warehouse", str(tmp_path / name)])
        assert answer.exit_code == 2
        assert answer.stderr.startswith("Usage: ")


def test_reads_only(sample: Project, tmp_path: Path) -> None:
    """A warehouse in which nobody may write is enough, and stays as it is."""
    copy = Path(shutil.copy(sample.warehouse, tmp_path / "warehouse.duckdb"))
    before = copy.read_bytes()
    copy.chmod(0o400)
    answer = CliRunner().invoke(explain.main, ["u0110", "--warehouse", str(copy)])
    assert answer.exit_code == 0, answer.output
    assert copy.read_bytes() == before


def test_documented_queries(sample: Project) -> None:
    """The queries of the README run as they stand, and answer for the person of its example."""
    section = (ROOT / "README.md").read_text().split("## Why am I in this audience?")[1].split("\n## ")[0]
    why, values = re.findall(r"```sql\n(.*?)```", section, re.S)
    answer = sample.query(why)
    assert {(row[0], row[1]) for row in answer} == {
        (row["list_id"], row["advertiser_id"]) for row in picture(sample, "u0110")["audiences"]
    }
    assert len(sample.query(values)) == len(picture(sample, "u0110")["contacts"])

"""The faults of 2019, and others like them: each ends red, and what was published stays as it was.

Those that take a build to be seen, and of which leaks.py has the like, run in the long mode alone.
"""

import pytest
from conftest import Project

CONTACT_DECISIONS = "models/consent/usable_contact_decisions.sql"
CONTACTS = "models/staging/identity/stg_contacts.sql"
GATE = "models/consent/contacts_consented_for_ads.sql"
LIST_MATCHES = "models/matching/list_matches.sql"
TAILORED = "models/marts/audiences/tailored_audience_members.sql"

MEMBERS_FROM_STAGING = """
select
    entries.list_id,
    contacts.user_id,
    'a01' as advertiser_id,
    true as matched_email,
    false as matched_phone,
    now() as first_matched_at,
    cast(null as timestamptz) as valid_until
from {relation} as contacts
inner join {{{{ ref('folded_list_entries') }}}} as entries
    on entries.match_key = sha256(contacts.value)
"""


def assert_red_and_unchanged(project: Project, *rules: str, arguments: tuple[str, ...] = ()) -> None:
    """Build; expect a failure that names one of the rules, and untouched published tables."""
    before = project.published()
    assert any(before.values()), "nothing was published before, so nothing is proved"
    run = project.build(*arguments)
    assert not run.success
    named = [rule for rule in rules if rule in run.failed() or rule in run.output]
    assert named, f"red, but by {run.failed() or run.output[-2000:]}"
    assert project.published() == before


def test_gate_without_its_purpose_condition(copy_of_sample: Project) -> None:
    """The fault of 2019 itself: contacts are let through whatever they were given for."""
    copy_of_sample.edit(
        CONTACTS,
        "            purposes.is_usable_for_matching\n"
        "            and purposes.is_assignable\n"
        "            and purposes.purpose_class <> 'unknown'\n"
        "            and purposes.purpose_class <> 'security',\n"
        "            false\n",
        "            true, false\n",
    )
    copy_of_sample.edit(
        CONTACT_DECISIONS,
        "            when\n"
        "                matching_data_uses.data_use <> contacts.purpose\n"
        "                and left(matching_data_uses.data_use, length(contacts.purpose) + 1)"
        " <> contacts.purpose || '.'\n"
        "                then 'purpose_not_ads'\n",
        "",
    )
    for name in ("contacts_clear_of_protection", "contacts_clear_of_suppression"):
        everybody = "select contact_id from {{ ref('usable_contacts') }}"
        copy_of_sample.write(f"models/consent/{name}.sql", everybody)
    assert_red_and_unchanged(copy_of_sample, "usable_contact_decisions", "gate_admits_nobody_else")


@pytest.mark.prove
def test_gate_without_its_decision(copy_of_sample: Project) -> None:
    """The gate forgets to ask for acceptance."""
    copy_of_sample.edit(GATE, "    where contact_decisions.decision = 'accepted'\n", "")
    assert_red_and_unchanged(
        copy_of_sample, "gate_admits_nobody_else", "not_null_contacts_consented_for_ads_verified_at"
    )


def test_mart_on_staged_contacts(copy_of_sample: Project) -> None:
    """An audience mart refs staging instead of the gate: the project does not parse."""
    copy_of_sample.write(TAILORED, MEMBERS_FROM_STAGING.format(relation="{{ ref('stg_contacts') }}"))
    assert_red_and_unchanged(copy_of_sample, "is private to the 'identity' group")


def test_mart_on_raw_contacts(copy_of_sample: Project) -> None:
    """An audience mart refs the raw input, which has no group: the graph is refused at the run's start."""
    sql = MEMBERS_FROM_STAGING.format(relation="{{ ref('raw_contacts') }}")
    copy_of_sample.write(TAILORED, sql)
    assert_red_and_unchanged(copy_of_sample, "raw_contacts -> tailored_audience_members")


def test_hard_coded_table_name(copy_of_sample: Project) -> None:
    """An audience mart names the staging table, so that no ref shows it."""
    copy_of_sample.write(TAILORED, MEMBERS_FROM_STAGING.format(relation="staging.stg_contacts"))
    assert_red_and_unchanged(
        copy_of_sample, "tailored_audience_members names a relation, a file or a table function"
    )


def test_renamed_gate(copy_of_sample: Project) -> None:
    """The gate is renamed, so that a check which looks for paths around it could find none."""
    for path in copy_of_sample.path.glob("models/**/*"):
        if path.suffix in (".sql", ".yml"):
            path.write_text(path.read_text().replace("contacts_consented_for_ads", "ads_contacts"))
    for path in copy_of_sample.path.glob("tests/**/*.sql"):
        path.write_text(path.read_text().replace("contacts_consented_for_ads", "ads_contacts"))
    for path in copy_of_sample.path.glob("macros/invariants/*.sql"):
        path.write_text(path.read_text().replace("contacts_consented_for_ads", "ads_contacts"))
    (copy_of_sample.path / GATE).rename(copy_of_sample.path / "models/consent/ads_contacts.sql")
    assert_red_and_unchanged(
        copy_of_sample,
        "no gate: the model contacts_consented_for_ads is missing",
        arguments=("--no-partial-parse",),
    )


def test_gate_as_a_table(copy_of_sample: Project) -> None:
    """The gate is no view any more, so it could hold yesterday's contacts."""
    copy_of_sample.edit(
        "models/consent/_consent__models.yml",
        "      materialized: view\n      access: protected\n",
        "      materialized: table\n      access: protected\n",
    )
    assert_red_and_unchanged(copy_of_sample, "must be a view of the group identity")


def test_post_hook(copy_of_sample: Project) -> None:
    """A hook writes rows that no guard of the model sees."""
    content = (copy_of_sample.path / TAILORED).read_text()
    hook = '{{ config(post_hook = "insert into {{ this }} select * from {{ this }}") }}\n'
    copy_of_sample.write(TAILORED, hook + content)
    assert_red_and_unchanged(copy_of_sample, "tailored_audience_members has a hook")


@pytest.mark.prove
def test_match_across_channels_and_uses(copy_of_sample: Project) -> None:
    """Consent for one data use serves the other."""
    copy_of_sample.edit(
        LIST_MATCHES,
        "            folded_list_entries.data_use = contact_match_keys.data_use\n            and ",
        "            ",
    )
    assert_red_and_unchanged(
        copy_of_sample,
        "unique_combination_list_matches_list_id__contact_id",
        "consent_held_at_as_of",
        "members_rest_on_a_match",
    )


@pytest.mark.prove
def test_withdrawal_ignored(copy_of_sample: Project) -> None:
    """Any grant ever counts, whatever came after it."""
    copy_of_sample.edit(
        "models/consent/consent_states.sql",
        "                consent_events.occurred_at desc,\n"
        "                consent_events.recorded_at desc,\n"
        "                consent_events.is_granted asc,",
        "                consent_events.is_granted desc,\n"
        "                consent_events.occurred_at desc,\n"
        "                consent_events.recorded_at desc,",
    )
    assert_red_and_unchanged(copy_of_sample, "gate_admits_nobody_else", "consent_states")


def test_emptied_build(copy_of_sample: Project) -> None:
    """`dbt build --empty` overwrites tables with nothing; tests that ask for something turn it red."""
    assert_red_and_unchanged(
        copy_of_sample, "policy_is_valid", "every_contact_has_one_decision", arguments=("--empty",)
    )


@pytest.mark.parametrize("minimum", ["0", "-1", "", "many"])
def test_minimum_size_out_of_range(copy_of_sample: Project, minimum: str) -> None:
    """A minimum that would let every list through stops the build."""
    copy_of_sample.edit(
        "seeds/policy/audience_policy.csv", "min_audience_size,100", f"min_audience_size,{minimum}"
    )
    assert_red_and_unchanged(
        copy_of_sample,
        "policy_is_valid",
        "not_null_audience_policy_value",
        arguments=("--select", "audience_policy"),
    )


@pytest.mark.prove
def test_security_purpose_made_usable(copy_of_sample: Project) -> None:
    """The policy seed lets a security code into matching."""
    copy_of_sample.edit(
        "seeds/policy/purposes.csv",
        "security.two_factor,security,true,security,true,false",
        "security.two_factor,security,true,security,true,true",
    )
    assert_red_and_unchanged(copy_of_sample, "protective_purposes_never_usable")

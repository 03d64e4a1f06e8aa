"""Ways around the gate and the guards: each is refused at the run's start, before any SQL of a model."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb
import pytest
from conftest import Project, Run, packs_of
from test_faults import TAILORED, assert_red_and_unchanged

STG_CONTACTS = "{{ ref('stg_contacts') }}"
DELIVERED = "models/published/delivery/delivery_measurement_events_shared.sql"
NO_REF = "names a relation, a file or a table function in place of a ref"
NO_CANDIDATE = "is more than a candidate as_released"
HOOK = "which could write what no guard sees"
JINJA = "holds Jinja other than a ref"
INCIDENT_NOTES = "models/marts/incident/incident_notes.sql"
ASSESSMENT = ("--vars", "incident_assessment: true")


@dataclass
class Detour:
    """What is written over or beside the project, and the rule that must be named."""

    rule: str
    files: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[str, str, str]] = field(default_factory=list)
    arguments: tuple[str, ...] = ()
    stops_the_parse: bool = False


def ending(model: str, old: str, new: str, rule: str = NO_REF) -> Detour:
    """A model of the matching that ends otherwise."""
    return Detour(f"{model} {rule}", edits=[(f"models/matching/{model}.sql", f"select * from {old}", new)])


DETOURS = {
    "delivery reads staging": Detour(
        NO_CANDIDATE,
        {
            DELIVERED: "select engagement_id, measurement_partner_id, advertiser_id, event, occurred_at,"
            " country_code, now() as as_of from {{ ref('stg_ad_engagements') }}"
        },
    ),
    "published reads a mart": Detour(
        NO_CANDIDATE,
        {"models/published/bi/published_audiences.sql": "select * from {{ ref('audiences') }}"},
    ),
    "more than the candidate": Detour(
        NO_CANDIDATE,
        edits=[
            (DELIVERED, "{{ as_released(", "select * from {{ ref('release') }} union all {{ as_released("),
        ],
    ),
    "a published model that nobody asked for": Detour(
        "published_contacts is in no exposure",
        {
            "models/published/bi/published_contacts.sql": "{{ config(contract={'enforced': false}) }}"
            "{{ as_released('release_audiences') }}"
        },
    ),
    "a candidate made of staged contacts": Detour(
        "stg_contacts -> release_contacts: the layer release reads only",
        {
            "models/release/release_contacts.sql": "{{ config(group='identity', access='private') }}"
            f"select contact_id from {STG_CONTACTS}"
        },
    ),
    "views and clicks by another way": Detour(
        "raw_ad_engagements -> engaged_users",
        {"models/matching/engaged_users.sql": "select user_id from {{ ref('raw_ad_engagements') }}"},
    ),
    "a comma join": ending("list_matches", "matched", "select matched.* from matched, staging.stg_contacts"),
    "a name put together": ending(
        "audience_matches", "matched", "select matched.* from matched, {{ 'staging.' ~ 'stg_contacts' }}"
    ),
    "a name from a macro": Detour(
        f"audience_eligibilities {JINJA}",
        {"macros/contacts.sql": "{% macro contacts() %}staging.stg_contacts{% endmacro %}"},
        [
            (
                "models/matching/audience_eligibilities.sql",
                "select * from judged",
                "select judged.* from judged cross join {{ contacts() }}",
            )
        ],
    ),
    "a literal that looks like a comment": ending(
        "list_entry_keys",
        "keyed",
        "select keyed.* from keyed inner join staging.stg_contacts as others on '--' <> user_id",
    ),
    "a literal with an escape": ending(
        "ordered_list_uploads", "ordered", "select * from ordered where e'\\'' <> list_id", "holds '"
    ),
    "a quoted name": ending(
        "audience_sizes", "counted", 'select counted.* from counted, "staging"."stg_contacts"', 'holds "'
    ),
    "a table function": ending(
        "lists_clear_of_sensitive_topics",
        "clear_lists",
        "select clear_lists.* from clear_lists, query_table('staging.stg_contacts')",
    ),
    "a name that stands for a schema": ending(
        "audience_differences",
        "labelled",
        "select staging.* from labelled as staging",
        "has a name of its own that is a schema: staging",
    ),
    "a source that is a staging model": Detour(
        "landed is a source that is no input",
        {
            "models/matching/_sources.yml": "sources: [{name: other, schema: staging,"
            " tables: [{name: landed, identifier: stg_contacts}]}]"
        },
    ),
    "a query that runs while the model compiles": Detour(
        JINJA,
        edits=[(TAILORED, "select * from members", "{% do run_query('select 1') %}select * from members")],
    ),
    "a hook after the run": Detour(
        HOOK,
        edits=[
            (
                "dbt_project.yml",
                "\nseeds:\n",
                '\non-run-end: "delete from published.audiences"\n\nseeds:\n',
            )
        ],
    ),
    "a hook of a seed": Detour(
        HOOK,
        edits=[
            (
                "dbt_project.yml",
                "      +schema: policy\n",
                '      +schema: policy\n      +post-hook: "select 1"\n',
            )
        ],
    ),
    "a header of a model": Detour(
        HOOK,
        edits=[
            (
                "dbt_project.yml",
                "      +schema: matching\n",
                '      +schema: matching\n      +sql_header: "select 1;"\n',
            )
        ],
    ),
    "an incremental audience": Detour(
        "is neither a view nor a table",
        edits=[
            (
                "dbt_project.yml",
                "      +schema: marts\n      +materialized: table",
                "      +schema: marts\n      +materialized: incremental\n      +on_schema_change: fail",
            )
        ],
    ),
    "an incremental delivery": Detour(
        "is no table with an enforced contract",
        edits=[
            (
                "dbt_project.yml",
                "      delivery:\n",
                "      delivery:\n        +materialized: incremental\n        +on_schema_change: fail\n",
            )
        ],
    ),
    "a snapshot of contacts": Detour(
        "is a snapshot, which would keep what was withdrawn",
        {
            "snapshots/contacts.yml": "snapshots: [{name: contacts_kept, relation: ref('stg_contacts'),"
            " config: {unique_key: contact_id, strategy: check, check_cols: all, group: identity}}]"
        },
        [("dbt_project.yml", "seed-paths: [seeds]\n", "seed-paths: [seeds]\nsnapshot-paths: [snapshots]\n")],
    ),
    "keys minted before the gate": Detour(
        "of the group identity hashes",
        {
            "models/consent/contact_hashes.sql": "select {{ sha256_hex('block_key') }} as match_key"
            f" from {STG_CONTACTS}"
        },
    ),
    "a view of what the last build left": Detour(
        "is no table and reads the last build or the key of sizes",
        {
            "models/matching/size_changes.sql": "{{ config(materialized='view') }}"
            "select list_id from {{ previous_state('published_sizes') }}"
        },
    ),
    "a mart without its content check": Detour(
        "contact_notes has no data test no_identifiers",
        {
            "models/marts/privacy/contact_notes.sql": "{{ config(contract={'enforced': false}) }}"
            f"select contact_id from {STG_CONTACTS}"
        },
    ),
    "a model of the assessment in a normal build": Detour(
        "incident_notes is enabled without the var incident_assessment",
        {
            INCIDENT_NOTES: "{{ config(enabled=true, contract={'enforced': false}) }}"
            "select contact_id from {{ ref('raw_contacts') }}"
        },
    ),
    "an assessment in another schema": Detour(
        "release_affected_users must be private, in the group and in the schema incident",
        {
            "models/release/release_affected_users.sql": "{{ config(group='incident', access='private') }}"
            "select user_id from {{ ref('affected_users') }}"
        },
        arguments=ASSESSMENT,
    ),
    "an assessment that reads the gate": Detour(
        "contacts_consented_for_ads -> incident_notes: the incident models read inputs, policy",
        {
            INCIDENT_NOTES: "{{ config(contract={'enforced': false}) }}"
            "select contact_id from {{ ref('contacts_consented_for_ads') }}"
        },
        arguments=ASSESSMENT,
    ),
    "a mart that reads an assessment": Detour(
        "incident_matches -> matched_users: nothing may depend on the incident assessment",
        {"models/marts/privacy/matched_users.sql": "select user_id from {{ ref('incident_matches') }}"},
        [
            (
                "models/marts/incident/_incident__models.yml",
                "  - name: incident_matches\n    description: >\n",
                "  - name: incident_matches\n    config: {access: protected}\n    description: >\n",
            )
        ],
        arguments=ASSESSMENT,
    ),
    "a mart that reads the log": Detour(
        "raw_legacy_matches -> matched_users: nothing may depend on the incident assessment",
        {"models/marts/privacy/matched_users.sql": "select user_id from {{ ref('raw_legacy_matches') }}"},
        arguments=ASSESSMENT,
    ),
    "an assessment that somebody is shown": Detour(
        "referenced node is private to the 'incident' group",
        {
            "models/published/_incident.yml": "exposures: [{name: incident_dashboard, type: dashboard,"
            " owner: {name: Nobody, email: nobody@example.com}, depends_on: [ref('affected_users')]}]"
        },
        arguments=ASSESSMENT,
        stops_the_parse=True,
    ),
    "one guard excluded": Detour(
        "are left out by selection (gate_admits_nobody_else",
        arguments=("--exclude", "gate_admits_nobody_else"),
    ),
    "only what is published": Detour(
        "are left out by selection", arguments=("--select", "path:models/published")
    ),
    "no data tests": Detour("are left out by selection", arguments=("--exclude-resource-type", "test")),
}


def fit_together(one: Detour, other: Detour) -> bool:
    """Whether one run's start can name both, each by a rule of its own."""
    if one.stops_the_parse or other.stops_the_parse or one.rule in other.rule or other.rule in one.rule:
        return False
    written, edited = one.files.keys(), {path for path, _, _ in one.edits}
    others = other.files.keys() | {path for path, _, _ in other.edits}
    return one.arguments == other.arguments in ((), ASSESSMENT) and not (
        written & others or edited & other.files.keys()
    )


PACKS = packs_of(DETOURS, fit_together)


@pytest.fixture(scope="module")
def refusal(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The build over a detour's pack, made once: it is red, and what was published stays as it was."""

    @cache
    def build(pack: tuple[str, ...]) -> Run:
        folder = tmp_path_factory.mktemp("detours") / "project"
        project = Project(Path(shutil.copytree(sample.path, folder)))
        for name in pack:
            for path, content in DETOURS[name].files.items():
                project.write(path, content)
            for path, old, new in DETOURS[name].edits:
                project.edit(path, old, new)
        before = project.published()
        assert any(before.values())
        run = project.build(*DETOURS[pack[0]].arguments)
        assert not run.success and project.published() == before
        return run

    return lambda detour: build(PACKS[detour])


@pytest.mark.parametrize("name", DETOURS)
def test_detour(refusal: Callable[[str], Run], name: str) -> None:
    """The rule is named."""
    assert DETOURS[name].rule in refusal(name).output


def test_run_without_tests(copy_of_sample: Project) -> None:
    """`dbt run` runs no guard, so it publishes nothing; for the rest it works as everywhere."""
    before = copy_of_sample.published()
    run = copy_of_sample.dbt("run")
    assert not run.success and "are left out by selection" in run.output
    assert copy_of_sample.published() == before
    run = copy_of_sample.dbt("run", "--select", "consent_funnel")
    assert run.success, run.output


def test_retired_table(copy_of_sample: Project) -> None:
    """The table of a model that was deleted is still readable: dbt never drops it."""
    with duckdb.connect(str(copy_of_sample.warehouse)) as warehouse:
        warehouse.execute(
            "create table delivery.old_audience_members as from delivery.tailored_audience_members"
        )
    assert_red_and_unchanged(copy_of_sample, "delivery.old_audience_members is still readable")

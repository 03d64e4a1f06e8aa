"""The ways to leak: those of DESIGN's section 6, then those devised from DESIGN alone, and what sees each.

The second half was named, and committed, before its author had looked at one guard of the project, so that
the guards were not the source of the attacks upon them. Run as a script this applies every one of them to a
copy of the project, alone, and writes the matrix of leaks and detectors (make prove).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import duckdb
import lock
import publish
import size_noise
from click.testing import CliRunner
from compiled_reads import UnreadableError, relations_read
from conftest import Project, copy_project, working_directory
from dbt_artifacts import Artifacts, Node
from rich.progress import track

TAILORED = "models/marts/audiences/tailored_audience_members.sql"
GATE = "models/consent/contacts_consented_for_ads.sql"
Transform = Callable[[str], str]
STAGED = "{{ ref('stg_contacts') }}"
OPEN_MODEL = "{{ config(contract={'enforced': false}) }}"
NO_REF = "names a relation, a file or a table function in place of a ref"
HOOK = "which could write what no guard sees"
AS_FROM_STAGING = """
select
    entries.list_id, contacts.user_id, 'a01' as advertiser_id, true as matched_email, false as matched_phone,
    cast(null as timestamptz) as first_matched_at, cast(null as timestamptz) as valid_until
from {relation} as contacts
inner join {{{{ ref('folded_list_entries') }}}} as entries
    on contacts.value = entries.match_key
"""


def wrap(select: str) -> Transform:
    """Let SQL end in another query, which finds the old one's rows as `unaltered`."""

    def transform(text: str) -> str:
        head, last = re.fullmatch(r"(?s)(.*\n)(select\b.*)", text).groups()
        head = head.rstrip()
        comma = "," if head.endswith((")", "}}")) else "with"
        return f"{head}{comma}\n\nunaltered as (\n{last}\n)\n\n{select}\n"

    return transform


def replace(old: str, new: str) -> Transform:
    """Put a text in the place of another, which must be there."""

    def transform(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return transform


class Scene(Project):
    """A copy of the project in which a leak is set."""

    def model(self, name: str) -> str:
        """The path of a model, wherever it stands."""
        (file,) = self.path.glob(f"models/**/{name}.sql")
        return file.relative_to(self.path).as_posix()

    def leak(self, leak: Leak) -> None:
        """Set a leak."""
        leak.set(self)
        for name, transform in leak.changes.items():
            (file,) = (
                file
                for folder in ("models", "seeds/policy")
                for file in (self.path / folder).rglob(f"{name}.*")
                if file.suffix in (".sql", ".csv")
            )
            file.write_text(transform(file.read_text()))

    def wrap(self, name: str, select: str) -> None:
        """Let a model end in another query."""
        path = self.model(name)
        self.write(path, wrap(select)((self.path / path).read_text()))

    def prepend(self, name: str, text: str) -> None:
        """Write a line above a model."""
        path = self.model(name)
        self.write(path, f"{text}\n{(self.path / path).read_text()}")

    def append(self, path: str, text: str) -> None:
        """Add to a file."""
        self.write(path, (self.path / path).read_text() + text)

    def replace_all(self, pattern: str, old: str, new: str) -> None:
        """Replace a text in every file that has it; one must."""
        files = [file for file in self.path.glob(pattern) if file.is_file() and old in file.read_text()]
        assert files, f"{old} is in no {pattern}"
        for file in files:
            file.write_text(file.read_text().replace(old, new))


@dataclass(frozen=True)
class Leak:
    """A way to leak.

    Args:
        rule: what must be named: part of a message, or the name of a guard that fails.
        set: sets the leak in a copy.
        arguments: of the build.
        sql: models whose compiled SQL the second parser must refuse.
        changes: what becomes of the SQL of models and of the text of policy seeds, where the start of a run
            sees nothing: they and what is downstream of them are rebuilt.
        is_built: whether the run gets past its start by a change of anything else.
    """

    rule: str
    set: Callable[[Scene], object] = lambda scene: None
    arguments: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    changes: Mapping[str, Transform] = field(default_factory=dict)
    is_built: bool = False


def wrapped(model: str, select: str, rule: str) -> Leak:
    """A model whose rows are altered at its end."""
    return Leak(rule, changes={model: wrap(select)})


def project_line(after: str, line: str) -> Callable[[Scene], None]:
    """A line more in dbt_project.yml."""
    return lambda scene: scene.edit("dbt_project.yml", after, after + line)


def renamed_gate(scene: Scene) -> None:
    """The gate under another name, everywhere but in the checks."""
    for pattern in ("models/**/*", "tests/**/*.sql"):
        scene.replace_all(pattern, "contacts_consented_for_ads", "ads_contacts")
    (scene.path / scene.model("contacts_consented_for_ads")).rename(
        scene.path / "models/consent/ads_contacts.sql"
    )


def retired_table(scene: Scene) -> None:
    """A table of which no model is left."""
    with duckdb.connect(str(scene.warehouse)) as warehouse:
        warehouse.execute("create table delivery.lookalikes as from delivery.tailored_audience_members")


def misspelt_test(scene: Scene) -> None:
    """Keys that dbt does not know, and drops in silence."""
    path = "models/marts/audiences/_audiences__models.yml"
    scene.write(path, (scene.path / path).read_text().replace("    data_tests:\n", "    data_test:\n", 1))


def local_package(scene: Scene) -> None:
    """A package of one's own, installed as dbt deps does."""
    scene.write(
        "dbt_packages/lookalikes/dbt_project.yml", "name: lookalikes\nversion: '1.0'\nmodel-paths: [models]\n"
    )
    scene.write(
        "dbt_packages/lookalikes/models/lookalikes.sql",
        "select * from {{ ref('consented_audiences', 'raw_contacts') }}",
    )
    scene.write("packages.yml", "packages: [{local: dbt_packages/lookalikes}]\n")
    scene.write("package-lock.yml", "packages:\n  - local: dbt_packages/lookalikes\n    name: lookalikes\n")


def mart_in_identity(scene: Scene) -> None:
    """An audience mart of the group that may ref staging."""
    scene.write(
        TAILORED, "{{ config(group='identity', access='private') }}" + AS_FROM_STAGING.format(relation=STAGED)
    )


def with_key(scene: Scene) -> None:
    """The match key in a delivered table: mart, candidate, contracts and all."""
    scene.wrap(
        "tailored_audience_members",
        "select unaltered.*, max(keys.match_key) as match_key from unaltered"
        " left join {{ ref('list_matches') }} as keys on unaltered.user_id = keys.user_id group by all",
    )
    scene.edit(scene.model("release_tailored_audience_members"), "valid_until\n", "valid_until, match_key\n")
    for path, model in (
        ("models/marts/audiences/_audiences__models.yml", "  - name: tailored_audience_members\n"),
        ("models/published/_published__models.yml", "  - name: delivery_tailored_audience_members\n"),
    ):
        before, columns, after = (scene.path / path).read_text().partition(model)
        column = "    columns:\n      - {name: match_key, description: Key., data_type: varchar}\n"
        scene.write(path, before + columns + after.replace("    columns:\n", column, 1))


def rows_that_fit(scene: Scene) -> None:
    """A unit test that expects what the leak gives."""
    path = "models/consent/_consent__models.yml"
    content = (scene.path / path).read_text()
    old = re.search(r"decision: purpose_not_ads", content)
    assert old
    scene.write(path, content.replace(old[0], "decision: accepted", 1))


def without_unit_test(scene: Scene) -> None:
    """A rule's unit test goes with the rule."""
    name = "usable_contact_decisions_rule_8_held_for_protection"
    (file,) = (file for file in scene.path.glob("models/**/*.yml") if f"name: {name}\n" in file.read_text())
    file.write_text(re.sub(rf"(?s)  - name: {name}\n.*?\n\n(?=  - name:)", "", file.read_text()))


def log_of_values(scene: Scene) -> None:
    """A macro of SQL text, called by staging, that logs what it can read."""
    path = "macros/normalization.sql"
    content = (scene.path / path).read_text()
    start = "{% macro trim_white_space(text) -%}\n"
    assert start in content
    value = "run_query('select value from sample.raw_contacts').rows[0][0]"
    log = f"{{%- if execute -%}}{{%- do log({value}, info=true) -%}}{{%- endif -%}}"
    scene.write(path, content.replace(start, start + log))


OPENED = "true as is_known_purpose, false as is_security_purpose, false as is_protective"
SECTION_6: dict[str, Leak] = {
    "A mart refs staging instead of the gate": Leak(
        "is private to the 'identity' group",
        lambda scene: scene.write(TAILORED, AS_FROM_STAGING.format(relation=STAGED)),
    ),
    "A hard-coded relation name": Leak(
        "tailored_audience_members " + NO_REF,
        lambda scene: scene.write(TAILORED, AS_FROM_STAGING.format(relation="staging.stg_contacts")),
        sql=("tailored_audience_members",),
    ),
    "The gate loses its purpose join": wrapped(
        "stg_contacts",
        f"select * replace ({OPENED}, true as is_usable_for_matching,"
        " 'ads.audience_matching' as purpose) from unaltered",
        "gate_admits_nobody_else",
    ),
    "A deny-list of one code in place of the allow-list": wrapped(
        "stg_contacts",
        f"select * replace ({OPENED}, 'ads.audience_matching' as purpose,"
        " coalesce(purpose, '') <> 'security.two_factor' as is_usable_for_matching) from unaltered",
        "gate_admits_nobody_else",
    ),
    "Staging relabels NULL as ads": wrapped(
        "stg_contacts",
        "select * replace (coalesce(purpose, 'ads.audience_matching') as purpose,"
        " is_usable_for_matching or purpose is null as is_usable_for_matching,"
        " is_protective and purpose is not null as is_protective) from unaltered",
        "gate_admits_nobody_else",
    ),
    "Staging relabels recovery as ads": wrapped(
        "stg_contacts",
        "select * replace (replace(purpose, 'security.account_recovery', 'ads.audience_matching') as purpose,"
        " is_usable_for_matching or coalesce(purpose, '') like '%recovery' as is_usable_for_matching,"
        " is_protective and coalesce(purpose <> 'security.account_recovery', true) as is_protective)"
        " from unaltered",
        "gate_admits_nobody_else",
    ),
    "An intermediate unions in verified phones": wrapped(
        "usable_contacts",
        "select * from unaltered union all by name select contact_id, user_id, channel,"
        " 'ads.audience_matching' as purpose, 'advertising' as purpose_class, collected_at, verified_at,"
        " value as normalized_value, value as block_key"
        f" from {STAGED} as verified where channel = 'phone' and is_security_purpose",
        "gate_admits_nobody_else",
    ),
    "An EXISTS against ungated contacts widens the match": Leak(
        "is private to the 'identity' group",
        lambda scene: scene.wrap(
            "list_matches",
            f"select * from unaltered where exists (select 1 from {STAGED} as contacts"
            " where contacts.user_id = unaltered.user_id)",
        ),
    ),
    "A window function copies a user's other phone onto an accepted row": wrapped(
        "stg_contacts",
        "select * replace (max(value) over (partition by user_id, channel) as value) from unaltered",
        "gate_admits_everybody_due",
    ),
    "LEFT JOIN with consent defaulting to true": wrapped(
        "usable_contact_decisions",
        "select * replace (replace(decision, 'consent_unknown', 'accepted') as decision) from unaltered",
        "gate_admits_nobody_else",
    ),
    "Any grant ever, withdrawal ignored": wrapped(
        "stg_consent_events", "select * from unaltered where is_granted", "gate_admits_nobody_else"
    ),
    "Consent for the other data use": wrapped(
        "stg_consent_events",
        "select * from unaltered union all select * replace ("
        "replace(data_use, 'tailored', 'partner') as data_use) from unaltered",
        "gate_admits_nobody_else",
    ),
    "An incremental model keeps a withdrawn member": Leak(
        "is neither a view nor a table",
        lambda scene: scene.edit(
            "dbt_project.yml",
            "      +schema: marts\n      +materialized: table",
            "      +schema: marts\n      +materialized: incremental\n      +on_schema_change: fail",
        ),
    ),
    "The member row carries an accepted contact as witness while the match came through another": wrapped(
        "audience_matches",
        "select * replace (min(contact_id) over (partition by list_kind) as contact_id) from unaltered",
        "members_rest_on_a_match",
    ),
    "Sizes counted on ungated matches": Leak(
        "is private to the 'identity' group",
        lambda scene: scene.wrap(
            "audience_sizes",
            f"select * replace ((select count(*) from {STAGED} as contacts) as members) from unaltered",
        ),
    ),
    "A hash model minted from staging": Leak(
        "of the group identity hashes",
        lambda scene: scene.write(
            "models/consent/contact_hashes.sql",
            f"select {{{{ sha256_hex('value') }}}} as match_key from {STAGED}",
        ),
    ),
    "Block key on the raw value, so another spelling escapes": wrapped(
        "protective_block_keys",
        f"select user_id, value as block_key from {STAGED} as contacts where is_protective",
        "gate_admits_nobody_else",
    ),
    "OR without brackets": Leak(
        "gate_admits_nobody_else",
        changes={
            "contacts_consented_for_ads": replace(
                "contact_decisions.decision = 'accepted'",
                "contact_decisions.decision = 'accepted' or contacts.channel = 'phone'"
                " and contacts.verified_at is not null",
            )
        },
    ),
    "A post-hook inserts rows": Leak(
        "member_explanations has a hook, " + HOOK,
        lambda scene: scene.prepend(
            "member_explanations",
            '{{ config(post_hook = "insert into {{ this }} select * from {{ this }}") }}',
        ),
    ),
    "The gate renamed so that the graph check finds nothing": Leak(
        "no gate: the model contacts_consented_for_ads is missing",
        renamed_gate,
        arguments=("--no-partial-parse",),
    ),
    "A test switched off": Leak(
        "not_null_contacts_consented_for_ads_contact_id is gone, and no review agreed to that",
        project_line("data_tests:\n  consented_audiences:\n", "    consent:\n      +enabled: false\n"),
    ),
    "A test misspelt": Leak("tailored_audience_members has no data test no_identifiers", misspelt_test),
    "A test left out by selection": Leak(
        "are left out by selection", lambda scene: None, arguments=("--exclude", "gate_admits_nobody_else")
    ),
    "A retired model's table left readable": Leak("delivery.lookalikes is still readable", retired_table),
    "Counts that differ by one": wrapped(
        "list_reports", "select * replace (entries + 1 as entries) from unaltered", "row_reasons_reconcile"
    ),
}

DEVISED: dict[str, Leak] = {
    "The purposes seed calls two-factor an advertising purpose": Leak(
        "protective_purposes_never_usable",
        changes={
            "purposes": replace(
                "security.two_factor,security,true,security,true,false",
                "security.two_factor,security,true,advertising,false,true",
            )
        },
    ),
    "The policy seed sets the minimum audience size to one": Leak(
        "policy: changed seed audience_policy",
        changes={"audience_policy": replace("min_audience_size,100", "min_audience_size,1")},
    ),
    "The consent rules say opt-out everywhere": Leak(
        "policy_is_valid", changes={"consent_rules": replace("opt_in", "opt_out")}
    ),
    "A source declared on the identity schema stands in for a ref": Leak(
        "is a source that is no input",
        lambda scene: scene.write(
            "models/matching/_sources.yml",
            "sources: [{name: landed, schema: staging, tables: [{name: stg_contacts}]}]",
        ),
    ),
    "A mart is moved into the group identity to ref staging": Leak(
        "is private to the 'audiences' group", mart_in_identity
    ),
    "A seed copied from the contacts feeds a mart": Leak(
        "members_are_explained",
        changes={
            "tailored_audience_members": lambda text: (
                AS_FROM_STAGING.format(relation="{{ ref('raw_contacts') }}")
                .replace("contacts.value =", "sha256(contacts.value) =")
                .replace("cast(null as timestamptz) as first", "contacts.collected_at as first")
            )
        },
    ),
    "A mart reads a file (read_csv, a quoted path)": Leak(
        "partner_audience_members " + NO_REF,
        lambda scene: scene.write(
            scene.model("partner_audience_members"),
            AS_FROM_STAGING.format(relation="read_csv('contacts.csv')"),
        ),
        sql=("partner_audience_members",),
    ),
    "A mart names its relation by query_table": Leak(
        "list_reports " + NO_REF,
        lambda scene: scene.write(
            scene.model("list_reports"),
            AS_FROM_STAGING.format(relation="query_table('staging.stg_contacts')"),
        ),
        sql=("list_reports",),
    ),
    "A mart runs run_query over identity while it is compiled": Leak(
        "audiences holds Jinja other than a ref",
        lambda scene: scene.prepend(
            "audiences", "{% do run_query('select value from staging.stg_contacts') %}"
        ),
    ),
    "A snapshot of staging keeps every contact ever held": Leak(
        "is a snapshot, which would keep what was withdrawn",
        lambda scene: (
            scene.write(
                "snapshots/contacts.yml",
                "snapshots: [{name: contacts_kept, relation: ref('stg_contacts'),"
                " config: {unique_key: contact_id, strategy: check, check_cols: all, group: identity}}]",
            ),
            scene.edit(
                "dbt_project.yml",
                "seed-paths: [seeds]\n",
                "seed-paths: [seeds]\nsnapshot-paths: [snapshots]\n",
            ),
        ),
    ),
    "An on-run-end hook copies identity to the published schema": Leak(
        HOOK,
        lambda scene: scene.append(
            "dbt_project.yml",
            'on-run-end: ["create table published.contacts as from staging.stg_contacts"]\n',
        ),
    ),
    "A staging model is materialized in the published schema by its config": Leak(
        "is more than a candidate as_released",
        lambda scene: scene.prepend("stg_contacts", "{{ config(schema='published') }}"),
    ),
    "A grant opens the identity schema to the readers of BI": Leak(
        "has grants", project_line("      +schema: staging\n", "      +grants: {select: [bi]}\n")
    ),
    "A project macro shadows dbt's ref": Leak(
        "the macro ref stands in for one of dbt's own",
        lambda scene: scene.write(
            "macros/ref.sql", "{% macro ref(name) %}{{ return(builtins.ref(name)) }}{% endmacro %}"
        ),
    ),
    "A project macro shadows get_where_subquery and empties every generic test": Leak(
        "the macro get_where_subquery stands in for one of dbt's own",
        lambda scene: scene.write(
            "macros/where.sql",
            "{% macro get_where_subquery(relation) %}(select * from {{ relation }} where false)"
            "{% endmacro %}",
        ),
    ),
    "The macro of a generic test returns nothing, whatever it is given": Leak(
        "guard_empty",
        lambda scene: scene.write(
            "tests/generic/unique_combination.sql",
            "{% test unique_combination(model, columns) %}select 1 from {{ model }} where false{% endtest %}",
        ),
        is_built=True,
    ),
    "A unit test's expected rows are edited to fit the leak": Leak(
        "guards: changed unit_test", rows_that_fit, arguments=("--select", "audience_policy")
    ),
    "A unit test is deleted with the rule it pinned": Leak(
        "guards: removed unit_test", without_unit_test, arguments=("--select", "audience_policy")
    ),
    "store_failures writes contacts' values to a table of their own": Leak(
        "is loosened: its store_failures is True",
        project_line("data_tests:\n  consented_audiences:\n", "    +store_failures: true\n"),
    ),
    "A test of severity warn, by a line in dbt_project.yml": Leak(
        "is loosened: its severity is warn",
        project_line("data_tests:\n  consented_audiences:\n", "    +severity: warn\n"),
    ),
    "A where, limit, error_if or fail_calc loosens a test": Leak(
        "is loosened: its error_if is >1000000",
        project_line("data_tests:\n  consented_audiences:\n", '    +error_if: ">1000000"\n'),
    ),
    "A delivered table gains a column with the match key": Leak("no_identifiers", with_key, is_built=True),
    "A list report tells the reason held for security to the advertiser": Leak(
        "is private to the 'identity' group",
        lambda scene: scene.wrap(
            "list_reports",
            "select unaltered.* from unaltered union all select list_id, 'held_for_security' as reason,"
            f" count(*) as entries, 0 as share_percent from unaltered, {STAGED} as contacts group by 1",
        ),
    ),
    "A mart reads the keys of the incident assessment": Leak(
        "nothing may depend on the incident assessment",
        lambda scene: (
            scene.write("models/marts/privacy/leak.sql", "select user_id from {{ ref('incident_matches') }}"),
            scene.edit(
                "models/marts/incident/_incident__models.yml",
                "  - name: incident_matches\n    description: >\n",
                "  - name: incident_matches\n    config: {access: protected}\n    description: >\n",
            ),
        ),
        arguments=("--vars", "incident_assessment: true"),
    ),
    "An ephemeral model carries staging across the border": Leak(
        "is neither a view nor a table",
        lambda scene: scene.write(
            "models/consent/leak.sql",
            "{{ config(materialized='ephemeral', access='protected') }}" + f"select * from {STAGED}",
        ),
    ),
    "A consent of the future counts": wrapped(
        "stg_consent_events",
        "select * replace (least(occurred_at, cast('2019-08-19' as timestamptz)) as occurred_at,"
        " least(recorded_at, cast('2019-08-19' as timestamptz)) as recorded_at) from unaltered",
        "policy: changed model stg_consent_events",
    ),
    "An advertiser's own suppression is not applied at matching": wrapped(
        "stg_advertiser_suppressions",
        "select * from unaltered where false",
        "suppressed_values_never_behind_members",
    ),
    "is_adult is not false lets NULL pass": wrapped(
        "stg_users",
        "select * replace (coalesce(is_adult, true) as is_adult) from unaltered",
        "gate_admits_nobody_else",
    ),
    "The match joins on the user instead of the contact": wrapped(
        "usable_contact_decisions",
        "select * replace (min(decision) over (partition by user_id, data_use) as decision) from unaltered",
        "policy: changed model usable_contact_decisions",
    ),
    "Matching across channels: an e-mail key against a phone entry": wrapped(
        "contact_match_keys",
        "select unaltered.* replace (spellings.channel as channel, spellings.rendering as rendering)"
        " from unaltered cross join (select distinct channel, rendering from unaltered) as spellings",
        "unique_combination_list_matches",
    ),
    "A macro logs a contact's value": Leak(
        "policy: changed macro trim_white_space", log_of_values, arguments=("--select", "audience_policy")
    ),
    "A local package brings a model of its own": Leak("raw_contacts -> lookalikes", local_package),
    "Measurement shares engagements with today's consent only": wrapped(
        "measurement_events_shared",
        "select * from unaltered union select engagement_id, measurement_partner_id, advertiser_id, event,"
        " occurred_at, country_code from {{ ref('stg_ad_engagements') }} as engagements"
        " where measurement_partner_id is not null",
        "measurement_shares_nothing_else",
    ),
    "The size of a list below the minimum is reported": wrapped(
        "audiences",
        "select * replace (coalesce(reported_size, 10) as reported_size) from unaltered",
        "nothing_released_below_the_minimum",
    ),
    "The gate is enabled by a var": Leak(
        "contacts_consented_for_ads' which is",
        lambda scene: scene.prepend("contacts_consented_for_ads", "{{ config(enabled=var('gate', false)) }}"),
    ),
}

LEAKS = SECTION_6 | DEVISED

PACKS = {
    "the gate can be passed by:": (
        "A hard-coded relation name",
        "An incremental model keeps a withdrawn member",
        "A hash model minted from staging",
        "A post-hook inserts rows",
        "A source declared on the identity schema stands in for a ref",
        "A mart reads a file (read_csv, a quoted path)",
        "A mart names its relation by query_table",
        "A mart runs run_query over identity while it is compiled",
        "A snapshot of staging keeps every contact ever held",
        "An on-run-end hook copies identity to the published schema",
        "A staging model is materialized in the published schema by its config",
        "A grant opens the identity schema to the readers of BI",
        "An ephemeral model carries staging across the border",
    ),
    "the guards are not those of": (
        "A test switched off",
        "A project macro shadows dbt's ref",
        "A project macro shadows get_where_subquery and empties every generic test",
        "store_failures writes contacts' values to a table of their own",
        "A test of severity warn, by a line in dbt_project.yml",
        "A where, limit, error_if or fail_calc loosens a test",
    ),
    "nothing may be published:": (
        "A test left out by selection",
        "A retired model's table left readable",
    ),
}
"""Leaks that a run's start names all at once, by how its message begins."""

DETECTORS = (
    "parse",
    "run start",
    "data tests and constraints",
    "locks",
    "second parser",
    "publish",
)
MOMENT = ("--vars", "as_of: '2019-08-20 00:00:00'")
"""Of every build, so that the SQL of two can be compared, and dbt need not parse it all again."""

STARTS = tuple(PACKS)
Findings = dict[str, list[str]]
"""What each detector named, by detector."""


def sentences(output: str) -> list[str]:
    """The faults in a message, which stand on lines of their own; else what dbt itself said last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in STARTS:
        for number, line in enumerate(lines):
            if start in line:
                faults = lines[number + 1 :]
                return faults[: next((at for at, fault in enumerate(faults) if fault.startswith(">")), None)]
    return lines[max(number for number, line in enumerate(lines) if re.search(r"\bError\b", line)) :][-1:]


def locked_away(scene: Scene, built: Project, changes: Mapping[str, Transform]) -> list[str]:
    """How the scene differs from the locks; a data test that did not run there is taken as it was built."""
    changed, before = (Artifacts.read(project.path / "target") for project in (scene, built))
    compiled = {key: result for key, result in changed.results_by_id.items() if result["compiled_code"]}
    results = before.results_by_id | compiled
    run = Artifacts(changed.manifest, changed.results | {"results": list(results.values())})
    for node in run.models():
        if node["name"] in changes:
            node["raw_code"] = changes[node["name"]](node["raw_code"])
    with working_directory(scene.path):
        return [
            f"{name}: {fault}"
            for name, (kept, content) in lock.contents(run).items()
            for fault in kept.faults(content)
        ]


def read_by_the_second_parser(scene: Scene, models: tuple[str, ...]) -> list[str]:
    """What it refuses of models, in a project without checks at the run's start."""
    if not models:
        return []
    project = scene.path / "dbt_project.yml"
    project.write_text(re.sub(r"(?s)on-run-start:.*?\n\n", "", project.read_text()))
    # a model that a leak moved would stand there twice
    shutil.rmtree(scene.path / "target" / "compiled", ignore_errors=True)
    run = scene.dbt("compile", "--select", *models)
    assert run.success, run.output[-2000:]
    faults = []
    for name in models:
        (sql,) = scene.path.glob(f"target/compiled/*/models/**/{name}.sql")
        try:
            relations_read(sql.read_text())
        except UnreadableError as error:
            faults.append(f"{name} {error}")
    return faults


def create_table(node: Node, sql: str) -> list[str]:
    """The statements that make a table under its contract."""
    parts = []
    for name, column in node["columns"].items():
        required = any(constraint["type"] == "not_null" for constraint in column["constraints"])
        parts.append(f"{name} {column['data_type']}{' not null' if required else ''}")
    for constraint in node["constraints"]:
        of = constraint["expression"] or ", ".join(constraint["columns"])
        parts.append(f"{constraint['type'].replace('_', ' ')} ({of})")
    name = node["relation_name"]
    return [
        f"drop table {name}",
        f"create table {name} ({', '.join(parts)})",
        f"insert into {name} by name ({sql})",
    ]


class Rebuild:
    """A copy of a built warehouse, in which models are built again by plain DuckDB, from compiled SQL.

    Args:
        built: the project that built it.
        folder: for the copy.
    """

    def __init__(self, built: Project, folder: Path) -> None:
        """Copy and open."""
        self.project = built
        self.artifacts = Artifacts.read(built.path / "target")
        folder.mkdir()
        self.warehouse = duckdb.connect(shutil.copy(built.warehouse, folder / "warehouse.duckdb"))
        self.warehouse.execute("set timezone = 'UTC'")
        size_noise.Plugin("size_noise", {}).configure_connection(self.warehouse)
        self.nodes = self.artifacts.manifest_nodes
        self.relations = {node["name"]: node["relation_name"] for node in self.nodes.values()}
        self.folder = folder

    def sql(self, key: str, changes: Mapping[str, Transform]) -> str:
        """The compiled SQL of a node, changed, its refs resolved."""
        text = self.artifacts.results_by_id[key]["compiled_code"]
        text = changes.get(self.nodes[key]["name"], str)(text)
        return re.sub(r"\{\{ ref\('(\w+)'\) \}\}", lambda found: self.relations[found[1]], text)

    def load(self, node: Node, transform: Transform) -> None:
        """Load a policy seed from its changed text."""
        file = self.folder / "seed.csv"
        file.write_text(transform((self.project.path / node["original_file_path"]).read_text()))
        types = ", ".join(f"'{name}': '{kind}'" for name, kind in node["config"]["column_types"].items())
        self.warehouse.execute(
            f"create or replace table {node['relation_name']} as from read_csv('{file}', types = {{{types}}})"
        )

    def build(self, key: str, changes: Mapping[str, Transform]) -> bool:
        """Build a model; one that its contract refuses is built without it, so that the others see it, too.

        Returns:
            Whether the contract holds.
        """
        node, sql = self.nodes[key], self.sql(key, changes)
        name = node["relation_name"]
        if node["config"]["materialized"] == "view":
            self.warehouse.execute(f"create or replace view {name} as {sql}")
            return True
        if node["config"]["contract"]["enforced"]:
            try:
                for statement in create_table(node, sql):
                    self.warehouse.execute(statement)
            except duckdb.ConstraintException:
                self.warehouse.execute(f"drop table {name}")
                self.warehouse.execute(f"create table {name} as {sql}")
                return False
            return True
        self.warehouse.execute(f"create or replace table {name} as {sql}")
        return True

    def failed(self, changes: Mapping[str, Transform]) -> list[str]:
        """Contracts and data tests that fail with the changes built, up to the candidates."""
        parents = {key: set(node.get("depends_on", {}).get("nodes", [])) for key, node in self.nodes.items()}
        models = {key for key, node in self.nodes.items() if node["resource_type"] == "model"}
        failed, touched = [], set()
        for key in TopologicalSorter(parents).static_order():
            node = self.nodes.get(key)
            if node is None or node["schema"] in ("published", "delivery", "state"):
                continue
            if node["resource_type"] == "seed" and node["name"] in changes:
                self.load(node, changes[node["name"]])
                touched.add(key)
            elif key in models and (node["name"] in changes or parents[key] & touched):
                failed += [] if self.build(key, changes) else [node["name"]]
                touched.add(key)
        for key, node in self.artifacts.guards.items():
            if parents[key] & touched and self.warehouse.execute(self.sql(key, {})).fetchone():
                failed.append(node["name"])
        return sorted(failed)


def examine(leak: Leak, built: Project, folder: Path) -> Findings:
    """Set a leak in a copy of a built project, and ask every detector.

    Returns:
        What each detector named.

    Raises:
        AssertionError: the leak is red, and something that is published changed.
    """
    found: Findings = {detector: [] for detector in DETECTORS}
    scene = Scene(Path(shutil.copytree(built.path, folder)))
    scene.leak(leak)
    if leak.changes:
        found["data tests and constraints"] = Rebuild(built, folder / "rebuilt").failed(leak.changes)
        found["locks"] = locked_away(scene, built, leak.changes)
        return found
    before = scene.published()
    run = scene.build(*(() if "--vars" in leak.arguments else MOMENT), *leak.arguments)
    if not run.success and not run.statuses:
        start = any(start in run.output for start in STARTS)
        found["run start" if start else "parse"] = sentences(run.output)
    found["data tests and constraints"] = sorted(run.failed())
    if not run.success:
        assert scene.published() == before, "red, and yet something was published"
    elif leak.is_built:
        with working_directory(scene.path):
            answer = CliRunner().invoke(publish.main, ["publish", "--dir", str(folder / "publish")])
        found["publish"] = re.findall(r"refused by (\w+)", answer.output)
    if not found["parse"]:
        found["locks"] = locked_away(scene, built, {})
    found["second parser"] = read_by_the_second_parser(scene, leak.sql)
    return found


def examine_pack(start: str, built: Project, folder: Path) -> dict[str, Findings]:
    """Set the leaks of a pack in one copy of a built project, and ask the run's start and the second parser.

    Returns:
        What each detector named, by leak.

    Raises:
        AssertionError: the run is not refused, or something that is published changed.
    """
    scene = Scene(Path(shutil.copytree(built.path, folder)))
    for name in PACKS[start]:
        scene.leak(LEAKS[name])
    before = scene.published()
    run = scene.build(*(argument for name in PACKS[start] for argument in LEAKS[name].arguments))
    assert not run.success and start in run.output, run.output[-2000:]
    assert scene.published() == before, "red, and yet something was published"
    named = sentences(run.output)
    refused = read_by_the_second_parser(
        scene, tuple(model for name in PACKS[start] for model in LEAKS[name].sql)
    )
    return {
        name: {detector: [] for detector in DETECTORS}
        | {
            "run start": [fault for fault in named if LEAKS[name].rule in fault],
            "second parser": [fault for fault in refused if fault.split()[0] in LEAKS[name].sql],
        }
        for name in PACKS[start]
    }


def names_the_rule(leak: Leak, found: Findings) -> bool:
    """Whether some detector named the rule that stands against the leak."""
    return any(leak.rule in sentence for sentences in found.values() for sentence in sentences)


def table(findings: dict[str, Findings]) -> str:
    """The matrix as Markdown: a leak per row, per detector how much it named, and the rule that it must."""
    lines = [
        "How many faults each detector named; the first that names one stops a build or a change. Unit tests",
        "stop an edit of a model before its data tests run, and are left out: see the mutation of models.",
        "",
        "| leak | " + " | ".join(DETECTORS) + " | must name |",
        "|---|" + ":-:|" * len(DETECTORS) + "---|",
    ]
    for name in LEAKS:
        found = findings[name]
        cells = [str(len(found[detector]) or "") for detector in DETECTORS]
        lines.append(f"| {name} | {' | '.join(cells)} | `{LEAKS[name].rule}` |")
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option(
    "--table",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/leaks.md"),
    show_default=True,
    help="Markdown file to write.",
)
def main(target: Path) -> None:
    """Try every leak, and write the matrix; exit 1 if the rule against one is not named."""
    findings: dict[str, Findings] = {}
    with TemporaryDirectory() as folder:
        built = copy_project(Path(folder) / "built")
        assert built.build(*MOMENT).success
        for number, start in enumerate(PACKS):
            findings |= examine_pack(start, built, Path(folder) / f"pack{number}")
        alone = {name: leak for name, leak in LEAKS.items() if name not in findings}
        for number, (name, leak) in enumerate(track(alone.items(), "leaks")):
            findings[name] = examine(leak, built, Path(folder) / str(number))
            shutil.rmtree(Path(folder) / str(number))
    target.write_text(table(findings))
    silent = [name for name, leak in LEAKS.items() if not names_the_rule(leak, findings[name])]
    for name in silent:
        click.echo(f"the rule against it is not named: {name}", err=True)
    raise click.exceptions.Exit(bool(silent))


if __name__ == "__main__":
    main()

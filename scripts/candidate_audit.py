"""The publisher's own audit of the files that are about to be published: plain DuckDB and Python, no dbt.

It reads the candidate's files afresh and holds them against the raw inputs, the policy seeds and the
marts. What it derives again it derives in fewer words than the models do, so that it can only be
milder: a row that it finds is a fault, whatever the models and their tests say.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb
from dbt_artifacts import Artifacts, Relation
from publish_rules import Refusal

FILES = {"published": "bi", "delivery": "delivery"}
"""The DuckDB file of a generation that holds a schema."""

SCHEMAS = {"published": "published", "delivery": "main"}
"""The schema in that file: whoever opens delivery.duckdb writes delivery.<table>, and DuckDB would not know
whether that is the file or a schema of its name."""

NAMED_LIKE_AN_IDENTIFIER = re.compile(
    r"(^|_)(values?|identifiers?|hash(ed|es)?|digest|sha\d*|keys?|e?mails?|phones?|contact_id)(_|$)"
)
PERSONAL = re.compile(r"(^|_)(user_id|engagement_id)$")

MEMBERS_OF = """
    create temp view {view} as
    select
        'tailored' as list_kind, 'ads.audience_matching.tailored' as data_use, list_id, advertiser_id,
        cast(null as varchar) as partner_id, user_id, matched_email, matched_phone, first_matched_at,
        valid_until
    from {schema}.tailored_audience_members
    union all
    select
        'partner' as list_kind, 'ads.audience_matching.partner' as data_use, list_id, advertiser_id,
        partner_id, user_id, matched_email, matched_phone, first_matched_at, valid_until
    from {schema}.partner_audience_members
"""

# Who had consented at each moment that matters, one of them the view or click itself: all events of the last
# moment are grants, and the first of their ends is still to come; under opt_out, having said nothing will do
CONSENT_HELD = """
    create temp table consent_held as
    with asked as (
        select distinct user_id, data_use, $as_of::timestamptz as moment from delivered_members
        union
        select distinct
            engagements.user_id, 'ads.measurement', unnest([$as_of::timestamptz, engagements.occurred_at])
        from delivery.main.measurement_events_shared as shared
        inner join raw_ad_engagements as engagements on shared.engagement_id = engagements.engagement_id
    ),
    known as (
        select
            asked.*, events.status, events.expires_at,
            rank() over (
                partition by asked.user_id, asked.data_use, asked.moment
                order by events.occurred_at desc, events.recorded_at desc
            ) as event_rank
        from asked
        inner join raw_consent_events as events
            on
                asked.user_id = events.user_id and asked.data_use = events.data_use
                and events.occurred_at <= asked.moment and events.recorded_at <= asked.moment
    ),
    opted_out as (
        select asked.*
        from asked
        inner join raw_users as users on asked.user_id = users.user_id
        inner join policy_consent_rules as rules
            on
                asked.data_use = rules.data_use
                and (
                    users.country_code = rules.country_code
                    or rules.country_code = '*' and not exists (
                        select 1 from policy_consent_rules as own
                        where own.country_code = users.country_code and own.data_use = rules.data_use
                    )
                )
        where rules.choice_model = 'opt_out'
    )
    select user_id, data_use, moment
    from known
    where event_rank = 1
    group by user_id, data_use, moment
    having bool_and(coalesce(status = 'granted', false)) and coalesce(min(expires_at) > moment, true)
    union
    select user_id, data_use, moment
    from opted_out
    where not exists (
        select 1 from known
        where
            known.user_id = opted_out.user_id and known.data_use = opted_out.data_use
            and known.moment = opted_out.moment
    )
"""

# A contact that may stand behind a membership, for an advertiser that it is not suppressed for. Values are
# compared in lower case and without outer white space only, which is less than the block key refuses
ADS_CONTACTS = """
    create temp table ads_contacts as
    with members as (
        select distinct user_id, data_use, advertiser_id from delivered_members
    ),
    given as (
        select
            contacts.user_id, contacts.channel, lower(trim(contacts.value)) as folded_value,
            contacts.purpose, contacts.collected_at, contacts.verified_at, contacts.removed_at,
            purposes.purpose_class, purposes.is_usable_for_matching,
            purposes.purpose is null or purposes.is_protective or not purposes.is_assignable as is_protective
        from raw_contacts as contacts
        left join policy_purposes as purposes on contacts.purpose = purposes.purpose
        where contacts.user_id in (select user_id from members)
    )
    select distinct members.user_id, members.data_use, members.advertiser_id, given.channel
    from members
    inner join given on members.user_id = given.user_id
    where
        given.purpose_class = 'advertising' and given.is_usable_for_matching and not given.is_protective
        and starts_with(members.data_use || '.', given.purpose || '.')
        and given.collected_at <= $as_of::timestamptz and given.verified_at <= $as_of::timestamptz
        and (given.removed_at is null or given.removed_at > $as_of::timestamptz)
        and not exists (
            select 1 from given as protective
            where
                protective.user_id = given.user_id and protective.folded_value = given.folded_value
                and protective.is_protective
                and (protective.collected_at is null or protective.collected_at <= $as_of::timestamptz)
                and not exists (
                    select 1 from policy_audience_policy
                    where setting = 'dual_purpose_policy' and value = 'separate_collection'
                )
        )
        and not exists (
            select 1 from raw_suppressions as suppressions
            where
                lower(trim(suppressions.value)) = given.folded_value and suppressions.channel = given.channel
                and (suppressions.advertiser_id is null or suppressions.advertiser_id = members.advertiser_id)
                and (suppressions.added_at is null or suppressions.added_at <= $as_of::timestamptz)
        )
"""

SERVING_LISTS = """
    create temp table serving_lists as
    with lists as (
        select lists.list_id, lists.list_kind, lists.advertiser_id, lists.partner_id
        from raw_audience_lists as lists
        where
            lists.created_at <= $as_of::timestamptz and lists.lawful_basis_attested_at <= $as_of::timestamptz
            and (lists.expires_at is null or lists.expires_at > $as_of::timestamptz)
    ),
    licensed as (
        select lists.list_id, lists.list_kind, lists.advertiser_id, cast(null as varchar) as partner_id
        from lists
        where lists.list_kind = 'tailored'
        union
        select lists.list_id, lists.list_kind, licences.advertiser_id, lists.partner_id
        from lists
        inner join raw_partners as partners
            on lists.partner_id = partners.partner_id and partners.status = 'active'
        inner join raw_partner_licences as licences
            on lists.list_id = licences.list_id and lists.partner_id = licences.partner_id
        where
            lists.list_kind = 'partner' and licences.starts_at <= $as_of::timestamptz
            and (licences.ends_at is null or licences.ends_at > $as_of::timestamptz)
            and (licences.revoked_at is null or licences.revoked_at > $as_of::timestamptz)
    )
    select licensed.*
    from licensed
    inner join raw_advertisers as advertisers
        on
            licensed.advertiser_id = advertisers.advertiser_id
            and advertisers.status = 'active' and advertisers.terms_accepted_at <= $as_of::timestamptz
"""

ADULTS = """
    select count(*), count(*) filter (where not exists (
        select 1 from raw_users as users
        where users.user_id = members.user_id and users.account_status = 'active' and users.is_adult
    ))
    from delivered_members as members
"""

CONSENT = """
    select count(*), count(*) filter (where not exists (
        select 1 from consent_held as held
        where
            held.user_id = members.user_id and held.data_use = members.data_use
            and held.moment = $as_of::timestamptz
    ))
    from delivered_members as members
"""

CONTACTS = """
    with channels as (
        select user_id, data_use, advertiser_id, 'email' as channel, matched_email as matched
        from delivered_members
        union all
        select user_id, data_use, advertiser_id, 'phone', matched_phone from delivered_members
        union all
        select user_id, data_use, advertiser_id, 'none', true from delivered_members
        where not (matched_email or matched_phone)
    )
    select count(*), count(*) filter (where not exists (
        select 1 from ads_contacts as given
        where
            given.user_id = channels.user_id and given.data_use = channels.data_use
            and given.advertiser_id = channels.advertiser_id and given.channel = channels.channel
    ))
    from channels
    where matched
"""

EXPLANATIONS = """
    with behind as (
        select members.list_id, members.advertiser_id, members.user_id, explanations.contact_id
        from delivered_members as members
        left join {marts}.member_explanations as explanations
            on
                members.list_id = explanations.list_id and members.advertiser_id = explanations.advertiser_id
                and members.user_id = explanations.user_id
    )
    select count(*), count(*) filter (where not exists (
        select 1 from raw_contacts as contacts
        inner join policy_purposes as purposes on contacts.purpose = purposes.purpose
        where
            contacts.contact_id = behind.contact_id and contacts.user_id = behind.user_id
            and purposes.purpose_class = 'advertising'
    ))
    from behind
"""

LISTS = """
    select count(*), count(*) filter (where not exists (
        select 1 from serving_lists as lists
        where
            lists.list_id = members.list_id and lists.list_kind = members.list_kind
            and lists.advertiser_id = members.advertiser_id
            and lists.partner_id is not distinct from members.partner_id
    ))
    from delivered_members as members
"""

MEMBERS = """
    with due as (
        select members.*
        from mart_members as members
        semi join (select * from bi.published.audiences where list_status = 'serving') as serving
            on members.list_id = serving.list_id and members.advertiser_id = serving.advertiser_id
    )
    select
        (select count(*) from delivered_members),
        (select count(*) from ((from due) except all (from delivered_members)))
        + (select count(*) from ((from delivered_members) except all (from due)))
"""

SIZES = """
    with minimum as (
        select coalesce(try_cast(value as bigint), 0) as minimum
        from policy_audience_policy
        where setting = 'min_audience_size'
    ),
    counted as (
        select
            audiences.list_status, audiences.reported_size, count(distinct members.user_id) as members
        from bi.published.audiences as audiences
        left join delivered_members as members
            on audiences.list_id = members.list_id and audiences.advertiser_id = members.advertiser_id
        group by audiences.list_id, audiences.advertiser_id, audiences.list_status, audiences.reported_size
    ),
    shown as (
        select unnest([contacts, users]) as shown from bi.published.consent_funnel
        union all
        select entries from bi.published.list_reports
    ),
    judged as (
        select
            case
                when list_status = 'serving'
                    then coalesce(reported_size < minimum, false) or members < minimum
                else reported_size is not null or members > 0
            end as is_fault
        from counted, minimum
        union all
        select coalesce(shown < minimum, false) from shown, minimum
        union all
        select coalesce((select min(minimum) from minimum), 0) < 2
    )
    select count(*), count(*) filter (where is_fault is not false) from judged
"""

EVENTS = """
    select count(*), count(*) filter (where not exists (
        select 1 from raw_ad_engagements as engagements
        inner join raw_users as users
            on engagements.user_id = users.user_id and users.account_status = 'active' and users.is_adult
        inner join consent_held as now
            on
                engagements.user_id = now.user_id and now.data_use = 'ads.measurement'
                and now.moment = $as_of::timestamptz
        inner join consent_held as earlier
            on
                engagements.user_id = earlier.user_id and earlier.data_use = 'ads.measurement'
                and earlier.moment = engagements.occurred_at
        where
            engagements.engagement_id = shared.engagement_id
            and engagements.measurement_partner_id = shared.measurement_partner_id
            and engagements.advertiser_id is not distinct from shared.advertiser_id
            and engagements.event = shared.event
            and engagements.occurred_at = shared.occurred_at
            and engagements.occurred_at <= $as_of::timestamptz
            and engagements.country_code is not distinct from shared.country_code
    ))
    from delivery.main.measurement_events_shared as shared
"""

CHANGES = """
    select count(*), count(*) filter (where (changes.change = 'remove') = exists (
        select 1 from delivered_members as members
        where
            members.list_kind = changes.list_kind and members.list_id = changes.list_id
            and members.advertiser_id = changes.advertiser_id and members.user_id = changes.user_id
    ))
    from delivery.main.membership_changes as changes
"""

MOMENTS = """
    select count(*), count(*) filter (
        where
            first_matched_at is null or first_matched_at > $as_of::timestamptz
            or valid_until <= $as_of::timestamptz
    )
    from delivered_members
"""

SECURITY_CANARIES = """
    select count(*), count(*) filter (where user_id like 'canary-security%') from delivered_members
"""

PLANTED = """
    select distinct contacts.value, users.country_code
    from raw_contacts as contacts
    left join raw_users as users on contacts.user_id = users.user_id
    where contacts.user_id like 'canary-%' and contacts.value is not null
"""

IN_THE_RAW_INPUT = {
    "moments": MOMENTS,
    "members": MEMBERS,
    "adults": ADULTS,
    "consent": CONSENT,
    "contacts": CONTACTS,
    "explanations": EXPLANATIONS,
    "lists": LISTS,
    "sizes": SIZES,
    "events": EVENTS,
    "changes": CHANGES,
    "canaries": SECURITY_CANARIES,
}
"""Queries that return how many rows were looked at and how many break the rule."""


@dataclass
class Result:
    """One rule held against the candidate: how much was looked at, and how much of it breaks the rule."""

    rule: str
    checked: int
    faults: int


def literal(path: Path) -> str:
    """A path as a SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def table_of(relation: Relation) -> str:
    """The relation in the candidate's DuckDB file, once that is attached."""
    return f"{FILES[relation.schema]}.{SCHEMAS[relation.schema]}.{quoted(relation.name)}"


def parquet_of(folder: Path, relation: Relation) -> Path:
    """The relation's Parquet file in a generation."""
    return folder / FILES[relation.schema] / f"{relation.name}.parquet"


class Audit:
    """The audit of one candidate.

    Args:
        warehouse: a connection in which the warehouse is attached read-only; the candidate's files are
            attached to it read-only, too, as `bi` and `delivery`.
        artifacts: the run that built the warehouse.
        folder: the candidate.
        as_of: the moment of the run.
    """

    def __init__(
        self, warehouse: duckdb.DuckDBPyConnection, artifacts: Artifacts, folder: Path, as_of: datetime
    ) -> None:
        """Attach the candidate, and give inputs and policy the names that the queries use."""
        self.warehouse = warehouse
        self.artifacts = artifacts
        self.folder = folder
        self.as_of = as_of
        self.relations = artifacts.relations()
        self.results: list[Result] = []
        for file in FILES.values():
            warehouse.execute(f"attach {literal(folder / f'{file}.duckdb')} as {file} (read_only)")
        marts = f"{quoted(artifacts.database)}.marts"
        policy = {f"policy_{name}": relation for name, relation in artifacts.policy().items()}
        views = artifacts.inputs() | policy
        for name, relation in views.items():
            warehouse.execute(f"create temp view {name} as select * from {relation}")
        for statement in (
            MEMBERS_OF.format(view="delivered_members", schema="delivery.main"),
            MEMBERS_OF.format(view="mart_members", schema=marts),
            CONSENT_HELD,
            ADS_CONTACTS,
            SERVING_LISTS,
        ):
            self.run(statement)
        self.marts = marts

    def run(self, query: str) -> duckdb.DuckDBPyConnection:
        """Run a query that may ask for $as_of."""
        parameters = {"as_of": self.as_of} if "$as_of" in query else {}
        return self.warehouse.execute(query, parameters)

    def note(self, rule: str, checked: int, faults: int) -> None:
        """Keep the result of a rule; several of one rule add up."""
        known = next((result for result in self.results if result.rule == rule), None)
        if known is None:
            self.results.append(Result(rule, checked, faults))
        else:
            known.checked += checked
            known.faults += faults

    def audit(self) -> list[dict[str, object]]:
        """Hold the candidate against every rule.

        Returns:
            One dict per rule: rule, checked, faults.

        Raises:
            Refusal: the first rule with a fault, naming every other one.
        """
        self.check_columns()
        if not self.results[0].faults:  # the queries below need the columns
            self.check_copies()
            for rule, query in IN_THE_RAW_INPUT.items():
                self.note(rule, *self.run(query.replace("{marts}", self.marts)).fetchone())
            self.check_cells()
            self.check_canaries()
        faults = [result for result in self.results if result.faults]
        if faults:
            raise Refusal(
                faults[0].rule,
                "; ".join(f"{fault.rule}: {fault.faults:,} of {fault.checked:,}" for fault in faults),
            )
        return [asdict(result) for result in self.results]

    def columns(self, relation: Relation) -> dict[str, str]:
        """The relation's columns in the candidate, with their types."""
        rows = self.warehouse.execute(f"describe {table_of(relation)}").fetchall()
        return {row[0]: row[1] for row in rows}

    def check_columns(self) -> None:
        """Columns are those of the contract; none is named like an identifier, none in BI like a person."""
        for relation in self.relations:
            columns = self.columns(relation)
            faults = set(columns) ^ set(relation.columns)
            for name, kind in columns.items():
                if kind != "BOOLEAN" and NAMED_LIKE_AN_IDENTIFIER.search(name):
                    faults.add(name)
                if relation.schema == "published" and PERSONAL.search(name):
                    faults.add(name)
            self.note("columns", len(columns), len(faults))
        held = self.warehouse.execute(
            "select database_name, schema_name, table_name from duckdb_tables() "
            "where database_name in ('bi', 'delivery') "
            "union all select database_name, schema_name, view_name from duckdb_views() "
            "where database_name in ('bi', 'delivery') and not internal"
        ).fetchall()
        due = {
            (FILES[relation.schema], SCHEMAS[relation.schema], relation.name) for relation in self.relations
        }
        self.note("columns", len(held), len(set(held) ^ due))

    def check_copies(self) -> None:
        """DuckDB file and Parquet hold the rows that the published model's SQL gives, each with its as_of."""
        for relation in self.relations:
            table = table_of(relation)
            columns = ", ".join(quoted(name) for name in relation.columns)
            candidate = f"select {columns} from {table}"
            for other in (
                f"select {columns} from ({relation.compiled_sql})",
                f"select {columns} from read_parquet({literal(parquet_of(self.folder, relation))})",
            ):
                self.note(
                    "copies",
                    *self.run(
                        f"select (select count(*) from {table}), "
                        f"(select count(*) from (({candidate}) except all ({other}))) "
                        f"+ (select count(*) from (({other}) except all ({candidate})))"
                    ).fetchone(),
                )
            self.note(
                "moments",
                *self.run(
                    "select count(*), count(*) filter (where as_of is distinct from $as_of::timestamptz) "
                    f"from {table}"
                ).fetchone(),
            )

    def texts(self, relation: Relation) -> list[str]:
        """The relation's columns that hold text."""
        return [name for name, kind in self.columns(relation).items() if kind == "VARCHAR"]

    def check_cells(self) -> None:
        """No text reads as an identifier; an id may be any opaque text, a hash included."""
        for relation in self.relations:
            for name in self.texts(relation):
                pattern = "@|^[+][0-9]{7,15}$"
                if not name.endswith("_id"):
                    pattern += "|[0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}=|^[0-9]{7,15}$"
                self.note(
                    "identifiers",
                    *self.warehouse.execute(
                        f"select count(*), count(*) filter (where regexp_matches({quoted(name)}, ?)) "
                        f"from {table_of(relation)}",
                        [pattern],
                    ).fetchone(),
                )

    def check_canaries(self) -> None:
        """No planted contact, in any of its forms, in any cell or in the bytes of any file."""
        forms = sorted(
            {form for row in self.warehouse.execute(PLANTED).fetchall() for form in planted_forms(row[0])}
        )
        if not forms:
            return
        for relation in self.relations:
            for name in self.texts(relation):
                checked, faults = self.warehouse.execute(
                    f"with cells as (select distinct lower({quoted(name)}) as cell "
                    f"from {table_of(relation)}) select count(*), count(*) filter ("
                    "where len(list_filter(?, lambda form: contains(cell, form))) > 0) from cells",
                    [forms],
                ).fetchone()
                self.note("canaries", checked, faults)
        needles = [form.encode() for form in forms]
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            self.note("canaries", 1, int(holds_any(file, needles)))


def planted_forms(value: str) -> set[str]:
    """How a planted value could be spelled in what is published: as it is, folded, as digits, hashed."""
    folded = value.strip().lower()
    digits = re.sub(r"\D", "", value) if "@" not in value else ""
    spelled = {folded} | ({digits, f"+{digits}"} if digits else set())
    hashed = {hashlib.sha256(form.encode()).hexdigest() for form in spelled}
    return {form for form in spelled | hashed if len(form) >= 7}


def holds_any(file: Path, needles: list[bytes]) -> bool:
    """Whether any of the needles, which are in lower case, stands in a file's bytes, in any case of ASCII."""
    pattern = re.compile(b"|".join(re.escape(needle) for needle in needles), re.IGNORECASE)
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None

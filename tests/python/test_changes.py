"""What changes from build to build: applied it gives the members, and who is erased is found nowhere."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import oracle
import pytest
from conftest import ROOT, Project, Rows, copy_project
from simulation import Platform, Replay, as_of, moment_text

DAYS = 62
BUILT_DAYS = 3
MIN_AUDIENCE_SIZE = 20
GUARDS = [
    "changes_give_what_is_delivered",
    "no_change_is_idle",
    "who_withdrew_leaves",
    "removals_have_their_cause",
]
STATUSES = {"too_small", "licence_not_in_force", "expired", "partner_inactive", "advertiser_inactive"}
REASONS = {
    ("add", "joined"),
    ("update", "revised"),
    ("remove", "user_erased"),
    ("remove", "consent_withdrawn"),
    ("remove", "suppressed"),
    ("remove", "contact_removed"),
    ("remove", "policy_changed"),
    ("remove", "expired"),
    ("remove", "list_withdrawn"),
    ("remove", "entry_removed"),
}
MEMBERS = """
    select 'tailored', list_id, advertiser_id, user_id, null, matched_email, matched_phone, first_matched_at,
        valid_until
    from delivery.tailored_audience_members
    union all
    select 'partner', list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from delivery.partner_audience_members
    order by all
"""
CHANGES = "select * from delivery.membership_changes order by all"
STATE = "select * from state.delivered_members order by all"
AD_SERVER = """
    create schema ad_server;
    create table ad_server.members (
        list_kind varchar, list_id varchar, advertiser_id varchar, user_id varchar, partner_id varchar,
        matched_email boolean, matched_phone boolean, first_matched_at timestamptz, valid_until timestamptz,
        primary key (list_kind, list_id, advertiser_id, user_id)
    )
"""
APPLY, LOAD = re.findall(
    r"```sql\n(.*?)```", (ROOT / "README.md").read_text().split("## Changes for the ad server")[1], re.S
)[:2]


def first_day() -> Platform:
    """The made-up platform, under the project's purposes and consent rules."""
    policy = ROOT / "seeds" / "policy"
    return Platform.on_its_first_day(
        oracle.World(
            purposes=oracle.load_purposes(policy / "purposes.csv"),
            consent_rules=oracle.read_csv(policy / "consent_rules.csv"),
        )
    )


@dataclass
class BuiltDays:
    """The first days built by dbt: what each delivered, and where the ids of one user were found."""

    project: Project
    delivered: list[tuple[Rows, Rows, Rows]] = field(default_factory=list)
    erased_ids: list[str] = field(default_factory=list)
    found: list[dict[str, set[str]]] = field(default_factory=list)

    def inputs(self, day: int) -> Path:
        """The folder of a day's CSV files."""
        return self.project.path.parent / "inputs" / str(day)


def relations_with(project: Project, *texts: str) -> dict[str, set[str]]:
    """Per text every table and view of the warehouse, in any schema, that has it in any column."""
    found: dict[str, set[str]] = {text: set() for text in texts}
    with duckdb.connect(str(project.warehouse), read_only=True) as connection:
        columns = connection.execute("""
            select table_schema || '.' || table_name, list(column_name)
            from information_schema.columns
            group by all
        """).fetchall()
        for relation, names in columns:
            counts = ", ".join("count(*) filter (where contains(cells, ?))" for _ in texts)
            cells = f"select concat_ws(' ', {', '.join(names)}) as cells from {relation}"
            (answer,) = connection.execute(f"select {counts} from ({cells})", texts).fetchall()
            for text, rows in zip(texts, answer, strict=True):
                if rows:
                    found[text].add(relation)
    return found


def files_with(folder: Path, text: str) -> set[str]:
    """Every file below the folder that holds the text."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltDays:
    """Three days in a row by `dbt build`. On the second, one user is erased."""
    days = BuiltDays(copy_project(tmp_path_factory.mktemp("changes") / "project"))
    # small lists, whose sizes are as good as exact: which of them serve is not what is asked here
    for setting, value, smaller in (
        ("min_audience_size", 100, MIN_AUDIENCE_SIZE),
        ("size_rounding", 10, 1),
        ("size_noise", 50, 1),
    ):
        days.project.edit(
            "seeds/policy/audience_policy.csv", f"{setting},{value}\n", f"{setting},{smaller}\n"
        )
    platform = first_day()
    for day in range(BUILT_DAYS):
        before = json.dumps(platform.world.raw_contacts + platform.world.raw_consent_events, default=str)
        if day:
            platform.move_on()
        if day == 1:
            owned = [row for row in json.loads(before) if row["user_id"] == platform.erased[0]]
            ids = [row.get("contact_id") or row["consent_event_id"] for row in owned]
            days.erased_ids = [platform.erased[0], *ids]
        platform.write(days.inputs(day))
        variables = {
            "input": "files",
            "input_path": str(days.inputs(day)),
            "as_of": moment_text(as_of(day)),
        }
        run = days.project.build("--vars", json.dumps(variables))
        assert run.success, run.output
        days.delivered.append(tuple(days.project.query(query) for query in (MEMBERS, CHANGES, STATE)))
        days.found.append(relations_with(days.project, *days.erased_ids) if days.erased_ids else {})
    return days


def test_erased_user_is_named_once_and_then_nowhere(built: BuiltDays) -> None:
    """The build that sees it tells the ad server; after the next one no relation and no file has any id."""
    user_id = built.erased_ids[0]
    assert len(built.erased_ids) >= 3
    was_member = [row for row in built.delivered[0][0] if row[3] == user_id]
    removals = [row[:6] for row in built.delivered[1][1] if row[3] == user_id]
    assert was_member and len(removals) == len(was_member)
    assert {row[4:] for row in removals} == {("remove", "user_erased")}
    assert built.found[1][user_id] == {
        "changes.previous_members",
        "changes.removed_members",
        "delivery.membership_changes",
        "marts.membership_changes",
        "release.release_membership_changes",
    }
    assert built.found[2] == {text: set() for text in built.erased_ids}
    for folder in ("logs", "target"):
        assert any((built.project.path / folder).iterdir())
        assert {text: files_with(built.project.path / folder, text) for text in built.erased_ids} == {
            text: set() for text in built.erased_ids
        }


def test_search_finds_who_is_there(built: BuiltDays) -> None:
    """The twin: a delivered user stands in inputs, staging, marts, delivery and state; a name in target."""
    (members, _, _) = built.delivered[2]
    user_id = members[0][3]
    found = relations_with(built.project, user_id)[user_id]
    assert {
        "input_views.raw_users",
        "staging.stg_contacts",
        "marts.contact_decisions",
        "marts.tailored_audience_members",
        "delivery.tailored_audience_members",
        "state.delivered_members",
    } <= found
    assert "manifest.json" in files_with(built.project.path / "target", "contacts_consented_for_ads")


def delivered_by_the_oracle(platform: Platform, replay: Replay) -> Rows:
    """Members of the audiences that serve, derived from the inputs in Python; in the order of MEMBERS."""
    serving = set(
        replay.query("select list_id, advertiser_id from marts.audiences where list_status = 'serving'")
    )
    members = oracle.members(platform.world, as_of(platform.day))
    sizes = Counter((list_id, advertiser_id) for _, list_id, advertiser_id, _ in members)
    assert serving <= {key for key, size in sizes.items() if size >= MIN_AUDIENCE_SIZE}
    partners = {row["list_id"]: row["partner_id"] for row in platform.world.raw_audience_lists}
    rows = [
        (kind, list_id, advertiser_id, user_id, partners[list_id], *member.values())
        for (kind, list_id, advertiser_id, user_id), member in members.items()
        if (list_id, advertiser_id) in serving
    ]
    return sorted(rows, key=lambda row: row[:4])


def withdrawn(platform: Platform, moment: datetime) -> set[tuple[str, str]]:
    """(user, data use) whose latest event, of those that happened and were recorded by then, is a denial.

    Straight from the raw rows; of two at the same moments the denial is the later.
    """
    latest: dict[tuple[str, str], tuple[datetime, datetime, bool]] = {}
    for event in platform.world.raw_consent_events:
        if event["occurred_at"] <= moment and event["recorded_at"] <= moment:
            key = (event["user_id"], event["data_use"])
            order = (event["occurred_at"], event["recorded_at"], event["status"] == "denied")
            latest[key] = max(latest.get(key, order), order)
    return {key for key, (_, _, is_denied) in latest.items() if is_denied}


def test_changes_of_sixty_days_give_the_members(built: BuiltDays) -> None:
    """Applied from empty, day by day with the README's SQL, they give the members in every column.

    The members are those of the oracle; who withdrew or was erased is not among them, whatever became of
    the list. The first days are the same as by dbt, the guards hold each day, and every reason occurs.
    """
    platform = first_day()
    last_built = moment_text(as_of(BUILT_DAYS - 1))
    replay = Replay.of_build(built.project.path, last_built, built.inputs(BUILT_DAYS - 1))
    replay.connection.execute(AD_SERVER)
    inputs = built.project.path.parent / "inputs" / "today"
    seen: Counter[tuple[str, str]] = Counter()
    statuses: set[str] = set()
    for day in range(DAYS):
        if day:
            platform.move_on()
        moment = moment_text(as_of(day))
        platform.write(inputs)
        replay.read(inputs)
        replay.build(moment)
        members = replay.query(MEMBERS)
        if day < BUILT_DAYS:
            assert tuple(map(replay.query, (MEMBERS, CHANGES, STATE))) == built.delivered[day]
        assert members == delivered_by_the_oracle(platform, replay), f"day {day}"

        replay.connection.execute(APPLY)
        assert replay.query("from ad_server.members order by all") == members, f"day {day}"
        moments = replay.query("select distinct previous_as_of, as_of from delivery.membership_changes")
        assert moments == [(as_of(day - 1) if day else None, as_of(day))]
        for guard in GUARDS:
            assert replay.breaches(guard, moment) == [], f"day {day}: {guard}"

        use_of = oracle.DATA_USE_OF_KIND
        standing = {(user_id, use_of[kind]) for kind, _, _, user_id, *_ in members}
        assert standing and not standing & withdrawn(platform, as_of(day))
        assert not {user_id for user_id, _ in standing} & set(platform.erased)
        for change, reason, rows in replay.query(
            "select change, reason, count(*) from delivery.membership_changes group by all"
        ):
            seen[change, reason] += rows
        statuses |= {status for (status,) in replay.query("select list_status from marts.audiences")}
    assert set(seen) == REASONS
    assert statuses >= STATUSES
    print(f"{DAYS} days: {dict(seen)}")

    replay.connection.execute("delete from ad_server.members where user_id < 'sim-user-000100'")
    assert replay.query("from ad_server.members order by all") != members
    replay.connection.execute(LOAD)
    assert replay.query("from ad_server.members order by all") == members


@pytest.fixture
def last_day(built: BuiltDays) -> Iterator[tuple[Callable[[str], Rows], duckdb.DuckDBPyConnection]]:
    """The last day once more, to be spoilt: what a guard returns, and the tables."""
    moments = [moment_text(as_of(day)) for day in range(BUILT_DAYS)]
    replay = Replay.of_build(built.project.path, moments[-1], built.inputs(BUILT_DAYS - 1))
    for day, moment in enumerate(moments):
        replay.read(built.inputs(day))
        replay.build(moment)
    assert [replay.breaches(guard, moments[-1]) for guard in GUARDS] == [[], [], [], []]
    yield lambda guard: replay.breaches(guard, moments[-1]), replay.connection


SPOILT = {
    "a removal is lost": ("changes_give_what_is_delivered", "delete from {changes} where change = 'remove'"),
    "a member is not added": ("changes_give_what_is_delivered", "delete from {changes} where change = 'add'"),
    "an end is not told": (
        "changes_give_what_is_delivered",
        "update {changes} set valid_until = null where change = 'update'",
    ),
    "somebody is named who never was delivered": (
        "no_change_is_idle",
        "insert into {changes} by name select * replace ('nobody' as user_id) from {changes}"
        " where change = 'remove' limit 1",
    ),
    "a change that changes nothing": (
        "no_change_is_idle",
        "insert into {changes} by name select distinct * exclude (contact_id, as_of), 'update' as change,"
        " 'revised' as reason, as_of as previous_as_of from changes.previous_members limit 1",
    ),
    "a change from another build": (
        "no_change_is_idle",
        "update {changes} set previous_as_of = previous_as_of - interval 1 day",
    ),
    "who withdrew stays": (
        "who_withdrew_leaves",
        "delete from {changes} where reason = 'consent_withdrawn'",
    ),
    "who withdrew comes back": (
        "who_withdrew_leaves",
        "update {changes} set change = 'add' where reason = 'consent_withdrawn'",
    ),
    "who was erased stays": (
        "who_withdrew_leaves",
        "delete from input_views.raw_users where user_id in"
        " (select user_id from {changes} where change = 'add')",
    ),
    "a removal for nothing": (
        "removals_have_their_cause",
        "update {changes} set reason = 'consent_withdrawn' where reason = 'entry_removed'",
    ),
    "somebody delivered is removed": (
        "removals_have_their_cause",
        "update {changes} set change = 'remove', reason = 'entry_removed' where change = 'update'",
    ),
}


def test_guards_see_what_is_wrong(
    last_day: tuple[Callable[[str], Rows], duckdb.DuckDBPyConnection],
) -> None:
    """Each way to spoil the changes turns its guard red, and undone it is green again."""
    breaches, connection = last_day
    for name, (guard, spoil) in SPOILT.items():
        connection.execute("begin")
        connection.execute(spoil.format(changes="release.release_membership_changes"))
        assert breaches(guard), name
        connection.execute("rollback")
        assert not breaches(guard), name


def test_graph_refuses_what_would_keep_or_read_who_left(copy_of_sample: Project) -> None:
    """A state before its time, a view of it, another reader of it, and a reader of what is published."""
    copy_of_sample.edit("macros/as_released.sql", "    'published_audiences', ", "    ")
    copy_of_sample.write(
        "models/changes/earlier_members.sql",
        "{{ config(materialized='view') }}select user_id from {{ previous_state('delivered_members') }}",
    )
    copy_of_sample.write(
        "models/matching/delivered_users.sql", "select user_id from {{ ref('delivery_membership_changes') }}"
    )
    before = copy_of_sample.published()
    run = copy_of_sample.build()
    assert not run.success and copy_of_sample.published() == before
    for rule in (
        "state_delivered_members could be built before published_audiences",
        "earlier_members is a view of the previous state",
        "earlier_members reads who was delivered before",
        "delivery_membership_changes -> delivered_users: nothing reads what is published",
    ):
        assert rule in run.output

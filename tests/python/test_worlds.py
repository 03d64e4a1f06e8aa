"""Generated worlds: the models decide each as the oracle does, and obey laws that need no oracle."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import incident_oracle
import oracle
import pytest
import worlds
from conftest import Project
from hypothesis import HealthCheck, Phase, given, settings
from oracle import World
from simulation import Replay, moment_text
from worlds import AS_OF, Pack, packs

WORLDS_IN_A_PACK = 150
PACKS = 3
PACKS_IN_LONG_MODE = 140
COUNTEREXAMPLES = Path(__file__).parent / "counterexamples"
DAY_BEFORE = AS_OF - timedelta(days=1)
REFUSED_STATUSES = {
    "not_created",
    "expired",
    "not_attested",
    "partner_inactive",
    "licence_not_in_force",
    "advertiser_inactive",
    "terms_not_accepted",
    "sensitive_topic",
}
MEMBERS = """
    select
        list_kind, list_id, advertiser_id, user_id,
        matched_email, matched_phone, first_matched_at, valid_until
    from (
        select 'tailored' as list_kind, * from {0}.tailored_audience_members
        union all by name
        select 'partner' as list_kind, * from {0}.partner_audience_members
    )
"""
GUARDS = [
    "changes_give_what_is_delivered",
    "no_change_is_idle",
    "who_withdrew_leaves",
    "removals_have_their_cause",
]
Facts = dict[Any, Any]


@pytest.fixture(scope="module")
def replay(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The models as dbt compiles them after a build, with an incident assessment, to be run in this process.

    Sizes are as good as exact, so that the smallest list may serve.
    """
    project = Project(Path(shutil.copytree(sample.path, tmp_path_factory.mktemp("worlds") / "project")))
    ((moment,),) = project.query("select strftime(as_of, '%Y-%m-%d %H:%M:%S.%f') from release.release")
    run = project.dbt("compile", "--vars", json.dumps({"as_of": moment, "incident_assessment": True}))
    assert run.success, run.output
    replay = Replay.of_build(project.path, moment, project.path)
    replay.connection.execute("update policy.audience_policy set value = 1 where setting like 'size%'")
    return replay


@dataclass
class Difference:
    """What only one of the two says of a key."""

    question: str
    key: object
    models: object
    oracle: object


def differences(question: str, models: Facts, expected: Facts) -> Iterator[Difference]:
    """Keys of which models and oracle say different things, or only one of them anything."""
    for key in models.keys() | expected.keys():
        if models.get(key) != expected.get(key) or (key in models) != (key in expected):
            yield Difference(question, key, models.get(key), expected.get(key))


def members(replay: Replay, schema: str) -> Facts:
    """Members in a schema: (list kind, list, advertiser, user) -> the other columns."""
    return {row[:4]: row[4:] for row in replay.query(MEMBERS.format(schema))}


def build(replay: Replay, world: World, moment: datetime) -> None:
    """Run the models on a world."""
    replay.take(world)
    replay.build(moment_text(moment), "state", "incident")


def judged(replay: Replay, world: World) -> Iterator[Difference]:
    """Every question of DESIGN 4.1 to 4.6, asked of the models that ran and of the oracle."""
    decisions = replay.query("select contact_id, data_use, decision from marts.contact_decisions")
    yield from differences("decision", {row[:2]: row[2] for row in decisions}, oracle.decide(world, AS_OF))

    gate = replay.query(
        "select contact_id, data_use, consent_event_id from consent.contacts_consented_for_ads"
    )
    yield from differences("gate", {row[:2]: row[2] for row in gate}, oracle.gate(world, AS_OF))

    expected = {key: tuple(member.values()) for key, member in oracle.members(world, AS_OF).items()}
    yield from differences("member", members(replay, "marts"), expected)

    statuses = {
        row[:2]: row[2] if row[2] in REFUSED_STATUSES else "has members"
        for row in replay.query("select list_id, advertiser_id, list_status from marts.audiences")
    }
    audiences = {
        key: audience["list_status"] if audience["list_status"] in REFUSED_STATUSES else "has members"
        for key, audience in oracle.audiences(world, AS_OF).items()
    }
    yield from differences("status", statuses, audiences)

    reports = replay.query("select list_id, reason, entries from marts.list_reports")
    yield from differences("report", {row[:2]: row[2] for row in reports}, oracle.list_reports(world, AS_OF))

    shared = replay.query("select engagement_id from marts.measurement_events_shared")
    yield from differences(
        "shared", dict.fromkeys(row[0] for row in shared), dict.fromkeys(oracle.measurement(world, AS_OF))
    )

    classes = dict(replay.query("select match_id, match_class from incident.incident_matches"))
    yield from differences("incident", classes, incident_oracle.match_classes(world, AS_OF))


def changed(replay: Replay, before: Facts, after: World) -> Iterator[Difference]:
    """The changes delivered, against the members that the oracle finds in the audiences that serve."""
    serving = set(
        replay.query("select list_id, advertiser_id from marts.audiences where list_status = 'serving'")
    )
    now = {
        key: tuple(member.values())
        for key, member in oracle.members(after, AS_OF).items()
        if key[1:3] in serving
    }
    expected = {key: "remove" for key in before.keys() - now.keys()}
    expected |= {key: "add" for key in now.keys() - before.keys()}
    expected |= {key: "update" for key in now.keys() & before.keys() if now[key] != before[key]}
    changes = replay.query(
        "select list_kind, list_id, advertiser_id, user_id, change from delivery.membership_changes"
    )
    yield from differences("change", {row[:4]: row[4] for row in changes}, expected)
    for guard in GUARDS:
        for row in replay.breaches(guard, moment_text(AS_OF)):
            yield Difference(guard, row, "breach", None)


def disagreements(replay: Replay, pack: Pack) -> list[Difference]:
    """What the models and the oracle say differently of a pack, built on the day before and again."""
    for state in ("delivered_members", "published_sizes"):
        replay.connection.execute(f"delete from state.{state}")
    build(replay, pack.before, DAY_BEFORE)
    before = members(replay, "delivery")
    build(replay, pack.after, AS_OF)
    return [*judged(replay, pack.after), *changed(replay, before, pack.after)]


def kept(pack: Pack, found: list[Difference]) -> Path:
    """The first world that disagrees, written as the fixture that it may become."""
    number = worlds.world_of(found[0].key)
    path = Path(tempfile.mkdtemp()) / f"{number}.json"
    path.write_text(
        json.dumps({"before": _only(pack.before, number), "after": _only(pack.after, number)}, default=str)
    )
    return path


def _only(world: World, number: str) -> dict[str, Any]:
    rows = {
        table: [
            row for row in worlds.of(world, table) if str(next(iter(row.values()))).startswith(f"{number}-")
        ]
        for table in worlds.TABLES
    }
    return {
        **rows,
        "consent_rules": world.consent_rules,
        "dual_purpose_policy": world.dual_purpose_policy,
    }


def read_back(path: Path) -> Pack:
    """A pack of the one world that was kept."""

    def world(kept_rows: dict[str, Any]) -> World:
        for table, columns in oracle.TABLES.items():
            for row in kept_rows[table]:
                for column, kind in columns.items():
                    if kind == oracle.INSTANT and row.get(column) is not None:
                        row[column] = datetime.fromisoformat(row[column])
        return worlds.merged(
            [World(**{table: kept_rows[table] for table in worlds.TABLES})],
            {name: kept_rows[name] for name in ("consent_rules", "dual_purpose_policy")},
        )

    content = json.loads(path.read_text())
    return Pack(world(content["before"]), world(content["after"]))


def sized(pack: Pack) -> Pack:
    """The pack under a policy in which the smallest list may serve."""
    return Pack(*(replace(world, min_audience_size=1) for world in (pack.before, pack.after)))


def agree(replay: Replay, pack: Pack) -> None:
    """Fail with the first disagreements and the world that shows one, which may become a counterexample."""
    found = disagreements(replay, sized(pack))
    assert not found, f"{len(found)} disagreements, such as {found[:3]}; kept in {kept(pack, found)}"


in_ci = settings(
    max_examples=PACKS,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # a pack is not shrunk: the world that disagrees is cut out of it
    suppress_health_check=list(HealthCheck),
)
in_long_mode = settings(in_ci, max_examples=PACKS_IN_LONG_MODE, derandomize=False)


@in_ci
@given(pack=packs(WORLDS_IN_A_PACK))
def test_oracle_agrees_on_every_world(replay: Replay, pack: Pack) -> None:
    """The same worlds in every run, so that a run which fails tells of a change."""
    agree(replay, pack)


@pytest.mark.prove
@in_long_mode
@given(pack=packs(WORLDS_IN_A_PACK))
def test_oracle_agrees_on_many_worlds(replay: Replay, pack: Pack) -> None:
    """Other worlds in every run."""
    agree(replay, pack)


@pytest.mark.parametrize("path", sorted(COUNTEREXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_counterexamples_agree(replay: Replay, path: Path) -> None:
    """Each world that once disagreed."""
    agree(replay, read_back(path))


SPOILT = {
    "decision": "update marts.contact_decisions set decision = 'accepted' where decision = 'not_verified'",
    "gate": "delete from consent.contacts_consented_for_ads where contact_id like 'w7-%'",
    "member": "delete from marts.tailored_audience_members where list_id = 'w7-tailored'",
    "status": "update marts.audiences set list_status = 'expired' where list_id = 'w7-tailored'",
    "report": "update marts.list_reports set entries = entries + 1 where list_id = 'w7-tailored'",
    "shared": "delete from marts.measurement_events_shared where engagement_id like 'w7-%'",
    "incident": "update incident.incident_matches set match_class = 'unexplained'",
    "change": "delete from delivery.membership_changes where change = 'add'",
}


def any_pack() -> Pack:
    """One pack, the same in every run."""
    found: list[Pack] = []

    @settings(in_ci, max_examples=2)  # the first example is the simplest, in which nothing goes wrong
    @given(pack=packs(WORLDS_IN_A_PACK))
    def keep(pack: Pack) -> None:
        found.append(sized(pack))

    keep()
    return found[-1]


def test_a_wrong_row_is_seen(replay: Replay) -> None:
    """The comparison's own failure: one fact of each kind is spoilt, and its question is answered."""
    pack = any_pack()
    assert disagreements(replay, pack) == []
    for question, spoil in SPOILT.items():
        replay.connection.execute("begin")
        replay.connection.execute(spoil)
        seen = {
            difference.question
            for difference in [*judged(replay, pack.after), *changed(replay, {}, pack.after)]
        }
        assert question in seen, question
        replay.connection.execute("rollback")


# --- laws that need no oracle ---------------------------------------------------------------------

Members = set[tuple[Any, ...]]


@pytest.fixture(scope="module")
def world() -> World:
    """The worlds of one pack after their perturbations."""
    return any_pack().after


def members_of(replay: Replay, world: World) -> Members:
    """The members of every audience with all their columns."""
    build(replay, world, AS_OF)
    return {(*key, *columns) for key, columns in members(replay, "marts").items()}


def whole_result(replay: Replay, world: World) -> dict[str, list[tuple[object, ...]]]:
    """Every mart, row by row."""
    build(replay, world, AS_OF)
    marts = replay.query(
        "select table_name from duckdb_tables() where schema_name = 'marts' and not internal"
    )
    assert len(marts) > 5
    return {mart: replay.query(f"from marts.{mart} order by all") for (mart,) in marts}


def is_protective(row: oracle.Row) -> bool:
    """Given for protection alone, so that it can be no member's own contact."""
    purpose = worlds.PURPOSES.get(row["purpose"] or "")
    return purpose is None or (purpose["is_protective"] and not purpose["is_usable_for_matching"])


def scrambled(world: World, policy: str) -> World:
    """Protective contacts with the values of others, one more for every contact, and every third one gone."""
    chance = random.Random(2019)
    ads = [row for row in world.raw_contacts if not is_protective(row)]
    protective = [row for row in world.raw_contacts if is_protective(row)]
    values = [row["value"] for row in world.raw_contacts]
    changed_ones = [row | {"value": chance.choice(values)} for row in protective[::3] + protective[1::3]]
    new_ones = [
        row | {"contact_id": f"{row['contact_id']}-protective", "purpose": "security.two_factor"}
        for row in ads
    ]
    return replace(world, raw_contacts=[*ads, *changed_ones, *new_ones], dual_purpose_policy=policy)


def test_protective_contacts_do_not_interfere(replay: Replay, world: World) -> None:
    """Non-interference: under separate_collection nothing of them is seen behind the gate.

    Rule 8 is about the value that a user gave for both; scrambling leaves the ads contacts as they are.
    """
    plain = replace(world, dual_purpose_policy="separate_collection")
    before = members_of(replay, plain)
    assert before and members_of(replay, scrambled(world, "separate_collection")) == before


def test_protective_contacts_only_take_away(replay: Replay, world: World) -> None:
    """Under exclude members only become fewer as protective contacts are added, down to nobody."""
    strict = replace(world, dual_purpose_policy="exclude")
    ads = [row for row in world.raw_contacts if not is_protective(row)]
    added = [
        row | {"contact_id": f"{row['contact_id']}-protective", "purpose": "security.two_factor"}
        for row in ads
    ]
    who = [
        {
            row[:4]
            for row in members_of(replay, replace(strict, raw_contacts=[*world.raw_contacts, *added[:count]]))
        }
        for count in (0, len(added) // 2, len(added))
    ]
    assert who[0] > who[1] > who[2] == set()


def with_doubles(world: World) -> World:
    """Every contact, consent event, suppression, licence and entry once more, under another id."""

    def doubled(rows: list[oracle.Row], column: str) -> list[oracle.Row]:
        return [*rows, *(row | {column: f"{row[column]}~"} for row in rows)]

    return replace(
        world,
        raw_contacts=doubled(world.raw_contacts, "contact_id"),
        raw_consent_events=doubled(world.raw_consent_events, "consent_event_id"),
        raw_suppressions=doubled(world.raw_suppressions, "suppression_id"),
        raw_partner_licences=doubled(world.raw_partner_licences, "licence_id"),
        raw_list_entries=[
            *world.raw_list_entries,
            *(row | {"row_number": row["row_number"] + 1000} for row in world.raw_list_entries),
        ],
    )


def with_a_future(world: World) -> World:
    """What will happen a microsecond after as_of, and later: withdrawals, contacts, uploads, suppressions."""
    later = AS_OF + timedelta(microseconds=1)
    moments = {
        "occurred_at",
        "recorded_at",
        "collected_at",
        "verified_at",
        "uploaded_at",
        "added_at",
        "starts_at",
    }

    def future(rows: list[oracle.Row], column: str, **cells: object) -> list[oracle.Row]:
        cells |= dict.fromkeys(moments & set(rows[0]), later) if rows else {}
        return [*rows, *(row | cells | {column: f"{row[column]}-later"} for row in rows)]

    return replace(
        world,
        raw_contacts=future(world.raw_contacts, "contact_id", purpose="security.two_factor"),
        raw_consent_events=future(world.raw_consent_events, "consent_event_id", status="denied"),
        raw_suppressions=future(world.raw_suppressions, "suppression_id", advertiser_id=None),
        raw_partner_licences=future(world.raw_partner_licences, "licence_id"),
        raw_list_uploads=future(world.raw_list_uploads, "upload_id", operation="remove_all"),
    )


@pytest.mark.parametrize("change", [with_doubles, with_a_future])
def test_changes_no_member(replay: Replay, world: World, change: Callable[[World], World]) -> None:
    """What is said twice counts once, and what has not happened yet does not count."""
    before = members_of(replay, world)
    assert before and members_of(replay, change(world)) == before


def test_order_of_rows_changes_nothing(replay: Replay, world: World) -> None:
    """The inputs backwards give every mart row by row."""
    backwards = {table: list(reversed(worlds.of(world, table))) for table in worlds.TABLES}
    assert whole_result(replay, replace(world, **backwards)) == whole_result(replay, world)


@pytest.mark.parametrize(
    "setting", ["timezone = 'America/St_Johns'", "timezone = 'Asia/Kathmandu'", "threads = 2"]
)
def test_session_changes_nothing(replay: Replay, world: World, setting: str) -> None:
    """Neither the session's time zone nor its threads."""
    before = whole_result(replay, world)
    replay.connection.execute(f"set {setting}")
    try:
        build(replay, world, AS_OF)
    finally:
        replay.connection.execute("set timezone = 'UTC'; set threads = 1")
    after = {mart: replay.query(f"from marts.{mart} order by all") for mart in before}
    assert after == before


def withdrawn(world: World, users: set[str]) -> World:
    """Every consent of these users withdrawn at as_of."""
    denials = [
        {
            "consent_event_id": f"{row['user_id']}-{data_use}-withdrawn",
            "user_id": row["user_id"],
            "data_use": data_use,
            "status": "denied",
            "occurred_at": AS_OF,
            "recorded_at": AS_OF,
            "expires_at": None,
        }
        for row in world.raw_users
        if row["user_id"] in users
        for data_use in (*oracle.MATCHING_USES, oracle.MEASUREMENT)
    ]
    return replace(world, raw_consent_events=[*world.raw_consent_events, *denials])


def test_who_withdraws_leaves_and_nobody_else(replay: Replay, world: World) -> None:
    """Everybody: no member is left. Every second user: exactly the members that are others."""
    before = members_of(replay, world)
    users = sorted(row["user_id"] for row in world.raw_users)
    half = set(users[::2])
    stay = members_of(replay, withdrawn(world, half))
    assert stay == {row for row in before if row[3] not in half} and set() < stay < before
    assert members_of(replay, withdrawn(world, set(users))) == set()


def test_one_more_person_is_one_more_member(replay: Replay, world: World) -> None:
    """Somebody new who agreed, on the list of an audience that stands, joins it, and nothing else changes."""
    before = members_of(replay, world)
    _, list_id, advertiser_id, user_id, *_ = sorted(row for row in before if row[0] == "tailored")[0]
    (audience_list,) = [row for row in world.raw_audience_lists if row["list_id"] == list_id]
    profile, is_hashed = audience_list["normalization_profile"], audience_list["is_hashed"]
    address = "new.person@example.net"
    user = {**next(row for row in world.raw_users if row["user_id"] == user_id), "user_id": "new"}
    added = replace(
        world,
        raw_users=[*world.raw_users, user],
        raw_contacts=[
            *world.raw_contacts,
            {
                "contact_id": "new",
                "user_id": "new",
                "channel": "email",
                "value": address,
                "purpose": oracle.TAILORED,
                "collected_at": AS_OF,
                "verified_at": AS_OF,
                "removed_at": None,
            },
        ],
        raw_consent_events=[*world.raw_consent_events, worlds.granted("new", "new", oracle.TAILORED)],
        raw_list_uploads=[
            *world.raw_list_uploads,
            {"upload_id": "new", "list_id": list_id, "operation": "append", "uploaded_at": AS_OF},
        ],
        raw_list_entries=[
            *world.raw_list_entries,
            {
                "upload_id": "new",
                "row_number": 1,
                "channel": "email",
                "identifier": worlds.hashed(address, profile) if is_hashed else address,
                "country_code": None,
            },
        ],
    )
    after = members_of(replay, added)
    assert before <= after
    assert {row[:4] for row in after - before} == {("tailored", list_id, advertiser_id, "new")}


def test_parts_make_the_whole(replay: Replay, world: World) -> None:
    """The members are those of every second user, and of the others, together."""

    def part(users: set[str]) -> World:
        tables = ("raw_users", "raw_contacts", "raw_consent_events")
        return replace(
            world,
            **{
                table: [row for row in worlds.of(world, table) if row["user_id"] in users] for table in tables
            },
        )

    users = sorted({row["user_id"] for row in world.raw_contacts + world.raw_users})
    parts = [members_of(replay, part(set(users[turn::2]))) for turn in (0, 1)]
    assert all(parts) and parts[0] | parts[1] == members_of(replay, world)

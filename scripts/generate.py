"""Write inputs of any size: the public contract as Parquet, with a ground truth of planted users.

Everybody is made up. Addresses are under example.com, .org and .net; telephone numbers are North American
ones whose exchange code begins with 0 or 1, which the numbering plan never assigns (the numbers that are
reserved for fiction are too few for millions of people), but of a possible length, so they normalize.

The tables are DuckDB queries over `range`, each value a function of its row and the seed: the same
arguments give the same rows, whatever the number of threads, and nothing is held in memory.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb
from rich.console import Console
from rich.progress import Progress

AS_OF = "2026-01-01 00:00:00"  # the moment for which the data is made; nothing happens later
PLANTED_PER_CASE = 5

# Draws in [0, 1) and picks, as functions of a row, a salt and the seed
FUNCTIONS = """
    create macro draw(item, salt) as (hash(item, salt, {seed}) % 1000003) / 1000003.0;
    create macro pick(item, salt, choices) as
        choices[1 + cast(floor(draw(item, salt) * len(choices)) as integer)];
    create macro moment(item, salt, first_day, days) as
        first_day + to_seconds(cast(floor(draw(item, salt) * days * 86400) as bigint));
    create macro email_of(person) as
        'user' || person || '@mail' || person % 97 || '.example.'
        || pick(person, 'tld', ['com', 'org', 'net']);
    create macro phone_of(person) as
        cast(200 + person % 800 as varchar) || lpad(cast(person // 800 % 2000000 as varchar), 7, '0');
    create macro spelled_email(person, item) as case cast(floor(draw(item, 'spelling') * 10) as integer)
        when 0 then upper(email_of(person))
        when 1 then ' ' || email_of(person)
        when 2 then 'User' || substr(email_of(person), 5)
        else email_of(person)
    end;
    create macro spelled_phone(person, item) as case cast(floor(draw(item, 'spelling') * 8) as integer)
        when 0 then '001 ' || phone_of(person)
        when 1 then '+1 (' || left(phone_of(person), 3) || ') ' || right(phone_of(person), 7)
        else '+1' || phone_of(person)
    end;
    create macro in_list(item) as cast(floor({lists} * power(draw(item, 'list'), 3)) as bigint);
    create macro profile_of(list) as ['x', 'meta', 'google', 'uid2'][1 + list % 4];
    create macro is_hashed_list(list) as list % 10 < 7;
    create macro kind_of(list) as case when list % 10 in (3, 6, 9) then 'partner' else 'tailored' end;
"""

# Who stands in which row of which list: members are drawn from a pool of three times the list's share, so
# that some come twice and some are removed; two in five are users
LIST_PEOPLE = """
        with rows as (
            select
                item,
                in_list(item) as list,
                case when draw(item, 'channel') < 0.7 then 'email' else 'phone' end as channel,
                case when draw(item, 'turn') < 0.5 then 0 when draw(item, 'turn') < 0.75 then 1
                    when draw(item, 'turn') < 0.95 then 2 else 3 end as turn,
                draw(item, 'fault') as fault
            from range({entries}) as rows (item)
        ),
        members as (
            select
                *,
                cast(floor(draw(item, 'member') * 3 * {entries}
                    * (power((list + 1) / {lists}, 1 / 3.0) - power(list / {lists}, 1 / 3.0))) as bigint)
                    as member
            from rows
        ),
        people as (
            select
                *,
                case when draw(list, member) < 0.4
                    then cast(floor(draw(member, list + 1) * {users}) as bigint)
                    else {users} + (hash(list, member) % 400000000) end as person
            from members
        )
"""

# One query per table; {users}, {lists}, {entries}, {advertisers} and {partners} are counts
TABLES = {
    "raw_users": """
        select
            'u' || item as user_id,
            case when draw(item, 'country') < 0.02 then null
                else pick(item, 'country', ['US', 'US', 'US', 'CA', 'GB', 'DE', 'FR', 'JP', 'BR', 'IN'])
            end as country_code,
            case when draw(item, 'adult') < 0.02 then null else draw(item, 'adult') > 0.05 end as is_adult,
            case when draw(item, 'status') < 0.92 then 'active'
                else pick(item, 'status', ['deactivated', 'suspended', 'deleted']) end as account_status,
            moment(item, 'created', timestamptz '2013-05-01 00:00:00+00', 2500) as created_at
        from range({users}) as rows (item)
    """,
    # an address and a number each, and for every tenth user the address once more, for security
    "raw_contacts": """
        with contacts as (
            select
                item // 3 as person,
                item % 3 as slot,
                item
            from range(3 * {users}) as rows (item)
            where item % 3 < 2 or draw(item // 3, 'dual') < 0.1
        )
        select
            'c' || item as contact_id,
            'u' || person as user_id,
            case when slot = 1 then 'phone' else 'email' end as channel,
            case when draw(item, 'invalid') < 0.01 then 'not given'
                when slot = 1 then spelled_phone(person, item)
                else spelled_email(person, item) end as value,
            case slot
                when 0 then pick(item, 'purpose', [
                    'ads.audience_matching', 'ads.audience_matching', 'ads.audience_matching.tailored',
                    'ads.audience_matching.partner', 'service.account_registration', 'service.notifications',
                    'marketing.email', 'security.account_recovery'
                ])
                when 1 then pick(item, 'purpose', [
                    'security.two_factor', 'security.two_factor', 'security.account_recovery',
                    'security.reauthentication', 'ads.audience_matching', 'ads.audience_matching.tailored',
                    'marketing.sms', null
                ])
                else 'security.two_factor'
            end as purpose,
            moment(item, 'collected', timestamptz '2019-01-01 00:00:00+00', 2000) as collected_at,
            case when draw(item, 'verified') < 0.93
                then moment(item, 'collected', timestamptz '2019-01-01 00:05:00+00', 2000) end as verified_at,
            case when draw(item, 'removed') < 0.06
                then moment(item, 'removed', timestamptz '2025-01-01 00:00:00+00', 350) end as removed_at
        from contacts
    """,
    # per user and data use a grant, and for some a second event: a withdrawal, a late record, a new grant
    "raw_consent_events": """
        with events as (
            select
                item // 6 as person,
                item % 6 % 3 as data_use,
                item % 6 // 3 as turn,
                item
            from range(6 * {users}) as rows (item)
            where draw(item, 'event')
                < case item % 6 when 0 then 0.8 when 1 then 0.6 when 2 then 0.5 else 0.15 end
        )
        select
            'e' || item as consent_event_id,
            'u' || person as user_id,
            'ads.' || ['audience_matching.tailored', 'audience_matching.partner', 'measurement'][1 + data_use]
                as data_use,
            case when draw(item, 'status') < 0.9 - 0.6 * turn then 'granted' else 'denied' end
                as status,
            moment(item, 'occurred', timestamptz '2022-01-01 00:00:00+00', 1000 + 400 * turn)
                as occurred_at,
            moment(item, 'occurred', timestamptz '2022-01-01 00:01:00+00', 1000 + 400 * turn)
                + to_days(case when draw(item, 'late') < 0.02 then 40 else 0 end) as recorded_at,
            case when draw(item, 'expires') < 0.1
                then moment(item, 'expires', timestamptz '2025-06-01 00:00:00+00', 700) end as expires_at
        from events
    """,
    "raw_suppressions": """
        select
            's' || item as suppression_id,
            case when item % 3 = 0 then 'phone' else 'email' end as channel,
            case when item % 3 = 0 then spelled_phone(item * 97 % {users}, item)
                else spelled_email(item * 97 % {users}, item) end as value,
            case when draw(item, 'advertiser') < 0.3
                then 'a' || cast(floor(draw(item, 'which') * {advertisers}) as bigint) end as advertiser_id,
            moment(item, 'added', timestamptz '2023-01-01 00:00:00+00', 1000) as added_at
        from range({users} // 100 + 1) as rows (item)
    """,
    "raw_advertisers": """
        select
            'a' || item as advertiser_id,
            'Advertiser ' || item as name,
            case when item % 40 = 17 then 'suspended' else 'active' end as status,
            case when item % 40 <> 23 then timestamptz '2019-01-01 00:00:00+00' end as terms_accepted_at
        from range({advertisers}) as rows (item)
    """,
    "raw_partners": """
        select 'p' || item as partner_id, 'Partner ' || item as name,
            case when item % 20 = 13 then 'suspended' else 'active' end as status
        from range({partners}) as rows (item)
    """,
    "raw_partner_licences": """
        select
            'licence' || item as licence_id,
            'p' || list % {partners} as partner_id,
            'a' || (list + item % 2) % {advertisers} as advertiser_id,
            'l' || list as list_id,
            timestamptz '2024-01-01 00:00:00+00' as starts_at,
            case when item % 9 = 4 then timestamptz '2025-12-01 00:00:00+00' end as ends_at,
            case when item % 11 = 5 then timestamptz '2025-12-01 00:00:00+00' end as revoked_at
        from (select item, item // 2 as list from range(2 * {lists}) as rows (item))
        where kind_of(list) = 'partner'
    """,
    "raw_audience_lists": """
        select
            'l' || list as list_id,
            kind_of(list) as list_kind,
            case when kind_of(list) = 'tailored' then 'a' || list % {advertisers} end as advertiser_id,
            case when kind_of(list) = 'partner' then 'p' || list % {partners} end as partner_id,
            'List ' || list as name,
            profile_of(list) as normalization_profile,
            is_hashed_list(list) as is_hashed,
            case when list % 8 = 5 then cast(180 as integer) end as membership_days,
            timestamptz '2024-01-01 00:00:00+00' as created_at,
            case when list % 50 = 41 then timestamptz '2025-11-01 00:00:00+00' end as expires_at,
            case when list % 50 <> 44 then timestamptz '2024-01-02 00:00:00+00' end
                as lawful_basis_attested_at
        from range({lists}) as lists (list)
    """,
    "raw_list_uploads": """
        select
            'up' || list || '-' || turn as upload_id,
            'l' || list as list_id,
            ['replace', 'append', 'append', 'remove', 'remove_all'][1 + turn] as operation,
            timestamptz '2025-01-01 00:00:00+00' + to_days(cast(60 * turn as integer)) as uploaded_at
        from range({lists}) as lists (list), range(5) as turns (turn)
        where turn < 4 or list % 60 = 59
    """,
    "raw_list_entries": LIST_PEOPLE
    + """
        select
            'up' || list || '-' || turn as upload_id,
            item as row_number,
            channel,
            case
                when fault < 0.01 then 'unknown'
                when fault < 0.012 then sha256('')
                when fault < 0.02 then email_of(person)
                when not is_hashed_list(list) and channel = 'email' then spelled_email(person, item)
                when not is_hashed_list(list) then spelled_phone(person, item)
                when fault > 0.98 and channel = 'email' then to_base64(unhex(sha256(email_of(person))))
                when fault > 0.9 and channel = 'email' then upper(sha256(email_of(person)))
                when channel = 'email' then sha256(email_of(person))
                when profile_of(list) = 'meta' then sha256('1' || phone_of(person))
                else sha256('+1' || phone_of(person))
            end as identifier,
            case when draw(item, 'country') < 0.5 then 'US' end as country_code
        from people
    """,
    "raw_ad_engagements": """
        select
            'g' || item as engagement_id,
            'u' || cast(floor(draw(item, 'user') * {users}) as bigint) as user_id,
            'a' || cast(floor(draw(item, 'advertiser') * {advertisers}) as bigint) as advertiser_id,
            'm' || item % 5 as measurement_partner_id,
            pick(item, 'event', ['view', 'view', 'click']) as event,
            moment(item, 'occurred', timestamptz '2025-01-01 00:00:00+00', 360) as occurred_at,
            pick(item, 'country', ['US', 'GB', 'DE', null]) as country_code
        from range({users} // 5) as rows (item)
    """,
    # what an ungated matcher would have logged ten minutes after each upload that adds: a line for each row
    # of a user, by address or number, whatever it was given for and whether that contact was there by then
    "raw_legacy_matches": LIST_PEOPLE
    + """
        select
            'match' || item as match_id,
            'l' || list as list_id,
            'u' || person as user_id,
            'c' || (3 * person + case when channel = 'phone' then 1 else 0 end) as contact_id,
            timestamptz '2025-01-01 00:10:00+00' + to_days(cast(60 * turn as integer)) as matched_at
        from people
        where person < {users} and turn < 3
    """,
}


@dataclass(frozen=True)
class Case:
    """Planted users of one kind, on the planted list of each profile, plain and hashed.

    `contacts` are (value, purpose), where EMAIL and OTHER stand for two spellings of the user's address;
    `consents` are (data use, status, day); `overrides` replace cells of the user and the first contact.
    """

    reason: str
    must_be_member: bool = False
    contacts: tuple[tuple[str, str | None], ...] = (("EMAIL", "ads.audience_matching"),)
    consents: tuple[tuple[str, str, str], ...] = (
        ("ads.audience_matching.tailored", "granted", "2025-01-01"),
    )
    suppressed_for: str | None = None
    user: tuple[str, bool | None] = ("active", True)
    verified: bool = True
    removed: bool = False
    entry_removed: bool = False


TAILORED_GRANT = ("ads.audience_matching.tailored", "granted", "2025-01-01")
SECURITY = ("OTHER", "security.two_factor")
CASES = [
    Case("consented", True),
    Case("consented_in_another_spelling", True, (("OTHER", "ads.audience_matching.tailored"),)),
    Case(
        "granted_again",
        True,
        consents=(("ads.audience_matching.tailored", "denied", "2024-01-01"), TAILORED_GRANT),
    ),
    Case("security_only", contacts=(("EMAIL", "security.two_factor"),)),
    Case("recovery_only", contacts=(("EMAIL", "security.account_recovery"),)),
    Case("purpose_missing", contacts=(("EMAIL", None),)),
    Case("held_for_protection", contacts=(("EMAIL", "ads.audience_matching"), SECURITY)),
    Case("withdrawn", consents=(TAILORED_GRANT, ("ads.audience_matching.tailored", "denied", "2025-02-01"))),
    Case("other_data_use", consents=(("ads.audience_matching.partner", "granted", "2025-01-01"),)),
    Case("never_asked", consents=()),
    Case("suppressed", suppressed_for=""),
    Case("suppressed_for_the_advertiser", suppressed_for="planted"),
    Case("minor", user=("active", False)),
    Case("age_unknown", user=("active", None)),
    Case("deactivated", user=("deactivated", True)),
    Case("not_verified", verified=False),
    Case("removed", removed=True),
    Case("entry_removed", entry_removed=True),
]
PLANTED_LISTS = [
    (f"planted-{profile}-{form}", profile, form == "hashed")
    for profile in ("x", "meta", "google", "uid2")
    for form in ("plain", "hashed")
]


def planted_rows() -> dict[str, list[tuple[object, ...]]]:
    """The rows of planted users by table, and their ground truth (table `ground_truth`)."""
    day = "2025-01-01 00:00:00+00"
    rows: dict[str, list[tuple[object, ...]]] = {
        "raw_advertisers": [("planted", "Planted", "active", "2019-01-01 00:00:00+00")],
        "raw_audience_lists": [
            (list_id, "tailored", "planted", None, list_id, profile, is_hashed, None, day, None, day)
            for list_id, profile, is_hashed in PLANTED_LISTS
        ],
        "raw_list_uploads": [
            (f"{list_id}-{operation}", list_id, operation, moment)
            for list_id, _, _ in PLANTED_LISTS
            for operation, moment in (("replace", day), ("remove", "2025-02-01 00:00:00+00"))
        ],
    }
    for name in ("raw_users", "raw_contacts", "raw_consent_events", "raw_suppressions", "raw_list_entries"):
        rows[name] = []
    rows["ground_truth"] = []
    for case in CASES:
        for number in range(PLANTED_PER_CASE):
            user_id = f"planted-{case.reason}-{number}"
            email = f"{user_id}@planted.example.com"
            spellings = {"EMAIL": email, "OTHER": f"\u200b{email.upper()} "}
            rows["raw_users"].append((user_id, "US", case.user[1], case.user[0], day))
            for index, (spelling, purpose) in enumerate(case.contacts):
                verified, removed = (day if case.verified else None), (day if case.removed else None)
                rows["raw_contacts"].append(
                    (
                        f"{user_id}-c{index}",
                        user_id,
                        "email",
                        spellings[spelling],
                        purpose,
                        day,
                        verified,
                        removed,
                    )
                )
            for index, (data_use, status, moment) in enumerate(case.consents):
                moment = f"{moment} 00:00:00+00"
                rows["raw_consent_events"].append(
                    (f"{user_id}-e{index}", user_id, data_use, status, moment, moment, None)
                )
            if case.suppressed_for is not None:
                rows["raw_suppressions"].append(
                    (f"{user_id}-s", "email", email, case.suppressed_for or None, day)
                )
            for list_id, _, is_hashed in PLANTED_LISTS:
                row_number = len(rows["raw_list_entries"])
                for operation in ("replace", "remove") if case.entry_removed else ("replace",):
                    rows["raw_list_entries"].append(
                        (
                            f"{list_id}-{operation}",
                            row_number,
                            "email",
                            ("sha256", email) if is_hashed else email,
                            None,
                        )
                    )
                rows["ground_truth"].append((list_id, "planted", user_id, case.must_be_member, case.reason))
    return rows


def plant(connection: duckdb.DuckDBPyConnection) -> None:
    """Create a table `planted_<table>` for every table of the contract, and `ground_truth`."""
    planted = planted_rows()
    connection.execute(
        "create table ground_truth (list_id varchar, advertiser_id varchar, user_id varchar,"
        " must_be_member boolean, reason varchar)"
    )
    connection.executemany("insert into ground_truth values (?, ?, ?, ?, ?)", planted.pop("ground_truth"))
    for table, rows in planted.items():
        for row in rows:
            cells = ["sha256(?)" if isinstance(cell, tuple) else "?" for cell in row]
            values = [cell[1] if isinstance(cell, tuple) else cell for cell in row]
            connection.execute(f"insert into planted_{table} values ({', '.join(cells)})", values)


def write(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path, progress: Progress, label: str
) -> None:
    """Copy a query to a Parquet file under a temporary name, then give it its own; show how far it is."""
    task = progress.add_task(label, total=100)
    partial = path.with_suffix(".partial")
    failures: list[Exception] = []

    def copy() -> None:
        try:
            connection.execute(f"copy ({query}) to '{partial}' (format parquet, compression zstd)")
        except duckdb.Error as failure:
            failures.append(failure)

    worker = threading.Thread(target=copy)
    worker.start()
    while worker.is_alive():
        worker.join(0.5)
        progress.update(task, completed=max(connection.query_progress(), 0))
    if failures:
        partial.unlink(missing_ok=True)
        raise failures[0]
    partial.rename(path)
    progress.update(task, completed=100)


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--users", type=click.IntRange(1), required=True, help="Users; each has about 2.1 contacts.")
@click.option(
    "--lists",
    type=click.IntRange(10),
    default=200,
    show_default=True,
    help="Lists, the first ones the largest.",
)
@click.option("--entries", type=click.IntRange(1), required=True, help="Rows uploaded to the lists.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A folder; made if missing.",
)
@click.option("--memory", default="3GB", show_default=True, help="Memory limit of DuckDB.")
def main(users: int, lists: int, entries: int, seed: int, out: Path, memory: str) -> None:
    """Write the twelve tables and ground_truth.parquet, and say for which moment they are made."""
    out.mkdir(parents=True, exist_ok=True)
    counts = {
        "users": users,
        "lists": lists,
        "entries": entries,
        "advertisers": max(5, lists // 10),
        "partners": max(3, lists // 40),
    }
    connection = duckdb.connect(config={"memory_limit": memory, "temp_directory": str(out / "spill")})
    connection.execute("set timezone = 'UTC'")
    connection.execute(FUNCTIONS.format(seed=seed, lists=lists))
    for table, query in TABLES.items():
        connection.execute(f"create table planted_{table} as {query.format(**counts)} limit 0")
    plant(connection)
    with Progress(console=Console(stderr=True)) as progress:
        for table, query in TABLES.items():
            everything = f"({query.format(**counts)}) union all (from planted_{table})"
            write(connection, everything, out / f"{table}.parquet", progress, table)
        write(connection, "from ground_truth", out / "ground_truth.parquet", progress, "ground_truth")
    for table in TABLES:
        rows = connection.execute(f"select count(*) from '{out}/{table}.parquet'").fetchone()[0]
        click.echo(f"{table:<22}{rows:>14,}")
    click.echo(f"made for as_of: {AS_OF}")


if __name__ == "__main__":
    main()

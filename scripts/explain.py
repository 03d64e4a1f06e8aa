"""Say everything that is held about one person and done with it, for an access request (GDPR Art. 15).

Contacts with the purpose each was given for and what was decided of it, consent and its history, the
audiences the person is in and why, what the ad server was given and told to change, and the views and
clicks that were shared: all for the moment of the last build. Reads the warehouse read-only. Ids, purposes
and moments only, so that the answer may stand in a terminal or a log: a contact's value is never read here,
nor is anything about anybody else.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

ACCOUNT = """
    select country_code, is_adult, account_status, created_at
    from staging.stg_users
    where user_id = $user_id
"""

CONTACTS = """
    select contact_id, channel, purpose, purpose_class, collected_at, verified_at, removed_at
    from staging.stg_contacts
    where user_id = $user_id
    order by collected_at, contact_id
"""

DECISIONS = """
    select contact_id, data_use, decision
    from marts.contact_decisions
    where user_id = $user_id
    order by contact_id, data_use desc
"""

CONSENT_EVENTS = """
    select data_use, consent_event_id, is_granted, occurred_at, recorded_at, expires_at
    from staging.stg_consent_events
    where user_id = $user_id
    order by data_use, occurred_at, recorded_at, consent_event_id
"""

# A state is folded only where a contact of the person might be matched
CONSENT_STATES = """
    select data_use, consent_state, consent_event_id
    from consent.consent_states
    where user_id = $user_id
"""

AUDIENCES = """
    with delivered as (
        select list_id, advertiser_id from delivery.tailored_audience_members where user_id = $user_id
        union all
        select list_id, advertiser_id from delivery.partner_audience_members where user_id = $user_id
    )
    select
        explanations.list_id, lists.list_name, lists.list_kind,
        explanations.advertiser_id, advertisers.advertiser_name,
        lists.partner_id, partners.partner_name,
        delivered.list_id is not null as is_delivered,
        explanations.contact_id, explanations.channel, explanations.purpose, explanations.consent_event_id,
        explanations.upload_id, uploads.uploaded_at, explanations.licence_id,
        explanations.matched_at, explanations.valid_until
    from marts.member_explanations as explanations
    inner join staging.stg_audience_lists as lists on explanations.list_id = lists.list_id
    inner join staging.stg_list_uploads as uploads on explanations.upload_id = uploads.upload_id
    left join staging.stg_advertisers as advertisers on explanations.advertiser_id = advertisers.advertiser_id
    left join staging.stg_partners as partners on lists.partner_id = partners.partner_id
    left join delivered
        on explanations.list_id = delivered.list_id and explanations.advertiser_id = delivered.advertiser_id
    where explanations.user_id = $user_id
    order by explanations.list_id, explanations.advertiser_id, explanations.contact_id
"""

ENGAGEMENTS = """
    select
        engagements.engagement_id, engagements.event, engagements.occurred_at, engagements.advertiser_id,
        shared.measurement_partner_id as shared_with, shared.country_code as shared_country_code
    from staging.stg_ad_engagements as engagements
    left join marts.measurement_events_shared as shared
        on engagements.engagement_id = shared.engagement_id
    where engagements.user_id = $user_id
    order by engagements.occurred_at, engagements.engagement_id
"""

# The members with their contacts that the next build compares with
DELIVERED = """
    select list_kind, list_id, advertiser_id, partner_id, contact_id, first_matched_at, valid_until, as_of
    from state.delivered_members
    where user_id = $user_id
    order by list_kind, list_id, advertiser_id, contact_id
"""

# Who has left, or was erased, is named here once more
CHANGES = """
    select list_kind, list_id, advertiser_id, change, reason, previous_as_of, as_of
    from delivery.membership_changes
    where user_id = $user_id
    order by list_kind, list_id, advertiser_id
"""

REASONS = {
    "accepted": "may be matched: you gave and confirmed it for this use, and consented (or never refused,"
    " where the rule of your country is opt-out)",
    "not_collected": "not matched: we have no moment at which you gave it",
    "purpose_unknown": "not matched: we do not know what you gave it for",
    "purpose_security": "not matched: you gave it to protect your account",
    "purpose_not_ads": "not matched: you gave it for something other than this use",
    "removed": "not matched: you removed it",
    "not_verified": "not matched: you have not confirmed it",
    "invalid_value": "not matched: it is no address or number that can be compared",
    "held_for_protection": "not matched: you also gave it for your protection",
    "user_not_active": "not matched: your account is not active",
    "user_not_adult": "not matched: we do not know you to be an adult",
    "suppressed": "not matched: it is on the list of what must never be matched",
    "consent_denied": "not matched: you refused this use, or took your consent back",
    "consent_expired": "not matched: your consent has run out",
    "consent_unknown": "not matched: you never consented to this use",
}
"""Every decision of DESIGN 4.1 in words for the person it is about."""

MATCH = (
    "contact_id", "channel", "purpose", "consent_event_id", "upload_id", "uploaded_at", "licence_id",
    "matched_at", "valid_until",
)  # fmt: skip
"""Columns of AUDIENCES that say why, per contact; the others name the audience."""


class UnknownPerson(Exception):
    """Nothing is held about the person who was asked for."""


def read(connection: duckdb.DuckDBPyConnection, query: str, user_id: str) -> list[Row]:
    """Rows of a query about one user, as dicts by column."""
    answer = connection.execute(query, {"user_id": user_id})
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def explain(connection: duckdb.DuckDBPyConnection, user_id: str) -> Row:
    """The whole picture of one person.

    Args:
        connection: a warehouse that `dbt build` left. Its time zone is set to UTC.
        user_id: the account.

    Returns:
        user_id, as_of, account, contacts (each with its decisions), consents (per data use, each with
        its events), audiences (each with its matches), delivered, changes and engagements; moments are
        datetimes in UTC.

    Raises:
        UnknownPerson: no account, contact, consent event, membership, delivery, change or engagement has
            this user_id.
        duckdb.Error: the warehouse has not been built.
    """
    connection.execute("set timezone = 'UTC'")
    found = {
        name: read(connection, query, user_id)
        for name, query in (
            ("account", ACCOUNT),
            ("contacts", CONTACTS),
            ("consent_events", CONSENT_EVENTS),
            ("matches", AUDIENCES),
            ("delivered", DELIVERED),
            ("changes", CHANGES),
            ("engagements", ENGAGEMENTS),
        )
    }
    if not any(found.values()):
        raise UnknownPerson
    as_of = connection.execute("select as_of from release.release").fetchone()
    return {
        "user_id": user_id,
        "as_of": as_of[0] if as_of else None,
        "account": found["account"][0] if found["account"] else None,
        "contacts": with_decisions(found["contacts"], read(connection, DECISIONS, user_id)),
        "consents": by_data_use(found["consent_events"], read(connection, CONSENT_STATES, user_id)),
        "audiences": by_audience(found["matches"]),
        "delivered": found["delivered"],
        "changes": found["changes"],
        "engagements": found["engagements"],
    }


def with_decisions(contacts: list[Row], decisions: list[Row]) -> list[Row]:
    """Each contact with its decisions, each decision in words."""
    return [
        contact
        | {
            "decisions": [
                {"data_use": row["data_use"], "decision": row["decision"], "reason": REASONS[row["decision"]]}
                for row in decisions
                if row["contact_id"] == contact["contact_id"]
            ]
        }
        for contact in contacts
    ]


def by_data_use(events: list[Row], states: list[Row]) -> list[Row]:
    """The events of each data use, with the state and its event where a state decides anything."""
    state_of = {row["data_use"]: row for row in states}
    return [
        {
            "data_use": data_use,
            "state": state_of.get(data_use, {}).get("consent_state"),
            "consent_event_id": state_of.get(data_use, {}).get("consent_event_id"),
            "events": [
                {
                    "consent_event_id": row["consent_event_id"],
                    "status": "granted" if row["is_granted"] else "denied",
                    "occurred_at": row["occurred_at"],
                    "recorded_at": row["recorded_at"],
                    "expires_at": row["expires_at"],
                }
                for row in events
                if row["data_use"] == data_use
            ],
        }
        for data_use in sorted({row["data_use"] for row in events})
    ]


def by_audience(matches: list[Row]) -> list[Row]:
    """One row per audience, with the matches that put the person into it."""
    audiences: dict[tuple[str, str], Row] = {}
    for row in matches:
        audience = {name: value for name, value in row.items() if name not in MATCH}
        known = audiences.setdefault((row["list_id"], row["advertiser_id"]), audience | {"matches": []})
        known["matches"].append({name: row[name] for name in MATCH})
    return list(audiences.values())


def text(value: object) -> str:
    """A cell for people: moments to the second in UTC, nothing for null."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)


def show(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A table, or a line that says that there is nothing to show."""
    if not rows:
        console.print(f"{title}: none\n")
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(text, row))
    console.print(table)
    console.print()


def show_picture(console: Console, picture: Row) -> None:
    """The picture as text."""
    console.print(
        f"What is held about [bold]{picture['user_id']}[/bold] as of {text(picture['as_of'])} UTC\n"
    )
    account = picture["account"]
    if account is None:
        console.print("There is no account of this id.\n")
    else:
        age = {True: "adult", False: "not adult", None: "age unknown"}[account["is_adult"]]
        country = account["country_code"] or "country unknown"
        console.print(
            f"Account: {account['account_status']}, {age}, {country}, opened {text(account['created_at'])}\n"
        )
    show(
        console,
        "Contacts, by what they were given for",
        ("contact", "channel", "purpose", "class", "collected", "verified", "removed"),
        [
            tuple(
                row[name]
                for name in (
                    "contact_id", "channel", "purpose", "purpose_class", "collected_at", "verified_at",
                    "removed_at",
                )
            )
            for row in picture["contacts"]
        ],
    )  # fmt: skip
    show(
        console,
        "Decisions, per contact and use",
        ("contact", "data use", "decision", "in words"),
        [
            (row["contact_id"], made["data_use"], made["decision"], made["reason"])
            for row in picture["contacts"]
            for made in row["decisions"]
        ],
    )
    show(
        console,
        "Consent",
        ("data use", "event", "status", "occurred", "recorded", "expires", "decides"),
        [
            (
                consent["data_use"],
                event["consent_event_id"],
                event["status"],
                event["occurred_at"],
                event["recorded_at"],
                event["expires_at"],
                consent["state"] if event["consent_event_id"] == consent["consent_event_id"] else None,
            )
            for consent in picture["consents"]
            for event in consent["events"]
        ],
    )
    show(
        console,
        "Audiences, and why",
        (
            "list",
            "of",
            "for",
            "given to the ad server",
            "contact",
            "purpose",
            "consent",
            "upload",
            "licence",
            "since",
        ),
        [
            (
                f"{audience['list_name']} ({audience['list_id']})",
                audience["partner_name"] or audience["advertiser_name"],
                audience["advertiser_name"],
                "yes" if audience["is_delivered"] else "no",
                match["contact_id"],
                match["purpose"],
                match["consent_event_id"],
                f"{match['upload_id']} of {text(match['uploaded_at'])}",
                match["licence_id"],
                match["matched_at"],
            )
            for audience in picture["audiences"]
            for match in audience["matches"]
        ],
    )
    show(
        console,
        "Kept of what the ad server was given, to tell it what changes",
        ("list", "advertiser", "contact", "until", "given"),
        [
            tuple(row[name] for name in ("list_id", "advertiser_id", "contact_id", "valid_until", "as_of"))
            for row in picture["delivered"]
        ],
    )
    show(
        console,
        "Changes that the ad server was told last",
        ("list", "advertiser", "change", "reason", "told"),
        [
            tuple(row[name] for name in ("list_id", "advertiser_id", "change", "reason", "as_of"))
            for row in picture["changes"]
        ],
    )
    show(
        console,
        "Views and clicks of advertisements",
        ("event", "id", "at", "advertiser", "shared with", "shared country"),
        [
            (
                row["event"],
                row["engagement_id"],
                row["occurred_at"],
                row["advertiser_id"],
                row["shared_with"] or "nobody",
                row["shared_country_code"],
            )
            for row in picture["engagements"]
        ],
    )


@click.command(
    help=__doc__,
    epilog="Exit codes: 0 explained, 1 nothing is held about this id, 2 wrong usage or no built warehouse.",
)
@click.argument("user_id")
@click.option(
    "--warehouse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("build/warehouse.duckdb"),
    show_default=True,
    help="DuckDB file that dbt built.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of tables.")
def main(user_id: str, warehouse: Path, as_json: bool) -> None:
    """Print the picture of one person."""
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            picture = explain(connection, user_id)
    except UnknownPerson:
        click.echo("Nothing is held about this id.", err=True)
        sys.exit(1)
    except duckdb.Error as error:
        # the text of an error may quote a cell; its kind does not
        raise click.UsageError(
            f"{warehouse} cannot be read as a built warehouse ({type(error).__name__}): build it, or wait for"
            " a build that is running"
        ) from None
    if as_json:
        click.echo(
            json.dumps(picture, default=lambda moment: moment.isoformat(), ensure_ascii=False, indent=2)
        )
        return
    show_picture(Console(width=None if sys.stdout.isatty() else 200), picture)


if __name__ == "__main__":
    main()

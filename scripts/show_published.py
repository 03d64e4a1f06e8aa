"""Show what was published: audiences with status and size, and the line that matters.

Reads the warehouse read-only, or with --generation a published generation in its place. The last
line counts contacts given for security behind delivered members, from the raw input and the delivered
tables themselves, by contact and by user.
"""

import os
from pathlib import Path

import click
import duckdb
from candidate_audit import literal
from rich.console import Console
from rich.table import Table

AUDIENCES = """
    select list_id, advertiser_id, list_kind, list_status, reported_size, match_rate_band, uploaded_entries
    from {published}.audiences
    order by list_kind desc, list_status <> 'serving', list_status, list_id, advertiser_id
"""

DELIVERED = """
    select
        (select count(*) from {delivery}.tailored_audience_members),
        (select count(*) from {delivery}.partner_audience_members),
        (select count(*) from {delivery}.measurement_events_shared),
        (select max(as_of) from {published}.audiences)
"""

# Members as delivered, the contacts that explain them, and what the raw input says those were given for
SECURITY_CONTACTS = """
    with delivered as (
        select list_id, advertiser_id, user_id from {delivery}.tailored_audience_members
        union all
        select list_id, advertiser_id, user_id from {delivery}.partner_audience_members
    )
    select
        (
            select count(*)
            from {contacts} as contacts
            inner join policy.purposes on contacts.purpose = purposes.purpose
            where purposes.purpose_class = 'security'
        ),
        (
            select count(distinct contacts.contact_id)
            from delivered
            inner join marts.member_explanations as explanations
                on
                    delivered.list_id = explanations.list_id
                    and delivered.advertiser_id = explanations.advertiser_id
                    and delivered.user_id = explanations.user_id
            inner join {contacts} as contacts on explanations.contact_id = contacts.contact_id
            left join policy.purposes on contacts.purpose = purposes.purpose
            where purposes.purpose_class is distinct from 'advertising'
        )
"""


def text(value: object) -> str:
    """A cell for people: thousands apart, nothing for null."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


@click.command(help=__doc__)
@click.option(
    "--warehouse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("build/warehouse.duckdb"),
    show_default=True,
    help="DuckDB file that dbt built.",
)
@click.option(
    "--contacts",
    default="sample.raw_contacts",
    show_default=True,
    help="Relation of the raw contacts: input_views.raw_contacts after a build from files or tables.",
)
@click.option(
    "--generation",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Show this published generation, such as build/publish/current.",
)
def main(warehouse: Path, contacts: str, generation: Path | None) -> None:
    """Print the table and the count; exit 1 when a security contact is behind a delivered member."""
    console = Console(width=None if os.isatty(1) else 110)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        relations = {"published": "published", "delivery": "delivery", "contacts": contacts}
        if generation:
            folder = generation.resolve()  # one generation, whatever is published meanwhile
            connection.execute(f"attach {literal(folder / 'bi.duckdb')} as bi (read_only)")
            connection.execute(f"attach {literal(folder / 'delivery.duckdb')} as ad_server (read_only)")
            relations |= {"published": "bi.published", "delivery": "ad_server.main"}
        table = Table(title="published.audiences", caption=generation and folder.name, header_style="bold")
        for name, justify in [
            ("list", "left"),
            ("advertiser", "left"),
            ("kind", "left"),
            ("status", "left"),
            ("size", "right"),
            ("match rate", "right"),
            ("uploaded rows", "right"),
        ]:
            table.add_column(name, justify=justify)
        for row in connection.execute(AUDIENCES.format(**relations)).fetchall():
            table.add_row(*[text(value) for value in row], style=None if row[4] else "dim")
        console.print(table)

        tailored, partner, events, as_of = connection.execute(DELIVERED.format(**relations)).fetchone()
        console.print(f"as of {as_of:%Y-%m-%d %H:%M:%S} UTC, delivered to the ad server:")
        console.print(
            f"  {tailored:,} tailored and {partner:,} partner memberships, {events:,} measurement events"
        )
        held, leaked = connection.execute(SECURITY_CONTACTS.format(**relations)).fetchone()
        console.print(
            f"security contacts held: {held:,}; "
            f"contacts not given for advertising behind delivered members: {leaked:,}",
            style="bold green" if leaked == 0 else "bold red",
        )
    if leaked:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

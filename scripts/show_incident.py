"""Answer the question of 2019 from the last assessment: how many people, and how do you know?

Prints the matches of the old log by class, the number of users affected with the bounds that uploads and
contacts alone give for it, and how they can be notified. Reads the warehouse read-only, counts only.

Exit codes: 0 printed, 1 no assessment in the warehouse, 2 wrong usage.
"""

import os
from pathlib import Path

import click
import duckdb
from rich.console import Console
from rich.table import Table

CLASSES = """
    select match_class, coalesce(unexplained_reason, ''), count(*), count(distinct user_id)
    from incident.incident_matches
    group by match_class, unexplained_reason
    order by match_class = 'unexplained', count(*) desc, unexplained_reason
"""

BOUNDS = """
    select reason, users, users_up_to_here, is_lower_bound
    from incident.incident_bounds
    order by reason_rank
"""

AFFECTED = "select count(*), min(first_matched_at), max(last_matched_at) from incident.affected_users"

NOTIFIED = "select notify_by, count(*) from incident.users_to_notify group by notify_by order by notify_by"

# Why a user is in the gap above the lower bound, by the reason of incident_replay
GAPS = {
    "at_upload": "an upload added the key of a verified security contact",
    "between_uploads": "later, while the key still stood on the list",
    "not_verified": "if it also matched contacts not yet verified",
    "removed": "if it also matched contacts already removed",
    "undated": "collection or upload has no moment",
    "spelled_otherwise": "if it read another spelling, or another profile",
}


def class_table(connection: duckdb.DuckDBPyConnection) -> Table:
    """Matches and users per class, the reasons of unexplained ones apart."""
    table = Table(title="matches of the log", header_style="bold")
    for name in ("class", "what is unexplained"):
        table.add_column(name)
    for name in ("matches", "users"):
        table.add_column(name, justify="right")
    for match_class, reason, matches, users in connection.execute(CLASSES).fetchall():
        table.add_row(match_class, reason, f"{matches:,}", f"{users:,}")
    return table


def bound_lines(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The bounds, and under them the users that each reason adds."""
    bounds = connection.execute(BOUNDS).fetchall()
    lower = sum(users for _, users, _, is_lower in bounds if is_lower)
    upper = bounds[-1][2] if bounds else 0
    lines = [f"without the log, from uploads and contacts: at least {lower:,}, at most {upper:,}"]
    for reason, users, _, is_lower in bounds:
        sign = " " if is_lower else "+"
        lines.append(f"  {sign}{users:>7,}  {reason:<17}  {GAPS[reason]}")
    return lines


def notice_line(connection: duckdb.DuckDBPyConnection, affected: int) -> str:
    """How many can be notified, in which way, and how many have no account any more."""
    ways = dict(connection.execute(NOTIFIED).fetchall())
    named = ", ".join(f"{way.replace('_', ' ')} {users:,}" for way, users in ways.items())
    notified = sum(ways.values())
    return f"to notify: {notified:,} ({named}); without an account: {affected - notified:,}"


@click.command(help=__doc__)
@click.option(
    "--warehouse",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("build/warehouse.duckdb"),
    show_default=True,
    help="DuckDB file that dbt built with --vars 'incident_assessment: true'.",
)
def main(warehouse: Path) -> None:
    """Print classes, number, bounds and notices."""
    console = Console(width=None if os.isatty(1) else 110, highlight=False)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        try:
            affected, first, last = connection.execute(AFFECTED).fetchone()
        except duckdb.CatalogException:
            console.print(
                "no assessment in this warehouse: run dbt build --vars 'incident_assessment: true' first",
                style="bold red",
            )
            raise SystemExit(1) from None
        console.print(class_table(connection))
        console.print(f"users affected: {affected:,}", style="bold")
        if affected:
            console.print(f"  first match {first:%Y-%m-%d}, last match {last:%Y-%m-%d}")
        for line in bound_lines(connection):
            console.print(line)
        console.print(notice_line(connection, affected))


if __name__ == "__main__":
    main()

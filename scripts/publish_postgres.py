"""Copy the current generation into PostgreSQL, for teams whose BI lives there.

Every byte of the generation is read again first, and what the server then holds is compared with it, row
by row. All of it is one transaction: the tables are loaded in schemas of their own, and in its last moment
take the place of those in `published` and `delivery`. Whatever is wrong, readers keep what they had, and the
refusal is kept in refusals.jsonl. Each of the two schemas is open to one role and to nobody else, and has a
table `publication` that says which generation it is.

The server is found by libpq's own variables (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD or PGPASSFILE).
The user of the connection may create schemas in the database and owns what is published; the two roles are
there before:

\b
    create role audiences_bi; create role audiences_delivery;
    grant audiences_bi to a_dashboard; grant audiences_delivery to an_ad_server;
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
import psycopg2
from candidate_audit import FILES, SCHEMAS, literal, quoted
from psycopg2.errors import DeadlockDetected, DependentObjectsStillExist, QueryCanceled
from psycopg2.sql import SQL, Composable, Identifier, Literal
from publish import DIRECTORY, LEFTOVER, Command, Generations, Publication, exit_codes, remove
from publish_rules import Refusal, some
from rich.console import Console

RAISED = (
    "expired", "locked", "not_written", "damaged", "no_generation", "no_server", "foreign_schema",
    "roles", "not_copied", "readers",
)  # fmt: skip
"""Rules by which this script refuses."""

TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "BIGINT": "bigint",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}
"""PostgreSQL's type for each of a generation's. Both engines write and read such a value as the same text."""

SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "client_encoding": "UTF8",
    "search_path": "pg_catalog",
    "statement_timeout": "0",
    # a publisher whose machine died must not keep readers out for hours
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

LOCK_MILLISECONDS = 500
"""How long readers may have to stand in line behind the publisher. Less than the server's deadlock_timeout
(a second by default): where a reader and the publisher wait for each other, the publisher gives way."""

PAUSE_SECONDS = 0.5
"""Between two attempts, for the readers who stood in line."""


@dataclass(frozen=True)
class Column:
    """A column of a relation, as the server is to have it."""

    name: str
    type: str  # DuckDB's
    comment: str
    is_required: bool


@dataclass(frozen=True)
class Table:
    """A relation of the generation: where it stands in the attached files, and its contract."""

    schema: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def source(self) -> str:
        """The relation in DuckDB."""
        return f"{FILES[self.schema]}.{SCHEMAS[self.schema]}.{quoted(self.name)}"

    @property
    def target(self) -> Identifier:
        """The relation on the server, until it takes its place."""
        return Identifier(fresh(self.schema), self.name)


def fresh(schema: str) -> str:
    """The schema that a schema's tables are loaded in; outside the transaction nobody sees it."""
    return f"{schema}_next"


def check_not_expired(generation: str, publication: Publication) -> None:
    """Refuse a generation with a member who must not be used any more.

    Raises:
        Refusal: expired.
    """
    end = publication["valid_until"]
    if end and datetime.fromisoformat(end) <= datetime.now(UTC):
        raise Refusal("expired", f"{generation} was valid until {end}: build and publish again")


@contextmanager
def opened(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A generation's files, attached read-only."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set timezone = 'UTC'")
        for file in FILES.values():
            connection.execute(f"attach {literal(folder / f'{file}.duckdb')} as {file} (read_only)")
        yield connection


def read_tables(files: duckdb.DuckDBPyConnection, generation: str, publication: Publication) -> list[Table]:
    """The relations of a generation, with keys from publication.json and the rest from the files.

    Raises:
        Refusal: no_generation, not_copied.
    """
    comments = {
        (database, name): comment
        for database, name, comment in files.execute(
            "select database_name, table_name, comment from duckdb_tables()"
        ).fetchall()
    }
    columns: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for database, table, *column in files.execute(
        "select database_name, table_name, column_name, data_type, comment from duckdb_columns() "
        "where not internal order by column_index"
    ).fetchall():
        columns.setdefault((database, table), []).append(tuple(column))
    tables = []
    for path, relation in publication["relations"].items():
        if "primary_key" not in relation:
            raise Refusal("no_generation", f"{generation} is older than keys in publication.json")
        schema, name = path.split(".")
        place = (FILES[schema], name)
        for column, type_, _ in columns[place]:
            if type_ not in TYPES:
                raise Refusal("not_copied", f"{path}.{column} is of type {type_}, which is not in TYPES")
        tables.append(
            Table(
                schema=schema,
                name=name,
                comment=comments[place],
                columns=tuple(
                    Column(column, type_, comment, column in relation["not_null"])
                    for column, type_, comment in columns[place]
                ),
                key=tuple(relation["primary_key"]),
            )
        )
    return tables


def check_schemas(cursor: Any) -> None:
    """Make the two schemas where they are missing, and refuse any that is not this publisher's alone.

    A schema that dbt made in its warehouse is such a one, and so is one with a view, which would stay.

    Raises:
        Refusal: foreign_schema.
    """
    for schema in FILES:
        cursor.execute("select from pg_namespace where nspname = %s", [fresh(schema)])
        if cursor.rowcount:
            raise Refusal("foreign_schema", f"this database has a schema {fresh(schema)} of somebody else's")
        cursor.execute("select from pg_namespace where nspname = %s", [schema])
        if not cursor.rowcount:
            cursor.execute(SQL("create schema {}").format(Identifier(schema)))
            continue
        cursor.execute(
            "select relname, relkind in ('r', 'i', 't') from pg_class "
            "where relnamespace = cast(quote_ident(%s) as regnamespace)",
            [schema],
        )
        found = dict(cursor.fetchall())
        if "publication" not in found:
            raise Refusal("foreign_schema", f"the schema {schema} of this database holds no publication")
        foreign = [f"{schema}.{name}" for name, is_table in found.items() if not is_table]
        if foreign:
            raise Refusal("foreign_schema", f"of no generation is {some(foreign)}")


def create(cursor: Any, table: Table) -> None:
    """Make a relation's table, with its contract and its comments."""
    body: list[Composable] = [
        SQL("{} {}{}").format(
            Identifier(column.name), SQL(TYPES[column.type]), SQL(" not null" if column.is_required else "")
        )
        for column in table.columns
    ]
    body.append(SQL("primary key ({})").format(SQL(", ").join(map(Identifier, table.key))))
    cursor.execute(SQL("create table {} ({})").format(table.target, SQL(", ").join(body)))
    cursor.execute(SQL("comment on table {} is {}").format(table.target, Literal(table.comment)))
    for column in table.columns:
        cursor.execute(
            SQL("comment on column {} is {}").format(
                Identifier(*table.target.strings, column.name), Literal(column.comment)
            )
        )


def load(cursor: Any, files: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> None:
    """Fill a relation's table, and read it back.

    The rows are frozen. Else a reader whose snapshot is older than the moment the tables took their places,
    and who comes to one after it, would find it empty: names are looked up as they are, rows as they were.

    Args:
        cursor: of the server, in the transaction that made the table.
        files: the generation.
        table: the relation.
        folder: for the rows on their way; they are gone afterwards.

    Raises:
        Refusal: not_copied.
    """
    there, back = folder / "there.csv", folder / "back.csv"
    files.execute(
        f"copy (select * from {table.source} order by all) to {literal(there)} "
        "(format csv, header false, force_quote *, nullstr '')"
    )
    with there.open("rb") as rows:
        cursor.copy_expert(SQL("copy {} from stdin (format csv, freeze)").format(table.target), rows)
    with back.open("wb") as rows:
        cursor.copy_expert(SQL("copy {} to stdout (format csv, force_quote *)").format(table.target), rows)
    types = ", ".join(f"'{column.name}': '{column.type}'" for column in table.columns)
    copied = (
        f"read_csv({literal(back)}, auto_detect = false, header = false, columns = {{{types}}}, delim = ',', "
        "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, parallel = false)"
    )
    ((missing, unexpected),) = files.execute(
        f"select (select count(*) from (from {table.source} except all from {copied})), "
        f"(select count(*) from (from {copied} except all from {table.source}))"
    ).fetchall()
    if missing or unexpected:
        raise Refusal(
            "not_copied",
            f"{table.schema}.{table.name}: {missing:,} rows lacking, {unexpected:,} too many",
        )
    there.unlink()
    back.unlink()


PUBLICATION = (
    Column("generation", "VARCHAR", "Generation: its moment, and a digest of its publication.json.", True),
    Column("as_of", "TIMESTAMP WITH TIME ZONE", "Moment for which everything was decided.", True),
    Column(
        "valid_until",
        "TIMESTAMP WITH TIME ZONE",
        "Moment from which on some member must not be used any more; null: none.",
        False,
    ),
    Column("published_at", "TIMESTAMP WITH TIME ZONE", "Moment the generation was made.", True),
)


def load_publication(cursor: Any, schema: str, generation: str, publication: Publication) -> Table:
    """Make the table that says which generation a schema holds."""
    comment = "One row: the generation that this schema holds, whole."
    table = Table(schema, "publication", comment, PUBLICATION, key=("generation",))
    create(cursor, table)
    row = io.StringIO()
    csv.writer(row).writerow([generation, *(publication[column.name] for column in PUBLICATION[1:])])
    row.seek(0)
    cursor.copy_expert(SQL("copy {} from stdin (format csv, freeze)").format(table.target), row)
    return table


def grant(cursor: Any, schema: str, role: str) -> None:
    """Let one role read a schema, and nobody else but its owner, whatever default privileges say."""
    tables = SQL("all tables in schema {}").format(Identifier(fresh(schema)))
    itself = SQL("schema {}").format(Identifier(schema))
    cursor.execute(
        """
        select distinct case grantee when 0 then 'public' else cast(cast(grantee as regrole) as text) end
        from (
            select owner, (aclexplode(privileges)).grantee
            from (
                select nspowner, nspacl from pg_namespace where nspname = %(schema)s
                union all
                select relowner, relacl from pg_class where relnamespace = cast(%(fresh)s as regnamespace)
            ) as objects (owner, privileges)
        ) as granted
        where grantee <> owner
        """,
        {"schema": schema, "fresh": fresh(schema)},
    )
    for (grantee,) in cursor.fetchall():
        for what in (tables, itself):
            cursor.execute(SQL("revoke all on {} from {}").format(what, SQL(grantee)))
    cursor.execute(SQL("grant select on {} to {}").format(tables, Identifier(role)))
    cursor.execute(SQL("grant usage on {} to {}").format(itself, Identifier(role)))


def check_roles(cursor: Any, roles: dict[str, str]) -> None:
    """Refuse roles that are not there.

    Raises:
        Refusal: roles.
    """
    cursor.execute("select rolname from pg_roles where rolname = any(%s)", [list(roles.values())])
    missing = set(roles.values()) - {name for (name,) in cursor.fetchall()}
    if missing:
        raise Refusal("roles", f"there is no role {some(list(missing))}")


def check_reach(cursor: Any, schema: str, role: str) -> None:
    """Refuse a role that can reach a row outside its schema, by whatever it is a member of or was granted.

    Raises:
        Refusal: roles.
    """
    cursor.execute(
        """
        select nspname || '.' || relname
        from pg_class
        inner join pg_namespace on pg_namespace.oid = relnamespace
        where
            relkind in ('r', 'p', 'v', 'm', 'f')
            and nspname not in ('pg_catalog', 'information_schema', %(schema)s, %(fresh)s)
            and has_schema_privilege(%(role)s, relnamespace, 'usage')
            and (
                has_any_column_privilege(%(role)s, pg_class.oid, 'select, insert, update')
                or has_table_privilege(%(role)s, pg_class.oid, 'delete, truncate')
            )
            -- an extension's own views are open to everybody, and tell of the server
            and not exists (select 1 from pg_depend where objid = pg_class.oid and deptype = 'e')
        """,
        {"schema": schema, "fresh": fresh(schema), "role": role},
    )
    reached = [name for (name,) in cursor.fetchall()]
    if reached:
        raise Refusal("roles", f"{role}, who is to read {schema} alone, can reach {some(reached)}")


def tables_of(cursor: Any) -> list[Identifier]:
    """The tables that readers have now, in the order in which they are locked."""
    cursor.execute(
        "select schemaname, tablename from pg_tables where schemaname = any(%s) "
        "order by tablename <> 'publication', schemaname, tablename",
        [list(FILES)],
    )
    return [Identifier(*names) for names in cursor.fetchall()]


def lock_out_readers(cursor: Any, tables: list[Identifier], patience: float) -> None:
    """Wait until nobody is in the middle of reading, and keep new readers waiting until the transaction ends.

    Who has read one table of the old generation in a transaction reads the others there, too. Whoever begins
    with `publication` gets to the end before any other table is locked. For whoever does not, and for one who
    takes long, this gives way and tries again, so that the others do not wait, too.

    Raises:
        Refusal: readers.
    """
    deadline = time.monotonic() + patience
    cursor.execute("savepoint waiting")
    while True:
        try:
            # not lock_timeout, which would be for each table anew
            cursor.execute(SQL("set local statement_timeout = {}").format(Literal(LOCK_MILLISECONDS)))
            cursor.execute(SQL("lock table {} in access exclusive mode").format(SQL(", ").join(tables)))
            cursor.execute("set local statement_timeout = 0")
            return
        except (QueryCanceled, DeadlockDetected):
            cursor.execute("rollback to savepoint waiting")
        if time.monotonic() > deadline:
            cursor.execute(
                "select distinct pid from pg_locks "
                "where granted and pid <> pg_backend_pid() and relation = any(cast(%s as regclass[]))",
                [[table.as_string(cursor) for table in tables]],
            )
            sessions = [str(pid) for (pid,) in cursor.fetchall()]
            raise Refusal("readers", f"after {patience:g} seconds there are still sessions {some(sessions)}")
        time.sleep(PAUSE_SECONDS)


def change_places(cursor: Any, old: list[Identifier], new: list[Table]) -> None:
    """Put the loaded tables in the place of the old ones, which go.

    The schemas stay. A reader who has looked up a schema that goes in this very moment would be told that it
    does not exist; that a table went is noticed by the server itself, which looks it up again.

    Raises:
        Refusal: foreign_schema.
    """
    if old:
        try:
            cursor.execute(SQL("drop table {}").format(SQL(", ").join(old)))
        except DependentObjectsStillExist:
            raise Refusal("foreign_schema", "something outside stands on a table that is to go") from None
    for table in new:
        cursor.execute(SQL("alter table {} set schema {}").format(table.target, Identifier(table.schema)))
    for schema in FILES:
        cursor.execute(SQL("drop schema {}").format(Identifier(fresh(schema))))


@contextmanager
def transaction() -> Iterator[Any]:
    """A cursor of one transaction on the server, which only the one publisher has.

    Raises:
        Refusal: no_server, not_copied, locked.
    """
    try:
        with closing(psycopg2.connect(application_name="publish_postgres.py", connect_timeout=10)) as server:
            server.set_session(isolation_level="READ COMMITTED")
            with server, server.cursor() as cursor:
                for name, value in SETTINGS.items():
                    cursor.execute("select set_config(%s, %s, false)", [name, value])
                cursor.execute("select pg_try_advisory_xact_lock(hashtextextended('publish_postgres.py', 0))")
                if cursor.fetchone() != (True,):
                    raise Refusal("locked", "another publisher is at work in the database")
                yield cursor
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:  # their text may hold a value
        where = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
        raise Refusal("not_copied", f"{type(error).__name__} {' '.join(filter(None, where))}") from None
    except psycopg2.Error as error:
        why = error.diag.message_primary or str(error).strip()  # the context may hold a row
        raise Refusal("no_server", f"{type(error).__name__}: {why}") from None


def copy_generation(
    store: Generations, generation: str, roles: dict[str, str], patience: float, say: Callable[[str], object]
) -> dict[str, int]:
    """Put a generation in the place of the one that the server has; the caller holds the folder's lock.

    Args:
        store: the publishing folder.
        generation: its current generation.
        roles: who may read a schema, by schema.
        patience: seconds to wait for readers.
        say: where to say what is being done.

    Returns:
        Rows by relation.

    Raises:
        Refusal: any of RAISED.
    """
    say("reading every byte of the generation")
    store.verify(generation)
    publication = store.publication(generation)
    check_not_expired(generation, publication)
    folder = store.folder / f"{LEFTOVER}postgres"
    folder.mkdir(mode=0o700)
    try:
        with transaction() as cursor, opened(store.generations / generation) as files:
            check_roles(cursor, roles)
            check_schemas(cursor)
            tables = read_tables(files, generation, publication)
            for schema in FILES:
                cursor.execute(SQL("create schema {}").format(Identifier(fresh(schema))))
            for table in tables:
                say(f"loading {table.schema}.{table.name}")
                create(cursor, table)
                load(cursor, files, table, folder)
            tables += [load_publication(cursor, schema, generation, publication) for schema in FILES]
            cursor.execute(SQL("analyze {}").format(SQL(", ").join(table.target for table in tables)))
            for schema, role in roles.items():
                grant(cursor, schema, role)
            for schema, role in roles.items():
                check_reach(cursor, schema, role)
            store.verify(generation)
            say("waiting for readers")
            old = tables_of(cursor)
            if old:
                lock_out_readers(cursor, old, patience)
            change_places(cursor, old, tables)
    except duckdb.IOException as error:
        raise Refusal("not_written", f"{folder}: {type(error).__name__}") from None
    finally:
        remove(folder)
    return {path: relation["rows"] for path, relation in publication["relations"].items()}


@click.command(cls=Command, help=__doc__, epilog=exit_codes(RAISED))
@DIRECTORY
@click.option("--bi-role", default="audiences_bi", show_default=True, help="Role that reads published.")
@click.option(
    "--delivery-role", default="audiences_delivery", show_default=True, help="Role that reads delivery."
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to wait for readers in the middle of a transaction.",
)
def main(folder: Path, bi_role: str, delivery_role: str, patience: float) -> None:
    """Copy the current generation."""
    store = Generations(folder)
    with store.lock():
        generation = store.current_id()
        try:
            if generation is None:
                raise Refusal("no_generation", f"nothing is published in {folder}")
            roles = {"published": bi_role, "delivery": delivery_role}
            with Console(stderr=True).status("copying") as status:
                rows = copy_generation(store, generation, roles, patience, status.update)
        except Refusal as refusal:
            store.refuse(refusal, run_id=None)
            raise
    click.echo(f"PostgreSQL has {generation}: ", nl=False)
    click.echo(", ".join(f"{count:,} {path}" for path, count in rows.items()))


if __name__ == "__main__":
    main()

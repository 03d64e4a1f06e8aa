"""The copy in PostgreSQL: whole or not at all, for two roles that see nothing else, under readers and kills.

`make test-engines` runs this; `make test` leaves it out.
"""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import publish
import pytest
from candidate_audit import FILES, SCHEMAS
from click.testing import CliRunner, Result
from conftest import ROOT, Project, Rows
from postgres import server
from publish_rules import RULES
from publishing import Build

pytestmark = pytest.mark.engines

psycopg2 = pytest.importorskip("psycopg2")
publish_postgres = pytest.importorskip("publish_postgres")

PASSWORD = "of the tests, and no secret"
USERS = {"dashboard": "audiences_bi", "ad_server": "audiences_delivery", "stranger": None, "publisher": None}
"""Who logs in, and the role that he has."""

OWN = {"dashboard": "published", "ad_server": "delivery"}
SWAPS = 30


@contextmanager
def connected(user: str | None = None, **options: Any) -> Iterator[Any]:
    """A connection, the publisher's own unless a user is named; each statement stands by itself."""
    login = {"user": user, "password": PASSWORD} if user else {}
    connection = psycopg2.connect(**login, **options)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def ask(sql: str, user: str | None = None, **options: Any) -> Rows:
    """Rows of a query; none of a statement that has none."""
    with connected(user, **options) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A server of this module's own, with the roles and somebody to log in as each."""
    with server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        for user, role in USERS.items():
            ask(f"create role {user} login password '{PASSWORD}'")
            if role:
                ask(f"create role {role}; grant {role} to {user}")
        yield


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database for each test."""
    name = f"bi_{random.randrange(10**9)}"
    ask(f"create database {name}")
    monkeypatch.setenv("PGDATABASE", name)
    return name


class Folder:
    """A publishing folder of a test's own.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        """Open it."""
        self.path = folder
        self.store = publish.Generations(folder)

    @property
    def current(self) -> str:
        """The current generation."""
        return self.store.current_id() or ""

    def copy(self, *more: str) -> Result:
        """Copy the current generation into the database."""
        return CliRunner().invoke(publish_postgres.main, ["--dir", str(self.path), *more])

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Begin to copy it, in a process of its own."""
        script = [sys.executable, ROOT / "scripts" / "publish_postgres.py", "--dir", self.path, *more]
        return subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def publish(self, *statements: str, **changes: Any) -> str:
        """Publish another generation: the current one after SQL on its files, sealed anew.

        Args:
            statements: SQL; tables are published.<name> and delivery.<name>.
            changes: what publication.json says otherwise.
        """
        candidate = self.store.generations / f"{publish.LEFTOVER}candidate"
        shutil.copytree(self.store.generations / self.current, candidate)
        for path in [candidate, *candidate.rglob("*")]:
            path.chmod(0o700)
        publication = json.loads((candidate / "publication.json").read_text()) | changes
        with duckdb.connect() as connection:
            for file in FILES.values():
                connection.execute(f"attach '{candidate / file}.duckdb' as {file}")
            for statement in statements:
                in_files = statement.replace(" published.", " bi.published.")
                connection.execute(in_files.replace(" delivery.", " delivery.main."))
            for path, relation in publication["relations"].items():
                (rows,) = connection.execute(f"select count(*) from {in_file(path)}").fetchone()
                relation["rows"] = rows
        publication["files"] = publish.digests(candidate)
        generation = publish.seal(candidate, publication)
        candidate.rename(self.store.generations / generation)
        self.store.flip(generation)
        return generation

    def publication(self) -> dict[str, Any]:
        """The current publication.json."""
        return self.store.publication(self.current)

    def rows(self) -> dict[str, Counter[tuple[object, ...]]]:
        """Rows of the current generation's DuckDB files, by relation."""
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            for file in FILES.values():
                path = self.store.generations / self.current / f"{file}.duckdb"
                connection.execute(f"attach '{path}' as {file} (read_only)")
            return {
                path: Counter(connection.execute(f"select * from {in_file(path)}").fetchall())
                for path in self.publication()["relations"]
            }

    def refusals(self) -> list[str]:
        """Rules in the log of refusals."""
        if not self.store.refusals.exists():
            return []
        return [json.loads(line)["rule"] for line in self.store.refusals.read_text().splitlines()]


def in_file(path: str) -> str:
    """A relation's place in the attached files."""
    schema, name = path.split(".")
    return f"{FILES[schema]}.{SCHEMAS[schema]}.{name}"


@pytest.fixture(scope="module")
def generation(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's build, published once. Copy it."""
    build = Build.of(sample, tmp_path_factory.mktemp("published") / "built")
    answer = build.run()
    assert answer.exit_code == 0, answer.output
    return build.publish_dir


@pytest.fixture
def folder(generation: Path, tmp_path: Path) -> Folder:
    """The sample's generation, to be copied or broken."""
    return Folder(Path(shutil.copytree(generation, tmp_path / "publish", symlinks=True)))


def copied() -> dict[str, Counter[tuple[object, ...]]]:
    """Every row of the server's two schemas, by relation."""
    tables = ask(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema in ('published', 'delivery') order by 1"
    )
    return {name: Counter(ask(f"select * from {name}")) for (name,) in tables}


def assert_holds(folder: Folder) -> None:
    """The server has the current generation and nothing else."""
    publication = folder.publication()
    moments = [
        publication[name] and datetime.fromisoformat(publication[name])
        for name in ("as_of", "valid_until", "published_at")
    ]
    says = Counter([(folder.current, *moments)])
    expected = folder.rows() | {f"{schema}.publication": says for schema in FILES}
    assert copied() == expected
    assert ask("select nspname from pg_namespace where nspname like '%next'") == []


def assert_refused(rule: str, answer: Result) -> None:
    """The copy ended with the rule's exit code, and named it."""
    assert answer.exit_code == RULES[rule].code, answer.output
    assert f"refused by {rule}: " in answer.output
    assert "DETAIL" not in answer.output and "CONTEXT" not in answer.output  # these quote rows


def test_copy_is_the_generation(folder: Folder, sample: Project) -> None:
    """Rows, types, keys, missing values allowed or not, and comments are those of the contract."""
    answer = folder.copy()
    assert answer.exit_code == 0, answer.output
    assert folder.current in answer.output
    assert_holds(folder)
    assert all(folder.rows().values())
    assert folder.copy().exit_code == 0
    assert_holds(folder)
    manifest = json.loads((sample.path / "target" / "manifest.json").read_text())
    compared = 0
    for node in manifest["nodes"].values():
        if node["resource_type"] != "model" or node["schema"] not in FILES:
            continue
        path = f"{node['schema']}.{node['alias']}"
        columns = {
            name: (type_, is_required, comment)
            for name, type_, is_required, comment in ask(
                "select attname, format_type(atttypid, atttypmod), attnotnull, "
                "col_description(attrelid, attnum) "
                f"from pg_attribute where attrelid = '{path}'::regclass and attnum > 0 order by attnum"
            )
        }
        types = {"varchar": "text", "timestamptz": "timestamp with time zone"}
        key = next(row["columns"] for row in node["constraints"] if row["type"] == "primary_key")
        assert columns == {
            name: (
                types.get(column["data_type"], column["data_type"]),
                name in key or {"not_null"} <= {row["type"] for row in column["constraints"]},
                column["description"],
            )
            for name, column in node["columns"].items()
        }
        ((comment, rows),) = ask(
            f"select obj_description(oid), reltuples from pg_class where oid = '{path}'::regclass"
        )
        assert comment == node["description"].strip()
        assert rows == folder.publication()["relations"][path]["rows"]  # it was analyzed
        assert ask(
            "select array_agg(attname::text order by array_position(conkey, attnum)) from pg_constraint "
            "inner join pg_attribute on attrelid = conrelid and attnum = any(conkey) "
            f"where conrelid = '{path}'::regclass and contype = 'p'"
        ) == [(key,)]
        compared += 1
    assert compared == len(folder.publication()["relations"])


AWKWARD = [
    "", " ", "null", "NULL", "\\N", "\\.", "a,b", 'say "so"', '"', "'", "two\nlines", "two\r\nlines", "tab\t",
    "\\", "ä ß Ω 𝔸", "\ufeff", "{a}", "%s", "1e5", "t", "'); drop schema published; --",
]  # fmt: skip


def test_every_spelling_arrives(folder: Folder) -> None:
    """Text is what it was, a missing cell is not an empty one, moments are exact, no row is no row."""
    values = ", ".join("('" + value.replace("'", "''") + "')" for value in AWKWARD)
    folder.publish(
        "insert into published.list_reports select spelling, 'of text', null, "
        f"timestamptz '0987-06-05 04:03:02.000001+00' from (values {values}) as spellings (spelling)",
        "insert into published.audiences select * replace ('x' as list_id, '' as partner_id, "
        "9223372036854775807 as uploaded_entries, null as list_owner) from published.audiences limit 1",
        "delete from delivery.membership_changes",
    )
    answer = folder.copy()
    assert answer.exit_code == 0, answer.output
    assert_holds(folder)
    assert ask("select count(*) from published.list_reports where reason = 'of text'") == [(len(AWKWARD),)]
    assert ask("select partner_id, list_owner from published.audiences where list_id = 'x'") == [("", None)]


def test_each_role_reads_its_schema_alone(folder: Folder, database: str) -> None:
    """By real connections: one schema to read, nothing to write, and of a warehouse nothing at all."""
    warehouse = f"{database}_warehouse"
    ask(f"create database {warehouse}")
    as_dbt_does = [
        f'create schema "{schema}"; create table "{schema}".users as select 1 as user_id'
        for schema in ("sample", "staging", "consent", "marts", "published", "delivery")
    ]
    for statement in as_dbt_does:
        ask(statement, dbname=warehouse)
    for statement in as_dbt_does[:4]:  # the warehouse's other schemas, beside the copy
        ask(statement)
    # what an owner of a database may have said once, for everything that he makes
    for what in ("select on tables to stranger", "all on tables to public", "all on schemas to public"):
        ask(f"alter default privileges grant {what}")
    try:
        for attempt in range(2):
            assert folder.copy().exit_code == 0
            for user, own in {**OWN, "stranger": None, "publisher": None}.items():
                for path in copied():
                    if path.startswith(f"{own}."):
                        assert ask(f"select * from {path}", user), attempt
                    else:
                        assert_denied(f"select * from {path}", user)
                    for verb in ("insert into {} default values", "delete from {}", "truncate {}"):
                        assert_denied(verb.format(path), user)
                for schema in FILES:
                    assert_denied(f"create table {schema}.mine (one integer)", user)
                for schema in ("sample", "staging", "consent", "marts"):
                    assert_denied(f"select * from {schema}.users", user)
                for schema in ("sample", "staging", "consent", "marts", "published", "delivery"):
                    assert_denied(f"select * from {schema}.users", user, dbname=warehouse)
            # what somebody granted since is gone with the next copy
            ask("grant usage on schema delivery to stranger")
            ask("grant create on schema published to audiences_bi")
        assert folder.copy("--bi-role", "stranger").exit_code == 0
        assert ask("select generation from published.publication", "stranger") == [(folder.current,)]
        assert_denied("select * from published.publication", "dashboard")
    finally:
        ask("alter default privileges revoke all on tables from public, stranger")
        ask("alter default privileges revoke all on schemas from public")


def assert_denied(sql: str, user: str, **options: Any) -> None:
    """The server refuses a user's statement."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(sql, user, **options)


def tamper(folder: Folder) -> None:
    """Change one byte in the middle of a file."""
    file = folder.store.generations / folder.current / "bi.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def tamper_publication(folder: Folder) -> None:
    """Change what the generation says of itself."""
    file = folder.store.generations / folder.current / "publication.json"
    file.chmod(0o600)
    file.write_text(file.read_text().replace('"valid_until": "2', '"valid_until": "3'))


def without_keys(folder: Folder) -> None:
    """A generation of an older publisher."""
    relations = folder.publication()["relations"]
    for relation in relations.values():
        del relation["primary_key"]
    folder.publish(relations=relations)


REFUSED: dict[str, tuple[str, Callable[[Folder], object], str | None]] = {
    "file changed": ("damaged", tamper, None),
    "publication.json changed": ("damaged", tamper_publication, None),
    "nothing published": ("no_generation", lambda folder: folder.store.current.unlink(), None),
    "older publisher": ("no_generation", without_keys, None),
    "a member's end has passed": (
        "expired",
        lambda folder: folder.publish(valid_until=(datetime.now(UTC) - timedelta(seconds=1)).isoformat()),
        None,
    ),
    "missing cell": (
        "not_copied",
        lambda folder: folder.publish("update published.list_reports set as_of = null"),
        None,
    ),
    "key twice": (
        "not_copied",
        lambda folder: folder.publish("insert into published.audiences from published.audiences limit 1"),
        None,
    ),
    "unknown type": (
        "not_copied",
        lambda folder: folder.publish("alter table published.audiences add column more integer[]"),
        None,
    ),
    "NUL": (
        "not_copied",
        lambda folder: folder.publish("update published.audiences set list_owner = 'of ' || chr(0) || 'us'"),
        None,
    ),
    "a table beside": (
        "roles",
        lambda folder: ask("create table public.more (a int); grant select on public.more to public"),
        "drop table public.more",
    ),
    "a column beside": (
        "roles",
        lambda folder: ask(
            "create schema marts; grant usage on schema marts to audiences_delivery; "
            "create table marts.more (a int, b int); grant select (b) on marts.more to audiences_delivery"
        ),
        "drop schema marts cascade",
    ),
    "a role that is in the other": (
        "roles", lambda folder: ask("grant audiences_delivery to audiences_bi"),
        "revoke audiences_delivery from audiences_bi",
    ),
    "a role that reads everything": (
        "roles", lambda folder: ask("grant pg_read_all_data to audiences_bi"),
        "revoke pg_read_all_data from audiences_bi",
    ),
    "a superuser": (
        "roles", lambda folder: ask("alter role audiences_delivery superuser"),
        "alter role audiences_delivery nosuperuser",
    ),
    "a view in published": (
        "foreign_schema", lambda folder: ask("create view published.more as select 1 as one"),
        "drop view published.more",
    ),
    "a view on published": (
        "foreign_schema", lambda folder: ask("create view more as select * from published.audiences"),
        "drop view more",
    ),
    "a schema of that name": (
        "foreign_schema", lambda folder: ask("create schema published_next"), "drop schema published_next",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_there_stays(folder: Folder, case: str) -> None:
    """Whatever is wrong, the rule is named and in the log, and the copy is as it was; then all is well."""
    assert folder.copy().exit_code == 0
    before, good = copied(), folder.current
    rule, change, undo = REFUSED[case]
    change(folder)
    try:
        answer = folder.copy()
    finally:
        if undo:
            ask(undo)
    assert_refused(rule, answer)
    assert folder.refusals() == [rule]
    assert copied() == before
    assert ask("select generation from published.publication", "dashboard") == [(good,)]
    if undo:
        assert folder.copy().exit_code == 0
        assert_holds(folder)


def test_what_the_server_holds_is_compared(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that keeps less than the generation's is found out by the rows, not by its name."""
    monkeypatch.setitem(publish_postgres.TYPES, "TIMESTAMP WITH TIME ZONE", "timestamp (0) with time zone")
    folder.publish("update published.audiences set as_of = as_of + interval 1 microsecond")
    answer = folder.copy()
    assert_refused("not_copied", answer)
    assert "rows lacking" in answer.output
    assert copied() == {}


def test_a_warehouse_on_the_server_is_left_alone(folder: Folder) -> None:
    """Where dbt built published itself, this publishes nothing."""
    ask("create schema published; create table published.audiences as select 1 as one")
    assert_refused("foreign_schema", folder.copy())
    assert copied() == {"published.audiences": Counter([(1,)])}


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Other variables for libpq."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def test_publisher_is_no_superuser(folder: Folder, database: str) -> None:
    """Who may create schemas in the database may publish there, and who may not is refused."""
    with environment(PGUSER="publisher", PGPASSWORD=PASSWORD):
        answer = folder.copy()
    assert_refused("no_server", answer)
    assert f"permission denied for database {database}" in answer.output
    ask(f"grant create on database {database} to publisher")
    for _ in range(2):
        with environment(PGUSER="publisher", PGPASSWORD=PASSWORD):
            answer = folder.copy()
        assert answer.exit_code == 0, answer.output
    assert_holds(folder)
    # what another user published is not his to replace
    with environment(PGUSER="stranger", PGPASSWORD=PASSWORD):
        assert_refused("no_server", folder.copy())
    assert_holds(folder)


def test_no_password_is_told(folder: Folder) -> None:
    """A server that is not there, or refuses the password, is named; the password is not."""
    secret = "correct horse battery staple"
    with environment(PGPASSWORD=secret):
        refused = folder.copy()
        with environment(PGPORT="1"):
            absent = folder.copy()
    for answer, why in ((refused, "password authentication failed"), (absent, "Connection refused")):
        assert_refused("no_server", answer)
        assert why in answer.output
        assert secret not in answer.output + folder.store.refusals.read_text()
    assert_refused("roles", folder.copy("--bi-role", "nobody"))
    assert copied() == {}


class Reader:
    """Somebody in the middle of a transaction who has read one published table."""

    def __init__(self) -> None:
        """Begin and read."""
        self.connection = psycopg2.connect(user="dashboard", password=PASSWORD)
        self.cursor = self.connection.cursor()
        self.cursor.execute("select count(*) from published.audiences")
        (self.rows,) = self.cursor.fetchone()

    def end(self) -> str:
        """Read which generation it is, and end."""
        self.cursor.execute("select generation from published.publication")
        (generation,) = self.cursor.fetchone()
        self.connection.close()
        return generation


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def publishers(query: str) -> Rows:
    """The publishers' sessions whose present or last statement is like this."""
    return ask(
        "select pid, state from pg_stat_activity "
        f"where application_name = 'publish_postgres.py' and query like '{query}'"
    )


def locked_publication() -> Rows:
    """The publisher's lock on the table that readers begin with, while he waits for others."""
    return ask(
        "select pid from pg_locks where granted and mode = 'AccessExclusiveLock' "
        "and relation = 'published.publication'::regclass"
    )


def test_a_long_reader(folder: Folder, tmp_path: Path) -> None:
    """He keeps what he reads; others wait half a second at most; the publisher tries again, then gives up.

    Meanwhile no other publisher gets at the database, from whatever folder.
    """
    assert folder.copy().exit_code == 0
    first, rows = folder.current, sum(folder.rows()["published.audiences"].values())
    second = folder.publish("delete from published.audiences where list_status <> 'serving'")
    elsewhere = Folder(Path(shutil.copytree(folder.path, tmp_path / "elsewhere", symlinks=True)))
    reader = Reader()
    answer = folder.copy("--patience", "1")
    assert_refused("readers", answer)
    assert str(reader.connection.info.backend_pid) in answer.output
    publisher = folder.start()
    wait_for(lambda: publishers("lock table%"))
    assert_refused("locked", folder.copy())
    assert_refused("locked", elsewhere.copy())
    waited = []
    for _ in range(20):
        began = time.monotonic()
        assert ask("select generation from published.publication", "dashboard") == [(first,)]
        waited.append(time.monotonic() - began)
        time.sleep(0.1)
    assert publisher.poll() is None
    wait_for(locked_publication)
    assert reader.rows == rows and reader.end() == first  # each waits for the other: the publisher gives way
    output, _ = publisher.communicate(timeout=30)
    assert publisher.returncode == 0, output
    assert ask("select generation from published.publication", "dashboard") == [(second,)]
    assert_holds(folder)
    assert 0.1 < max(waited) < 1.5, waited  # somebody did stand in line


def read_once(connection: Any, schema: str, tables: list[str], isolation: str) -> tuple[Any, ...]:
    """Which generation a reader sees, and rows and moments of each table, all in one transaction."""
    connection.set_session(isolation_level=isolation)
    with connection, connection.cursor() as cursor:
        cursor.execute("select 1")  # a snapshot is taken before the first table is looked up
        time.sleep(random.uniform(0, 0.02))
        seen: list[Any] = []
        for table in ["publication", *tables, "publication"]:
            what = "generation" if table == "publication" else "count(*), min(as_of), max(as_of)"
            cursor.execute(f"select {what} from {schema}.{table}")
            seen.append(cursor.fetchone())
            time.sleep(random.uniform(0, 0.01))
    return tuple(seen)


class Load:
    """Readers at work, each in a thread, until they are told to stop.

    Args:
        expected: what a reader may see, by schema: one tuple for each generation.
        tables: the tables of a schema.
    """

    def __init__(self, expected: dict[str, set[tuple[Any, ...]]], tables: dict[str, list[str]]) -> None:
        """Start them."""
        self.expected = expected
        self.tables = tables
        self.stop = threading.Event()
        self.seen: Counter[tuple[Any, ...]] = Counter()
        self.torn: list[object] = []
        self.failed: list[str] = []
        self.slowest = 0.0
        kinds = itertools.product(OWN, ("READ COMMITTED", "REPEATABLE READ"), (True, False))
        self.threads = [threading.Thread(target=self.read, args=kind) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def read(self, user: str, isolation: str, comes_anew: bool) -> None:
        """Read again and again, on one connection or on a new one each time."""
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                if connection is None:
                    connection = psycopg2.connect(user=user, password=PASSWORD)
                seen = read_once(connection, OWN[user], self.tables[OWN[user]], isolation)
                if comes_anew:
                    connection.close()
            except psycopg2.Error as error:
                self.failed.append(str(error))
                seen = None
            if seen is None or comes_anew:
                connection = None
            self.slowest = max(self.slowest, time.monotonic() - began)
            if seen in self.expected[OWN[user]]:
                self.seen[seen] += 1
            elif seen is not None:
                self.torn.append(seen)

    def end(self) -> None:
        """Wait until each has read what it began to."""
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_swaps_under_load(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """While the generation changes, every reader sees one of the two, whole, and none is sent away."""
    tables = {
        schema: [path.split(".")[1] for path in folder.rows() if path.startswith(f"{schema}.")]
        for schema in FILES
    }
    generations = [folder.current]
    changes = [f"update {path} set as_of = as_of + interval 1 hour" for path in folder.rows()]
    changes += [
        f"delete from {schema}.{table} where rowid % 2 = 0" for schema in FILES for table in tables[schema]
    ]
    generations.append(folder.publish(*changes))
    expected: dict[str, set[tuple[Any, ...]]] = {schema: set() for schema in FILES}
    for generation in generations:
        folder.store.flip(generation)
        assert folder.copy().exit_code == 0
        for user, schema in OWN.items():
            with connected(user) as connection:
                connection.autocommit = False
                expected[schema].add(read_once(connection, schema, tables[schema], "READ COMMITTED"))
    assert {seen[0] for rows in expected.values() for seen in rows} == {(name,) for name in generations}
    load = Load(expected, tables)
    seconds = []
    try:
        for number in range(SWAPS):
            folder.store.flip(generations[number % 2])
            began = time.monotonic()
            answer = folder.copy()
            seconds.append(time.monotonic() - began)
            assert answer.exit_code == 0, answer.output
    finally:
        load.end()
    reads = sum(load.seen.values())
    queries = sum(len(seen) for seen in load.seen.elements())
    with capsys.disabled():
        print(
            f"\n{SWAPS} swaps, {sorted(seconds)[SWAPS // 2]:.1f} s each in the median, under "
            f"{len(load.threads)} readers: {reads:,} transactions with {queries:,} queries, "
            f"{len(load.failed)} failed, {len(load.torn)} torn; the longest took {load.slowest:.2f} s"
        )
    assert load.failed == [] and load.torn == []
    assert set(load.seen) == expected["published"] | expected["delivery"]
    assert reads > 10 * SWAPS


def test_kills(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL at any moment leaves the old generation or the new one, whole, and the next run recovers."""
    big = folder.publish(
        "insert into delivery.measurement_events_shared "
        "select * exclude (number) replace ('e' || number as engagement_id) "
        "from (from delivery.measurement_events_shared limit 1), range(50000) as many (number)"
    )
    publisher = folder.start()
    wait_for(lambda: publishers("%"))
    began = time.monotonic()
    output, _ = publisher.communicate()
    assert publisher.returncode == 0, output
    whole = time.monotonic() - began
    small = folder.publish("delete from delivery.measurement_events_shared where engagement_id like 'e%'")
    states: Counter[str] = Counter()
    moments: list[str | float] = ["copy%stdin%", "copy%stdout%", "lock table%"]
    moments += [whole * part / 7 for part in range(1, 8)]  # since it is in the database
    for moment in moments:
        folder.store.flip(small)
        assert folder.copy().exit_code == 0
        folder.store.flip(big)
        reader = Reader() if moment == "lock table%" else None
        publisher = folder.start()
        wait_for(lambda query=moment: publishers(query if isinstance(query, str) else "%"))
        if isinstance(moment, float):
            time.sleep(moment)
        publisher.send_signal(signal.SIGKILL)
        publisher.communicate()
        if isinstance(moment, str):
            assert publisher.returncode == -signal.SIGKILL
        if reader:
            reader.end()
        wait_for(lambda: not publishers("%"))  # the server has noticed
        ((generation,),) = ask("select generation from published.publication", "dashboard")
        states["old" if generation == small else "new"] += 1
        assert generation == small or not isinstance(moment, str)
        folder.store.flip(generation)
        assert_holds(folder)
    with capsys.disabled():
        print(f"\n{len(moments)} kills: {states['old']} left the old generation, {states['new']} the new one")
    assert states["old"] >= 3
    assert folder.copy().exit_code == 0
    assert_holds(folder)

"""PostgreSQL beside DuckDB: every model builds there under every guard, and holds the same rows.

`make test-engines` runs this; `make test` leaves it out.
"""

import csv
import io
import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import ROOT, SIZE_KEY, Project, Rows, copy_project
from postgres import key_option, server
from test_acceptance import ACCEPTANCE, ASSESSED
from test_vectors import VECTORS, vectors

pytestmark = pytest.mark.engines

TARGET = ("--target", "postgres")
README = (ROOT / "README.md").read_text()
# what the README's table counts
SHOWN = [
    "marts.contact_decisions",
    "consent.contacts_consented_for_ads",
    "marts.tailored_audience_members",
    "marts.partner_audience_members",
    "marts.measurement_events_shared",
]
LANDING_TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}
LANDED = {"input": "tables", "input_schema": "landing"}
LANDED_AS_TEXT = ("raw_users", "raw_consent_events", "raw_audience_lists")

# Spellings in which engines, drivers and their libraries like to differ
AWKWARD_ADDRESSES = [
    " Jane.Roe@Example.com\t",
    "\u00a0jane@example.com\u2003",
    "\u200bjane\u200d@example.com\ufeff",
    "jane\n@example.com",
    "JANE+News@EXAMPLE.COM",
    "j.a.n.e@googlemail.com",
    "<jane@example.com>",
    "mailto:jane@example.com?subject=x",
    'Jane Roe <jane@example.com>, "J. R." <jr@example.org>',
    "jane@@example.com",
    "jane@example..com.",
    "jane@example.com.",
    ".jane@example.com",
    "@example.com",
    "jane@",
    "jane",
    "+@example.com",
    "...@example.com",
    "'jane'@example.com",
    "ja\\ne@example.com",
    "jane%@example.com",
    "jane@exämple.example.com",
    "jane@xn--exmple-cua.example.com",
    "JÄNE@example.com",
    "ja\u0308ne@example.com",
    "J\u0130NE@example.com",
    "\u212aelvin@example.com",
    "mi\u017fs@example.com",
    "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2@example.com",
    "STRASSE@example.com",
    "stra\u00dfe@example.com",
    "\uff2a\uff21\uff2e\uff25\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d",
    "a" * 243 + "@example.com",
    "a" * 242 + "@example.com",
    "",
    " ",
    "null",
    "None",
    "n/a",
    "'); drop table contacts; --",
    "{{ env_var('HOME') }}",
    "{a,b}@example.com",
    "%s@example.com",
    "\U0001f600@example.com",
    "e\u0301\u0327@example.com",
]
AWKWARD_NUMBERS = [
    "+1 (201) 555-0123",
    "+1 201 555 0123 x5",
    "1-201-555-0123",
    "(201) 555-0123",
    "001 201 555 0123",
    "011 44 7700 900123",
    "+44 (0)7700 900123",
    "+44 (0) 7700 900123",
    "+44\u00a0(\uff10)7700\u2011900123",
    "07700 900123",
    "7700 900123",
    "00447700900123",
    "0011 44 7700 900123",
    "0011447700900123",
    "8~10 44 7700 900123",
    "81044 7700 900123",
    "\uff0b\uff14\uff14\uff17\uff17\uff10\uff10\uff19\uff10\uff10\uff11\uff12\uff13",
    "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669",
    "+1800FLOWERS",
    "tel:+12015550123",
    "+0123456789",
    "+10000000000",
    "+1111111111",
    "+39 06 5550 1234",
    "+39 6 5550 1234",
    "+999 1234567",
    "+1234567890123456",
    "00",
    "+",
    "0000",
    "12\n34",
    "12a\n34",
    "+1 201 555 0123\n+1 201 555 0124",
    "alice@example.com",
    "",
    "\u200b",
]
COUNTRIES = [None, "US", "GB", "AU", "IT", "RU", "BR", "JP", "KZ", "zz", ""]


@pytest.fixture(scope="module")
def use_database() -> Iterator[Callable[..., None]]:
    """A server of this module's own: what makes an empty database on it, which dbt and the tests then use."""
    with server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | key_option(SIZE_KEY)).items():
            patch.setenv(name, value)

        def use(name: str, options: str = "") -> None:
            patch.setenv("PGDATABASE", variables["PGDATABASE"])
            execute(f"drop database if exists {name}")
            execute(f"create database {name} {options}")
            patch.setenv("PGDATABASE", name)

        yield use


@contextmanager
def cursor() -> Iterator[Any]:
    """A cursor on the database in use; each statement stands by itself."""
    import psycopg2

    connection = psycopg2.connect("")
    try:
        connection.autocommit = True
        yield connection.cursor()
    finally:
        connection.close()


def rows(sql: str) -> Rows:
    """Rows of a query on the server."""
    with cursor() as server_cursor:
        server_cursor.execute(sql)
        return server_cursor.fetchall()


def execute(sql: str) -> None:
    """Run a statement on the server."""
    with cursor() as server_cursor:
        server_cursor.execute(sql)


def load(name: str, columns: dict[str, str], content: Rows) -> None:
    """Make a table of these columns (name and type) and rows."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["\\N" if cell is None else cell for cell in row] for row in content])
    file.seek(0)
    kinds = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    with cursor() as server_cursor:
        server_cursor.execute(f"create table {name} ({kinds})")
        server_cursor.copy_expert(f"copy {name} from stdin (format csv, null '\\N')", file)


def land_acceptance_case() -> None:
    """Load the acceptance case into the database in use; some columns as text, like CSV without types."""
    execute("create schema landing")
    for file in sorted((ACCEPTANCE / "input").glob("*.parquet")):
        table = duckdb.from_parquet(str(file))
        types = [LANDING_TYPES[str(kind)] for kind in table.types]
        columns = {
            name: "text" if file.stem in LANDED_AS_TEXT else kind
            for name, kind in zip(table.columns, types, strict=True)
        }
        load(f"landing.{file.stem}", columns, table.fetchall())


def canonical(cell: Any) -> Any:
    """A cell in one form, whichever driver brought it."""
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat()
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    return cell


def relations(project: Project) -> list[str]:
    """Every model's relation, from the manifest of the last dbt command."""
    manifest = json.loads((project.path / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    return sorted(f"{model['schema']}.{model['alias']}" for model in models)


def readme_line(case: str, counts: dict[str, int]) -> str:
    """The line of the README's table on what was compared."""
    return f"| {case} | " + " | ".join(f"{counts[relation]:,}" for relation in SHOWN) + " |"


def assert_same_rows(project: Project, from_seeds: bool = False) -> dict[str, int]:
    """Compare each model's rows, of the project's DuckDB file and of the server; the counts, by relation.

    A blank cell of a seed is a missing one to dbt's own reader, which loads seeds into PostgreSQL alone.
    """

    builders = "select invocation_id from release.release"
    runs = {name for (name,) in [*project.query(builders), *rows(builders)]}
    assert len(runs) == 2

    def comparable(cell: Any) -> Any:
        if cell in runs:
            return "the run that built this"
        return None if from_seeds and isinstance(cell, str) and cell.isspace() else canonical(cell)

    counts, differing = {}, []
    for relation in relations(project):
        here, there = (
            Counter(tuple(map(comparable, row)) for row in answer)
            for answer in (project.query(f"select * from {relation}"), rows(f"select * from {relation}"))
        )
        counts[relation] = here.total()
        if here != there:
            # a test's own input is fictional, so that its rows may be shown
            differing.append((relation, list((here - there).items())[:3], list((there - here).items())[:3]))
    assert not differing, differing
    return counts


@pytest.fixture(scope="module")
def sample_on_both(
    sample: Project, use_database: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """The sample, built on both engines for one moment; on PostgreSQL with every unit test.

    The project is a copy of its own with the DuckDB warehouse of the sample beside it.
    """
    use_database("sample")
    project = copy_project(tmp_path_factory.mktemp("postgres") / "project")
    project.warehouse.parent.mkdir()
    project.warehouse.symlink_to(sample.warehouse)
    ((moment,),) = sample.query("select as_of from release.release")
    run = project.build(*TARGET, "--vars", json.dumps({"as_of": moment.isoformat()}), unit_tests=True)
    assert run.success, run.output
    return project


def test_sample(sample_on_both: Project) -> None:
    """Every guard and unit test is green on PostgreSQL, and every relation of every layer is the same."""
    counts = assert_same_rows(sample_on_both, from_seeds=True)
    assert readme_line("bundled sample", counts) in README


def characters() -> list[str]:
    """Characters with a case, a composition or no letter in them, but NUL, which PostgreSQL cannot hold."""
    return [
        character
        for character in map(chr, range(1, sys.maxunicode + 1))
        if unicodedata.category(character) not in ("Cn", "Co", "Cs")
        and (
            not character.isalpha()
            or len({character, character.lower(), character.upper(), character.casefold()}) > 1
            or unicodedata.decomposition(character)
        )
        and not unicodedata.name(character, "").startswith(("CJK COMPATIBILITY IDEOGRAPH", "SIGNWRITING"))
    ]


def spellings() -> Rows:
    """Channel, value and country of what engines could read differently."""
    vectors_of_senders = vectors() if VECTORS.is_file() else []
    return [
        *((row["channel"], row["raw_value"], row["country_code"] or None) for row in vectors_of_senders),
        *((channel, value, None) for channel in ("email", "fax") for value in AWKWARD_ADDRESSES),
        *(("phone", value, country) for value in AWKWARD_NUMBERS for country in COUNTRIES),
        *(("email", f"x{character}Y@{character}.example.com", None) for character in characters()),
        *(("phone", f"(201) 555{character}0123", "US") for character in characters()),
    ]


NORMALIZED = """
    with addresses as (select * from {spellings} where channel <> 'phone'),
    numbers as (select * from {spellings} where channel = 'phone'),
    {{ normalize_identifiers('addresses', 'numbers', 'number, channel') }}
    select
        normalized_identifiers.*,
        profiles.normalization_profile,
        {{ sha256_hex(render_identifier('normalized_value', 'profiles.rendering')) }} as match_key
    from normalized_identifiers
    left join {{ ref('normalization_profiles') }} as profiles
        on profiles.channel = normalized_identifiers.channel
"""
"""What becomes of spellings, in Jinja; {spellings} stands for the relation that holds them."""


def test_spellings(sample_on_both: Project, tmp_path: Path) -> None:
    """Values are normalized, rendered, hashed and blocked alike on both, whatever they are made of."""
    query = NORMALIZED.replace("{spellings}", "spellings")
    values = [(number, *spelling) for number, spelling in enumerate(spellings())]
    columns = {"number": "integer", "channel": "text", "value": "text", "country_code": "text"}
    load("spellings", columns, values)
    file = tmp_path / "spellings.json"
    file.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in values]))
    here_sql, there_sql = sample_on_both.compile(query), sample_on_both.compile(query, *TARGET)
    there = Counter(rows(there_sql))
    with duckdb.connect(str(sample_on_both.warehouse), read_only=True) as connection:
        connection.execute(f"create temp table spellings as from read_json('{file}', columns = {columns})")
        here = Counter(connection.execute(here_sql).fetchall())
    differing = sorted({row[0] for row in (here - there) + (there - here)})
    assert not differing, [values[number] for number in differing[:50]]
    assert len(values) > 20_000


def test_acceptance_case(use_database: Callable[..., None], fresh_project: Callable[[], Project]) -> None:
    """The acceptance case from tables on PostgreSQL has the rows that it has from files on DuckDB."""
    if not ACCEPTANCE.is_dir():
        pytest.skip(f"the acceptance case is not here: no folder {ACCEPTANCE}")
    use_database("acceptance")
    land_acceptance_case()
    project = fresh_project()
    files = {"input": "files", "input_path": str(ACCEPTANCE / "input"), **ASSESSED}
    run = project.build("--vars", json.dumps(files))
    assert run.success, run.output
    run = project.build(*TARGET, "--vars", json.dumps(LANDED | ASSESSED))
    assert run.success, run.output
    assert readme_line("acceptance case", assert_same_rows(project)) in README


def test_bad_tables_are_refused(
    use_database: Callable[..., None], fresh_project: Callable[[], Project]
) -> None:
    """What cannot be read, or compares in a way of its own, is refused; no message holds a value."""
    use_database("refusals")
    execute("create schema landing")
    moments = [
        "2019-02-30",
        "1900-02-29",
        "now",
        "infinity",
        "08/10/2019",
        "2019-08-10 24:00:00",
        "2020-02-29",
    ]
    columns = ["user_id", "country_code", "is_adult", "account_status", "created_at"]
    users = [(f"u{number}", "US", "maybe", "active", moment) for number, moment in enumerate(moments)]
    load("landing.raw_users", dict.fromkeys(columns, "text"), users)
    collated = 'text collate "en-x-icu"'
    load(
        "landing.raw_partners",
        {"partner_id": "text", "name": "text", "status": collated},
        [("p1", "P", "ACTIVE")],
    )
    run = fresh_project().build(*TARGET, "--vars", json.dumps(LANDED))
    assert not run.success
    for fault in (
        "raw_users.created_at: 6 rows in which it cannot be read as timestamptz",
        "raw_users.is_adult: 7 rows in which it cannot be read as boolean",
        "raw_partners.status: has type COLLATED TEXT, which is not read as varchar",
        "raw_contacts: no such relation in refusals.landing",
    ):
        assert fault in run.output
    assert "08/10/2019" not in run.output and "maybe" not in run.output


def test_files_are_refused(use_database: Callable[..., None], fresh_project: Callable[[], Project]) -> None:
    """PostgreSQL does not read the files of dbt's machine, and says so."""
    use_database("files")
    run = fresh_project().build(*TARGET, "--vars", json.dumps({"input": "files", "input_path": "x"}))
    assert not run.success
    assert "var input: files are not read by postgres; load them as tables" in run.output


@pytest.mark.parametrize(
    ("locale", "time_zone", "fault"),
    [
        ("locale 'C.UTF-8'", "UTC", None),
        ("locale 'C.UTF-8'", "Europe/London", "time zone of the session: must be UTC"),
        ("locale 'C'", "UTC", "text must sort by code point and have a case beyond ASCII"),
        ("locale_provider icu icu_locale 'en' locale 'C.UTF-8'", "UTC", "text must sort by code point"),
    ],
)
def test_sessions_that_decide_otherwise_are_refused(
    locale: str,
    time_zone: str,
    fault: str | None,
    use_database: Callable[..., None],
    fresh_project: Callable[[], Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session in another time zone, or a database with another order of text, is named as the fault."""
    use_database("session", f"template template0 {locale}")
    monkeypatch.setenv("PGTZ", time_zone)
    faults = fresh_project().compile("{{ engine_faults() if execute }}", *TARGET)
    assert fault in faults if fault else faults == "[]"

"""Inputs in all three ways give one result; bad input stops the run, says where, and prints no value."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT, Project, Run, copy_project, packs_of
from test_sample import MARTS

SAMPLE = ROOT / "seeds" / "sample"
AS_OF = "2020-01-01 00:00:00"
CANARY = "canary.value@example.com"
# the log of an old matcher is loaded for an assessment only
TABLES = sorted({file.stem for file in SAMPLE.glob("*.csv")} - {"raw_legacy_matches"})


def variables(**values: str) -> tuple[str, str]:
    """The --vars of a build at a fixed moment."""
    return "--vars", json.dumps({"as_of": AS_OF, **values})


@pytest.fixture(scope="module")
def built_from_files(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has published from CSV files once; its folder `files` may be damaged by tests."""
    project = copy_project(tmp_path_factory.mktemp("files") / "project")
    shutil.copytree(SAMPLE, project.path / "files", ignore=shutil.ignore_patterns("*.yml"))
    run = project.build(*variables(input="files", input_path=str(project.path / "files")))
    assert run.success, run.output
    return project


def test_csv_files(built_from_files: Project, sample: Project) -> None:
    """`input: files` over CSV, at a moment after the last event, gives what the seeds give today."""
    for mart in MARTS:
        query = f"select * from marts.{mart} order by all"
        rows = built_from_files.query(query)
        assert rows and rows == sample.query(query), mart


def assert_staged_as_from_seeds(project: Project, sample: Project, *arguments: str) -> None:
    """Build inputs and staging, whose rows are those that were staged from the seeds."""
    selection = ("--select", "path:seeds", "path:models/staging", "--indirect-selection", "cautious")
    run = project.build(*selection, *arguments)
    assert run.success, run.output
    staged = project.query("select table_name from information_schema.tables where table_schema = 'staging'")
    assert len(staged) > 8
    for (name,) in staged:
        query = f"select * from staging.{name} order by all"
        assert project.query(query) == sample.query(query), name


def test_parquet_files(fresh_project: Callable[[], Project], sample: Project, tmp_path: Path) -> None:
    """`input: files` over Parquet, with moments as naive timestamps in UTC, is staged as the same rows."""
    with duckdb.connect(str(sample.warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        for table in TABLES:
            naive = naive_moments(connection, table)
            connection.execute(f"copy (select * {naive} from sample.{table}) to '{tmp_path}/{table}.parquet'")
    arguments = variables(input="files", input_path=str(tmp_path))
    assert_staged_as_from_seeds(fresh_project(), sample, *arguments)


def naive_moments(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """The clause that turns a table's moments into timestamps without an offset; nothing if it has none."""
    columns = connection.execute(
        "select column_name from information_schema.columns "
        "where table_schema = 'sample' and table_name = ? and data_type like '%TIME ZONE'",
        [table],
    ).fetchall()
    naive = ", ".join(f"{name}::timestamp as {name}" for (name,) in columns)
    return f"replace ({naive})" if naive else ""


def test_tables(fresh_project: Callable[[], Project], sample: Project) -> None:
    """`input: tables` over relations of the user's own schema is staged as the same rows."""
    project = fresh_project()
    project.warehouse.parent.mkdir()
    with duckdb.connect(str(project.warehouse)) as connection:
        connection.execute(f"attach '{sample.warehouse}' as source (read_only)")
        connection.execute("create schema landing")
        for table in TABLES:
            connection.execute(
                f"create table landing.{table} as select *, 1 as extra from source.sample.{table}"
            )
    arguments = variables(input="tables", input_schema="landing")
    assert_staged_as_from_seeds(project, sample, *arguments)


def damage(table: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of text in one table's file."""

    def apply(folder: Path) -> None:
        file = folder / f"{table}.csv"
        content = file.read_text()
        assert old in content
        file.write_text(content.replace(old, new, 1))

    return apply


def append(table: str, line: str) -> Callable[[Path], None]:
    """A line more at the end of one table's file."""

    def apply(folder: Path) -> None:
        with (folder / f"{table}.csv").open("a") as file:
            file.write(line + "\n")

    return apply


def remove(table: str) -> Callable[[Path], None]:
    """One table's file gone."""
    return lambda folder: (folder / f"{table}.csv").unlink()


def keep_header(table: str) -> Callable[[Path], None]:
    """One table's file cut down to its header."""

    def apply(folder: Path) -> None:
        file = folder / f"{table}.csv"
        file.write_text(file.read_text().splitlines()[0] + "\n")

    return apply


CONTACT = "{id},u0001,email," + CANARY + ",ads.audience_matching,{collected},,"

Fault = tuple[Callable[[Path], None], str]
FAULTS: dict[str, Fault] = {
    "suppressions absent": (remove("raw_suppressions"), "raw_suppressions"),
    "consents absent": (remove("raw_consent_events"), "raw_consent_events"),
    "suppressions emptied": (keep_header("raw_suppressions"), "raw_suppressions"),
    "column renamed": (damage("raw_contacts", "purpose,", "reason,"), "raw_contacts"),
    "header in other case": (damage("raw_contacts", "contact_id", "Contact_ID"), "raw_contacts"),
    "wrong delimiter": (
        damage("raw_users", "user_id,country_code", "user_id;country_code"),
        "raw_users",
    ),
    "unterminated quote": (append("raw_contacts", 'x1,u0001,email,"' + CANARY), "raw_contacts"),
    "short row": (append("raw_contacts", "x1,u0001,email," + CANARY), "raw_contacts"),
    "unparsable moment": (
        append("raw_contacts", CONTACT.format(id="x1", collected="08/10/2019")),
        "raw_contacts.collected_at: 1 rows in which it cannot be read as timestamptz",
    ),
    "day that does not exist": (
        append("raw_contacts", CONTACT.format(id="x2", collected="2019-02-29 10:00:00")),
        "raw_contacts.collected_at: 1 rows in which it cannot be read as timestamptz",
    ),
    "endless moment": (
        append("raw_contacts", CONTACT.format(id="x3", collected="infinity")),
        "raw_contacts.collected_at: 1 rows in which it is not a finite moment",
    ),
    "unparsable flag": (
        append("raw_users", "u9999,US,perhaps,active,2019-01-01 00:00:00+00:00"),
        "raw_users.is_adult: 1 rows in which it cannot be read as boolean",
    ),
    "duplicate key": (
        append("raw_contacts", CONTACT.format(id="c00001", collected="2019-01-01 00:00:00")),
        "raw_contacts.contact_id: 1 rows repeat the primary key of another",
    ),
    "duplicate key of two columns": (
        append("raw_list_entries", "l01-u1,1,email," + CANARY + ","),
        "raw_list_entries.upload_id and row_number: 1 rows repeat the primary key of another",
    ),
    "empty key": (
        append("raw_contacts", CONTACT.format(id="", collected="2019-01-01 00:00:00")),
        "raw_contacts.contact_id: 1 rows in which it is required and empty",
    ),
    "suppression without a value": (
        append("raw_suppressions", "x1,email,,,2019-01-01 00:00:00"),
        "raw_suppressions.value: 1 rows in which it is required and empty",
    ),
    "denial without a moment": (
        append("raw_consent_events", "x1,u0001,ads.measurement,denied,,2019-01-01 00:00:00,"),
        "raw_consent_events.occurred_at: 1 rows in which it is required and empty",
    ),
    "denial that was never recorded": (
        append("raw_consent_events", "x1,u0001,ads.measurement,denied,2019-01-01 00:00:00,,"),
        "raw_consent_events.recorded_at: 1 rows in which it is required and empty",
    ),
    "denial of a data use with a blank": (
        append(
            "raw_consent_events", "x1,u0001,ads.measurement ,denied,2019-01-01 00:00:00,2019-01-01 00:00:00,"
        ),
        "raw_consent_events.data_use: 1 rows in which it has capitals or outer white space",
    ),
    "tailored list of nobody": (
        append("raw_audience_lists", "x1,tailored,,,x1,x,false,,2019-01-01 00:00:00,,2019-01-01 00:00:00,"),
        "raw_audience_lists.advertiser_id: 1 rows in which it is empty and required by list_kind =",
    ),
    "partner list of nobody": (
        append("raw_audience_lists", "x1,partner,,,x1,x,false,,2019-01-01 00:00:00,,2019-01-01 00:00:00,"),
        "raw_audience_lists.partner_id: 1 rows in which it is empty and required by list_kind = 'partner'",
    ),
    "unknown profile": (
        append(
            "raw_audience_lists", "x1,tailored,a01,,x1,y,false,,2019-01-01 00:00:00,,2019-01-01 00:00:00,"
        ),
        "raw_audience_lists.normalization_profile: 1 rows in which it is none of x, meta, google, uid2",
    ),
    "list that says not whether it is hashed": (
        append("raw_audience_lists", "x1,tailored,a01,,x1,x,,,2019-01-01 00:00:00,,2019-01-01 00:00:00,"),
        "raw_audience_lists.is_hashed: 1 rows in which it is required and empty",
    ),
    "endless membership": (
        append("raw_audience_lists", "x1,tailored,a01,,x1,x,true,2000000000,2019-01-01 00:00:00,,,"),
        "raw_audience_lists.membership_days: 1 rows in which it is not between 0 and 36500",
    ),
    "licence for uses in another spelling": (
        append(
            "raw_partner_licences",
            "x1,p01,a01,l21,2019-01-01 00:00:00,,,ads.measurement | ads.audience_matching.partner",
        ),
        "raw_partner_licences.allowed_data_uses: 1 rows in which it is no list of codes in lower case",
    ),
    "owner that is a person's address": (
        append("raw_audience_lists", f"x1,tailored,a01,,x1,x,true,,2019-01-01 00:00:00,,,{CANARY}"),
        "raw_audience_lists.owner: 1 rows in which it reads as an address, a number or a hash",
    ),
    "optional column misspelt": (
        damage("raw_partner_licences", "allowed_data_uses", "allowed_data_use"),
        "raw_partner_licences: line 1: the header differs: not expected 'allowed_data_use'",
    ),
    "unknown upload operation": (
        damage("raw_list_uploads", ",append,", ",upsert,"),
        "raw_list_uploads.operation: 1 rows in which it is none of append, remove, replace, remove_all",
    ),
}


def fit_together(one: Fault, other: Fault) -> bool:
    """Whether both can be named: they are of two columns, or of two tables that cannot be read."""
    places = [message.partition(":")[0] for _, message in (one, other)]
    return places[0] != places[1] and ("." in places[0]) == ("." in places[1])


PACKS = packs_of(FAULTS, fit_together)


@pytest.fixture(scope="module")
def refusal(built_from_files: Project) -> Callable[[str], Run]:
    """The build over a fault's pack, made once: what was published stays, and no value is told."""
    project = built_from_files
    files, backup = project.path / "files", project.path / "backup"

    @cache
    def build(pack: tuple[str, ...]) -> Run:
        shutil.copytree(files, backup)
        before = project.published()
        try:
            for name in pack:
                FAULTS[name][0](files)
            run = project.build(*variables(input="files", input_path=str(files)))
        finally:
            shutil.rmtree(files)
            backup.rename(files)
        assert not run.success
        assert project.published() == before
        logs = "\n".join(file.read_text() for file in (project.path / "logs").glob("*"))
        assert CANARY not in run.output and CANARY not in logs
        return run

    return lambda fault: build(PACKS[fault])


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_aborts(refusal: Callable[[str], Run], name: str) -> None:
    """Exit code other than 0, a message with table, column and rule, no value, published as before."""
    rule = FAULTS[name][1]
    assert any(line.strip().startswith(rule) for line in refusal(name).output.splitlines())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "file"}, "var input: must be seeds, files or tables"),
        ({"input": "files", "input_path": "fi'les"}, "var input_path: write a folder"),
        ({"input": "tables", "input_schema": "nowhere"}, "raw_contacts: no such relation"),
        ({"as_of": "2999-01-01 00:00:00"}, "var as_of: lies in the future"),
        (
            {"as_of": "2019-12-31 23:59:59"},
            "var as_of: lies before that of delivery.measurement_events_shared",
        ),
        ({"as_of": "'); drop table x; --"}, "var as_of: write a moment"),
    ],
)
def test_bad_var_aborts(built_from_files: Project, values: dict[str, str], message: str) -> None:
    """A var that is none of what it may be stops the run, and what is published stays."""
    before = built_from_files.published()
    run = built_from_files.build(*variables(**values))
    assert not run.success
    assert message in run.output
    assert built_from_files.published() == before


OPTIONAL = {
    "raw_partner_licences": "allowed_data_uses",
    "raw_audience_lists": "owner",
    "raw_advertisers": "terms_version",
}


def test_older_inputs_keep_their_strict_meaning(fresh_project: Callable[[], Project], tmp_path: Path) -> None:
    """Without the column of allowed uses a licence is for partner lists alone; a blank cell allows none."""
    project = fresh_project()
    project.warehouse.parent.mkdir()
    shutil.copytree(SAMPLE, tmp_path / "csv", ignore=shutil.ignore_patterns("*.yml"))
    (tmp_path / "parquet").mkdir()
    with duckdb.connect(str(project.warehouse)) as connection:
        connection.execute("create schema landing")
        for file in SAMPLE.glob("*.csv"):
            older = f"select * exclude ({OPTIONAL[file.stem]})" if file.stem in OPTIONAL else "select *"
            older += f" from read_csv('{file}', all_varchar = true)"
            connection.execute(f"create table landing.{file.stem} as {older}")
            connection.execute(f"copy ({older}) to '{tmp_path}/parquet/{file.stem}.parquet'")
            if file.stem in OPTIONAL:
                connection.execute(f"copy ({older}) to '{tmp_path}/csv/{file.stem}.csv' (header)")
    for values in (
        {"input": "files", "input_path": str(tmp_path / "csv")},
        {"input": "files", "input_path": str(tmp_path / "parquet")},
        {"input": "tables", "input_schema": "landing"},
    ):
        run = project.dbt("seed", "--select", "audience_policy", *variables(**values))
        assert run.success, run.output
        assert project.query(
            "select allowed_data_uses, count(*) > 10 from input_views.raw_partner_licences group by 1"
        ) == [("ads.audience_matching.partner", True)]
        assert project.query("select count(owner) from input_views.raw_audience_lists") == [(0,)]
        assert project.query("select count(terms_version) from input_views.raw_advertisers") == [(0,)]
    run = project.dbt(
        "seed", "--select", "audience_policy", *variables(input="files", input_path=str(SAMPLE))
    )
    assert run.success, run.output
    assert project.query(
        "select licence_id, allowed_data_uses from input_views.raw_partner_licences order by 1 desc limit 3"
    ) == [("lic16", "ads.audience_matching.partner"), ("lic15", None), ("lic14", "ads.measurement")]


def test_ids_that_went_through_floating_point(fresh_project: Callable[[], Project], tmp_path: Path) -> None:
    """A Parquet id column of doubles is refused: beyond 2^53 one id could be another."""
    shutil.copytree(SAMPLE, tmp_path / "files")
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * replace (cast(9007199254740993 as double) as user_id) from "
            f"read_csv('{SAMPLE}/raw_users.csv', all_varchar = true) limit 1) "
            f"to '{tmp_path}/files/raw_users.parquet'"
        )
    run = fresh_project().build(*variables(input="files", input_path=str(tmp_path / "files")))
    assert not run.success
    assert "raw_users.user_id: has type DOUBLE, which is not read as varchar" in run.output


@pytest.mark.parametrize("table", ["raw_contacts", "raw_consent_events", "raw_suppressions"])
def test_parquet_without_rows(fresh_project: Callable[[], Project], tmp_path: Path, table: str) -> None:
    """A Parquet file of nobody's contacts, consents or opt-outs is refused like an empty CSV."""
    shutil.copytree(SAMPLE, tmp_path / "files")
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (from read_csv('{SAMPLE}/{table}.csv', all_varchar = true) limit 0) "
            f"to '{tmp_path}/files/{table}.parquet'"
        )
    run = fresh_project().build(*variables(input="files", input_path=str(tmp_path / "files")))
    assert not run.success
    assert f"{table}: has no rows" in run.output


TYPED = {
    "raw_consent_events": (
        "cast(null as integer) as occurred_at, chr(9) as user_id",
        [
            "raw_consent_events.occurred_at: 1 rows in which it is required and empty",
            "raw_consent_events.user_id: 1 rows in which it is required and empty",
        ],
    ),
    "raw_audience_lists": (
        "cast(null as integer) as is_hashed, '1.5' as membership_days, 1 as list_kind",
        [
            "raw_audience_lists.is_hashed: 1 rows in which it is required and empty",
            "raw_audience_lists.membership_days: 1 rows in which it cannot be read as integer",
        ],
    ),
    "raw_suppressions": ("1 as channel", ["raw_suppressions.channel: 1 rows in which it is none of email"]),
    "raw_users": ("1 as user_id", []),
}


def test_rules_hold_in_every_type(fresh_project: Callable[[], Project], tmp_path: Path) -> None:
    """Nulls without a type, integers for text, a fraction and a tab: each rule is kept, none crashes."""
    shutil.copytree(SAMPLE, tmp_path / "files")
    with duckdb.connect() as connection:
        for table, (cells, _) in TYPED.items():
            connection.execute(
                f"copy (select * replace ({cells}) from read_csv('{SAMPLE}/{table}.csv', all_varchar = true) "
                f"limit 1) to '{tmp_path}/files/{table}.parquet'"
            )
    project = fresh_project()
    arguments = variables(input="files", input_path=str(tmp_path / "files"))
    refused = project.build(*arguments)
    assert not refused.success
    for _, messages in TYPED.values():
        for message in messages:
            assert message in refused.output
    for table, (_, messages) in TYPED.items():
        if messages:
            (tmp_path / "files" / f"{table}.parquet").unlink()
    accepted = project.dbt("seed", "--select", "audience_policy", *arguments)
    assert accepted.success, accepted.output


def test_types_are_named_without_their_values(fresh_project: Callable[[], Project], tmp_path: Path) -> None:
    """An ENUM's type lists its members, which may be contacts: the message does not."""
    project = fresh_project()
    project.warehouse.parent.mkdir()
    with duckdb.connect(str(project.warehouse)) as connection:
        connection.execute("create schema landing")
        for file in SAMPLE.glob("*.csv"):
            connection.execute(
                f"create table landing.{file.stem} as from read_csv('{file}', all_varchar = true)"
            )
        connection.execute(f"create type addresses as enum ('{CANARY}')")
        connection.execute("alter table landing.raw_contacts alter value type addresses using null")
        connection.execute(f"insert into landing.raw_contacts (contact_id, value) values ('x1', '{CANARY}')")
    run = project.build(*variables(input="tables", input_schema="landing"))
    assert not run.success
    assert "raw_contacts.value: has type ENUM, which is not read as varchar" in run.output
    logs = "\n".join(file.read_text() for file in (project.path / "logs").glob("*"))
    assert "canary.value" not in run.output and "canary.value" not in logs


def test_missing_canaries_are_said(built_from_files: Project) -> None:
    """Without planted accounts INV-9 watches nothing, and the run says so; with them it does not."""
    announcement = "no account canary-security... is planted"
    assert announcement not in built_from_files.build("--select", "audience_policy").output
    with duckdb.connect() as connection:
        path = built_from_files.path / "files" / "raw_users"
        connection.execute(
            f"copy (from read_csv('{path}.csv', all_varchar = true) where user_id not like 'canary-%') "
            f"to '{path}.parquet'"
        )
    arguments = variables(input="files", input_path="files")
    assert announcement in built_from_files.build("--select", "audience_policy", *arguments).output
    (built_from_files.path / "files" / "raw_users.parquet").unlink()


def test_seed_with_another_header(fresh_project: Callable[[], Project]) -> None:
    """Seeds load by position, so a policy seed with two columns exchanged is refused before it loads."""
    project = fresh_project()
    project.edit("seeds/policy/list_kinds.csv", "list_kind,data_use", "data_use,list_kind")
    run = project.build()
    assert not run.success
    assert "list_kinds" in run.output and "inputs refused" in run.output


def test_chosen_dual_purpose_policy_is_said(fresh_project: Callable[[], Project]) -> None:
    """`separate_collection` is printed at the run's start; the default is not."""
    project = fresh_project()
    announcement = "dual_purpose_policy is separate_collection"
    assert announcement not in project.build("--select", "audience_policy").output
    project.edit(
        "seeds/policy/audience_policy.csv",
        "dual_purpose_policy,exclude",
        "dual_purpose_policy,separate_collection",
    )
    assert announcement in project.build("--select", "audience_policy").output

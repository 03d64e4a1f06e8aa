"""The dry run of an upload: it reads what the platforms take, agrees with the build, and shows no value."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import check_list
import csv_checks
import duckdb
import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, Project, working_directory

Check = Callable[..., dict[str, Any]]
CANARY = "canary.lovelace@example.com"
NUMBER = "+1 201 555 0147"
HASH = hashlib.sha256(CANARY.encode()).hexdigest()
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="session")
def models() -> list[check_list.Relation]:
    """The models, compiled once: that takes dbt ten seconds."""
    return check_list.compile_models()


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[check_list.Relation]
) -> Callable[..., Result]:
    """Runs the command on a file of this content and name."""

    def run_command(content: str | bytes, *options: str, name: str = "list.csv") -> Result:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return CliRunner().invoke(check_list.main, [str(path), "--profile", "meta", *options])

    monkeypatch.setattr(check_list, "compile_models", lambda: models)
    return run_command


@pytest.fixture
def check(run: Callable[..., Result]) -> Check:
    """The report on a file as it is printed in JSON."""

    def check_content(content: str | bytes, *options: str, name: str = "list.csv") -> dict[str, Any]:
        answer = run(content, "--json", *options, name=name)
        assert answer.exit_code in (0, 1), answer.output
        report: dict[str, Any] = json.loads(answer.stdout)
        assert answer.exit_code == (0 if report["usable"] else 1)
        return report

    return check_content


# -- what the platforms take -------------------------------------------------------------------

ONE_OF_EACH = {"email": {"usable": 1}, "phone": {"usable": 1}}

READ = {
    "meta": ("email,phone,fn,ln,zip,ct,st,country,dob,doby,gen,age,uid,value\na@example.com,2015550123,"
             "A,B,1,C,D,us,,,,,,\n"),
    "meta-three-columns-of-a-kind": "email,email,email,phone,phone,phone\n,a@example.com,,,,+12015550123\n",
    "google": "Email,First Name,Last Name,Country,Zip,Email,Zip,Phone,Phone\n"
              "a@example.com,A,B,us,1,,,1-201-555-0123,\n",
    "google-in-capitals": "Email,Phone,Country\na@example.com,201-555-0123,US\n",
    "x-names-of-the-kinds": "Email address,phone_number\na@example.com,+12015550123\n",
    "byte-order-mark": "\ufeffemail,phone\na@example.com,+12015550123\n",
    "quotes-and-CRLF": '"email","phone"\r\n"a@example.com","+1 (201) 555-0123"\r\n',
    "no-line-end-at-the-end": "email,phone\na@example.com,+12015550123",
    "names-in-spaces-and-capitals": " EMAIL ,Phone\na@example.com,+12015550123\n",
    "our-own-table": "upload_id,row_number,channel,identifier,country_code\n"
                     "u,1,email,a@example.com,\nu,2,phone,201 555 0123,US\n",
}  # fmt: skip


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_reads_what_the_platforms_take(content: str, check: Check) -> None:
    """Each way to write the same two identifiers gives the same report."""
    assert check(content)["channels"] == ONE_OF_EACH


def test_reads_tabs_where_the_name_says_so(run: Callable[..., Result], check: Check) -> None:
    """X takes .tsv; a cell may hold a comma then, and in a .csv a tab is no delimiter."""
    content = 'email\tphone\tname\na@example.com\t+12015550123\t"Lovelace, ""Ada"""\n'
    report = check(content, name="list.tsv")
    assert (report["channels"], report["ignored_columns"]) == (ONE_OF_EACH, ["name"])
    assert run(content).exit_code == 2
    assert "a quote inside a cell" in run('email\tphone\na"b\t+12015550123\n', name="list.tsv").output


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_reads_one_column_without_a_header(name: str, check: Check) -> None:
    """X takes one column of one kind: its first line is an identifier like the others."""
    report = check("a@example.com\nb@example.com\n", "--channel", "email", name=name)
    assert (report["rows"], report["channels"]) == (2, {"email": {"usable": 2}})
    assert check("+12015550123\n", "--channel", "phone")["channels"] == {"phone": {"usable": 1}}


def test_reads_parquet(tmp_path: Path, check: Check) -> None:
    """Both layouts in Parquet, in any order of columns."""
    queries = {
        "select 'us' as country, 'A' as fn, '201 555 0123' as phone, 'a@example.com' as email": 1,
        "select unnest(['email', 'phone']) as channel, cast(1 as bigint) as row_number, 'US' as country_code,"
        " unnest(['a@example.com', '201 555 0123']) as identifier": 2,
    }
    for query, rows in queries.items():
        duckdb.sql(f"copy ({query}) to '{tmp_path}/made.parquet'")
        report = check((tmp_path / "made.parquet").read_bytes(), name="list.parquet")
        assert (report["rows"], report["channels"]) == (rows, ONE_OF_EACH)


def test_names_the_columns_that_it_ignores(check: Check) -> None:
    """By the name in the header, or by number where that is not plain words."""
    report = check("email,madid,First Name,;-),\na@example.com,,Ada,,\n")
    assert report["ignored_columns"] == ["madid", "First Name", "column 4", "column 5"]


def test_a_cell_without_anything_is_no_identifier(check: Check) -> None:
    """Half-filled rows are usual on the platforms; in our own table, a row is a row."""
    report = check("email,phone\na@example.com,\n,+12015550123\n,\n")
    assert (report["rows"], report["identifiers"], report["usable"]) == (3, 2, 2)
    own = check("upload_id,row_number,channel,identifier,country_code\nu,1,email,,\n")
    assert own["channels"] == {"email": {"invalid_email": 1}}


# -- reasons -----------------------------------------------------------------------------------

REASONS = {
    "hash_in_plain_list": f"email\n{HASH}\n",
    "plain_in_hashed_list": "email\na@example.com\n",
    "hash_format": f"email\n{HASH[:-1]}\n",
    "sentinel_hash": f"phone\n{EMPTY_HASH}\n",
    "invalid_email": "email\na@example\n",
    "phone_no_country": "phone,country\n201 555 0123,\n",
    "invalid_phone": "phone,country\n555 0123,us\n",
    "unknown_channel": "upload_id,row_number,channel,identifier,country_code\nu,1,fax,+12015550123,\n",
    "duplicate_in_list": "email,email\nA@example.com, a@example.com\n",
    "usable": "email\na@example.com\n",
}
HASHED = {"plain_in_hashed_list", "hash_format", "sentinel_hash"}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason(reason: str, check: Check) -> None:
    """An upload for each reason; the duplicate's first row is usable."""
    report = check(REASONS[reason], *(["--hashed"] if reason in HASHED else []))
    (found,) = report["channels"].values()
    assert found == ({reason: 1, "usable": 1} if reason == "duplicate_in_list" else {reason: 1})
    assert {*REASONS} == {*check_list.REASONS}


def test_the_profile_decides_what_is_a_duplicate(check: Check) -> None:
    """Google folds the dots of a Gmail address, Meta does not."""
    content = "email\nada.lovelace@gmail.com\nadalovelace@gmail.com\n"
    assert check(content)["usable"] == 2
    assert check(content, "--profile", "google")["usable"] == 1


def test_a_hash_may_be_hex_or_base64(check: Check) -> None:
    """In any case, and the same key whichever way it is written."""
    base64 = "KGXcDlLgDCjY+QYwkbgD1qnPrU4KH1QsWz9XXB6tTGg="
    hexadecimal = "2865dc0e52e00c28d8f9063091b803d6a9cfad4e0a1f542c5b3f575c1ead4c68"
    report = check(f"email\n{hexadecimal}\n{hexadecimal.upper()}\n{base64}\n", "--hashed")
    assert report["channels"] == {"email": {"duplicate_in_list": 2, "usable": 1}}


# one upload, or several that only add, and nothing that has ended since
ONLY_ADDED = """
    select lists.list_id, lists.normalization_profile, lists.is_hashed
    from sample.raw_audience_lists as lists
    inner join sample.raw_list_uploads as uploads on lists.list_id = uploads.list_id
    where not exists (
        select 1 from marts.list_reports as reports
        where reports.list_id = lists.list_id and reports.reason in ('membership_expired', 'superseded')
    )
    group by all
    having bool_and(uploads.operation = 'append') or count(*) = 1 and bool_and(uploads.operation = 'replace')
"""


def test_agrees_with_the_build(sample: Project, models: list[check_list.Relation], tmp_path: Path) -> None:
    """Every list of the sample that was only added to has the numbers of list_reports, reason by reason.

    What matched and what did not are usable. No row of the sample is under a channel that no list has.
    """
    seen: set[str] = set()
    lists = sample.query(ONLY_ADDED)
    for list_id, profile, is_hashed in lists:
        path = tmp_path / f"{list_id}.csv"
        with duckdb.connect(str(sample.warehouse), read_only=True) as connection:
            connection.execute(
                "copy (select entries.* from sample.raw_list_entries as entries"
                " inner join sample.raw_list_uploads as uploads on entries.upload_id = uploads.upload_id"
                f" where uploads.list_id = '{list_id}') to '{path}'"
            )
        with check_list.Progress(disable=True) as bar:
            report = check_list.check_list(path, str(profile), bool(is_hashed), None, models, bar)
        found: Counter[str] = Counter()
        for reasons in report["channels"].values():
            found.update(reasons)
        seen |= {*found}
        built = sample.query(f"select reason, entries from marts.list_reports where list_id = '{list_id}'")
        expected: Counter[str] = Counter()
        for reason, entries in built:
            expected["usable" if reason in ("matched", "not_matched") else str(reason)] += int(str(entries))
        assert found == expected, list_id
    assert len(lists) >= 10
    assert seen == {*check_list.REASONS} - {"unknown_channel"}


# -- refusals, without a value -----------------------------------------------------------------

WIDE = "email,phone,Lovelace note\n"
ROW = f"{CANARY},{NUMBER},Countess\n"

REFUSED = {
    "empty": (b"", "empty file"),
    "UTF-16": ((WIDE + ROW).encode("utf-16"), "UTF-16"),
    "Latin-1": ((WIDE + ROW + "é" + ROW).encode("latin-1"), "line 3, column email: bytes that are not UTF-8"),
    "Latin-1-first": (("é" + ROW).encode("latin-1"), "line 1: bytes that are not UTF-8"),
    "NUL": (WIDE + ROW + f"{CANARY},\0,\n", "line 3, column phone: a NUL byte"),
    "NUL-first": (f"\0{CANARY}\n", "line 1: a NUL byte"),
    "unterminated-quote": (
        WIDE + ROW + f'"{CANARY},\n' + ROW,
        "lines 3 to 4, column email: a quote that is not",
    ),
    "unterminated-quote-first": (f'"{CANARY}\n' + ROW, "line 1: a quote that is not closed"),
    "text-after-quote": (WIDE + f'"{CANARY}"x,,\n', "line 2, column email: text after a closing quote"),
    "short-row": (WIDE + ROW + f"{CANARY}\n", "line 3: a short row, 1 of 3 cells"),
    "long-row": (WIDE + f"{CANARY},,,{NUMBER}\n", "line 2: a long row, 4 cells instead of 3"),
    "blank-line": (WIDE + "\n" + ROW, "line 2: a blank line"),
    "comment": (WIDE + f"# {CANARY},,\n", "line 2: a comment line"),
    "mixed-line-ends": (WIDE + ROW[:-1] + "\r\n", "line 2: mixed line ends"),
    "semicolons": (WIDE.replace(",", ";") + ROW.replace(",", ";"), "no column is called email or phone"),
    "huge-cell": (WIDE + f"{CANARY * 10_000},,\n", "line 2, column email: a cell over 131,072 characters"),
    "huge-first-line": (CANARY * 100_000, "line 1: a cell over 131,072 characters"),
    "unknown-header": ("Lovelace,Countess\n" + ROW, "no column is called email or phone"),
    "no-header": (ROW, "column 1 reads as a value"),
    "header-with-a-number": (f"email,{NUMBER}\n,\n", "column 2 reads as a value"),
    "hash-for-a-header": (f"{HASH}\n{HASH}\n", "header"),
    "two-countries": ("phone,country,Country\n,,\n", "more than one column country"),
    "two-identifiers": ("channel,identifier,Identifier\n,,\n", "more than one column identifier"),
}


@pytest.mark.parametrize(("content", "rule"), REFUSED.values(), ids=REFUSED)
def test_refuses_without_a_value(content: str | bytes, rule: str, run: Callable[..., Result]) -> None:
    """Exit code 2, the rule and its place, and nothing of what the file holds."""
    answer = run(content)
    assert answer.exit_code == 2, answer.output
    assert rule in answer.stderr
    shows_nothing(answer)


def shows_nothing(answer: Result) -> None:
    """No part of a planted value is in the output, nor in the error that ended the command."""
    said = answer.output + repr(answer.exception)
    for part in ("canary", "lovelace@", "Countess", "555 0147", HASH[:12]):
        assert part not in said


def test_refuses_a_misused_channel(run: Callable[..., Result], tmp_path: Path) -> None:
    """Only one column without a header has no name for its kind."""
    assert "line 1: a header" in run(f"Email\n{CANARY}\n", "--channel", "email").stderr
    several = run(f"{CANARY},{NUMBER}\n", "--channel", "email")
    assert (several.exit_code, "more than one cell" in several.stderr) == (2, True)
    shows_nothing(several)
    later = run(f"{CANARY}\n{CANARY},{NUMBER}\n", "--channel", "email")
    assert (later.exit_code, "line 2: a long row" in later.stderr) == (2, True)
    shows_nothing(later)
    duckdb.sql(f"copy (select 'a' as email) to '{tmp_path}/list.parquet'")
    made = (tmp_path / "list.parquet").read_bytes()
    assert "Parquet has one" in run(made, "--channel", "email", name="list.parquet").stderr


def test_refuses_broken_parquet(run: Callable[..., Result], tmp_path: Path) -> None:
    """What is no Parquet, what is no text within, and what is of another type."""
    no_parquet = run(ROW, name="list.parquet")
    duckdb.sql(f"copy (select '{CANARY}' as email from range(9)) to '{tmp_path}/a.parquet'")
    whole = (tmp_path / "a.parquet").read_bytes()
    not_text = run(whole.replace(b"@example", b"@exam\xffle"), name="list.parquet")
    duckdb.sql(f"copy (select 12015550147 as phone, '{CANARY}' as email) to '{tmp_path}/b.parquet'")
    number = run((tmp_path / "b.parquet").read_bytes(), name="list.parquet")
    for answer in (no_parquet, not_text, number):
        assert answer.exit_code == 2
        shows_nothing(answer)
    assert "cannot be read as Parquet" in no_parquet.stderr
    assert "DuckDB gave up" in not_text.stderr
    assert "column phone: BIGINT, where text is expected" in number.stderr


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_refuses_what_is_no_file(name: str, run: Callable[..., Result], tmp_path: Path) -> None:
    """Nothing there, a folder, a link, a pattern of names."""
    run("email\na@example.com\n", name="other.csv")
    (tmp_path / "link").symlink_to(tmp_path / "other.csv")
    (tmp_path / f"folder{name}").mkdir()
    (tmp_path / f"link{name}").symlink_to(tmp_path / "other.csv")
    for path in (name, f"folder{name}", f"link{name}", f"*{name}"):
        answer = CliRunner().invoke(check_list.main, [str(tmp_path / path), "--profile", "x"])
        assert answer.exit_code == 2, path
        assert not isinstance(answer.exception, OSError | duckdb.Error)


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    """Between the look at the header and the reading of the lines, another file may take its place."""
    path = tmp_path / "list.csv"
    path.write_text(f"{CANARY}\n")
    with csv_checks.open_text(str(path)) as stream:
        faults = csv_checks.list_faults(stream, [NUMBER], ["email"], ",")
    assert faults == ["line 1: not what was read before: the file changed"]


def test_reports_show_no_value(run: Callable[..., Result]) -> None:
    """Whatever becomes of an identifier, only its number is shown."""
    content = WIDE + ROW + ROW + f"{CANARY}{NUMBER},{CANARY},Countess\n{HASH},{NUMBER}x,Countess\n"
    for options in ((), ("--hashed",), ("--json",), ("--hashed", "--json")):
        answer = run(content, *options)
        assert answer.exit_code == (1 if "--hashed" in options and HASH not in content else 0)
        assert "identifiers" in answer.output
        shows_nothing(answer)


def test_exit_code_when_nothing_is_usable(run: Callable[..., Result]) -> None:
    """A list of faults is 1, a list without rows too, and a wrong command is 2."""
    assert run("email\nnot given\n").exit_code == 1
    assert run("email\n").exit_code == 1
    assert run("email\n", "--profile", "no such").exit_code == 2
    assert "Exit code: 0" in run("", "--help").output


# -- what it leaves alone, and what it takes ---------------------------------------------------


def test_leaves_the_warehouse_alone(tmp_path: Path) -> None:
    """It runs while another process holds the warehouse, from another folder, and writes nothing anywhere."""
    held = tmp_path / "warehouse.duckdb"
    (tmp_path / "list.csv").write_text("email\na@example.com\n")
    with duckdb.connect(str(held)) as connection:
        connection.execute("create table held as select 1 as one; checkpoint")
        before = held.read_bytes()
        names = {*tmp_path.iterdir()}, {*ROOT.iterdir()}
        answer = subprocess.run(
            [sys.executable, ROOT / "scripts" / "check_list.py", "list.csv", "--profile", "x", "--json"],
            cwd=tmp_path,
            env={**os.environ, "CONSENTED_AUDIENCES_WAREHOUSE": str(held)},
            capture_output=True,
            text=True,
        )
        assert (answer.returncode, json.loads(answer.stdout)["usable"]) == (0, 1), answer.stderr
        assert held.read_bytes() == before
        assert ({*tmp_path.iterdir()}, {*ROOT.iterdir()}) == names


def test_reads_in_bounded_memory(
    check: Check, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line without end is not taken in whole, and what does not fit in DuckDB's memory goes to disk."""
    (tmp_path / "long.csv").write_text(f"{CANARY}," * 2_000_000)
    tracemalloc.start()
    with pytest.raises(csv_checks.UnreadableFile):
        csv_checks.first_record(str(tmp_path / "long.csv"), ",")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    content = "email\n" + "".join(f"user{number}@example.com\n" for number in range(500_000))
    monkeypatch.setattr(check_list, "MEMORY", "90MB")
    assert check(content)["usable"] == 500_000
    monkeypatch.setattr(check_list, "MEMORY", "10MB")
    answer = run(content)
    assert (answer.exit_code, "OutOfMemoryException" in answer.stderr) == (2, True)


# -- the README --------------------------------------------------------------------------------


def test_readme_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[check_list.Relation]
) -> None:
    """The worked example makes its file and prints what stands below it."""
    readme = (ROOT / "README.md").read_text()
    ((make, options, printed),) = re.findall(
        r"\n\$ (printf [^$]*?> build/customers\.csv)\n"
        r"\$ python scripts/check_list\.py (.*?)\n```\n\n```text\n(.*?)```",
        readme,
        re.S,
    )
    (tmp_path / "build").mkdir()
    subprocess.run(["bash", "-c", make], cwd=tmp_path, check=True)
    monkeypatch.setattr(check_list, "compile_models", lambda: models)
    with working_directory(tmp_path):
        answer = CliRunner().invoke(check_list.main, options.split())
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == printed

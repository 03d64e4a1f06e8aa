"""Dry run of an upload: what a build would make of the rows of a customer list.

FILE is a list as X, Meta and Google accept it: CSV in UTF-8 (with tabs if its name ends in .tsv), one column
per kind of identifier under its usual name: email and phone, each as often as you like, and country, for the
numbers beside it. Or it is one column without a header, whose kind --channel tells; or our own table
raw_list_entries, read as one upload. Parquet if its name ends in .parquet.

Every identifier is normalized, and every fault named, by the models that a build runs; the warehouse is
neither read nor written. A telephone number carries its country behind + or 00, or the country column has it;
it is never guessed. Whether anybody is matched is not looked at. Nothing shown holds a value of the file.

Exit code: 0 some identifier is usable, 1 none is, 2 the command or the file cannot be read.
"""

import io
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import csv_checks
import duckdb
from dbt.cli.main import dbtRunner
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
KEYS = "list_entry_keys"
ENTRIES = "raw_list_entries"
CHANNELS = ("email", "phone")

KINDS = {
    "email": "email",
    "email address": "email",
    "phone": "phone",
    "phone number": "phone",
    "country": "country",
    "country code": "country",
}
"""Header names, in any case and with an underscore for a space. Meta has email, phone and country; Google
Email, Phone and Country; X knows no names, but calls the kinds email address and phone number."""

ENTRY_COLUMNS = ("channel", "identifier", "country_code")
NAME = re.compile(r"[^\W\d][\w ()/.-]{0,62}")
VALUE = re.compile(r"@|(?:\d\D{0,2}){7}")  # an address, or as many digits as a telephone number has
MEMORY = "1200MB"  # DuckDB's; beyond it, it spills to a folder that is gone with the run

REASONS = (
    "hash_in_plain_list",
    "plain_in_hashed_list",
    "hash_format",
    "sentinel_hash",
    "invalid_email",
    "phone_no_country",
    "invalid_phone",
    "unknown_channel",
    "duplicate_in_list",
    "usable",
)
"""In DESIGN's order, as far as an upload alone can tell: what a build counts as matched or not_matched is
usable here, except for the rows of our own table under a channel that no list has."""

COUNTS = """
    select
        case when channel in ('email', 'phone') then channel else 'other' end as channel,
        entry_fault,
        count(*) as entries,
        count(match_key) as keyed_entries,
        -- half of a SHA-256 tells keys apart in a quarter of the memory
        count(distinct cast(left(match_key, 32) as uuid)) as keys
    from {keys}
    group by all
    order by all
"""


class Refused(click.ClickException):
    """What cannot be checked: the message names line, column and rule, and never a value."""

    exit_code = 2


@dataclass(frozen=True)
class Relation:
    """One relation of the warehouse: its name in the project, its name in SQL, and what creates it."""

    name: str
    relation_name: str
    creation: str


@dataclass(frozen=True)
class Layout:
    """What the columns of a file hold: per column its name and its kind, or None for what is ignored."""

    names: list[str]
    kinds: list[str | None]
    has_header: bool = True

    @property
    def is_entries_table(self) -> bool:
        """Whether the file is our own raw_list_entries, in which a row has one identifier."""
        return "identifier" in self.kinds

    def label(self, position: int) -> str:
        """What to call a column in a message: its name if it is one of ours, else its number."""
        return self.kinds[position] or str(position + 1)

    def ignored(self) -> list[str]:
        """The columns that are not read, by name where the header is a plain word."""
        return [
            name if NAME.fullmatch(name) else f"column {position + 1}"
            for position, (name, kind) in enumerate(zip(self.names, self.kinds, strict=True))
            if kind is None
        ]


# -- the models --------------------------------------------------------------------------------


def compile_models() -> list[Relation]:
    """Have dbt compile the models from the input to the keys of a list's entries, for a warehouse in memory.

    Returns:
        The relations in the order in which they can be created: policy seeds from their files, input tables
        without rows, models as views.

    Raises:
        Refused: the project does not compile.
    """
    with tempfile.TemporaryDirectory() as target:
        manifest = _compiled_manifest(Path(target))
    nodes = manifest["nodes"] | manifest["sources"]
    creations: dict[str, Relation] = {}

    def create(unique_id: str) -> None:
        node = nodes[unique_id]
        for parent in node["depends_on"]["nodes"] if node["resource_type"] == "model" else []:
            create(parent)
        creations.setdefault(unique_id, _relation(node))

    for unique_id, node in nodes.items():
        if node["resource_type"] == "model" and node["name"] == KEYS:
            create(unique_id)
    return list(creations.values())


def _compiled_manifest(target: Path) -> dict[str, Any]:
    """Run `dbt compile` for the keys and what they are made of; everything it writes goes to a folder."""
    here, warehouse = Path.cwd(), os.environ.get("CONSENTED_AUDIENCES_WAREHOUSE")
    os.environ["CONSENTED_AUDIENCES_WAREHOUSE"] = ":memory:"
    try:
        with redirect_stdout(io.StringIO()):
            answer = dbtRunner().invoke(
                [
                    *("--quiet", "--log-level-file", "none", "--log-path", str(target)),
                    *("compile", "--select", f"+{KEYS}", "--indirect-selection", "empty"),
                    *("--no-introspect", "--no-populate-cache", "--vars", '{"input": "tables"}'),
                    *("--target", "dev", "--target-path", str(target)),
                    *("--project-dir", str(ROOT), "--profiles-dir", str(ROOT)),
                ]
            )
    finally:
        os.chdir(here)  # dbt goes to the project
        if warehouse is None:
            del os.environ["CONSENTED_AUDIENCES_WAREHOUSE"]
        else:
            os.environ["CONSENTED_AUDIENCES_WAREHOUSE"] = warehouse
    if not answer.success:
        raise Refused("the project does not compile; `dbt compile` says why")
    manifest: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return manifest


def _relation(node: dict[str, Any]) -> Relation:
    """Write the statements that create one relation."""
    name = node["relation_name"]
    if node["resource_type"] == "seed":
        path = ROOT / node["original_file_path"]
        body = f"table {name} as from {_read_csv(path, node['config']['column_types'], ',', True)}"
    elif node["resource_type"] == "source":
        columns = [f"{column['name']} {column['data_type']}" for column in node["columns"].values()]
        body = f"table {name} ({', '.join(columns)})"
    else:
        body = f"view {name} as {node['compiled_code']}"
    return Relation(node["name"], name, f"create schema if not exists {node['schema']}; create {body}")


def _read_csv(path: Path, types: dict[str, str], delimiter: str, has_header: bool) -> str:
    """Read a CSV file in DuckDB without its sniffer, as macros/checks/check_inputs.sql does."""
    columns = ", ".join(f"'{name}': '{data_type}'" for name, data_type in types.items())
    quoted = str(path).replace("'", "''")
    return (
        f"read_csv('{quoted}', columns = {{{columns}}}, header = {has_header}, auto_detect = false,"
        f" delim = '{delimiter}', quote = '\"', escape = '\"', nullstr = '', strict_mode = true)"
    )


# -- the file ----------------------------------------------------------------------------------


def layout_of(names: list[str]) -> Layout:
    """Find the identifiers of a file by its header.

    Raises:
        Refused: a name reads as a value, no column holds identifiers, or one is there twice that may be
            there once.
    """
    for position, name in enumerate(names):
        if VALUE.search(name):
            raise Refused(
                f"header: column {position + 1} reads as a value and not as a name;"
                " for one column without a header, say --channel"
            )
    plain = [name.strip(csv_checks.PADDING).casefold() for name in names]
    if {"channel", "identifier"} <= {*plain}:
        kinds = [name if name in ENTRY_COLUMNS else None for name in plain]
        once = ENTRY_COLUMNS
    else:
        kinds = [KINDS.get(name.replace("_", " ")) for name in plain]
        once = ("country",)
        if not {*kinds} & {*CHANNELS}:
            raise Refused(
                "header: no column is called email or phone, nor are there channel and identifier;"
                " for one column without a header, say --channel"
            )
    for kind in once:
        if kinds.count(kind) > 1:
            raise Refused(f"header: more than one column {kind}")
    return Layout(names, kinds)


def headerless_layout(first: list[str], channel: str) -> Layout:
    """Take a file for one column of identifiers that begins with its first line.

    Raises:
        Refused: there are more columns, or the first line is a header after all.
    """
    if len(first) > 1:
        raise Refused("line 1: more than one cell, which needs a header; --channel is for one without")
    if first[0].strip(csv_checks.PADDING).casefold().replace("_", " ") in KINDS:
        raise Refused("line 1: a header; --channel is for a file without one")
    return Layout([channel], [channel], has_header=False)


def load_csv(connection: duckdb.DuckDBPyConnection, path: Path, channel: str | None, bar: Progress) -> Layout:
    """Check every byte of a CSV file, then read its identifiers into the table `cells`.

    Raises:
        Refused: the file is no plain CSV, or no list.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        first = csv_checks.first_record(str(path), delimiter)
        layout = headerless_layout(first, channel) if channel else layout_of(first)
        labels = [layout.label(position) for position in range(len(first))]
        with csv_checks.open_text(str(path)) as stream:
            size = max(path.stat().st_size, 1)
            faults = watch(
                bar,
                "reading every line",
                lambda: csv_checks.list_faults(stream, first, labels, delimiter),
                lambda: 100 * stream.tell() / size,
            )
    except csv_checks.UnreadableFile as error:
        raise Refused(str(error)) from None
    if faults:
        raise Refused("\n  ".join(faults))
    types = {str(position): "varchar" for position in range(len(first))}
    _load(connection, layout, _read_csv(path, types, delimiter, layout.has_header), bar)
    return layout


def load_parquet(
    connection: duckdb.DuckDBPyConnection, path: Path, channel: str | None, bar: Progress
) -> Layout:
    """Read the identifiers of a Parquet file into the table `cells`.

    Raises:
        Refused: the file is no Parquet, or no list.
    """
    if channel:
        raise Refused("--channel is for a file without a header, and Parquet has one")
    if unsafe := csv_checks.path_fault(str(path)):
        raise Refused(unsafe)
    if not path.is_file() or path.is_symlink():
        raise Refused("missing file, or not a regular one")
    reader = f"read_parquet('{path}')"
    try:
        columns = connection.execute(f"describe from {reader}").fetchall()
    except duckdb.Error as error:
        raise Refused(f"the file cannot be read as Parquet ({type(error).__name__})") from None
    layout = layout_of([str(name) for name, *_ in columns])
    for position, (_, data_type, *_) in enumerate(columns):
        if layout.kinds[position] and data_type != "VARCHAR":
            raise Refused(f"column {layout.label(position)}: {data_type}, where text is expected")
    renamed = ", ".join(f'"{position}"' for position in range(len(columns)))
    _load(connection, layout, f"{reader} as columns ({renamed})", bar)
    return layout


def _load(connection: duckdb.DuckDBPyConnection, layout: Layout, reader: str, bar: Progress) -> None:
    """Keep of a file what its layout reads, under the numbers of the columns."""
    columns = ", ".join(f'"{position}"' for position, kind in enumerate(layout.kinds) if kind)
    run(connection, bar, "loading", f"create table cells as select {columns} from {reader}")


def entries_of(layout: Layout) -> str:
    """Select the file's identifiers as rows of raw_list_entries.

    A cell without anything is no identifier, but a row of our own table without one is a row that a build
    reports. Our country codes are those of ISO 3166-1; the platforms take them in small letters, too.
    """
    columns = {kind: f'"{position}"' for position, kind in enumerate(layout.kinds)}
    entry = "select 'upload' as upload_id, cast(0 as bigint) as row_number,"
    if layout.is_entries_table:
        country = columns.get("country_code", "cast(null as varchar)")
        return (
            f"{entry} {columns['channel']} as channel, {columns['identifier']} as identifier,"
            f" {country} as country_code from cells"
        )
    country = f"upper(trim({columns['country']}))" if "country" in columns else "cast(null as varchar)"
    return " union all ".join(
        f"""{entry} '{kind}' as channel, "{position}" as identifier, {country} as country_code
        from cells where "{position}" <> ''"""
        for position, kind in enumerate(layout.kinds)
        if kind in CHANNELS
    )


# -- the report --------------------------------------------------------------------------------


@contextmanager
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse in memory, which leaves nothing behind."""
    with tempfile.TemporaryDirectory() as spill:
        settings = {
            "memory_limit": MEMORY,
            "threads": 2,
            "temp_directory": spill,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("set timezone = 'UTC'")
            yield connection


def check_list(
    path: Path, profile: str, is_hashed: bool, channel: str | None, models: list[Relation], bar: Progress
) -> dict[str, Any]:
    """Count what a build would make of one upload of this file, as the first of a new list.

    Args:
        path: the file.
        profile: a normalization profile.
        is_hashed: whether the list is declared to hold hashes.
        channel: what a file without a header holds; None for a file with one.
        models: from `compile_models`.
        bar: where to show how far the work is.

    Returns:
        The report as it is written in JSON.

    Raises:
        Refused: the file cannot be read as a list.
    """
    inputs = {
        "raw_audience_lists": (
            "select 'list' as list_id, 'tailored' as list_kind, ? as normalization_profile, ? as is_hashed",
            [profile, is_hashed],
        ),
        "raw_list_uploads": (
            "select 'upload' as upload_id, 'list' as list_id, 'append' as operation,"
            " timestamptz 'epoch' as uploaded_at",
            [],
        ),
    }
    with warehouse() as connection:
        if path.suffix.lower() == ".parquet":
            layout = load_parquet(connection, path, channel, bar)
        else:
            layout = load_csv(connection, path, channel, bar)
        ((rows,),) = run(connection, bar, "counting rows", "select count(*) from cells")
        for model in models:
            if model.name == ENTRIES:
                schema = model.creation.split(";")[0]
                connection.execute(f"{schema}; create view {model.relation_name} as {entries_of(layout)}")
            else:
                connection.execute(model.creation)
            if model.name in inputs:
                query, values = inputs[model.name]
                connection.execute(f"insert into {model.relation_name} by name {query}", values)
        (keys,) = [model.relation_name for model in models if model.name == KEYS]
        counts = run(connection, bar, "normalizing and counting", COUNTS.format(keys=keys))
    channels: dict[str, dict[str, int]] = {}
    for name, fault, entries, keyed_entries, distinct_keys in counts:
        found = channels.setdefault(name, {})
        if fault:
            found[fault] = entries
        else:
            found["unknown_channel"] = entries - keyed_entries
            found["duplicate_in_list"] = keyed_entries - distinct_keys
            found["usable"] = distinct_keys
    identifiers = sum(sum(found.values()) for found in channels.values())
    usable = sum(found.get("usable", 0) for found in channels.values())
    return {
        "profile": profile,
        "is_hashed": is_hashed,
        "rows": rows,
        "identifiers": identifiers,
        "usable": usable,
        "usable_percent": round(100 * usable / identifiers, 2) if identifiers else 0.0,
        "channels": {
            name: {reason: found[reason] for reason in sorted(found, key=REASONS.index) if found[reason]}
            for name, found in channels.items()
        },
        "ignored_columns": layout.ignored() if rows else [],
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """Show a report to people: a row per reason, a column per channel."""
    channels = report["channels"]
    found = {reason for reasons in channels.values() for reason in reasons}
    table = Table(header_style="bold")
    table.add_column("reason")
    for name in (*channels, "all", "share"):
        table.add_column(name, justify="right")
    for reason in (reason for reason in REASONS if reason in found):
        numbers = [reasons.get(reason, 0) for reasons in channels.values()]
        share = 100 * sum(numbers) / report["identifiers"]
        cells = [f"{number:,}" for number in (*numbers, sum(numbers))]
        table.add_row(reason, *cells, f"{share:.1f} %", style="bold green" if reason == "usable" else None)
    console.print(table)
    if report["ignored_columns"]:
        console.print("ignored columns: " + ", ".join(report["ignored_columns"]), markup=False)
    console.print(
        f"{report['rows']:,} rows, {report['identifiers']:,} identifiers,"
        f" {report['usable']:,} usable and different: {report['usable_percent']:.1f} %",
        style="bold green" if report["usable"] else "bold red",
    )


def watch(bar: Progress, label: str, work: Callable[[], Any], percent: Callable[[], float]) -> Any:
    """Do some work in a thread of its own and show how far it is."""
    task = bar.add_task(label, total=100)
    results: list[Any] = []
    failures: list[BaseException] = []

    def worker() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=worker)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        bar.update(task, completed=max(percent(), 0))
    if failures:
        raise failures[0]
    bar.update(task, completed=100)
    return results[0]


def run(connection: duckdb.DuckDBPyConnection, bar: Progress, label: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement under a progress bar.

    Raises:
        Refused: it fails. The text of DuckDB's error may quote a cell and is not repeated.
    """
    try:
        rows: list[tuple[Any, ...]] = watch(
            bar, label, lambda: connection.execute(sql).fetchall(), connection.query_progress
        )
    except duckdb.Error as error:
        raise Refused(f"{label}: DuckDB gave up ({type(error).__name__})") from None
    return rows


def profiles() -> list[str]:
    """The normalization profiles of the policy seed."""
    lines = (ROOT / "seeds" / "policy" / "normalization_profiles.csv").read_text().splitlines()[1:]
    return list(dict.fromkeys(line.split(",")[0] for line in lines))


@click.command(help=__doc__)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Choice(profiles()), required=True, help="How the list is normalized.")
@click.option("--hashed", "is_hashed", is_flag=True, help="The list is declared to hold SHA-256 hashes.")
@click.option(
    "--channel", type=click.Choice(CHANNELS), help="What a file of one column without a header holds."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def main(file: Path, profile: str, is_hashed: bool, channel: str | None, as_json: bool) -> None:
    """Check the file, print the report, exit 1 when nothing is usable."""
    path = file.absolute()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        reading = bar.add_task("reading the project's models", total=None)
        models = compile_models()
        bar.remove_task(reading)
        report = check_list(path, profile, is_hashed, channel, models, bar)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        print_report(report, Console(width=None if os.isatty(1) else 110))
    if not report["usable"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

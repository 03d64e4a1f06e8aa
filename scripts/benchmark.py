"""Time the gated build against the ungated join that broke the promise, on the same files, side by side.

For each size a folder of inputs (scripts/generate.py, made when it is missing), and per round, in turn:

ungated  the shortest honest SQL: every contact and every entry normalized, hashed and joined, in DuckDB
build    dbt build without unit tests: inputs to published and delivery, every guard on
run      dbt run of all that is neither published nor derived a second time: the same models, no guard

Each is a process of its own; seconds are those of the work, without Python's and dbt's start, which are
stated apart. Peak memory is the process's largest resident set. ratio = run / ungated, and
guards = build - run; medians over the rounds.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import duckdb
from generate import AS_OF
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]

# What a team writes who joins lists to every identifier on an account
UNGATED = """
    create table audience as
    with contacts as (
        select user_id, channel,
            case when channel = 'email' then lower(trim(value))
                else '+' || ltrim(regexp_replace(value, '[^0-9]', '', 'g'), '0') end as normalized
        from '{data}/raw_contacts.parquet'
    ),
    entries as (
        select lists.list_id, lists.is_hashed, entries.channel, entries.identifier,
            case when entries.channel = 'email' then lower(trim(entries.identifier))
                else '+' || ltrim(regexp_replace(entries.identifier, '[^0-9]', '', 'g'), '0') end
                as normalized
        from '{data}/raw_list_entries.parquet' as entries
        inner join '{data}/raw_list_uploads.parquet' as uploads on entries.upload_id = uploads.upload_id
        inner join '{data}/raw_audience_lists.parquet' as lists on uploads.list_id = lists.list_id
        where uploads.operation <> 'remove'
    ),
    keys as (select user_id, channel, sha256(normalized) as match_key from contacts),
    entry_keys as (
        select list_id, channel,
            case when is_hashed then lower(identifier) else sha256(normalized) end as match_key
        from entries
    )
    select distinct entry_keys.list_id, keys.user_id
    from entry_keys
    inner join keys on entry_keys.channel = keys.channel and entry_keys.match_key = keys.match_key
"""


@dataclass
class Measured:
    """Seconds of work, seconds of the whole process, and the process's peak resident set in GB."""

    seconds: float
    process_seconds: float
    peak_gb: float


def measure(
    command: list[str], environment: dict[str, str], seconds_of_work: Callable[[], float]
) -> Measured:
    """Run one process to its end; raises CalledProcessError when it fails."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(seconds_of_work(), time.monotonic() - started, usage.ru_maxrss / 2**20)


def measure_ungated(data: Path, scratch: Path) -> Measured:
    """The ungated join into a table of a fresh file."""
    answer, file = scratch / "seconds", scratch / "ungated.duckdb"
    file.unlink(missing_ok=True)
    arguments = [str(data), str(file), str(answer)]
    return measure([sys.executable, __file__, "ungated", *arguments], {}, lambda: float(answer.read_text()))


def measure_dbt(arguments: list[str], data: Path, scratch: Path) -> Measured:
    """One dbt command on these inputs, in a warehouse of its own."""
    variables = {"input": "files", "input_path": str(data), "as_of": AS_OF}
    target = scratch / "target"
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", *arguments]
    return measure(
        [*command, "--vars", json.dumps(variables), "--target-path", str(target)],
        {"CONSENTED_AUDIENCES_WAREHOUSE": str(scratch / "warehouse.duckdb")},
        lambda: json.loads((target / "run_results.json").read_text())["elapsed_time"],
    )


def slope(sizes: list[int], seconds: list[float]) -> float | None:
    """Slope of log seconds against log size, by least squares; none for a single size."""
    if len(sizes) < 2:
        return None
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(s) for s in seconds]).slope


def one_size(users: int, folder: Path, rounds: int, console: Console) -> dict[str, float]:
    """Medians over the rounds for one number of users."""
    data = folder / f"users-{users}"
    if not (data / "ground_truth.parquet").exists():
        sizes = ["--users", str(users), "--entries", str(users), "--lists", str(max(users // 10_000, 20))]
        subprocess.run([sys.executable, ROOT / "scripts/generate.py", *sizes, "--out", data], check=True)
    taken: dict[str, list[Measured]] = {"ungated": [], "build": [], "run": []}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for turn in range(rounds):
            taken["ungated"].append(measure_ungated(data, Path(scratch)))
            (Path(scratch) / "warehouse.duckdb").unlink(missing_ok=True)
            build = ["build", "--exclude-resource-type", "unit_test"]
            taken["build"].append(measure_dbt(build, data, Path(scratch)))
            run = ["run", "--exclude", "path:models/published", "path:models/audit"]
            taken["run"].append(measure_dbt(run, data, Path(scratch)))
            seconds = ", ".join(f"{name} {runs[-1].seconds:.1f} s" for name, runs in taken.items())
            console.print(f"{users:,} users, round {turn + 1} of {rounds}: {seconds}")

    def median(name: str, figure: str) -> float:
        return statistics.median(getattr(run, figure) for run in taken[name])

    ungated, ours = median("ungated", "seconds"), median("run", "seconds")
    return {
        "users": users,
        "ungated_seconds": ungated,
        "ours_seconds": ours,
        "ours_seconds_lowest": min(run.seconds for run in taken["run"]),
        "ours_seconds_highest": max(run.seconds for run in taken["run"]),
        "guards_seconds": median("build", "seconds") - ours,
        "dbt_start_seconds": median("run", "process_seconds") - ours,
        "ratio": ours / ungated,
        "peak_gb": max(median("build", "peak_gb"), median("run", "peak_gb")),
        "ungated_peak_gb": median("ungated", "peak_gb"),
    }


def markdown(results: list[dict[str, float]], steepness: float | None) -> str:
    """The table that the README shows."""
    lines = [
        "| users | ungated join | ours | ratio | guards | dbt's start | peak memory, ours | ungated |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results:
        lines.append(
            f"| {row['users']:,} | {row['ungated_seconds']:.1f} s | {row['ours_seconds']:.1f} s "
            f"| {row['ratio']:.1f} | {row['guards_seconds']:.1f} s | {row['dbt_start_seconds']:.1f} s "
            f"| {row['peak_gb']:.1f} GB | {row['ungated_peak_gb']:.1f} GB |"
        )
    machine = f"{os.cpu_count()} cores, {platform.machine()}, DuckDB {duckdb.__version__}"
    lines += ["", f"Made by `scripts/benchmark.py` on {machine}; as many uploaded rows as users."]
    if steepness is not None:
        lines.append(f"Slope of log time against log size, ours: {steepness:.2f}.")
    return "\n".join(lines) + "\n"


@click.group(help=__doc__.split("\n\n")[0])
def main() -> None:
    """Two commands: compare, and the ungated join that it times in a process of its own."""


@main.command()
@click.option(
    "--users",
    "sizes",
    type=click.IntRange(1000),
    multiple=True,
    default=[1_000_000, 5_000_000],
    show_default=True,
    help="Number of users; give it once per size.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "build/benchmark",
    help="Where inputs are kept between runs.  [default: build/benchmark]",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures."
)
@click.option("--table", type=click.Path(path_type=Path, dir_okay=False), help="Write the table in Markdown.")
def compare(
    sizes: tuple[int, ...], rounds: int, folder: Path, json_file: Path | None, table: Path | None
) -> None:
    """Measure every size, print the table, and write what is asked for."""
    console = Console(stderr=True)
    folder.mkdir(parents=True, exist_ok=True)
    results = [one_size(users, folder, rounds, console) for users in sorted(set(sizes))]
    steepness = slope([int(row["users"]) for row in results], [row["ours_seconds"] for row in results])
    shown = Table("users", "ungated", "ours", "ratio", "guards", "peak", title="medians, seconds and GB")
    for row in results:
        figures = (
            row["ungated_seconds"],
            row["ours_seconds"],
            row["ratio"],
            row["guards_seconds"],
            row["peak_gb"],
        )
        shown.add_row(f"{row['users']:,}", *(f"{figure:.1f}" for figure in figures))
    Console().print(shown)
    if json_file:
        json_file.write_text(
            json.dumps({"rounds": rounds, "slope": steepness, "sizes": results}, indent=1) + "\n"
        )
    if table:
        table.write_text(markdown(results, steepness))


@main.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("answer", type=click.Path(path_type=Path))
def ungated(data: Path, file: Path, answer: Path) -> None:
    """Join the contacts in DATA to its lists in a new DuckDB FILE; write the seconds to ANSWER."""
    with duckdb.connect(str(file), config={"threads": 2}) as connection:
        started = time.monotonic()
        connection.execute(UNGATED.format(data=data))
        answer.write_text(str(time.monotonic() - started))


if __name__ == "__main__":
    main()

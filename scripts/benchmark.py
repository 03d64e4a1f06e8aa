"""Time the gated build beside the ungated join that broke the promise, and beside peers, on the same files.

For each size a folder of inputs (scripts/generate.py, made when it is missing), and per round, in turn:

ungated  the shortest honest SQL: every contact and every entry normalized, hashed and joined, in DuckDB
build    dbt build without unit tests: inputs to published and delivery, every guard on
run      dbt run of all that is neither published nor derived a second time: the same models, no guard
peers    what a user might take instead (scripts/benchmark_peers.py); their members must be ours exactly

Each is a process of its own; seconds are those of the work, without Python's and dbt's start, which are
stated apart. Peak memory is the process's largest resident set. ratio = run / ungated, and
guards = build - run; medians over the rounds. Our models in another engine run in the first round alone.
"""

import importlib.util
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
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import click
import debian
import duckdb
from generate import AS_OF
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
BUILD = ["build", "--exclude-resource-type", "unit_test"]
UNPUBLISHED = ["--exclude", "path:models/published", "path:models/audit"]
RUN = ["run", *UNPUBLISHED]
# the same in a warehouse without seeds
MODELS = [
    "build", "--select", "path:seeds/policy", "path:models", *UNPUBLISHED,
    "--exclude-resource-type", "test", "unit_test",
]  # fmt: skip
SECONDS_BETWEEN_SAMPLES = 0.02
DEAREST = 8  # nodes that the table names of ours, and of the guards


@dataclass(frozen=True)
class Peer:
    """How the table and the plot call a peer, what it needs, and whose rows it must give."""

    title: str
    module: str
    equals: str
    packages: dict[str, str] = field(default_factory=dict)  # Debian's

    @property
    def is_engine(self) -> bool:
        """Whether it is another engine under our own models, and no process of the benchmark's own."""
        return bool(self.packages)


PEERS = {
    "polars": Peer("the same rules in Polars", "polars_hash", "ours"),
    "splink": Peer("the ungated join by Splink", "splink", "ungated"),
    "postgres": Peer("our models in PostgreSQL", "dbt.adapters.postgres", "ours", debian.POSTGRES),
    "spark": Peer("our models in Spark", "dbt.adapters.spark", "ours", debian.SPARK),
}


@dataclass
class Measured:
    """Seconds of work, seconds of the whole process, and the process's peak resident set in GB.

    Of a dbt command also each node's seconds, and the largest resident set seen while it ran.
    """

    seconds: float
    process_seconds: float
    peak_gb: float
    node_seconds: dict[str, float] = field(default_factory=dict)
    node_peak_gb: dict[str, float] = field(default_factory=dict)


def resident_gb(pid: int) -> float:
    """Resident set of a process in GB; none of one that has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def measure(
    command: list[str], environment: dict[str, str], seconds_of_work: Callable[[], float]
) -> tuple[Measured, list[tuple[float, float]]]:
    """Run one process to its end; also (moment, resident GB) as it went, moments in seconds of the epoch.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    samples, started = [], time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    pid, status, usage = 0, 0, None
    while not pid:
        samples.append((time.time(), resident_gb(process.pid)))
        time.sleep(SECONDS_BETWEEN_SAMPLES)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    taken = Measured(seconds_of_work(), time.monotonic() - started, usage.ru_maxrss / 2**20)
    return taken, samples


def measure_peer(name: str, data: Path, scratch: Path) -> Measured:
    """The ungated join or a peer; its rows stay in a folder of its name."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        out, answer = Path(folder) / "out", Path(folder) / "seconds"
        command = [sys.executable, str(ROOT / "scripts/benchmark_peers.py"), name]
        taken, _ = measure(
            [*command, str(data), str(out), str(answer)], {}, lambda: float(answer.read_text())
        )
        (out / "members.parquet").replace(scratch / f"{name}.parquet")
    return taken


def measure_dbt(arguments: list[str], data: Path, scratch: Path) -> Measured:
    """One dbt command on these inputs, in a warehouse of its own."""
    variables = {"input": "files", "input_path": str(data), "as_of": AS_OF}
    target = scratch / "target"
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", *arguments]

    def results() -> dict[str, Any]:
        return json.loads((target / "run_results.json").read_text())

    taken, samples = measure(
        [*command, "--vars", json.dumps(variables), "--target-path", str(target)],
        {"CONSENTED_AUDIENCES_WAREHOUSE": str(scratch / "warehouse.duckdb")},
        lambda: results()["elapsed_time"],
    )
    for node in results()["results"]:
        name = node["unique_id"].split(".")[2]
        taken.node_seconds[name] = node["execution_time"]
        moments = [
            datetime.fromisoformat(step[edge]).timestamp()
            for step in node["timing"]
            if step["name"] == "execute"
            for edge in ("started_at", "completed_at")
        ]
        if moments:
            started, ended = moments[0] - SECONDS_BETWEEN_SAMPLES, moments[-1] + SECONDS_BETWEEN_SAMPLES
            taken.node_peak_gb[name] = max(
                (held for moment, held in samples if started <= moment <= ended), default=0.0
            )
    return taken


def keep_members(warehouse: Path, file: Path) -> None:
    """Write the members that our models found, as the peers do."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute(f"""
            copy (
                select list_id, advertiser_id, user_id from marts.tailored_audience_members
                union all
                select list_id, advertiser_id, user_id from marts.partner_audience_members
            ) to '{file}'
        """)


def check_same_members(name: str, file: Path, expected: Path) -> None:
    """Compare a peer's rows with those that it must give.

    Raises:
        click.ClickException: they differ, or there are none to compare.
    """
    counts = duckdb.sql(f"select (select count(*) from '{file}'), (select count(*) from '{expected}')")
    differing = duckdb.sql(f"""
        select count(*) from (
            (select * from '{file}' except all select * from '{expected}')
            union all
            (select * from '{expected}' except all select * from '{file}')
        )
    """)
    ((found, wanted),), ((wrong,),) = counts.fetchall(), differing.fetchall()
    if wrong or not wanted:
        raise click.ClickException(
            f"{name} found {found:,} members, {expected.stem} {wanted:,}: {wrong:,} rows stand in one alone"
        )


def slope(sizes: list[int], seconds: list[float]) -> float | None:
    """Slope of log seconds against log size, by least squares; none for a single size."""
    if len(sizes) < 2:
        return None
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(s) for s in seconds]).slope


def spread(seconds: list[float], name: str) -> dict[str, float]:
    """Median, lowest and highest of the rounds, under names that begin with this one."""
    return {
        name: statistics.median(seconds),
        f"{name}_lowest": min(seconds),
        f"{name}_highest": max(seconds),
    }


def dearest(runs: list[Measured], names: set[str]) -> list[dict[str, Any]]:
    """Those of the named nodes that took longest: medians of seconds and of peak memory over the runs."""
    rows = [
        {
            "name": name,
            "seconds": statistics.median(run.node_seconds[name] for run in runs),
            "peak_gb": statistics.median(run.node_peak_gb.get(name, 0.0) for run in runs),
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: -row["seconds"])[:DEAREST]


def inputs_of(users: int, folder: Path) -> Path:
    """The folder of inputs of so many users, an uploaded row each; made unless it is there."""
    data = (folder / f"users-{users}").resolve()
    if not (data / "ground_truth.parquet").exists():
        sizes = ["--users", str(users), "--entries", str(users), "--lists", str(max(users // 10_000, 20))]
        subprocess.run([sys.executable, ROOT / "scripts/generate.py", *sizes, "--out", data], check=True)
    return data


def one_size(
    users: int, folder: Path, rounds: int, peers: list[str], engine_users: int, console: Console
) -> dict[str, Any]:
    """Medians over the rounds for one number of users."""
    data = inputs_of(users, folder)
    peers = [name for name in peers if not PEERS[name].is_engine or users <= engine_users]
    taken: dict[str, list[Measured]] = {name: [] for name in ("ungated", "build", "run", *peers)}
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as directory:
        scratch = Path(directory)
        for turn in range(rounds):
            for name in taken:
                if turn and name in PEERS and PEERS[name].is_engine:
                    continue
                console.print(f"{users:,} users, round {turn + 1} of {rounds}: {name} ...", end=" ")
                if name == "build":
                    (scratch / "warehouse.duckdb").unlink(missing_ok=True)
                    taken[name].append(measure_dbt(BUILD, data, scratch))
                elif name == "run":
                    taken[name].append(measure_dbt(RUN, data, scratch))
                    keep_members(scratch / "warehouse.duckdb", scratch / "ours.parquet")
                else:
                    taken[name].append(measure_peer(name, data, scratch))
                if name in PEERS:
                    rows = scratch / f"{name}.parquet", scratch / f"{PEERS[name].equals}.parquet"
                    check_same_members(name, *rows)
                console.print(f"{taken[name][-1].seconds:.1f} s")
    return figures(users, taken)


def figures(users: int, taken: dict[str, list[Measured]]) -> dict[str, Any]:
    """What one size comes to."""

    def each(name: str) -> list[float]:
        return [run.seconds for run in taken[name]]

    def peak(name: str) -> float:
        return statistics.median(run.peak_gb for run in taken[name])

    guards = [build - run for build, run in zip(each("build"), each("run"), strict=True)]
    row = {
        "users": users,
        "rounds": len(taken["run"]),
        "measured_on": date.today().isoformat(),
        **spread(each("ungated"), "ungated_seconds"),
        **spread(each("run"), "ours_seconds"),
        **spread(guards, "guards_seconds"),
        "dbt_start_seconds": statistics.median(run.process_seconds - run.seconds for run in taken["run"]),
        "ratio": statistics.median(each("run")) / statistics.median(each("ungated")),
        "peak_gb": max(peak("build"), peak("run")),
        "ungated_peak_gb": peak("ungated"),
        "peers": {},
    }
    for name in PEERS.keys() & taken.keys():
        # the memory of an engine is not that of the process that asks it
        held = {} if PEERS[name].is_engine else {"peak_gb": peak(name)}
        row["peers"][name] = {
            "users": users,
            "rounds": len(taken[name]),
            **spread(each(name), "seconds"),
            **held,
        }
    ours = set(taken["run"][0].node_seconds)
    row["dearest_of_ours"] = dearest(taken["run"], ours)
    row["dearest_of_guards"] = dearest(taken["build"], set(taken["build"][0].node_seconds) - ours)
    return row


def measured_before(file: Path | None, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """The other sizes that a report holds, by the same versions on as large a machine; else none.

    Whether the models are still those is not known: their day stands in the table.
    """
    if not file or not file.exists():
        return []
    report = json.loads(file.read_text())
    if report["machine"] != machine():
        return []
    return [row for row in report["sizes"] if row["users"] not in sizes]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The report: at the top the largest size, and each peer at the largest at which it was measured."""
    return {
        **rows[-1],
        "peers": {name: row["peers"][name] for row in rows for name in row["peers"]},
        "sizes": rows,
        "slope": slope([row["users"] for row in rows], [row["ours_seconds"] for row in rows]),
        "machine": machine(),
    }


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    installed = {package.metadata["Name"]: package.version for package in distributions()}
    named = ("duckdb", "dbt-core", "dbt-postgres", "dbt-spark", "pyspark", "polars", "splink")
    return {
        "cores": os.cpu_count() or 0,
        "architecture": platform.machine(),
        "memory_gb": round(memory / 2**30),
        "python": platform.python_version(),
        **{name: installed[name] for name in named if name in installed},
    }


def markdown(report: dict[str, Any]) -> str:
    """The tables that the README shows."""

    def shown(row: dict[str, Any], name: str) -> str:
        if row["rounds"] == 1:
            return f"{row[name]:.1f} s"
        return f"{row[name]:.1f} s ({row[f'{name}_lowest']:.1f} to {row[f'{name}_highest']:.1f})"

    lines = [
        "| users | ungated join | ours | ratio | guards | dbt's start "
        "| memory, ours | ungated | rounds | day |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in report["sizes"]:
        lines.append(
            f"| {row['users']:,} | {shown(row, 'ungated_seconds')} | {shown(row, 'ours_seconds')} "
            f"| {row['ratio']:.1f} | {shown(row, 'guards_seconds')} | {row['dbt_start_seconds']:.1f} s "
            f"| {row['peak_gb']:.1f} GB | {row['ungated_peak_gb']:.1f} GB | {row['rounds']} "
            f"| {row['measured_on']} |"
        )
    if report["peers"]:
        lines += ["", "| users | peer | seconds | ours / peer | peak memory |", "|--:|---|--:|--:|--:|"]
    for row in report["sizes"]:
        for name in PEERS:
            if peer := row["peers"].get(name):
                held = f"{peer['peak_gb']:.1f} GB" if "peak_gb" in peer else "not measured"
                lines.append(
                    f"| {row['users']:,} | {PEERS[name].title} | {shown(peer, 'seconds')} "
                    f"| {row['ours_seconds'] / peer['seconds']:.1f} | {held} |"
                )
    lines += [
        "",
        f"| at {report['users']:,} users: ours | seconds | memory | guards | seconds | memory |",
        "|---|--:|--:|---|--:|--:|",
    ]
    for pair in zip(report["dearest_of_ours"], report["dearest_of_guards"], strict=False):
        cells = (f"`{node['name']}` | {node['seconds']:.1f} | {node['peak_gb']:.1f} GB" for node in pair)
        lines.append(f"| {' | '.join(cells)} |")
    of = report["machine"]
    lines += [
        "",
        f"Made by `scripts/benchmark.py` on {of['cores']} cores, {of['architecture']}, "
        f"DuckDB {of['duckdb']}; medians of the rounds, in brackets the lowest and the highest; as many "
        "uploaded rows as users. Named are the dearest models, hooks and tests; two run at a time, and the "
        "memory is the most that the process held meanwhile.",
    ]
    if report["slope"] is not None:
        lines.append(f"Slope of log time against log size, ours: {report['slope']:.2f}.")
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], file: Path) -> None:
    """Seconds against users, both logarithmic, as SVG."""
    import altair

    points = []
    for row in report["sizes"]:
        series = {
            "ungated join": row["ungated_seconds"],
            "ours": row["ours_seconds"],
            "guards": row["guards_seconds"],
            **{PEERS[name].title: peer["seconds"] for name, peer in row["peers"].items()},
        }
        points += [{"users": row["users"], "what": what, "seconds": took} for what, took in series.items()]
    sizes = [row["users"] for row in report["sizes"]]
    order = ["ours", "guards", "ungated join", *(peer.title for peer in PEERS.values())]
    chart = (
        altair.Chart(altair.Data(values=points), width=520, height=320)
        .mark_line(point=True)
        .encode(
            x=altair.X("users:Q", axis=altair.Axis(values=sizes, format="~s")).scale(type="log", nice=False),
            y=altair.Y("seconds:Q").scale(type="log"),
            color=altair.Color("what:N", title=None, sort=order),
        )
    )
    chart.save(str(file), format="svg")


def is_installed(name: str) -> bool:
    """Whether a peer's module is here, and Debian's packages are or can be installed."""
    try:
        found = importlib.util.find_spec(PEERS[name].module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
    return found and (debian.can_install() or not debian.missing(PEERS[name].packages))


def chosen_peers(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> list[str]:
    """Those asked for, which must be here, or all that are."""
    for name in names:
        if not is_installed(name):
            raise click.BadParameter(f"{name} is not installed here: see `make benchmark`")
    return [name for name in PEERS if (name in names if names else is_installed(name))]


FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(help=__doc__.split("\n\n")[0])
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
    "--peers",
    type=click.Choice(list(PEERS)),
    multiple=True,
    callback=chosen_peers,
    help="A peer to measure; give it once per peer.  [default: those installed]",
)
@click.option(
    "--engine-users",
    type=int,
    default=1_000_000,
    show_default=True,
    help="The largest size at which our models are measured in PostgreSQL and Spark.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "build/benchmark",
    help="Where inputs are kept between runs.  [default: build/benchmark]",
)
@click.option(
    "--json",
    "json_file",
    type=FILE,
    help="Write the figures; other sizes that the file holds, by the same versions, stay, with their day.",
)
@click.option("--table", type=FILE, help="Write the tables in Markdown.")
@click.option("--plot", "plot_file", type=FILE, help="Write the plot as SVG.")
def main(
    sizes: tuple[int, ...],
    rounds: int,
    peers: list[str],
    engine_users: int,
    folder: Path,
    json_file: Path | None,
    table: Path | None,
    plot_file: Path | None,
) -> None:
    """Measure every size, print the table, and write what is asked for.

    Exit code 1 when a peer's members are not those that it must find, or a process failed.
    """
    if plot_file and not importlib.util.find_spec("altair"):
        raise click.UsageError("--plot needs Altair, which is not installed here: see `make benchmark`")
    console = Console(stderr=True)
    for name in PEERS:
        if name not in peers:
            console.print(f"{PEERS[name].title}: not measured, as it is not asked for or not installed")
    folder.mkdir(parents=True, exist_ok=True)
    rows = measured_before(json_file, sizes)
    for users in sorted(set(sizes)):
        rows.append(one_size(users, folder, rounds, peers, engine_users, console))
        rows.sort(key=lambda row: row["users"])
        # the sizes that are done are kept, should a larger one fail
        report = summary(rows)
        if json_file:
            json_file.write_text(json.dumps(report, indent=1) + "\n")
        if table:
            table.write_text(markdown(report))
        if plot_file:
            plot(report, plot_file)
    shown = Table(
        "users", "ungated", "ours", "ratio", "guards", "peak", *peers, title="medians, seconds and GB"
    )
    for row in rows:
        cells = [row[f"{name}_seconds"] for name in ("ungated", "ours")]
        cells += [row[name] for name in ("ratio", "guards_seconds", "peak_gb")]
        cells += [row["peers"][name]["seconds"] if name in row["peers"] else math.nan for name in peers]
        shown.add_row(f"{row['users']:,}", *("" if math.isnan(cell) else f"{cell:.1f}" for cell in cells))
    Console().print(shown)


if __name__ == "__main__":
    main()

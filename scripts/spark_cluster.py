"""Run a command beside Apache Spark: in one process, or on a standalone cluster of its own.

\b
    python scripts/spark_cluster.py run dbt build --target spark
    python scripts/spark_cluster.py run --workers 2 dbt build --target spark
    python scripts/spark_cluster.py measure

Spark and Iceberg come from scripts/requirements/spark.txt; Java and ICU are Debian's, and where they are
missing and this runs as root, `apt-get install` comes first. Tables are kept in a temporary folder, or in one
that is named. A cluster is a master and workers, each a process of its own that listens on loopback alone.
The command finds all of it through variables (SPARK_MASTER, SPARK_JARS, SPARK_LAKE) that profiles.yml reads.
The exit code is the command's, or 1 when there is no Spark to be had.
"""

import importlib.resources
import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import debian
import duckdb
from benchmark import MODELS, inputs_of
from generate import AS_OF
from postgres import free_port
from rich.console import Console

ROOT = Path(__file__).parents[1]
ICEBERG = "iceberg-spark-runtime-3.5_2.12-*.jar"
WORKER_MEMORY = "1g"
START_SECONDS = 120

Json = dict[str, Any]


@dataclass
class Cluster:
    """Where Spark is: variables for who uses it, and its workers, each the leader of a process group."""

    variables: dict[str, str]
    workers: list[subprocess.Popen]


def install() -> None:
    """Install Debian's packages that are missing.

    Raises:
        click.ClickException: they are missing and cannot be installed, or Spark itself is.
    """
    debian.install("Spark", debian.SPARK)
    if not importlib.util.find_spec("pyspark"):
        raise click.ClickException("no Spark here: install scripts/requirements/spark.txt (make spark)")


def jars() -> list[Path]:
    """Iceberg, from its package, and ICU, with which Spark composes characters."""
    folder = Path(str(importlib.resources.files("snowpark_connect_deps_iceberg"))) / "jars"
    return [*folder.glob(ICEBERG), *debian.files(debian.SPARK["libicu4j-java"])]


@contextmanager
def spark(workers: int = 0, lake: Path | None = None) -> Iterator[Cluster]:
    """Spark with so many workers, or within the process that uses it for 0; it ends with the block.

    Raises:
        click.ClickException: there is no Spark to be had, or the cluster does not start; its log is in it.
    """
    install()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spark-")))
        variables = {
            "SPARK_LAKE": str((lake or directory / "lake").absolute()),
            "SPARK_JARS": ",".join(map(str, jars())),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_MASTER": "local[2]",
        }
        if not workers:
            yield Cluster(variables, [])
            return
        home = Path(str(importlib.resources.files("pyspark")))
        environment = {
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
        }

        def start(role: str, name: str, *arguments: str) -> subprocess.Popen:
            log = stack.enter_context((directory / f"{name}.log").open("w"))
            daemon = f"org.apache.spark.deploy.{role.lower()}.{role}"
            web = ["--webui-port", str(free_port())]
            process = subprocess.Popen(
                [home / "bin" / "spark-class", daemon, "--host", "127.0.0.1", *web, *arguments],
                cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            stack.callback(end, process)
            return process

        port = str(free_port())
        variables["SPARK_MASTER"] = f"spark://127.0.0.1:{port}"
        start("Master", "master", "--port", port)
        processes = [
            start("Worker", f"worker{number}", "--cores", "1", "--memory", WORKER_MEMORY,
                  "--work-dir", str(directory / f"worker{number}"), variables["SPARK_MASTER"])
            for number in range(1, workers + 1)
        ]  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while (directory / "master.log").read_text().count("Registering worker") < workers:
            if time.monotonic() > deadline:
                logs = "\n".join(file.read_text() for file in sorted(directory.glob("*.log")))
                raise click.ClickException(f"the cluster does not start\n{logs}")
            time.sleep(0.5)
        yield Cluster(variables, processes)


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@click.group(help=__doc__)
def main() -> None:
    """Commands stand below."""


@main.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--workers", type=int, default=0, help="Processes of a cluster; 0 is Spark within the command's."
)
@click.option(
    "--lake", type=click.Path(path_type=Path), help="Folder that keeps the tables and their catalog."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(workers: int, lake: Path | None, command: tuple[str, ...]) -> None:
    """Run a command beside Spark and exit as it does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the cluster ends with this process, too
    with spark(workers, lake) as cluster:
        code = subprocess.run(command, env={**os.environ, **cluster.variables}).returncode
    sys.exit(code)


def start_dbt(cluster: Cluster, folder: Path, data: Path, *command: str) -> subprocess.Popen:
    """Start a dbt command on the inputs in DATA, with its tables and artifacts in a folder."""
    variables = {"input": "files", "input_path": str(data.absolute()), "as_of": AS_OF}
    options = ["--target", "spark", "--target-path", str(folder / "target"), "--vars", json.dumps(variables)]
    return subprocess.Popen(
        [Path(sys.executable).with_name("dbt"), "--no-use-colors", *command, *options],
        cwd=ROOT,
        env={**os.environ, **cluster.variables, "SPARK_PARTITIONS": str(2 * max(len(cluster.workers), 1))},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen) -> list[str]:
    """Wait for a dbt command; the lines that it printed.

    Raises:
        click.ClickException: it failed; the end of its output is in the error.
    """
    lines = list(process.stdout or [])
    if process.wait():
        raise click.ClickException("".join(lines[-60:]))
    return lines


def build(cluster: Cluster, data: Path, folder: Path) -> float:
    """Build the models, neither published nor derived a second time: the seconds.

    Args:
        cluster: what builds them.
        data: folder of inputs as Parquet.
        folder: a new one, the lake of the cluster.

    Raises:
        click.ClickException: dbt failed; the end of its output is in the error.
    """
    finish(start_dbt(cluster, folder, data, *MODELS))
    return json.loads((folder / "target" / "run_results.json").read_text())["elapsed_time"]


def mart_digests(data: Path, folder: Path) -> str:
    """Digests of the marts in a lake, as the macro of this name prints them."""
    with spark(lake=folder) as alone:
        lines = finish(start_dbt(alone, folder, data, "--quiet", "run-operation", "mart_digests"))
    return next(line for line in lines if line.startswith("{"))


def forecast(small: Json, large: Json, contacts: int, workers: int) -> Json:
    """Hours for so many contacts on so many workers, from a small size on one worker and a large one on both.

    What the large size adds on one worker is the cost of its rows; the rest, planning above all, is the
    driver's and the same for every size. At best each worker adds as much as the first; at worst each
    doubling gains as little as the one that was measured.
    """
    per_contact = (large["seconds"][1] - small["seconds"][1]) / (large["contacts"] - small["contacts"])
    fixed = small["seconds"][1] - per_contact * small["contacts"]
    gain = min(max((large["seconds"][1] - fixed) / (large["seconds"][2] - fixed), 1.0), 2.0)
    return {
        "workers": workers,
        "fixed_seconds": fixed,
        "contacts_per_second": 1 / per_contact,
        "gain": gain,
        "best_hours": (fixed + per_contact * contacts / workers) / 3600,
        "worst_hours": (fixed + per_contact * contacts / gain ** math.log2(workers)) / 3600,
    }


@main.command()
@click.option("--users", type=int, nargs=2, default=(20_000, 200_000), show_default=True, help="Two sizes.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("build/spark"), show_default=True)
def measure(users: tuple[int, int], data: Path) -> None:
    """Time the models on one and two workers; say what a billion contacts take on ten and on a hundred.

    Inputs are those of scripts/generate.py, an entry per user. Each worker has one core and an executor of
    600 MB, each run a cluster and tables of its own; the seconds are those of `dbt build`, the look at the
    inputs included, without the start of either.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    sizes = []
    for count in users:
        inputs = inputs_of(count, data)
        contacts = duckdb.sql(f"select count(*) from '{inputs}/raw_contacts.parquet'").fetchall()[0][0]
        sizes.append({"inputs": inputs, "contacts": contacts, "seconds": {}})
    small, large = sizes
    digests = set()
    for size, workers in ((small, 1), (large, 1), (large, 2)):
        shutil.rmtree(data / "lake", ignore_errors=True)
        with spark(workers, data / "lake") as cluster:
            size["seconds"][workers] = build(cluster, size["inputs"], data / "lake")
        console.print(f"{size['contacts']:,} contacts, {workers} workers: {size['seconds'][workers]:.0f} s")
        digests.add(mart_digests(size["inputs"], data / "lake"))
    if len(digests) > len(sizes):
        raise click.ClickException("the same inputs gave different marts")
    forecasts = [forecast(small, large, 1_000_000_000, workers) for workers in (10, 100)]
    console.print(markdown(small, large, forecasts))


def markdown(small: Json, large: Json, forecasts: list[Json]) -> str:
    """What was measured and what follows from it, as the README shows them."""
    lines = [
        "| contacts | one worker | two workers |",
        "|--:|--:|--:|",
        f"| {small['contacts']:,} | {small['seconds'][1]:.0f} s | |",
        f"| {large['contacts']:,} | {large['seconds'][1]:.0f} s | {large['seconds'][2]:.0f} s |",
        "",
        f"A worker takes {forecasts[0]['contacts_per_second']:,.0f} contacts a second, after"
        f" {forecasts[0]['fixed_seconds']:.0f} s that every build takes; a second one makes it"
        f" {forecasts[0]['gain']:.2f} times as fast.",
        "",
        "| 1,000,000,000 contacts, 10,000 lists | at best | at worst |",
        "|---|--:|--:|",
    ]
    lines += [
        f"| {row['workers']} workers | {row['best_hours']:,.1f} h | {row['worst_hours']:,.1f} h |"
        for row in forecasts
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

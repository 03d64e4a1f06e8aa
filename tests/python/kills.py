"""The kill table: `dbt build && publish` killed at random moments, with readers at work all the while.

A job of its own process group is killed with SIGKILL at moments drawn from a seed, a fifth of them moments
of the whole job, the others of the publication alone, which is short. Two processes read what is published,
again and again and every byte of it, and a third keeps the file open that it opened first. After each kill
the published generation must be one and whole; then a publication of what was left is tried, and the next
job must come through. Last, the steps from the audit's end to the removal of old generations, which a random
moment hardly ever hits, are killed one by one. Run as a script this takes more than half an hour, and writes
docs/kills.md.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import duckdb
import publish
from attacks import in_place
from candidate_audit import FILES, SCHEMAS
from conftest import copy_project
from publishing import Build
from rich.console import Console
from rich.progress import Progress

SEED = 20191008
SECOND = 1 / 3600
"""How much later, in hours, each next build is than the one before it."""
KILLED = -signal.SIGKILL
PAUSE = 0.2
"""Between two reads of a reader, in seconds."""


def read_current(folder: Path) -> str:
    """Read what is published as BI does, and hold every byte and row count against publication.json.

    Args:
        folder: the publishing folder.

    Returns:
        The generation.

    Raises:
        AssertionError: it is not whole, or not of one moment.
    """
    generation = (folder / "current").resolve(strict=True)
    store = publish.Generations(folder)
    store.verify(generation.name)
    publication = store.publication(generation.name)
    moments = set()
    for schema, file in FILES.items():
        with duckdb.connect(str(generation / f"{file}.duckdb"), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            for path, relation in publication["relations"].items():
                if not path.startswith(f"{schema}."):
                    continue
                table = f"{SCHEMAS[schema]}.{path.split('.')[1]}"
                rows, first, last = connection.execute(
                    f"select count(*), min(as_of), max(as_of) from {table}"
                ).fetchone()
                assert rows == relation["rows"], f"{path} has {rows} rows of {relation['rows']}"
                moments |= {moment.isoformat() for moment in (first, last) if moment}
    assert moments == {publication["as_of"]}, f"{generation.name} is of {sorted(moments)}"
    return generation.name


@dataclass
class Readings:
    """What a reader saw: how often it read each generation, and what went wrong."""

    reads: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def poll(folder: Path, pipe: Connection) -> None:
    """Read what is published until told to stop, then send the readings."""
    readings = Readings()
    pipe.send("ready")
    while not pipe.poll(PAUSE):
        try:
            readings.reads[read_current(folder)] += 1
        except Exception as error:
            readings.errors.append(f"{type(error).__name__}: {error}")
    pipe.send(readings)


def hold(folder: Path, pipe: Connection) -> None:
    """Keep the BI file of one generation open, whatever is published meanwhile, and read it at the end."""
    readings = Readings()
    generation = (folder / "current").resolve(strict=True)
    relations = json.loads((generation / "publication.json").read_text())["relations"]
    with duckdb.connect(str(generation / "bi.duckdb"), read_only=True) as connection:
        pipe.send("ready")
        pipe.poll(None)
        for path, relation in relations.items():
            if path.startswith("published."):
                try:
                    rows = len(connection.execute(f"select * from {path}").fetchall())
                    assert rows == relation["rows"], f"{path} has {rows} rows of {relation['rows']}"
                    readings.reads[generation.name] += 1
                except (AssertionError, duckdb.Error) as error:
                    readings.errors.append(f"{type(error).__name__}: {error}")
    pipe.send(readings)


@contextmanager
def readers(folder: Path, *works: Callable[[Path, Connection], None]) -> Iterator[list[Readings]]:
    """Processes that read a publishing folder while a block runs; what they saw is in the list after it."""
    context = multiprocessing.get_context("spawn")
    seen: list[Readings] = []
    running = []
    for work in works:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(folder, theirs))
        process.start()
        theirs.close()  # so that a reader that dies is an error here, not a silence
        ours.recv()
        running.append((process, ours))
    try:
        yield seen
    finally:
        for process, pipe in running:
            pipe.send("stop")
            seen.append(pipe.recv())
            process.join()


def phase_of(build: Build, before: str | None) -> str:
    """How far a killed publication had come, by what it left."""
    candidate = build.store.generations / f"{publish.LEFTOVER}candidate"
    if build.current != before:
        return "publish: after the flip"
    if not candidate.exists():
        return "publish: before the candidate"
    if (candidate / "publication.json").exists():
        return "publish: sealing"
    relations = json.loads((build.target / "manifest.json").read_text())["nodes"].values()
    published = [node for node in relations if node["resource_type"] == "model" and node["schema"] in FILES]
    is_written = len(list(candidate.rglob("*.parquet"))) == len(published) and not list(
        candidate.glob("*.wal")
    )
    return "publish: auditing the candidate" if is_written else "publish: writing the candidate"


@dataclass(frozen=True)
class Kill:
    """A kill, and what became of it."""

    phase: str
    current: str  # the generation before, or the new one
    faults: tuple[str, ...]  # what is wrong with what it left; none
    at_once: str  # what became of a publication at once
    recovered_by: str


def faults_of(build: Build) -> tuple[str, ...]:
    """What is wrong with a publishing folder that a kill left."""
    faults = []
    try:
        read_current(build.publish_dir)
    except (AssertionError, OSError, duckdb.Error, publish.Refusal) as error:
        faults.append(f"{type(error).__name__}: {error}")
    answers = {command: build.run(command) for command in ("verify", "status")}
    faults += [f"{command}: {answer.output}" for command, answer in answers.items() if answer.exit_code]
    return tuple(faults)


def run_id_of(build: Build) -> str:
    """The run of the current generation."""
    return build.store.publication(build.current)["invocation_id"]


def assert_recovered(build: Build) -> None:
    """The current generation is of the last build, and nothing is left of those that were killed.

    Raises:
        AssertionError: it is not so.
    """
    results = json.loads((build.target / "run_results.json").read_text())
    assert run_id_of(build) == results["metadata"]["invocation_id"]
    assert list(build.publish_dir.rglob(f"{publish.LEFTOVER}*")) == []
    assert faults_of(build) == ()


def start(build: Build, command: str) -> subprocess.Popen[bytes]:
    """A job of the shell in the project's folder, in a process group of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["sh", "-c", command],
        cwd=build.project.path,
        env=os.environ | {"PATH": path},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def is_killed(build: Build, command: str, seconds: float) -> bool:
    """Start a job and kill its whole group after some seconds; false where it was done by then."""
    process = start(build, command)
    try:
        assert process.wait(seconds) == 0, f"{command} ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def publication(build: Build) -> str:
    """The command that publishes a build."""
    return shlex.join(["python", "scripts/publish.py", *build.arguments()])


def job(build: Build) -> str:
    """The whole job."""
    return f"dbt build --exclude-resource-type unit_test && {publication(build)}"


def seconds_of(build: Build, command: str) -> float:
    """How long a job takes that nobody kills."""
    started = time.monotonic()
    assert start(build, command).wait() == 0, command
    assert_recovered(build)
    return time.monotonic() - started


def left_by(build: Build, before: str | None) -> tuple[str, tuple[str, ...]]:
    """Which generation a kill left to readers, and what is wrong with the publishing folder."""
    faults = faults_of(build)
    if build.current == before:
        return "the one before", faults
    is_of_the_run = not faults and run_id_of(build) == run_ids(build)[1]
    return "the new one", faults if is_of_the_run else (*faults, f"{build.current} is of no whole run")


def killed_publication(build: Build, seconds: float) -> Kill | None:
    """Kill the publication of a later build, then publish it; None where it was done by then."""
    before = build.current
    build.next(SECOND)
    if not is_killed(build, publication(build), seconds):
        return None
    phase = phase_of(build, before)
    current, faults = left_by(build, before)
    answer = build.run()
    assert answer.exit_code == 0, answer.output
    assert_recovered(build)
    return Kill(phase, current, faults, "published", "itself")


def killed_job(build: Build, seconds: float) -> Kill | None:
    """Kill a whole job, and try to publish what it left; None where it was done by then."""
    before, runs = build.current, run_ids(build)
    if not is_killed(build, job(build), seconds):
        return None
    manifest_run, results_run = run_ids(build)
    if results_run != runs[1]:
        phase = phase_of(build, before)
    else:
        phase = "dbt build: after its start" if manifest_run != runs[0] else "dbt build: before its start"
    current, faults = left_by(build, before)
    left = build.current
    answer = build.run()
    if answer.exit_code:
        rule = answer.output.partition("refused by ")[2].partition(":")[0]
        if build.current != left:
            faults += (f"refused by {rule}, and yet current is {build.current}",)
        return Kill(phase, current, faults, f"refused by `{rule}`", "the next whole job")
    if build.current == before:
        return Kill(phase, current, faults, "nothing new", "the next whole job")
    assert_recovered(build)
    return Kill(phase, current, faults, "published", "itself")


def run_ids(build: Build) -> tuple[str | None, str | None]:
    """The runs that wrote manifest.json and run_results.json; None for a file that a kill cut short."""

    def run_id(name: str) -> str | None:
        try:
            return json.loads((build.target / name).read_text())["metadata"]["invocation_id"]
        except ValueError:
            return None

    return run_id("manifest.json"), run_id("run_results.json")


STEPS = {"open", "os.chmod", "os.rename", "os.symlink", "os.remove", "os.rmdir"}
"""What Python tells an audit hook of before it does it to the file system."""


def killed_step(number: int, folder: Path, candidate: Path, publication: publish.Publication) -> None:
    """Put a candidate in place, in a process of its own, and kill that before a step of it.

    Args:
        number: the step, from 1.
        folder: the publishing folder.
        candidate: an audited candidate in it, not sealed yet.
        publication: what is to be said of it.
    """
    steps = 0

    def count(event: str, _: tuple[object, ...]) -> None:
        nonlocal steps
        if event in STEPS:
            steps += 1
            if steps == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    publish.put_in_place(publish.Generations(folder), candidate, publication, keep=1)


def kill_steps(build: Build, folder: Path, stride: int = 1) -> tuple[Counter[str], list[str]]:
    """Kill the last part of a publication, from the audit's end on, at its steps.

    Args:
        build: published more than once; its current generation serves as the next candidate. It is left as
            it is.
        folder: where to work.
        stride: 1 for every step, 2 for every other.

    Returns:
        How many kills left which generation to readers, and what was wrong.
    """
    says = build.store.publication(build.current) | {"published_at": "later"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kills"])
    left: Counter[str] = Counter()
    faults: list[str] = []
    for number in itertools.count(1, stride):
        shutil.copytree(build.publish_dir, folder, symlinks=True)
        tried = Build(build.project, build.warehouse, build.target, folder)
        candidate = tried.store.generations / f"{publish.LEFTOVER}candidate"
        shutil.copytree(tried.store.generations / build.current, candidate)
        for path in [candidate, *candidate.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        (candidate / "publication.json").unlink()
        process = context.Process(target=killed_step, args=(number, folder, candidate, says))
        process.start()
        process.join()
        if process.exitcode == 0:
            publish.remove(folder)
            return left, faults
        assert process.exitcode == KILLED, f"step {number} ended with {process.exitcode}"
        left["the one before" if tried.current == build.current else "the new one"] += 1
        faults += faults_of(tried)
        with tried.store.lock():  # as the next publisher does
            leftovers = [path.name for path in folder.rglob(f"{publish.LEFTOVER}*")]
        faults += [f"step {number} leaves {name}" for name in leftovers]
        publish.remove(folder)


@dataclass(frozen=True)
class Report:
    """Everything that the table tells."""

    job_seconds: float
    publish_seconds: float
    kills: list[Kill]
    readings: list[Readings]
    steps: tuple[Counter[str], list[str]]

    def faults(self) -> list[str]:
        """What was not as it must be."""
        faults = [fault for kill in self.kills for fault in kill.faults] + self.steps[1]
        return faults + [error for readings in self.readings for error in readings.errors]


def run(kills: int, folder: Path, advance: Callable[[], object]) -> Report:
    """Kill jobs, a fifth, and publications, with readers at work.

    Args:
        kills: how many.
        folder: where to build.
        advance: called after each.

    Raises:
        AssertionError: a job that nobody killed did not come through.
    """
    build = in_place(copy_project(folder / "project"))
    moments = random.Random(SEED)
    job_seconds = seconds_of(build, job(build))
    build.next(SECOND)
    publish_seconds = seconds_of(build, publication(build))
    found: list[Kill] = []

    def repeat(kill: Callable[[Build, float], Kill | None], seconds: float, times: int) -> None:
        wanted = len(found) + times
        while len(found) < wanted:
            killed = kill(build, moments.uniform(0, seconds))
            if killed:
                found.append(killed)
                advance()

    with readers(build.publish_dir, poll, poll, hold) as readings:
        first = build.current
        jobs = kills // 5
        while len(found) < kills:
            group = min(jobs, 6)
            jobs -= group
            repeat(killed_job, job_seconds, group)
            assert start(build, job(build)).wait() == 0, "the job after the kills did not come through"
            assert_recovered(build)
            repeat(killed_publication, publish_seconds, 4 * group if jobs else kills - len(found))
        assert first not in build.store.ids(), "the generation that is kept open was not removed"
    steps = kill_steps(build, folder / "steps")
    return Report(job_seconds, publish_seconds, found, readings, steps)


def table(report: Report) -> str:
    """The report as Markdown."""
    left, step_faults = report.steps
    lines = [
        f"{len(report.kills)} times SIGKILL to the process group, a fifth of them at a random moment of",
        f"`dbt build && publish.py publish` (undisturbed: {report.job_seconds:.0f} s), the others at one of",
        f"the publication alone ({report.publish_seconds:.1f} s). What was left is published at once.",
        "",
        "| killed in | kills | current afterwards | whole | publication at once | recovered by |",
        "|---|--:|---|--:|---|---|",
    ]
    rows = Counter((kill.phase, kill.current, kill.at_once, kill.recovered_by) for kill in report.kills)
    for row, kills in sorted(rows.items()):
        phase, current, at_once, recovered_by = row
        whole = sum(
            not kill.faults
            for kill in report.kills
            if (kill.phase, kill.current, kill.at_once, kill.recovered_by) == row
        )
        lines.append(f"| {phase} | {kills} | {current} | {whole} | {at_once} | {recovered_by} |")
    for current, kills in sorted(left.items(), reverse=True):
        whole = kills if not step_faults else f"**not {kills}**"
        phase = f"publish: each of the {left.total()} steps after the audit"
        lines.append(f"| {phase} | {kills} | {current} | {whole} | leftovers cleaned | |")
    lines += [
        "",
        "| reader, from before the first kill until after the last | reads | generations | failed |",
        "|---|--:|--:|--:|",
    ]
    *polling, held = report.readings
    for readings in polling:
        lines.append(
            "| opens what is current, compares every byte and row count with publication.json "
            f"| {readings.reads.total():,} | {len(readings.reads)} | {len(readings.errors)} |"
        )
    lines.append(
        "| keeps the BI file of the first generation open, which retention removed, and reads its tables "
        f"| {held.reads.total():,} | {len(held.reads)} | {len(held.errors)} |"
    )
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option("--kills", type=click.IntRange(min=5), default=60, show_default=True, help="How many.")
@click.option(
    "--table",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/kills.md"),
    show_default=True,
    help="Markdown file to write.",
)
def main(kills: int, target: Path) -> None:
    """Kill, and write the table; exit 1 if anything was not as it must be."""
    with TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("kills", total=kills)
        report = run(kills, Path(folder), lambda: progress.advance(task))
    target.write_text(table(report))
    for fault in report.faults():
        click.echo(fault, err=True)
    raise click.exceptions.Exit(bool(report.faults()))


if __name__ == "__main__":
    main()

"""Would the tests notice? Put small faults into the models, one at a time, and see what turns red.

Each mutant is one change of a model's compiled SQL (scripts/mutation_operators.py), tried in DuckDB in this
process (scripts/mutation_bench.py) against what `dbt build` itself runs, and then against the oracle of
tests/python/oracle.py. A mutant is

stillborn  its SQL names a column that is not there: no run would get past it, so it proves nothing
killed     by dbt build (access, unit tests, contracts, data tests, invariants), or by the oracle alone
equivalent it survives, and stands in tests/mutation/equivalent.toml with the reason why no row can differ
survived   nobody noticed: a test is missing

Policy seeds are mutated as well, a flag, code or number at a time, and every data test and contract is
switched off and loosened in each way that dbt knows, which the run's start must notice (mutation_guards.py).

Exit codes: 0 every mutant is killed or equivalent, and dbt build alone kills at least 90 %; 1 some are not,
or an entry of the reviewed file names a mutant that is killed or not there; 2 wrong usage.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from mutation_bench import DETECTORS, ROOT, Bench, Build, Fault, Verdict, oracle_answers
from mutation_guards import judge_guards
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from size_noise import KEY_VARIABLE

EQUIVALENT = ROOT / "tests" / "mutation" / "equivalent.toml"
PARTS = ["dbt_project.yml", "profiles.yml", "models", "seeds", "macros", "scripts", "tests"]
AS_OF = "2019-09-17 00:00:00"
BUILD_ALONE = 0.9
"""What dbt build alone must kill of the mutants that are not equivalent: it is what users run."""

CHUNK = 20


@dataclass(frozen=True)
class Result:
    """A fault and what became of it."""

    fault: Fault
    verdict: Verdict


def build_project(folder: Path) -> None:
    """Build a copy of the project on the bundled sample, unit tests included.

    Raises:
        click.ClickException: the build is not green.
    """
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("python", "__pycache__"))
        else:
            shutil.copy(source, folder / part)
    dbt = Path(sys.executable).with_name("dbt")
    command = [dbt, "--quiet", "build", "--vars", json.dumps({"as_of": AS_OF})]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if answer.returncode:
        raise click.ClickException(f"the project is red without any fault:\n{answer.stdout[-2000:]}")


_bench: Bench  # one per process of the pool


def _start(folder: Path, answers: dict[str, Any]) -> None:
    global _bench
    _bench = Bench(Build(folder))
    _bench.load_oracle(answers)


def _judge(faults: list[Fault]) -> list[Result]:
    return [Result(fault, _bench.judge(fault)) for fault in faults]


def judge_all(folder: Path, faults: list[Fault], answers: dict[str, Any], jobs: int) -> list[Result]:
    """What becomes of each fault, on several processes with a bar of progress."""
    results: list[Result] = []
    chunks = [faults[start : start + CHUNK] for start in range(0, len(faults), CHUNK)]
    with (
        Progress(console=Console(stderr=True), transient=True) as bar,
        ProcessPoolExecutor(jobs, initializer=_start, initargs=(folder, answers)) as pool,
    ):
        task = bar.add_task("mutants", total=len(faults))
        for future in as_completed([pool.submit(_judge, chunk) for chunk in chunks]):
            results.extend(future.result())
            bar.advance(task, len(future.result()))
    return sorted(results, key=lambda result: result.fault.id)


def reviewed() -> dict[str, str]:
    """Mutants that are equivalent, with the reason.

    Raises:
        click.ClickException: one stands there twice.
    """
    reasons: dict[str, str] = {}
    for entry in tomllib.loads(EQUIVALENT.read_text())["equivalent"]:
        for name in entry["mutants"]:
            if name in reasons:
                raise click.ClickException(f"{EQUIVALENT.name} has a mutant twice: {name}")
            reasons[name] = entry["reason"]
    return reasons


@dataclass
class Score:
    """What became of the mutants of one model, or of all."""

    stillborn: int = 0
    equivalent: int = 0
    survived: int = 0
    killed_by: Counter[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Start counting at nothing."""
        self.killed_by = Counter()

    @property
    def killed(self) -> int:
        """By whatever detector."""
        return self.killed_by.total()

    @property
    def killed_by_build(self) -> int:
        """By what dbt build runs."""
        return self.killed - self.killed_by["oracle"] - self.killed_by["timeout"]

    @property
    def valid(self) -> int:
        """All that are not stillborn."""
        return self.killed + self.equivalent + self.survived

    def add(self, verdict: Verdict, is_equivalent: bool) -> None:
        """Count one mutant."""
        if verdict.status == "stillborn":
            self.stillborn += 1
        elif verdict.status == "killed":
            self.killed_by[verdict.kind] += 1
        elif is_equivalent:
            self.equivalent += 1
        else:
            self.survived += 1


def scores(results: Iterable[Result], equivalent: dict[str, str]) -> tuple[Score, dict[str, Score]]:
    """The score of all mutants, and of each model's."""
    total, by_model = Score(), {}
    for result in results:
        for score in (total, by_model.setdefault(result.fault.model, Score())):
            score.add(result.verdict, result.fault.id in equivalent)
    return total, dict(sorted(by_model.items()))


def percent(part: int, whole: int) -> str:
    """A share, rounded down: what is not all is not 100 %."""
    return f"{1000 * part // whole / 10:.1f} %" if whole else ""


COLUMNS = {
    "unit tests": ["access", "unit test"],
    "contracts": ["contract", "run error"],
    "data tests": ["data test"],
    "invariants": ["invariant"],
    "oracle alone": ["oracle"],
}


def table_rows(total: Score, by_model: dict[str, Score]) -> list[list[str]]:
    """The table: per model its mutants, by which detector they were first killed, and the score."""
    rows = []
    for name, score in [*by_model.items(), ("all", total)]:
        living = score.valid - score.equivalent
        kills = [str(sum(score.killed_by[kind] for kind in kinds) or "") for kinds in COLUMNS.values()]
        shares = [percent(score.killed_by_build, living), percent(score.killed, living)]
        rows.append(
            [name, str(score.valid), str(score.equivalent or ""), *kills, str(score.survived or ""), *shares]
        )
    return rows


HEADER = ["mutants of", "valid", "equivalent", *COLUMNS, "survived", "dbt build", "with oracle"]


def write_table(path: Path, rows: list[list[str]], guards: Score) -> None:
    """Write the table as Markdown, and what became of the guards."""
    lines = [HEADER, ["---", *["---:" for _ in HEADER[1:]]], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    refused = f"the run's start refuses {guards.killed:,}"
    path.write_text(f"{text}\n\nOf {guards.valid:,} ways to switch off or loosen one guard, {refused}.\n")


def report(
    results: list[Result], total: Score, guards: Score, unknown: list[str], stale: list[str]
) -> dict[str, Any]:
    """What `--json` writes."""
    return {
        "valid": total.valid,
        "equivalent": total.equivalent,
        "killed": total.killed,
        "killed_by_build": total.killed_by_build,
        "survived": total.survived,
        "stillborn": total.stillborn,
        "killed_by": {kind: total.killed_by[kind] for kind in DETECTORS},
        "guards": {"valid": guards.valid, "killed": guards.killed},
        "entries_without_a_mutant": unknown,
        "entries_of_killed_mutants": stale,
        "mutants": [
            {"id": result.fault.id, "model": result.fault.model, "operator": result.fault.operator}
            | asdict(result.verdict)
            for result in results
        ],
    }


@contextmanager
def built(folder: Path | None) -> Any:
    """A built project: the one that is given, or a copy that is built for the occasion."""
    if folder is not None:
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        with Console(stderr=True).status("dbt build of the sample"):
            build_project(Path(temporary))
        yield Path(temporary)


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n", 2) if __doc__ else None)
@click.option(
    "--built",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A copy of the project in which a whole dbt build of the sample ran; else one is made.",
)
@click.option("--model", "models", multiple=True, help="Only mutants of this model; may be given again.")
@click.option(
    "--every", type=click.IntRange(1), default=1, help="Only one mutant in so many.", show_default=True
)
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes.", show_default=True)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all verdicts."
)
@click.option(
    "--table",
    "table_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table as Markdown.",
)
def main(
    folder: Path | None,
    models: tuple[str, ...],
    every: int,
    jobs: int,
    json_file: Path | None,
    table_file: Path | None,
) -> None:
    """Try all mutants, or some of them, and say what became of them."""
    os.environ.setdefault(KEY_VARIABLE, "a key for mutants alone, which is no secret")
    equivalent = reviewed()
    with built(folder) as project:
        build = Build(project)
        bench = Bench(build)
        bench.check()
        faults = bench.faults()
        unknown = sorted(set(equivalent) - {fault.id for fault in faults})
        known = {fault.model for fault in faults}
        for name in models:
            if name not in known:
                raise click.BadParameter(
                    f"{name} is none of {', '.join(sorted(known))}", param_hint="--model"
                )
        chosen = [fault for fault in faults if not models or fault.model in models][::every]
        results = judge_all(project, chosen, oracle_answers(build), jobs)
        loosened = [] if models else [Result(*judged) for judged in judge_guards(project)][::every]

    total, by_model = scores(results, equivalent)
    guards, _ = scores(loosened, {})
    stale = [r.fault.id for r in results if r.fault.id in equivalent and r.verdict.status != "survived"]
    rows = table_rows(total, by_model)
    console = Console()
    table = Table(*HEADER)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"guards switched off or loosened: {guards.valid}, noticed: {guards.killed}")
    for result in [*results, *loosened]:
        if result.verdict.status == "survived" and result.fault.id not in equivalent:
            console.print(f"survived: {result.fault.id}", markup=False, soft_wrap=True)
        elif result.verdict.kind == "timeout":
            console.print(f"timed out: {result.fault.id}", markup=False, soft_wrap=True)
    for name in unknown:
        console.print(f"no such mutant: {name}", markup=False, soft_wrap=True)
    for name in stale:
        console.print(f"not equivalent, for it is killed: {name}", markup=False, soft_wrap=True)
    if json_file:
        json_file.write_text(json.dumps(report(results, total, guards, unknown, stale), indent=1) + "\n")
    if table_file:
        write_table(table_file, rows, guards)
    living = total.valid - total.equivalent
    if (
        guards.survived
        or total.killed < living
        or total.killed_by_build < BUILD_ALONE * living
        or unknown
        or stale
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()

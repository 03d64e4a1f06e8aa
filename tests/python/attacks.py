"""The attacks on a publisher that trusts: what each tries, the rule that refuses it, what stays published.

Some change what a green build left behind: the artifacts, the warehouse, the input, the candidate while it
is audited. The others are jobs, a real `dbt build` with a hole in it and a publication whatever dbt said.
Run as a script this tries every one of them on a build that was published before, and writes docs/attacks.md.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import candidate_audit
import click
import publish
from conftest import ROOT, Project, copy_project
from publish_rules import RULES
from publishing import Build, Json
from rich.progress import track

GUARD = "members_are_active_adults"


@dataclass(frozen=True)
class Attack:
    """What is tried after a green build, and the rule that must refuse it."""

    says: str
    rule: str
    change: Callable[[Build], object]
    during: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Outcome:
    """What publish.py said, and whether every byte of what was published is as it was."""

    rule: str
    exit_code: int
    is_unchanged: bool


def guard_of(manifest: Json, name: str = GUARD) -> Json:
    """A guard's node."""
    (node,) = [node for node in manifest["nodes"].values() if node["name"] == name]
    return node


def loosened(setting: str, value: object) -> Callable[[Json, Json], None]:
    """A change that gives one guard another setting."""
    return lambda manifest, results: guard_of(manifest)["config"].update({setting: value})


def argument(name: str, value: object) -> Callable[[Json, Json], None]:
    """A change that gives the run another argument."""
    return lambda manifest, results: results["args"].update({name: value})


def removed(manifest: Json, results: Json) -> None:
    """A required guard that is gone, from the project and from the run."""
    del manifest["nodes"][guard_of(manifest)["unique_id"]]


def without_hook(manifest: Json, results: Json) -> None:
    """A project whose run does not start with the look at its graph."""
    for node in manifest["nodes"].values():
        if node["resource_type"] == "operation" and "check_graph" in node["raw_code"]:
            node["raw_code"] = "select 1"


def did_not_run(manifest: Json, results: Json) -> None:
    """A guard that the run left out."""
    key = guard_of(manifest)["unique_id"]
    results["results"] = [result for result in results["results"] if result["unique_id"] != key]


def ended(status: str) -> Callable[[Json, Json], None]:
    """A change of how one guard ended."""

    def change(manifest: Json, results: Json) -> None:
        for result in results["results"]:
            if result["unique_id"] == guard_of(manifest)["unique_id"]:
                result["status"] = status

    return change


def compiled_to(sql: str, name: str = GUARD) -> Callable[[Json, Json], None]:
    """A guard whose SQL says something else."""

    def change(manifest: Json, results: Json) -> None:
        for result in results["results"]:
            if result["unique_id"] == guard_of(manifest, name)["unique_id"]:
                result["compiled_code"] = sql

    return change


def switched_off(manifest: Json, results: Json) -> None:
    """A guard that is disabled."""
    node = manifest["nodes"].pop(guard_of(manifest, "funnel_adds_up")["unique_id"])
    manifest["disabled"][node["unique_id"]] = [node]


def shadowed(manifest: Json, results: Json) -> None:
    """A macro of the project that dbt takes for its own where clause of every generic test."""
    macro = next(macro for macro in manifest["macros"].values() if macro["name"] == "as_of")
    manifest["macros"]["macro.planted"] = macro | {"name": "get_where_subquery"}


def other_rows(manifest: Json, results: Json) -> None:
    """A unit test that expects nothing."""
    next(iter(manifest["unit_tests"].values()))["expect"]["rows"] = []


def without_check(manifest: Json, results: Json) -> None:
    """A contract that lost its constraints."""
    manifest["nodes"]["model.consented_audiences.audiences"]["constraints"] = []


def around_the_gate(manifest: Json, results: Json) -> None:
    """An audience model that reads contacts past the gate."""
    manifest["parent_map"]["model.consented_audiences.audience_matches"].append(
        "model.consented_audiences.stg_contacts"
    )


def of_two_runs(manifest: Json, results: Json) -> None:
    """A manifest that a later command wrote."""
    manifest["metadata"]["invocation_id"] = "another"


def files_of_today(build: Build) -> Path:
    """The sample as files that are newer than the build, which is told that it read them."""
    folder = build.folder / "input"
    folder.mkdir()
    for file in (ROOT / "seeds" / "sample").glob("*.csv"):
        shutil.copyfile(file, folder / file.name)
    build.edit(argument("vars", {"input": "files", "input_path": str(folder)}))
    return folder


def files_set_back(build: Build) -> None:
    """The same, with their moment of change set back to long before the build."""
    for file in files_of_today(build).iterdir():
        os.utime(file, (0, 0))


def forgotten_guard(build: Build) -> None:
    """The current generation's publication.json without a guard, so that the next run need not have it."""
    file = build.publish_dir / "current" / "publication.json"
    publication = json.loads(file.read_text())
    publication["guards"] = [guard for guard in publication["guards"] if guard["name"] != GUARD]
    file.chmod(0o644)
    file.write_text(json.dumps(publication))


def rewritten_candidate() -> AbstractContextManager[object]:
    """A Parquet file of the candidate that is written to once the audit has read it."""
    audit = candidate_audit.Audit.audit

    def tamper(self: candidate_audit.Audit) -> list[dict[str, object]]:
        results = audit(self)
        with (self.folder / "bi" / "audiences.parquet").open("ab") as stream:
            stream.write(b"more")
        return results

    return mock.patch.object(candidate_audit.Audit, "audit", tamper)


def artifacts(change: Callable[[Json, Json], object]) -> Callable[[Build], object]:
    """A change of manifest and results as a change of the build."""
    return lambda build: build.edit(change)


def statement(sql: str) -> Callable[[Build], object]:
    """A statement on the warehouse as a change of the build."""
    return lambda build: build.sql(sql)


ATTACKS = {
    "dbt test": Attack("a run of `dbt test`", "not_a_build", artifacts(argument("which", "test"))),
    "PostgreSQL": Attack(
        "a run on another engine",
        "not_a_build",
        artifacts(lambda manifest, results: manifest["metadata"].update(adapter_type="postgres")),
    ),
    "manifest of another run": Attack(
        "manifest.json of a later command", "not_a_build", artifacts(of_two_runs)
    ),
    "--empty": Attack("`--empty`", "empty_or_sample", artifacts(argument("empty", True))),
    "--sample": Attack("`--sample`", "empty_or_sample", artifacts(argument("sample", "3 days"))),
    "--defer": Attack("`--defer`", "empty_or_sample", artifacts(argument("defer", True))),
    "--select": Attack("`--select`", "selection", artifacts(argument("select", ["published"]))),
    "--exclude": Attack("`--exclude` of a guard", "selection", artifacts(argument("exclude", [GUARD]))),
    "--exclude-resource-type": Attack(
        "`--exclude-resource-type test`", "selection", artifacts(argument("exclude_resource_types", ["test"]))
    ),
    "--resource-type": Attack(
        "`--resource-type model`", "selection", artifacts(argument("resource_types", ["model"]))
    ),
    "guard left out": Attack("a guard without a result", "not_whole", artifacts(did_not_run)),
    "guard failed": Attack("a guard that failed", "not_whole", artifacts(ended("fail"))),
    "guard warned": Attack("a guard that warned", "not_whole", artifacts(ended("warn"))),
    "guard skipped": Attack("a guard that was skipped", "not_whole", artifacts(ended("skipped"))),
    "--vars": Attack(
        "`--vars` with a smaller minimum",
        "unknown_var",
        artifacts(argument("vars", {"min_audience_size": 1})),
    ),
    "disabled": Attack("a disabled guard", "guard_disabled", artifacts(switched_off)),
    "severity": Attack(
        "a guard with `severity: warn`", "guard_loosened", artifacts(loosened("severity", "warn"))
    ),
    "where": Attack(
        "a guard with a `where` that spares one user",
        "guard_loosened",
        artifacts(loosened("where", "user_id <> 'u0110'")),
    ),
    "limit": Attack("a guard with `limit: 0`", "guard_loosened", artifacts(loosened("limit", 0))),
    "fail_calc": Attack(
        "a guard with `fail_calc: 0`", "guard_loosened", artifacts(loosened("fail_calc", "0"))
    ),
    "error_if": Attack(
        "a guard with an `error_if` out of reach",
        "guard_loosened",
        artifacts(loosened("error_if", "> 1000000")),
    ),
    "warn_if": Attack(
        "a guard with a `warn_if` out of reach",
        "guard_loosened",
        artifacts(loosened("warn_if", "> 1000000")),
    ),
    "enabled": Attack(
        "a guard with `enabled: false` that ran all the same",
        "guard_loosened",
        artifacts(loosened("enabled", False)),
    ),
    "removed": Attack("a guard that is gone", "guard_removed", artifacts(removed)),
    "no check of the graph": Attack(
        "a run that does not start with the check of the graph", "guard_removed", artifacts(without_hook)
    ),
    "shadowed macro": Attack(
        "a macro in place of dbt's own `get_where_subquery`", "macro_shadowed", artifacts(shadowed)
    ),
    "around the gate": Attack(
        "an audience model that reads contacts past the gate", "gate_passed_by", artifacts(around_the_gate)
    ),
    "where false": Attack(
        "a guard's body emptied: `where false`",
        "guard_empty",
        artifacts(compiled_to("select 1 as user_id where false")),
    ),
    "limit 0": Attack(
        "a guard's body emptied: `limit 0`",
        "guard_empty",
        artifacts(
            compiled_to(
                "with members as (select * from warehouse.marts.audiences) select * from members limit 0"
            )
        ),
    ),
    "no sql": Attack("a guard without a body", "guard_empty", artifacts(compiled_to(""))),
    "other sql": Attack(
        "a guard that looks at something else",
        "guard_changed",
        artifacts(compiled_to("select user_id from warehouse.sample.raw_users where user_id = ''")),
    ),
    "unit test": Attack("a unit test that expects nothing", "guard_changed", artifacts(other_rows)),
    "contract": Attack("a contract without its constraints", "guard_changed", artifacts(without_check)),
    "another run's": Attack(
        "artifacts of another run, from another target path",
        "stale_artifacts",
        statement("update release.release set invocation_id = 'another'"),
    ),
    "never built": Attack(
        "a warehouse that no whole run built", "stale_artifacts", statement("drop table release.release")
    ),
    "missing": Attack("no warehouse", "no_warehouse", lambda build: build.warehouse.unlink()),
    "truncated": Attack(
        "a warehouse cut off behind its headers",
        "no_warehouse",
        lambda build: os.truncate(build.warehouse, 20_000),
    ),
    "other bytes": Attack(
        "a file that is no warehouse",
        "no_warehouse",
        lambda build: build.warehouse.write_bytes(b"no database"),
    ),
    "wal": Attack(
        "a write-ahead log beside the warehouse",
        "stale_wal",
        lambda build: build.warehouse.with_name("warehouse.duckdb.wal").touch(),
    ),
    "retired table": Attack(
        "a retired model's table that is still in delivery",
        "retired_table",
        statement("create table delivery.lookalikes as select 'u0110' as user_id"),
    ),
    "retired view": Attack(
        "a view of the raw users in published",
        "retired_table",
        statement("create view published.users as select * from sample.raw_users"),
    ),
    "inputs": Attack("an input file rewritten after the tests", "inputs_changed", files_of_today),
    "inputs set back": Attack(
        "an input file rewritten after the tests, its time of change set back",
        "inputs_changed",
        files_set_back,
    ),
    "planted member": Attack(
        "a member planted in what is delivered",
        "copies",
        statement(
            "insert into delivery.tailored_audience_members select * replace ('u0001' as user_id) "
            "from delivery.tailored_audience_members limit 1"
        ),
    ),
    "member planted everywhere": Attack(
        "a member planted in the marts, too, who is nobody in the raw input",
        "adults",
        statement(
            "insert into marts.tailored_audience_members select * replace ('u-planted' as user_id) "
            "from marts.tailored_audience_members where list_id = "
            "(select min(list_id) from delivery.tailored_audience_members) order by user_id limit 1; "
            "insert into delivery.tailored_audience_members select * replace ('u-planted' as user_id) "
            "from delivery.tailored_audience_members order by list_id, user_id limit 1"
        ),
    ),
    "candidate": Attack(
        "a file of the candidate rewritten after its audit",
        "candidate_changed",
        lambda build: None,
        rewritten_candidate,
    ),
    "as_of": Attack("a build of an earlier moment", "as_of_older", lambda build: build.next(-24)),
    "forgotten guard": Attack("the current generation made to forget a guard", "damaged", forgotten_guard),
}
"""By a short name; what stays of the run is green and whole but for the one thing."""


def try_attack(attack: Attack, later: Build) -> Outcome:
    """Attack a build that follows a published one, and publish it.

    Args:
        attack: what to try.
        later: such a build, to be broken.
    """
    attack.change(later)
    before = publish.digests(later.publish_dir / "generations"), later.current
    with attack.during():
        answer = later.run()
    rule = answer.output.partition("refused by ")[2].partition(":")[0]
    after = publish.digests(later.publish_dir / "generations"), later.current
    return Outcome(rule, answer.exit_code, after == before)


@dataclass(frozen=True)
class Job:
    """A `dbt build` with a hole in it, after which somebody publishes, whatever dbt said."""

    says: str
    rule: str
    prepare: Callable[[Build], object] = lambda build: None
    arguments: tuple[str, ...] = ()
    dbt_says: str = "refused at the run's start"


INVARIANT = f"tests/invariants/{GUARD}.sql"


def with_config(setting: str) -> Callable[[Build], None]:
    """A guard whose file loosens itself."""

    def prepare(build: Build) -> None:
        content = (build.project.path / INVARIANT).read_text()
        build.project.write(INVARIANT, f"{{{{ config({setting}) }}}}\n{content}")

    return prepare


def emptied_body(build: Build) -> None:
    """A guard whose file asks as before, and keeps nothing of what it finds."""
    content = (build.project.path / INVARIANT).read_text()
    build.project.write(INVARIANT, f"select * from (\n{content}) as found where false\n")


def artifacts_set_aside(build: Build) -> None:
    """A green run whose artifacts are kept in another folder, and a leak of which the next run turns red."""
    build.next(1 / 3600)
    target = build.project.path / "green"
    shutil.copytree(build.target, target)
    build.target = target
    build.project.edit(
        "models/marts/audiences/tailored_audience_members.sql",
        "bool_or(channel = 'email') as matched_email",
        "true as matched_email",
    )


JOBS = {
    "--empty": Job("`dbt build --empty`", "empty_or_sample", arguments=("--empty",), dbt_says="red"),
    "--select": Job(
        "`dbt build --select path:models/published`",
        "not_a_build",
        arguments=("--select", "path:models/published"),
    ),
    "--vars": Job(
        "`dbt build --vars '{min_audience_size: 1}'`",
        "unknown_var",
        arguments=("--vars", "{min_audience_size: 1}"),
        dbt_says="green",
    ),
    "disabled": Job("a guard with `enabled: false`", "not_a_build", with_config("enabled=false")),
    "error_if": Job(
        "a guard with an `error_if` out of reach", "not_a_build", with_config("error_if='> 1000000'")
    ),
    "limit": Job("a guard with `limit: 0`", "not_a_build", with_config("limit=0")),
    "emptied body": Job("a guard whose file selects nothing", "guard_empty", emptied_body, dbt_says="green"),
    "other target path": Job(
        "a leak, red, and the artifacts of the green build before from another target path",
        "copies",
        artifacts_set_aside,
        dbt_says="red",
    ),
}
"""Each a real build from the project's files, after one that was published."""


def in_place(project: Project) -> Build:
    """A built project as it stands."""
    return Build(project, project.warehouse, project.path / "target", project.path / "build" / "publish")


def run_job(job: Job, built: Project, folder: Path) -> tuple[str, Outcome]:
    """Publish a build, run another with a hole in it, and publish that.

    Args:
        job: the hole.
        built: a project after a whole green build; it is copied.
        folder: where to.

    Returns:
        What dbt said, and the outcome of the publication.
    """
    project = Project(Path(shutil.copytree(built.path, folder)))
    build = in_place(project)
    answer = build.run()
    assert answer.exit_code == 0, answer.output
    job.prepare(build)
    run = project.build(*job.arguments)
    said = "green" if run.success else "red" if run.statuses else "refused at the run's start"
    return said, try_attack(Attack(job.says, job.rule, lambda _: None), build)


def table(outcomes: dict[str, Outcome], jobs: dict[str, tuple[str, Outcome]]) -> str:
    """Both lists as Markdown."""
    lines = [
        "A real `dbt build` with a hole in it, and a publication, whatever dbt said. What is refused at the",
        "run's start leaves a manifest and no results of its own, hence `not_a_build`.",
        "",
        "| attack | dbt build | publication refused by | exit code | published unchanged |",
        "|---|---|---|--:|:-:|",
    ]
    for name, (said, outcome) in jobs.items():
        lines.append(f"| {JOBS[name].says} | {said} | {cells(outcome)} |")
    lines += [
        "",
        "A green, whole build in which one thing is changed before it is published, by somebody who can",
        "write to the folders of dbt:",
        "",
        "| attack | refused by | exit code | published unchanged |",
        "|---|---|--:|:-:|",
    ]
    lines += [f"| {ATTACKS[name].says} | {cells(outcome)} |" for name, outcome in outcomes.items()]
    return "\n".join(lines) + "\n"


def cells(outcome: Outcome) -> str:
    """An outcome as cells of a row."""
    rule = f"`{outcome.rule}`" if outcome.rule else "**nothing**"
    return f"{rule} | {outcome.exit_code} | {'yes' if outcome.is_unchanged else '**no**'}"


def expected(attack: Attack | Job) -> Outcome:
    """The rule refuses it by its own exit code, and nothing that is published changes."""
    return Outcome(attack.rule, RULES[attack.rule].code, is_unchanged=True)


def is_refused(attack: Attack | Job, outcome: Outcome) -> bool:
    """Whether it ended like that."""
    return outcome == expected(attack)


@click.command(help=__doc__)
@click.option(
    "--table",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/attacks.md"),
    show_default=True,
    help="Markdown file to write.",
)
def main(target: Path) -> None:
    """Try every attack, and write the table; exit 1 if one is not refused by its rule."""
    outcomes: dict[str, Outcome] = {}
    jobs: dict[str, tuple[str, Outcome]] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        built = copy_project(folder / "built")
        assert built.build().success
        first = Build.of(built, folder / "first")
        assert first.run().exit_code == 0
        first.next(1)
        for number, (name, attack) in enumerate(track(ATTACKS.items(), "attacks")):
            outcomes[name] = try_attack(attack, first.copy(folder / str(number)))
            shutil.rmtree(folder / str(number))
        for name, job in track(JOBS.items(), "jobs"):
            jobs[name] = run_job(job, built, folder / "job")
            shutil.rmtree(folder / "job")
    target.write_text(table(outcomes, jobs))
    silent = [attack.says for name, attack in ATTACKS.items() if not is_refused(attack, outcomes[name])]
    silent += [job.says for name, job in JOBS.items() if not is_refused(job, jobs[name][1])]
    for says in silent:
        click.echo(f"not refused by its rule: {says}", err=True)
    raise click.exceptions.Exit(bool(silent))


if __name__ == "__main__":
    main()

"""What must not change unseen: the guards, and the policy with every model of the group identity.

Two locks are kept in the repository, a line per thing with a hash of its content. A change to a guard, to a
policy seed, to a model of identity or to a macro that it calls is refused by CI until the lock is written
anew, which takes the id and the reason of a review: tests/locks/reviews.csv has them beside what changed.
The guards' lock is asked at every run's start, too (macros/checks/check_guards.sql), and by publish.py.

The hash of a guard covers its compiled SQL, in which everything is taken out that differs from one machine
or moment to the next: relations are named by their models, as_of and the run's id by those words.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from dbt_artifacts import GUARD_CONFIG, INCIDENT, JUDGED_IN_JINJA, Artifacts
from publish_rules import Refusal, some

Node = dict[str, Any]

REVIEWS = Path("tests/locks/reviews.csv")
REVIEW_COLUMNS = ["id", "date", "lock", "digest", "reason", "changed"]


@dataclass(frozen=True, order=True)
class Entry:
    """A line of a lock: what is locked, a hash of its content, and the review that agreed to it."""

    kind: str
    name: str
    sha256: str
    review: str

    @property
    def key(self) -> tuple[str, str]:
        """What is locked."""
        return self.kind, self.name


Content = dict[tuple[str, str], str]
"""What a project holds: the hash of each locked thing, by kind and name."""


def digest(document: object) -> str:
    """The first half of the SHA-256 of a document, in hex."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Lock:
    """A lock's file: text around one line per entry, which is all that is read of it."""

    name: str
    file: Path
    before: str = ""
    after: str = ""

    LINE = re.compile(r"^(\w+),([^,\n]+),([0-9a-f]{32}),([^,\n]+)$", re.M)

    def entries(self) -> list[Entry]:
        """The entries, in order; none where the file is missing."""
        text = self.file.read_text() if self.file.exists() else ""
        return sorted(Entry(*found) for found in self.LINE.findall(text))

    def content(self) -> Content:
        """What the lock says."""
        return {entry.key: entry.sha256 for entry in self.entries()}

    def faults(self, content: Content) -> list[str]:
        """How the project differs from the lock, and the lock from what its last review agreed to."""
        faults = differences(self.content(), content)
        agreed = [review["digest"] for review in read_reviews() if review["lock"] == self.name]
        if agreed[-1:] != [digest(self.entries_as_lists())]:
            faults.append(f"{self.file.name} is not what the last review of it agreed to")
        return faults

    def entries_as_lists(self) -> list[list[str]]:
        """The entries without their reviews, for the digest of a review."""
        return [[entry.kind, entry.name, entry.sha256] for entry in self.entries()]

    def write(self, content: Content, review: str, reason: str) -> list[str]:
        """Write the lock anew and add the review; nothing happens where nothing changed.

        Returns:
            What changed.

        Raises:
            click.UsageError: the review's id or reason says nothing, or the id was used before.
        """
        changed = differences(self.content(), content)
        reviews = read_reviews()
        if not changed:
            return []
        if not re.fullmatch(r"[\w./#-]+", review) or len(reason.split()) < 3:
            raise click.UsageError("a review has an id without blanks, and a reason of at least three words")
        if any((known["id"], known["lock"]) == (review, self.name) for known in reviews):
            raise click.UsageError(f"the review {review} of the {self.name} is in {REVIEWS} already")
        old = {entry.key: entry for entry in self.entries()}
        lines = []
        for (kind, name), sha256 in sorted(content.items()):
            known = old.get((kind, name))
            agreed = known.review if known and known.sha256 == sha256 else review
            lines.append(f"{kind},{name},{sha256},{agreed}")
        for file in (self.file, REVIEWS):
            file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.before + "\n".join(lines) + "\n" + self.after)
        reviews.append(
            {
                "id": review,
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                "lock": self.name,
                "digest": digest(self.entries_as_lists()),
                "reason": reason,
                "changed": "; ".join(changed) if old else f"the first {len(lines)} entries",
            }
        )
        stream = io.StringIO()
        writer = csv.DictWriter(stream, REVIEW_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(reviews)
        REVIEWS.write_text(stream.getvalue())
        return changed


GUARDS = Lock(
    "guards",
    Path("macros/checks/required_guards.sql"),
    "{#\n    The guards that must be there: kind, name, hash of compiled SQL and config, and the review that"
    "\n    agreed to it (tests/locks/reviews.csv). Written by scripts/lock.py, read by check_guards and by"
    "\n    scripts/publish.py.\n#}\n{% macro required_guards() %}\n{% set guards %}\n",
    "{% endset %}\n{{ return(guards.split()) }}\n{% endmacro %}\n",
)
POLICY = Lock("policy", Path("tests/locks/policy.csv"), "kind,name,sha256,review\n")


def read_reviews() -> list[dict[str, str]]:
    """The reviews, oldest first."""
    if not REVIEWS.exists():
        return []
    with REVIEWS.open(newline="") as stream:
        return list(csv.DictReader(stream))


def differences(locked: Content, content: Content) -> list[str]:
    """What was added, changed and removed, as sentences."""
    return [
        f"{verb} {kind} {name}"
        for verb, keys in (
            ("added", content.keys() - locked.keys()),
            ("changed", {key for key in content.keys() & locked.keys() if content[key] != locked[key]}),
            ("removed", locked.keys() - content.keys()),
        )
        for kind, name in sorted(keys)
    ]


class Compiled:
    """Compiled SQL with everything taken out that is of one machine, one moment or one input.

    Args:
        artifacts: the run that compiled it.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        """Find what the run put in: relations, the moment, and what stands for a state before the first."""
        manifest, results = artifacts.manifest, artifacts.results_by_id
        nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
        self.relations = {node["relation_name"]: node["name"] for node in nodes if node.get("relation_name")}
        (release,) = (node for node in artifacts.models() if node["name"] == "release")
        sql = results[release["unique_id"]]["compiled_code"]
        self.moment = re.search(r"cast\('[^']+' as timestamptz\)", sql)[0]
        self.run_id = artifacts.run_id
        self.states = {
            " ".join(
                f"cast(null as {column['data_type']}) as {name}," for name, column in node["columns"].items()
            ).rstrip(","): node["name"]
            for node in artifacts.models()
            if node["schema"] == "state"
        }

    def normalize(self, sql: str) -> str:
        """The SQL as it is on every machine."""
        sql = " ".join(sql.replace(self.moment, "as_of").replace(self.run_id, "run_id").split())
        sql = re.sub(
            r'"[^"]+"\."[^"]+"\."[^"]+"',
            lambda found: self.relations.get(found[0], found[0]),
            sql,
        )
        # a build with the key of sizes and one without it have the same guards
        sql = re.sub(r"\b(True|False) or count", "has_size_key or count", sql)
        for columns, name in self.states.items():
            sql = sql.replace(f"( select {columns} where false )", name)
        return sql


def closure(macros: dict[str, Node], roots: Iterable[str], project: str) -> Iterator[Node]:
    """The project's macros that these call, and those that they call in turn; the lock itself is none."""
    waiting, seen = list(roots), set()
    while waiting:
        key = waiting.pop()
        macro = macros.get(key, {})
        if key not in seen and macro.get("package_name") == project and macro["name"] != "required_guards":
            seen.add(key)
            yield macros[key]
            waiting += macros[key]["depends_on"]["macros"]


def contract(node: Node) -> list[object]:
    """What the contract of a model holds a build to."""
    return [
        node["config"]["contract"]["enforced"],
        [[name, column["data_type"], column["constraints"]] for name, column in node["columns"].items()],
        node["constraints"],
    ]


def guards_of(artifacts: Artifacts) -> Content:
    """Every guard of a project after a whole build of it.

    Data tests by compiled SQL and config; those of the incident assessment, which most builds are without,
    by what they are compiled from; unit tests by their rows; models by their contracts; checks at the run's
    start, and tests that are judged in Jinja, by the macros that they call.
    """
    manifest, results, macros = artifacts.manifest, artifacts.results_by_id, artifacts.manifest["macros"]
    project = manifest["metadata"]["project_name"]
    compiled = Compiled(artifacts)
    content: Content = {}

    def sources(*roots: str) -> list[str]:
        return sorted(macro["macro_sql"] for macro in closure(macros, roots, project))

    switched_off = {key: nodes[0] for key, nodes in manifest["disabled"].items()}
    for key, node in (manifest["nodes"] | manifest["unit_tests"] | switched_off).items():
        kind, name = node["resource_type"], node["name"]
        is_incident = node["original_file_path"].startswith(INCIDENT)
        if kind == "test":
            config = {setting: str(node["config"].get(setting)).lower() for setting in GUARD_CONFIG}
            if is_incident:
                config.pop("enabled")
                test = f"macro.{project}.test_{node['test_metadata']['name']}"
                content["incident_test", name] = digest(
                    [node["raw_code"], node["test_metadata"], config, sources(test)]
                )
            elif key in results:
                judge = f"macro.{project}.{JUDGED_IN_JINJA.get(name)}"
                content["data_test", name] = digest(
                    [compiled.normalize(results[key].get("compiled_code") or ""), config, sources(judge)]
                )
        elif kind == "unit_test":
            shown = [node[part] for part in ("model", "given", "expect", "overrides")]
            content["unit_test", f"{node['model']}.{name}"] = digest(shown)
        elif kind == "model" and node["config"]["contract"]["enforced"]:
            content["incident_contract" if is_incident else "contract", name] = digest(contract(node))
        elif kind == "operation":
            hook = node["raw_code"].strip(" {}")
            content["run_start", hook] = digest([hook, sources(*node["depends_on"]["macros"])])
    return content


def policy_of(manifest: dict[str, Any]) -> Content:
    """The policy seeds, the models of the group identity, and the macros that these call."""
    project = manifest["metadata"]["project_name"]
    content: Content = {}
    called: set[str] = set()
    for node in manifest["nodes"].values():
        if node["resource_type"] == "seed" and node["schema"] == "policy":
            types = node["config"]["column_types"]
            content["seed", node["name"]] = digest([Path(node["original_file_path"]).read_text(), types])
        elif node["resource_type"] == "model" and node["config"]["group"] == "identity":
            config = [node["config"][setting] for setting in ("enabled", "materialized", "schema", "access")]
            content["model", node["name"]] = digest([node["raw_code"], config, contract(node)])
            called.update(node["depends_on"]["macros"])
    for macro in closure(manifest["macros"], called, project):
        content["macro", macro["name"]] = digest(macro["macro_sql"])
    return content


def check_guards_are_locked(artifacts: Artifacts) -> None:
    """Refuse a run whose guards are not those of the lock; guards beside them are no fault.

    Unit tests of input: seeds alone are switched off with other inputs, so they are looked for only there.

    Raises:
        Refusal: guard_changed.
    """
    content, locked = guards_of(artifacts), GUARDS.content()
    is_sample = artifacts.variables.get("input", "seeds") == "seeds"
    changed = [
        name
        for (kind, name), sha256 in locked.items()
        if content.get((kind, name)) != sha256 and (kind != "unit_test" or is_sample)
    ]
    if changed or not locked:
        raise Refusal("guard_changed", some(changed) if changed else f"{GUARDS.file} has no guard")


def contents(artifacts: Artifacts) -> dict[str, tuple[Lock, Content]]:
    """Both locks, each with what the project holds."""
    return {"guards": (GUARDS, guards_of(artifacts)), "policy": (POLICY, policy_of(artifacts.manifest))}


def required_guards() -> set[str]:
    """Names of the data tests and the checks at the run's start that every run must have."""
    return {entry.name for entry in GUARDS.entries() if entry.kind in ("data_test", "run_start")}


def retired_guards() -> set[str]:
    """Names of the data tests that were there once, until a review agreed to be without them."""
    changes = "; ".join(review["changed"] for review in read_reviews() if review["lock"] == GUARDS.name)
    return set(re.findall(r"\bremoved data_test (\S+?)(?:;|$)", changes))


def compiled() -> Artifacts:
    """The project as its files are now, compiled by dbt, which runs no check and writes no table.

    Raises:
        click.ClickException: dbt cannot compile it, or a mart is not built, whose columns a test looks at.
    """
    from dbt.cli.main import dbtRunner  # takes a second, which publish.py need not wait for

    parsed = Path("target/partial_parse.msgpack")
    known = ["--partial-parse-file-path", str(parsed)] if parsed.exists() else []
    with TemporaryDirectory() as target:
        answer = dbtRunner().invoke(["--quiet", "compile", "--target-path", target, *known])
        if not answer.success:
            raise click.ClickException(f"dbt compile: {answer.exception}")
        artifacts = Artifacts.read(Path(target))
    unbuilt = [
        node["name"]
        for key, node in artifacts.guards.items()
        if node["name"].startswith("no_identifiers")
        and "union all" not in artifacts.results_by_id[key]["compiled_code"]
    ]
    if unbuilt:
        raise click.ClickException(f"build the project once: {some(unbuilt)} finds no column to look at")
    return artifacts


@click.group(help=__doc__)
def main() -> None:
    """The commands."""


@main.command("write")
@click.argument(
    "names", metavar="guards|policy...", nargs=-1, required=True, type=click.Choice(["guards", "policy"])
)
@click.option("--review", required=True, help="Id of the review, such as an issue's number.")
@click.option("--reason", required=True, help="Why this may be so, in a sentence.")
def write(names: tuple[str, ...], review: str, reason: str) -> None:
    """Lock the guards, the policy or both as they are now; the marts must have been built once."""
    artifacts = compiled()
    for name in names:
        lock, content = contents(artifacts)[name]
        for line in lock.write(content, review, reason) or ["nothing changed"]:
            click.echo(f"{name}: {line}")


@main.command("check")
def check() -> None:
    """Say what differs from the locks; exit 1 if anything does."""
    faults = [fault for lock, content in contents(compiled()).values() for fault in lock.faults(content)]
    for fault in faults:
        click.echo(fault, err=True)
    raise click.exceptions.Exit(bool(faults))


if __name__ == "__main__":
    main()

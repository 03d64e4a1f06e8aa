"""Publish what dbt built: a whole, proved, read-only generation that BI opens in place of the warehouse.

`publish` takes the warehouse and the artifacts of the last `dbt build`, writes the published and
delivered tables into fresh files, audits those very files, and flips the link `current` to them in
one step. Whatever is wrong, `current` stays as it was, the rule is named, and the refusal is kept in
refusals.jsonl. Readers never wait and never see half a generation.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import duckdb
import yaml
from candidate_audit import FILES, SCHEMAS, Audit, literal, parquet_of, quoted, table_of
from dbt_artifacts import Artifacts, Relation, check_gate, check_guards, check_guards_can_fail, check_run
from filelock import FileLock, Timeout
from lock import check_guards_are_locked, required_guards, retired_guards
from publish_rules import RULES, Refusal, some
from rich.console import Console
from rich.table import Table

STORAGE_VERSION = "v1.0.0"
"""Of the published files: every DuckDB from 1.0 to 2.x opens it."""

LEFTOVER = ".tmp-"
"""How names begin that only an unfinished publication leaves behind."""

Publication = dict[str, Any]
Seen = TypeVar("Seen")


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file of a generation but its own publication.json, by path."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / "publication.json"
    }


def sync(path: Path) -> None:
    """Have a file or folder on the disk before anything refers to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Remove a generation, which is read-only, or what was to become one."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


class Generations:
    """The publishing folder: generations/, the link current, the log of refusals.

    Args:
        folder: the folder; `lock` makes it.
    """

    def __init__(self, folder: Path) -> None:
        """Name the parts."""
        self.folder = folder
        self.generations = folder / "generations"
        self.current = folder / "current"
        self.refusals = folder / "refusals.jsonl"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder alone, and clean what a killed publisher left.

        Raises:
            Refusal: locked, not_written.
        """
        try:
            self.generations.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=0):
                for leftover in [*self.generations.glob(f"{LEFTOVER}*"), *self.folder.glob(f"{LEFTOVER}*")]:
                    leftover.unlink() if leftover.is_symlink() else remove(leftover)
                yield
        except Timeout:
            raise Refusal("locked", f"{self.folder} is in the hands of another publisher") from None
        except OSError as error:
            raise Refusal("not_written", f"{self.folder}: {error.strerror}") from None

    def ids(self) -> list[str]:
        """The generations, oldest moment first."""
        return sorted(path.name for path in self.generations.glob("[0-9]*") if path.is_dir())

    def current_id(self) -> str | None:
        """The generation that readers get."""
        return self.current.readlink().name if self.current.is_symlink() else None

    def publication(self, generation: str) -> Publication:
        """A generation's publication.json, once it is known to be the one that was written.

        Raises:
            Refusal: damaged.
        """
        file = self.generations / generation / "publication.json"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise Refusal("damaged", f"{generation}: publication.json: {error.strerror}") from None
        if not generation.endswith(hashlib.sha256(content).hexdigest()[:16]):
            raise Refusal("damaged", f"{generation}: publication.json is not the one that was published")
        return json.loads(content)

    def verify(self, generation: str) -> None:
        """Read every byte of a generation again.

        Raises:
            Refusal: damaged.
        """
        expected = self.publication(generation)["files"]
        try:
            found = digests(self.generations / generation)
        except OSError as error:
            raise Refusal("damaged", f"{generation}: {error.strerror}") from None
        wrong = {name for name in set(expected) | set(found) if expected.get(name) != found.get(name)}
        if wrong:
            raise Refusal("damaged", f"{generation}: {some(list(wrong))}")

    def look_at_each(self, look: Callable[[str], Seen]) -> dict[str, Seen]:
        """What a look at each generation gives, oldest moment first.

        Nobody who looks holds the lock, so retention may take one away meanwhile: that one is left out.
        """
        seen = {}
        for generation in self.ids():
            try:
                seen[generation] = look(generation)
            except Refusal:
                if generation in self.ids():
                    raise
        return seen

    def flip(self, generation: str) -> None:
        """Point `current` to a generation, in one step of the file system."""
        link = self.folder / f"{LEFTOVER}current"
        link.symlink_to(Path("generations") / generation)
        link.replace(self.current)
        sync(self.folder)

    def prune(self, keep: int) -> None:
        """Remove all but the newest generations; the current one stays.

        One to be removed loses its name first: a kill half-way leaves a leftover, and no generation that
        lacks files. Whoever has a file of it open reads on.
        """
        for generation in self.ids()[:-keep]:
            if generation != self.current_id():
                leftover = (self.generations / generation).rename(
                    self.generations / f"{LEFTOVER}{generation}"
                )
                remove(leftover)

    def refuse(self, refusal: Refusal, run_id: str | None) -> None:
        """Add a line to the log, with the digest of everything before it."""
        before = self.refusals.read_bytes() if self.refusals.exists() else b""
        line = {
            "at": datetime.now(UTC).isoformat(),
            "rule": refusal.rule,
            "exit_code": refusal.exit_code,
            "why": refusal.why,
            "invocation_id": run_id,
            "current": self.current_id(),
            "previous": hashlib.sha256(before).hexdigest(),
        }
        torn = b"" if before.endswith(b"\n") or not before else b"\n"  # a line that a kill cut short
        line["previous"] = hashlib.sha256(before + torn).hexdigest()
        with self.refusals.open("ab") as log:
            log.write(torn + json.dumps(line).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def log_digest(self) -> dict[str, Any]:
        """How long the log is and what it says, for the next publication to vouch for."""
        content = self.refusals.read_bytes() if self.refusals.exists() else b""
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def verify_log(self) -> int:
        """Follow the log from its first line, and past every generation that vouches for its beginning.

        Returns:
            Number of refusals.

        Raises:
            Refusal: log_broken.
        """
        content = self.refusals.read_bytes() if self.refusals.exists() else b""
        seen = 0
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None  # cut short by a kill; what follows vouches for it
            if entry and entry.get("previous") != hashlib.sha256(content[:seen]).hexdigest():
                raise Refusal("log_broken", f"line {number} does not follow what stands before it")
            seen += len(line)
        for generation, publication in self.look_at_each(self.publication).items():
            vouched = publication["refusals"]
            if hashlib.sha256(content[: vouched["bytes"]]).hexdigest() != vouched["sha256"]:
                raise Refusal("log_broken", f"it lacks refusals that were there before {generation}")
        return len(lines)


def open_warehouse(warehouse: Path, database: str, spill: Path) -> duckdb.DuckDBPyConnection:
    """The warehouse, attached read-only under the name that dbt gave it: nobody writes it until it closes.

    Raises:
        Refusal: no_warehouse, stale_wal.
    """
    if warehouse.with_name(f"{warehouse.name}.wal").exists():
        raise Refusal("stale_wal", f"{warehouse.name}.wal: open the warehouse once, or build again")
    if not warehouse.is_file():
        raise Refusal("no_warehouse", f"no file {warehouse}")
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "temp_directory": str(spill)}
    )
    try:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach {literal(warehouse)} as {quoted(database)} (read_only)")
    except duckdb.Error as error:
        connection.close()
        raise Refusal("no_warehouse", f"{warehouse} does not open: {type(error).__name__}") from None
    return connection


def check_warehouse(connection: duckdb.DuckDBPyConnection, artifacts: Artifacts) -> datetime:
    """Refuse a warehouse that is not the one that the artifacts tell of.

    Returns:
        The moment for which everything was decided.

    Raises:
        Refusal: stale_artifacts, retired_table, inputs_changed.
    """
    database = artifacts.database
    try:
        built = connection.execute(
            f"select invocation_id, as_of from {quoted(database)}.release.release"
        ).fetchall()
    except duckdb.Error:
        built = []
    if [run_id for run_id, _ in built] != [artifacts.run_id]:
        raise Refusal("stale_artifacts", "the warehouse was built by another run than the artifacts tell of")
    readable = {
        f"{schema}.{name}"
        for schema, name in connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_catalog = ? and table_schema in ('published', 'delivery')",
            [database],
        ).fetchall()
    }
    published = {relation.path for relation in artifacts.relations()}
    if readable != published:
        raise Refusal("retired_table", some(list(readable ^ published)))
    files = artifacts.input_files()
    started_at = artifacts.started_at.timestamp()
    changed = [  # st_ctime, too: st_mtime is what its writer says it is
        name for name, file in files.items() if max(file.stat().st_mtime, file.stat().st_ctime) >= started_at
    ]
    if files:
        changed += [name for name in artifacts.inputs() if name not in files]
    if changed:
        raise Refusal("inputs_changed", f"gone, or newer than the run that read them: {some(changed)}")
    return built[0][1]


def write_candidate(
    connection: duckdb.DuckDBPyConnection, database: str, relations: list[Relation], folder: Path
) -> None:
    """Copy the relations into fresh DuckDB files, rows in order and described as in dbt, and into Parquet."""
    for file in FILES.values():
        (folder / file).mkdir(parents=True)
        connection.execute(
            f"attach {literal(folder / f'{file}.duckdb')} as {file} (storage_version '{STORAGE_VERSION}')"
        )
    for schema, file in FILES.items():
        connection.execute(f"create schema if not exists {file}.{SCHEMAS[schema]}")
    for relation in relations:
        table = table_of(relation)
        source = f"{quoted(database)}.{relation.schema}.{quoted(relation.name)}"
        connection.execute(f"create table {table} as select * from {source} order by all")
        comments = {f"table {table}": relation.description} | {
            f"column {table}.{quoted(name)}": text for name, text in relation.columns.items()
        }
        for what, text in comments.items():
            connection.execute(f"comment on {what} is '{text.replace(chr(39), chr(39) * 2)}'")
        connection.execute(
            f"copy (select * from {table} order by all) to {literal(parquet_of(folder, relation))} "
            "(format parquet, compression zstd)"
        )
    for file in FILES.values():
        connection.execute(f"checkpoint {file}")
        connection.execute(f"detach {file}")


def check_space(connection: duckdb.DuckDBPyConnection, artifacts: Artifacts, folder: Path) -> None:
    """Refuse before writing what the disk has no room for: a generous guess from rows and columns.

    Raises:
        Refusal: no_space.
    """
    cells = sum(
        connection.execute(
            f"select count(*) from {quoted(artifacts.database)}.{relation.schema}.{quoted(relation.name)}"
        ).fetchone()[0]
        * len(relation.columns)
        for relation in artifacts.relations()
    )
    needed = 64 * 2**20 + cells * 64
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Refusal("no_space", f"{folder} has {free:,} bytes left, and needs {needed:,}")


def content_digest(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, Any]:
    """Rows of a relation, and a SHA-256 of its content that does not depend on their order."""
    rows, digest = connection.execute(
        "select count(*), sha256(coalesce(string_agg(row_digest, '' order by row_digest), '')) "
        f"from (select sha256(cast(to_json(content) as varchar)) as row_digest from {relation} as content)"
    ).fetchone()
    return {"rows": rows, "sha256": digest}


def git(*arguments: str) -> str | None:
    """What git says of the project; None where it is not in a repository."""
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def difference(
    connection: duckdb.DuckDBPyConnection,
    relations: list[Relation],
    previous: tuple[str, Publication, Path] | None,
) -> dict[str, Any] | None:
    """What changes for readers: rows per relation, and rows of it that are new or gone, as_of aside.

    Args:
        connection: with the candidate attached.
        relations: what is published.
        previous: the current generation's id, publication and folder; None if there is none.
    """
    if previous is None:
        return None
    generation, publication, folder = previous
    changes: dict[str, Any] = {}
    for relation in relations:
        new = f"select * exclude (as_of) from {table_of(relation)}"
        if publication["relations"].get(relation.path, {}).get("columns") != list(relation.columns):
            changes[relation.path] = {"added": None, "removed": None}  # other columns: nothing to compare
            continue
        old = f"select * exclude (as_of) from read_parquet({literal(parquet_of(folder, relation))})"
        added, removed = connection.execute(
            f"select (select count(*) from (({new}) except all ({old}))), "
            f"(select count(*) from (({old}) except all ({new})))"
        ).fetchone()
        changes[relation.path] = {"added": added, "removed": removed}
    gone = sorted(set(publication["relations"]) - {relation.path for relation in relations})
    return {"previous": generation, "relations": changes, "relations_gone": gone}


def describe(
    connection: duckdb.DuckDBPyConnection,
    artifacts: Artifacts,
    as_of: datetime,
    results: list[dict[str, object]],
    found: dict[str, dict[str, Any]],
) -> Publication:
    """Everything that publication.json says of a candidate but its difference and the log."""
    status = git("status", "--porcelain")
    files = artifacts.input_files()
    valid_until = connection.execute("select min(valid_until) from delivered_members").fetchone()[0]
    return {
        "published_at": datetime.now(UTC).isoformat(),
        "as_of": as_of.astimezone(UTC).isoformat(),
        "valid_until": valid_until and valid_until.astimezone(UTC).isoformat(),
        "invocation_id": artifacts.run_id,
        "vars": artifacts.variables,
        "git": {"sha": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)},
        "versions": {
            "project": yaml.safe_load(Path("dbt_project.yml").read_text())["version"],
            "dbt": artifacts.results["metadata"]["dbt_version"],
            "duckdb": duckdb.__version__,
            "storage": STORAGE_VERSION,
            "python": platform.python_version(),
        },
        "inputs": {
            name: {"file": files[name].name, "sha256": sha256_of(files[name])}
            if name in files
            else content_digest(connection, relation)
            for name, relation in artifacts.inputs().items()
        },
        "policy": {
            name: content_digest(connection, relation) for name, relation in artifacts.policy().items()
        },
        "relations": {
            relation.path: {
                "rows": connection.execute(f"select count(*) from {table_of(relation)}").fetchone()[0],
                "columns": list(relation.columns),
                "primary_key": relation.primary_key,
                "not_null": relation.not_null,
            }
            for relation in artifacts.relations()
        },
        "guards": artifacts.guard_results(),
        "audit": results,
        "files": found,
    }


def seal(folder: Path, publication: Publication) -> str:
    """Write publication.json, make everything read-only and have it on the disk.

    The folder of the ad server's Parquet files, and the file that it opens, are closed to others than
    owner and group.

    Returns:
        The generation's id: its moment, and a digest of publication.json.
    """
    content = (json.dumps(publication, indent=2) + "\n").encode()
    (folder / "publication.json").write_bytes(content)
    for path in sorted(folder.rglob("*"), reverse=True):
        mode = 0o555 if path.is_dir() else 0o444
        private = path.relative_to(folder).parts[0] in ("delivery", "delivery.duckdb")
        path.chmod(mode & ~0o007 if private else mode)
        sync(path)
    sync(folder)
    moment = re.sub(r"[^0-9T]", "", f"{datetime.fromisoformat(publication['as_of']):%Y%m%dT%H%M%S.%f}")
    return f"{moment}-{hashlib.sha256(content).hexdigest()[:16]}"


def put_in_place(store: Generations, candidate: Path, publication: Publication, keep: int) -> str:
    """Make an audited candidate the current generation; the caller holds the lock.

    A kill at any step leaves the generation before or this one to readers, each of them whole.

    Returns:
        Its id.
    """
    generation = seal(candidate, publication)
    candidate.rename(store.generations / generation)
    sync(store.generations)
    store.flip(generation)
    store.prune(keep)
    return generation


def make_generation(
    store: Generations,
    warehouse: Path,
    artifacts: Artifacts,
    keep: int,
    say: Callable[[str], object],
) -> tuple[str, Publication]:
    """Check, write, audit and flip; the caller holds the lock.

    Returns:
        The current generation and what it says of itself.

    Raises:
        Refusal: any rule but those of verify and rollback.
    """
    current = store.current_id()
    previous = (current, store.publication(current), store.generations / current) if current else None
    say("reading the artifacts")
    check_run(artifacts)
    guards = (
        [guard["name"] for guard in previous[1]["guards"] if not guard["is_incident"]] if previous else []
    )
    check_guards(artifacts, required_guards(), guards, retired_guards())
    check_gate(artifacts)
    candidate = store.generations / f"{LEFTOVER}candidate"
    connection = open_warehouse(warehouse, artifacts.database, store.generations / f"{LEFTOVER}spill")
    try:
        as_of = check_warehouse(connection, artifacts)
        if previous and previous[1]["invocation_id"] == artifacts.run_id:
            store.verify(current)
            return current, previous[1]
        if previous and as_of < datetime.fromisoformat(previous[1]["as_of"]):
            raise Refusal("as_of_older", f"{as_of:%Y-%m-%d %H:%M:%S} is before that of {current}")
        say("planning every guard")
        check_guards_can_fail(artifacts, connection)
        check_guards_are_locked(artifacts)
        check_space(connection, artifacts, store.folder)
        say("writing the candidate")
        relations = artifacts.relations()
        write_candidate(connection, artifacts.database, relations, candidate)
        found = digests(candidate)
        say("auditing the candidate")
        audit = Audit(connection, artifacts, candidate, as_of)
        publication = describe(connection, artifacts, as_of, audit.audit(), found)
        publication["difference"] = difference(connection, relations, previous)
        publication["refusals"] = store.log_digest()
    except duckdb.IOException as error:
        raise Refusal("not_written", f"{candidate}: {type(error).__name__}") from None
    except duckdb.Error as error:  # its text may hold a value
        raise Refusal("no_warehouse", f"{warehouse} cannot be read: {type(error).__name__}") from None
    else:
        connection.close()
        if digests(candidate) != found:
            raise Refusal("candidate_changed", "somebody wrote to the candidate during its audit")
        return put_in_place(store, candidate, publication, keep), publication
    finally:
        connection.close()
        if candidate.exists():
            remove(candidate)


def exit_codes(names: Iterable[str] = RULES) -> str:
    """Rules with their exit codes, for --help."""
    lines = "\n".join(f"  {RULES[name].code}  {name}: {RULES[name].says}" for name in names)
    return f"\b\nExit codes beside 0; each names the rule that does not hold:\n{lines}"


class Command(click.Command):
    """A command that ends a Refusal with its message and exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            click.echo(f"refused by {refusal}\nthe rule: {RULES[refusal.rule].says}", err=True)
            raise click.exceptions.Exit(refusal.exit_code) from None


class Commands(click.Group):
    """The group of such commands."""

    command_class = Command


DIRECTORY = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/publish"),
    show_default=True,
    help="Folder of the generations.",
)


@click.group(cls=Commands, help=__doc__, epilog=exit_codes())
def main() -> None:
    """The commands."""


@main.command("publish")
@DIRECTORY
@click.option(
    "--warehouse",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="CONSENTED_AUDIENCES_WAREHOUSE",
    default=Path("build/warehouse.duckdb"),
    show_default=True,
    help="DuckDB file that dbt built.",
)
@click.option(
    "--target-path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("target"),
    show_default=True,
    help="Folder of the artifacts of that build.",
)
@click.option("--keep", type=click.IntRange(min=1), default=5, show_default=True, help="Generations to keep.")
def publish(folder: Path, warehouse: Path, target_path: Path, keep: int) -> None:
    """Publish the last build as a new generation."""
    console = Console(stderr=True)
    store = Generations(folder)
    with store.lock():
        run_id = None
        try:
            artifacts = Artifacts.read(target_path)
            run_id = artifacts.run_id
            with console.status("publishing") as status:
                generation, publication = make_generation(store, warehouse, artifacts, keep, status.update)
        except OSError as error:
            refusal = Refusal("not_written", f"{folder}: {error.strerror}")
            store.refuse(refusal, run_id)
            raise refusal from None
        except Refusal as refusal:
            store.refuse(refusal, run_id)
            raise
    rows = {name.split(".")[1]: relation["rows"] for name, relation in publication["relations"].items()}
    click.echo(f"published {generation}, as of {publication['as_of']}: ", nl=False)
    click.echo(", ".join(f"{count:,} {name}" for name, count in rows.items()))


@main.command("status")
@DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(folder: Path, as_json: bool) -> None:
    """Say which generation is current, and which are kept."""
    store = Generations(folder)
    current = store.current_id()
    if current is None:
        raise Refusal("no_generation", f"nothing is published in {folder}")
    rows = [
        {
            "generation": generation,
            "is_current": generation == current,
            **{
                name: publication[name]
                for name in ("as_of", "published_at", "valid_until", "git", "versions", "invocation_id")
            },
            "rows": {path: relation["rows"] for path, relation in publication["relations"].items()},
            "guards": len(publication["guards"]),
        }
        for generation, publication in store.look_at_each(store.publication).items()
    ]
    if as_json:
        click.echo(json.dumps({"current": current, "generations": rows}, indent=2))
        return
    table = Table(header_style="bold")
    for name in ("", "generation", "as of", "published at", "valid until", "rows", "guards passed"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            "current" if row["is_current"] else "",
            row["generation"],
            row["as_of"][:19],
            row["published_at"][:19],
            (row["valid_until"] or "")[:19],
            f"{sum(row['rows'].values()):,}",
            f"{row['guards']:,}",
        )
    Console().print(table)


@main.command("rollback")
@DIRECTORY
@click.option("--to", "generation", help="Generation to go back to; the one before the current by default.")
def rollback(folder: Path, generation: str | None) -> None:
    """Make an earlier generation the current one again, once every byte of it is read.

    Whoever withdrew since then is in it again: it is for the hours until the next build.
    """
    store = Generations(folder)
    with store.lock():
        ids, current = store.ids(), store.current_id()
        earlier = [known for known in ids if current and known < current]
        target = generation or (earlier[-1] if earlier else None)
        if target is None or target not in ids:
            raise Refusal("no_generation", f"no generation {target or 'before the current one'} in {folder}")
        store.verify(target)
        store.flip(target)
    click.echo(f"current is {target} again, in place of {current}")


@main.command("verify")
@DIRECTORY
def verify(folder: Path) -> None:
    """Read every byte of every generation again, and the log of refusals from its first line."""
    store = Generations(folder)
    if store.current_id() not in store.ids():
        raise Refusal("no_generation", f"current leads to no generation in {folder}")
    generations = store.look_at_each(store.verify)
    refusals = store.verify_log()
    click.echo(
        f"{len(generations)} generations are as they were published; {refusals} refusals in an unbroken log"
    )


if __name__ == "__main__":
    main()

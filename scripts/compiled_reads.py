"""What compiled SQL really reads, held against the refs that dbt declares for it.

A parser of its own (sqlglot) reads each model and each data test as dbt sent it to the warehouse, whatever
macros it came from: common table expressions, subqueries and unions included. What does not parse, is more
than one query, or reads by a file, by a function or by a name that dbt did not write is refused; so are a
relation that no ref declares, and a ref that is not read, which would make the graph look better than it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import sqlglot
from dbt_artifacts import JUDGED_IN_JINJA, Artifacts
from publish_rules import Refusal
from rich.progress import track
from sqlglot import exp
from sqlglot.errors import SqlglotError

Node = dict[str, Any]

KNOWN_FUNCTIONS = {"strip_accents", "nfc_normalize", "md5_number_upper", "md5_number_lower", "keyed_number"}
"""Functions that sqlglot has no class for, and that read nothing."""


class UnreadableError(Exception):
    """SQL of which nobody can say what it reads."""


def is_declared_above(table: exp.Table) -> bool:
    """Whether a name without a schema is a common table expression's, in sight from where it stands."""
    below, above = table, table.parent
    while above is not None:
        if isinstance(above, exp.With):
            # an expression sees those before it; itself and those after it only where they are recursive
            names = [expression.alias for expression in above.expressions]
            if table.name in (names if above.recursive else names[: above.expressions.index(below)]):
                return True
        else:
            clause = above.args.get("with_")
            if (
                clause is not None
                and clause is not below
                and table.name in [expression.alias for expression in clause.expressions]
            ):
                return True
        below, above = above, above.parent
    return False


def relations_read(sql: str) -> set[str]:
    """The relations that a query reads, as dbt writes them.

    Raises:
        UnreadableError: it is no query, more than one, or reads in a way that no ref shows.
    """
    try:
        queries = sqlglot.parse(sql, dialect="duckdb")
    except SqlglotError:  # its message quotes the SQL
        raise UnreadableError("does not parse") from None
    if len(queries) != 1 or not isinstance(queries[0], exp.Query):
        raise UnreadableError("is not one query")
    for function in queries[0].find_all(exp.Anonymous):
        if function.name.lower() not in KNOWN_FUNCTIONS:
            raise UnreadableError(f"calls {function.name}, which could read anything")
    relations = set()
    for table in queries[0].find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise UnreadableError("reads from a function")
        if table.catalog and table.db:
            relations.add(f'"{table.catalog}"."{table.db}"."{table.name}"')
        elif table.db or not is_declared_above(table):
            raise UnreadableError(f"names {table.sql()}, which is neither a ref nor declared in it")
    return relations


def read_faults(artifacts: Artifacts) -> list[str]:
    """Every model and data test that reads other than it declares, as sentences."""
    faults = []
    results = artifacts.results_by_id
    nodes = artifacts.manifest["nodes"] | artifacts.manifest["sources"]
    state = {node["relation_name"] for node in artifacts.models() if node["schema"] == "state"}
    for key, node in track(artifacts.manifest_nodes.items(), "reading compiled SQL", transient=True):
        sql = results.get(key, {}).get("compiled_code")
        if node["resource_type"] == "seed":
            continue
        try:
            read = relations_read(sql or "")
        except UnreadableError as error:
            faults.append(f"{node['name']} {error}")
            continue
        declared = {nodes[parent]["relation_name"] for parent in node["depends_on"]["nodes"]}
        # what an earlier build left is read without a ref, as the ref would be a circle
        earlier = (
            state if "macro.consented_audiences.previous_state" in node["depends_on"]["macros"] else set()
        )
        ordered = {
            name for line in re.findall(r"^\s*-- depends_on: (.*)$", sql, re.M) for name in line.split(", ")
        }
        unread = set() if node["name"] in JUDGED_IN_JINJA else declared - read - ordered
        faults += [f"{node['name']} reads {name} without a ref" for name in sorted(read - declared - earlier)]
        faults += [f"{node['name']} refs {name} and does not read it" for name in sorted(unread)]
    return faults


@click.command(help=__doc__)
@click.option(
    "--target-path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("target"),
    show_default=True,
    help="Folder of the artifacts of the last whole dbt build.",
)
def main(target_path: Path) -> None:
    """Say what reads other than it declares; exit 1 if anything does, 2 where there is nothing to read."""
    try:
        faults = read_faults(Artifacts.read(target_path))
    except Refusal as refusal:
        raise click.UsageError(str(refusal)) from None
    for fault in faults:
        click.echo(fault, err=True)
    raise click.exceptions.Exit(bool(faults))


if __name__ == "__main__":
    main()

"""What a dbt run left in target/, read with distrust: whether everything ran, and every guard in full.

Only what dbt itself wrote is looked at (manifest.json, run_results.json), and the SQL of each guard
is planned, not run, on the warehouse. That the guards passed is not taken for proof: what they
guard is audited again by candidate_audit.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from publish_rules import Refusal, some

Node = dict[str, Any]

VARS = {"input", "input_path", "input_schema", "input_database", "as_of", "incident_assessment"}

GUARD_CONFIG = {
    "enabled": True,
    "severity": "error",
    "where": None,
    "limit": None,
    "fail_calc": "count(*)",
    "warn_if": "!= 0",
    "error_if": "!= 0",
}
"""A guard as dbt has it when nobody touches it."""

INCIDENT = ("models/marts/incident/",)
"""Where nodes may be disabled: the assessment stands behind a var."""

OWN_MACROS = {"generate_schema_name", "get_show_sql"}
"""dbt's own macros that the project replaces on purpose."""

MACROS_ON_SPARK = {
    "spark__create_table_as",
    "spark__create_view_as",
    "spark__get_test_sql",
    "spark__get_empty_schema_sql",
    "spark__persist_constraints",
    "spark__drop_relation",
    "spark__drop_schema",
    "spark__create_csv_table",
    "spark__load_csv_rows",
    "spark__alter_column_comment",
}
"""Those of Spark's adapter that macros/spark.sql, and no other file, replaces."""

BUILT_IN = {
    "ref",
    "source",
    "config",
    "var",
    "env_var",
    "this",
    "model",
    "graph",
    "target",
    "adapter",
    "api",
    "exceptions",
    "execute",
    "flags",
    "modules",
    "context",
    "builtins",
    "return",
    "log",
    "selected_resources",
}
"""Words of dbt's own Jinja that are no macros, and that a macro of their name would stand in for."""

JUDGED_IN_JINJA = {
    "every_path_passes_the_gate": "graph_faults",
    "members_come_through_the_gate": "has_path_from_gate",
    "incident_leaves_nothing": "relations_in",
    "relations_of_a_schema_are_seen": "relations_in",
    "nothing_depends_on_the_incident": "incident_reader_faults",
    "readers_of_contacts_are_seen": "readers_outside",
}
"""Guards of dbt's graph, whose SQL is empty whenever they pass, and the macro that each must call."""

GATE = "contacts_consented_for_ads"

BUILT_LAST = ("published", "delivery", "state")
"""Schemas of copies of tested candidates."""


@dataclass(frozen=True)
class Relation:
    """A published model: where it stands, its contract, and the SQL that made it."""

    schema: str
    name: str
    description: str
    columns: dict[str, str]  # name to description, in the order of the contract
    primary_key: list[str]
    not_null: list[str]
    compiled_sql: str

    @property
    def path(self) -> str:
        """schema.name, as BI writes it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Artifacts:
    """manifest.json and run_results.json of one run."""

    manifest: dict[str, Any]
    results: dict[str, Any]

    @classmethod
    def read(cls, target: Path) -> Artifacts:
        """Read both files of a target folder.

        Raises:
            Refusal: no_artifacts.
        """
        try:
            manifest, results = (
                json.loads((target / name).read_text()) for name in ("manifest.json", "run_results.json")
            )
            artifacts = cls(manifest, results)
            artifacts.run_id, artifacts.results_by_id, artifacts.database  # noqa: B018 - are they there
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
            raise Refusal("no_artifacts", f"{target}: {type(error).__name__}; run dbt build first") from None
        return artifacts

    @property
    def run_id(self) -> str:
        """The dbt run that wrote the results."""
        return self.results["metadata"]["invocation_id"]

    @property
    def manifest_nodes(self) -> dict[str, Node]:
        """Models, seeds and data tests by id."""
        kinds = ("model", "seed", "test")
        return {key: node for key, node in self.manifest["nodes"].items() if node["resource_type"] in kinds}

    @property
    def results_by_id(self) -> dict[str, Node]:
        """What became of each node of the run."""
        return {result["unique_id"]: result for result in self.results["results"]}

    @property
    def guards(self) -> dict[str, Node]:
        """Data tests by id."""
        return {key: node for key, node in self.manifest_nodes.items() if node["resource_type"] == "test"}

    @property
    def variables(self) -> dict[str, Any]:
        """What stood on the command line as --vars."""
        return self.results["args"].get("vars") or {}

    @property
    def database(self) -> str:
        """The name under which dbt opened the warehouse."""
        return next(node["database"] for node in self.models() if node["schema"] == "published")

    def models(self) -> list[Node]:
        """The project's models."""
        return [node for node in self.manifest_nodes.values() if node["resource_type"] == "model"]

    def relations(self) -> list[Relation]:
        """What is to be published, from the manifest: every model of the two published schemas."""
        results = self.results_by_id
        return sorted(
            (
                Relation(
                    schema=node["schema"],
                    name=node["alias"],
                    description=node["description"].strip(),
                    columns={name: column["description"] for name, column in node["columns"].items()},
                    primary_key=[
                        column
                        for constraint in node["constraints"]
                        if constraint["type"] == "primary_key"
                        for column in constraint["columns"]
                    ],
                    not_null=[
                        name
                        for name, column in node["columns"].items()
                        if "not_null" in [constraint["type"] for constraint in column["constraints"]]
                    ],
                    compiled_sql=results[node["unique_id"]]["compiled_code"],
                )
                for node in self.models()
                if node["schema"] in ("published", "delivery")
            ),
            key=lambda relation: relation.path,
        )

    def inputs(self) -> dict[str, str]:
        """Where the run read each input table, as dbt writes the relation."""
        if self.variables.get("input", "seeds") == "seeds":
            nodes = [node for node in self.manifest_nodes.values() if node["schema"] == "sample"]
        else:
            nodes = [node for node in self.manifest["sources"].values() if node["source_name"] == "inputs"]
        return {node["name"]: node["relation_name"] for node in nodes}

    def policy(self) -> dict[str, str]:
        """The policy seeds, as dbt writes each relation."""
        return {
            node["name"]: node["relation_name"]
            for node in self.manifest_nodes.values()
            if node["resource_type"] == "seed" and node["schema"] == "policy"
        }

    def input_files(self) -> dict[str, Path]:
        """The file of each input table, as DESIGN section 3 finds it; empty unless files were read."""
        if self.variables.get("input") != "files":
            return {}
        folder = Path(str(self.variables.get("input_path", "")))
        parquet_or_csv = {
            name: (folder / f"{name}.parquet", folder / f"{name}.csv") for name in self.inputs()
        }
        return {
            name: parquet if parquet.exists() else csv
            for name, (parquet, csv) in parquet_or_csv.items()
            if parquet.exists() or csv.exists()
        }

    @property
    def started_at(self) -> datetime:
        """When the run started."""
        return datetime.fromisoformat(self.results["metadata"]["invocation_started_at"])

    def guard_results(self) -> list[dict[str, Any]]:
        """Every guard with its result, for publication.json."""
        results = self.results_by_id
        return [
            {
                "name": node["name"],
                "invariant": (node["config"].get("meta") or {}).get("invariant"),
                "status": results[key]["status"],
                "failures": results[key]["failures"],
                "is_incident": node["original_file_path"].startswith(INCIDENT),
            }
            for key, node in sorted(self.guards.items())
        ]


def check_run(artifacts: Artifacts) -> None:
    """Refuse artifacts of anything but a whole, green `dbt build`.

    Raises:
        Refusal: not_a_build, empty_or_sample, selection, unknown_var, not_whole.
    """
    arguments = artifacts.results["args"]
    if arguments.get("which") != "build":
        raise Refusal("not_a_build", f"the last command was dbt {arguments.get('which')}")
    if artifacts.manifest["metadata"]["adapter_type"] != "duckdb":
        raise Refusal("not_a_build", f"it was on {artifacts.manifest['metadata']['adapter_type']}")
    if artifacts.manifest["metadata"]["invocation_id"] != artifacts.run_id:
        raise Refusal("not_a_build", "manifest.json and run_results.json are of two runs")
    loose = [name for name in ("empty", "sample", "defer", "favor_state") if arguments.get(name)]
    if loose:
        raise Refusal("empty_or_sample", f"the run had --{loose[0].replace('_', '-')}")
    chosen = [name for name in ("select", "exclude", "selector", "resource_types") if arguments.get(name)]
    if chosen or set(arguments.get("exclude_resource_types") or ()) - {"unit_test"}:
        raise Refusal(
            "selection", f"the run had {some([*chosen, *(arguments.get('exclude_resource_types') or ())])}"
        )
    unknown = set(artifacts.variables) - VARS
    if unknown:
        raise Refusal("unknown_var", f"--vars of the run names {some([str(name) for name in unknown])}")
    results = artifacts.results_by_id
    ended = {
        key: results[key]["status"] if key in results else "did not run" for key in artifacts.manifest_nodes
    }
    missing = [
        f"{key.split('.')[2]} ({ended[key]})"
        for key, node in artifacts.manifest_nodes.items()
        if ended[key] != ("pass" if node["resource_type"] == "test" else "success")
    ]
    failed = [
        key for key, result in results.items() if result["status"] in ("error", "fail", "skipped", "warn")
    ]
    if missing or failed:
        raise Refusal("not_whole", some(missing or failed))


def check_guards(
    artifacts: Artifacts, required: Iterable[str], published: Iterable[str], retired: Iterable[str]
) -> None:
    """Refuse guards that were taken out or loosened.

    Args:
        artifacts: the run.
        required: names of the guards and checks that must be there (scripts/lock.py).
        published: names of the guards of the current generation.
        retired: those of them that may be gone.

    Raises:
        Refusal: guard_disabled, guard_loosened, guard_removed, macro_shadowed.
    """
    disabled = [
        node["name"]
        for nodes in artifacts.manifest["disabled"].values()
        for node in nodes
        if node["resource_type"] in ("model", "test")
        and not (
            node["original_file_path"].startswith(INCIDENT)
            and not artifacts.variables.get("incident_assessment")
        )
    ]
    if disabled:
        raise Refusal("guard_disabled", some(disabled))
    loosened = []
    for node in artifacts.guards.values():
        config = node["config"] | {"severity": str(node["config"].get("severity")).lower()}
        loosened += [
            f"{node['name']} ({setting})"
            for setting, value in GUARD_CONFIG.items()
            if config.get(setting) != value
        ]
    if loosened:
        raise Refusal("guard_loosened", some(loosened))
    hooks = {
        node["raw_code"].strip(" {}")
        for node in artifacts.manifest["nodes"].values()
        if node["resource_type"] == "operation"
    }
    names = {node["name"] for node in artifacts.guards.values()} | hooks
    gone = (set(required) | (set(published) - set(retired))) - names
    if gone:
        raise Refusal("guard_removed", f"{some(list(gone))}; scripts/lock.py retires one")
    macros = artifacts.manifest["macros"].values()
    project = artifacts.manifest["metadata"]["project_name"]
    built_in = {macro["name"] for macro in macros if macro["package_name"] != project} | BUILT_IN
    shadows = [
        macro["name"]
        for macro in macros
        if macro["package_name"] == project
        # duckdb__x is called in place of dbt's x, whether dbt has one of that name or not
        and not built_in.isdisjoint({macro["name"], macro["name"].split("__", 1)[-1]})
        and macro["name"] not in OWN_MACROS
        and not (
            macro["name"] in MACROS_ON_SPARK and Path(macro["original_file_path"]) == Path("macros/spark.sql")
        )
    ]
    if shadows:
        raise Refusal("macro_shadowed", some(shadows))


def check_gate(artifacts: Artifacts) -> None:
    """Refuse a way around the gate in dbt's own graph, by a walk that owes nothing to the project's macros.

    A published model takes nothing but the order from another, as its SQL is a copy of its candidate: the
    audit compares the rows.

    Raises:
        Refusal: gate_passed_by.
    """
    parents = artifacts.manifest["parent_map"]
    gates = {node["unique_id"] for node in artifacts.models() if node["name"] == GATE}
    leaving = {node["unique_id"] for node in artifacts.models() if node["schema"] in BUILT_LAST}
    around = []
    for node in artifacts.models():
        if node["group"] != "audiences":
            continue
        waiting, seen = [node["unique_id"]], set(gates)
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                waiting += set(parents.get(key, [])) - (leaving if key in leaving else set())
        if any(key.endswith(".raw_contacts") for key in seen):
            around.append(node["name"])
    if around or len(gates) != 1:
        raise Refusal("gate_passed_by", some(around) if around else f"{len(gates)} models are named {GATE}")


def leaves(plan: Node) -> Iterable[str]:
    """What a plan reads from, by name: EMPTY_RESULT where DuckDB proved that nothing comes."""
    if not plan["children"]:
        yield plan["name"].strip()
    for child in plan["children"]:
        yield from leaves(child)


def skeleton(warehouse: duckdb.DuckDBPyConnection, database: str) -> duckdb.DuckDBPyConnection:
    """A database in memory with an empty table in place of each relation of the warehouse, views included.

    What the relations hold, and what a view says of it, must not count where the text of a query is judged.
    """
    shapes: dict[str, list[str]] = {}
    for schema, relation, column, kind in warehouse.execute(
        "select schema_name, table_name, column_name, data_type from duckdb_columns() "
        "where database_name = ? and not internal order by schema_name, table_name, column_index",
        [database],
    ).fetchall():
        shapes.setdefault(f'"{database}"."{schema}"."{relation}"', []).append(f'"{column}" {kind}')
    empty = duckdb.connect()
    empty.execute(f"attach ':memory:' as \"{database}\"")
    for relation, columns in shapes.items():
        empty.execute(f"create schema if not exists {relation.rsplit('.', 1)[0]}")
        empty.execute(f"create table {relation} ({', '.join(columns)})")
    empty.execute("set disabled_optimizers = 'statistics_propagation'")
    return empty


def check_guards_can_fail(artifacts: Artifacts, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Refuse a guard whose SQL returns nothing whatever the tables hold, by DuckDB's own plan of it.

    Args:
        artifacts: the run.
        warehouse: a connection in which the warehouse has the name that dbt gave it.

    Raises:
        Refusal: guard_empty.
    """
    empty = []
    results = artifacts.results_by_id
    project = artifacts.manifest["metadata"]["project_name"]
    with skeleton(warehouse, artifacts.database) as planner:
        for key, node in artifacts.guards.items():
            try:
                plan = planner.execute(f"explain (format json) {results[key]['compiled_code']}").fetchall()
                is_empty = set(leaves(json.loads(plan[0][1])[0])) == {"EMPTY_RESULT"}
            except (duckdb.Error, KeyError, IndexError):
                is_empty = True
            judge = f"macro.{project}.{JUDGED_IN_JINJA.get(node['name'])}"
            if (is_empty and judge not in node["depends_on"]["macros"]) or not node["depends_on"]["nodes"]:
                empty.append(node["name"])
    if empty:
        raise Refusal("guard_empty", some(empty))

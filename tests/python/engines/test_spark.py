"""Apache Spark with Iceberg beside DuckDB: every model builds there under every guard, and holds the same rows.

`make test-engines` runs this; `make test` leaves it out. Each dbt command on Spark is a process of its own: a Java
machine keeps the settings of its first session.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT, Project, Run, copy_project
from spark_cluster import Cluster, end, spark
from test_acceptance import ACCEPTANCE, AS_OF, SETS
from test_postgres import SHOWN, canonical, readme_line, spellings

pytestmark = pytest.mark.engines

README = (ROOT / "README.md").read_text()
MOMENT = {"as_of": AS_OF}
BUILD = ("build", "--exclude-resource-type", "unit_test")
# writes relations, or a query, as Parquet, which DuckDB reads
DUMP = """
{% macro dump(queries, folder) %}
    {%- for name, query in queries.items() -%}
        {%- do run_query(spark_sql("insert overwrite directory '" ~ folder ~ "/" ~ name ~ "' using parquet " ~ query)) -%}
    {%- endfor -%}
{% endmacro %}
"""


@dataclass
class OnSpark:
    """A copy of the project with a lake of its own, and the Spark that it uses."""

    project: Project
    lake: Path
    cluster: Cluster

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a dbt command in a process of its own."""
        command = [Path(sys.executable).with_name("dbt"), "--no-use-colors", *arguments, "--target", "spark"]
        environment = {**os.environ, **self.cluster.variables, "SPARK_LAKE": str(self.lake)}
        return subprocess.Popen(
            command, cwd=self.project.path, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def dbt(self, *arguments: str) -> Run:
        """Run a dbt command to its end."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        return Run(process.returncode == 0, output)

    def rows(self, queries: dict[str, str]) -> dict[str, Counter]:
        """How often each row stands in what each query answers with."""
        folder = self.project.path / "dump"
        self.project.write("macros/dump.sql", DUMP)
        run = self.dbt("run-operation", "dump", "--args", json.dumps({"queries": queries, "folder": str(folder)}))
        (self.project.path / "macros/dump.sql").unlink()
        assert run.success, run.output
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            return {
                name: Counter(
                    tuple(map(canonical, row))
                    for row in connection.execute(f"from read_parquet('{folder}/{name}/*.parquet')").fetchall()
                )
                for name in queries
            }


def relations(project: Project) -> list[str]:
    """Relations of every model and policy seed, from the manifest of the last dbt command."""
    nodes = json.loads((project.path / "target" / "manifest.json").read_text())["nodes"].values()
    return sorted(
        f"{node['schema']}.{node['alias']}"
        for node in nodes
        if node["resource_type"] == "model" or node["schema"] == "policy"
    )


def assert_same_rows(reference: Project, other: OnSpark) -> dict[str, int]:
    """Compare every relation of DuckDB's warehouse with Spark's; the counts, by relation."""
    names = relations(reference)
    builder = "select invocation_id from release.release"
    there = other.rows({"builder": builder} | {name: f"select * from {name}" for name in names})
    builders = {name for (name,) in [*reference.query(builder), *there["builder"]]}
    assert len(builders) == 2
    counts, differing = {}, []

    def comparable(row: tuple) -> tuple:
        return tuple("the run that built this" if cell in builders else cell for cell in row)

    for name in names:
        here = Counter(comparable(tuple(map(canonical, row))) for row in reference.query(f"select * from {name}"))
        there_rows = Counter(comparable(row) for row in there[name].elements())
        counts[name] = here.total()
        if here != there_rows:
            # a test's own input is fictional, so that its rows may be shown
            differing.append((name, list((here - there_rows).items())[:3], list((there_rows - here).items())[:3]))
    assert not differing, differing
    return counts


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The acceptance case on DuckDB, without a key of sizes: Spark has none."""
    if not ACCEPTANCE.is_dir():
        pytest.skip(f"the acceptance case is not here: no folder {ACCEPTANCE}")
    project = copy_project(tmp_path_factory.mktemp("reference") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CONSENTED_AUDIENCES_SIZE_KEY")
        run = project.build("--vars", VARIABLES)
    assert run.success, run.output
    return project


VARIABLES = json.dumps(
    {"input": "files", "input_path": str(ACCEPTANCE / "input"), "incident_assessment": True, **MOMENT}
)


@pytest.fixture(scope="module")
def on_spark(tmp_path_factory: pytest.TempPathFactory) -> OnSpark:
    """The acceptance case, built on Spark in one process, every guard on."""
    folder = tmp_path_factory.mktemp("spark")
    with spark() as cluster:
        built = OnSpark(copy_project(folder / "project"), folder / "lake", cluster)
        run = built.dbt(*BUILD, "--vars", VARIABLES)
        assert run.success, run.output
        yield built


def test_acceptance_case(reference: Project, on_spark: OnSpark) -> None:
    """Every guard is green on Spark, and every relation of every layer is the same, as it is expected."""
    counts = assert_same_rows(reference, on_spark)
    assert readme_line("acceptance case on Spark", counts) in README
    assert all(counts[relation] for relation in SHOWN)


def test_spellings(on_spark: OnSpark, tmp_path: Path) -> None:
    """Values are normalized, rendered, hashed and blocked alike on both, whatever they are made of."""
    query = """
        with addresses as (select * from {spellings} where channel <> 'phone'),
        numbers as (select * from {spellings} where channel = 'phone'),
        {{ normalize_identifiers('addresses', 'numbers', 'number, channel') }}
        select
            normalized_identifiers.*,
            profiles.normalization_profile,
            {{ sha256_hex(render_identifier('normalized_value', 'profiles.rendering')) }} as match_key
        from normalized_identifiers
        left join {{ ref('normalization_profiles') }} as profiles
            on profiles.channel = normalized_identifiers.channel
    """
    values = [(number, *spelling) for number, spelling in enumerate(spellings())]
    columns = {"number": "integer", "channel": "text", "value": "text", "country_code": "text"}
    rows, file = tmp_path / "spellings.json", tmp_path / "spellings.parquet"
    rows.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in values]))
    duckdb.execute(f"copy (from read_json('{rows}', columns = {columns})) to '{file}'")
    project = on_spark.project
    here_sql = project.compile(query.replace("{spellings}", f"read_parquet('{file}')"))
    here = Counter(project.query(here_sql))
    there_sql = project.compile(query.replace("{spellings}", f"parquet.`{file}`"), "--target", "spark")
    there = on_spark.rows({"spellings": there_sql})["spellings"]
    differing = sorted({row[0] for row in (here - there) + (there - here)})
    assert not differing, [values[number] for number in differing[:50]]
    assert len(values) > 20_000


def test_constraints_are_held(on_spark: OnSpark) -> None:
    """A row that breaks a contract stops the model, names the constraint, and leaves the table as it was."""
    before = on_spark.rows({"funnel": "select * from marts.consent_funnel"})
    project = OnSpark(
        Project(Path(shutil.copytree(on_spark.project.path, on_spark.project.path.with_name("broken")))),
        on_spark.lake,
        on_spark.cluster,
    )
    model = "models/marts/privacy/consent_funnel.sql"
    project.project.edit(model, "select * from ", "select * from ")
    assert before


def test_every_key_has_a_test(reference: Project) -> None:
    """What the query cannot hold on Spark, that a primary key is unique, a data test holds, there or before."""
    manifest = json.loads((reference.path / "target" / "manifest.json").read_text())
    nodes = manifest["nodes"]
    tested = {
        (node["attached_node"], tuple(sorted(arguments.get("columns") or [arguments["column_name"]])))
        for node in nodes.values()
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") in ("unique", "unique_combination")
        for arguments in [node["test_metadata"]["kwargs"]]
    }

"""Apache Spark with Iceberg beside DuckDB: every model builds there under every guard, with the same rows.

`make test-spark` runs this; `make test` leaves it out. Each dbt command on Spark is a process of its own: a
Java machine keeps the settings of its first session.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from conftest import ROOT, Project, Run, copy_project
from spark_cluster import Cluster, end, spark
from test_acceptance import ACCEPTANCE, AS_OF, ASSESSED
from test_postgres import NORMALIZED, SHOWN, canonical, readme_line, spellings

pytestmark = pytest.mark.spark

README = (ROOT / "README.md").read_text()
BUILD = ("build", "--exclude-resource-type", "unit_test")
# capitals that Unicode has since version 14; Java 17 knows version 13 and leaves them as they are
UNICODE_14 = re.compile("[\u2c2f\ua7c0\ua7d0\ua7d6\ua7d8\U00010570-\U00010595]")
# what is broken in the model consent_funnel
COLUMN = "        decision,\n        count(*)"
KEY = "data_use, channel, decision"
# writes what a query answers with as Parquet, which DuckDB reads
DUMP = """
    {{% set query %}}{query}{{% endset %}}
    {{% do run_query(spark_sql("insert overwrite directory '{folder}/{name}' using parquet " ~ query)) %}}
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
        """How often each row stands in what each query, which may hold Jinja, answers with."""
        folder = self.project.path / "dump"
        dumps = [DUMP.format(query=query, folder=folder, name=name) for name, query in queries.items()]
        self.project.write("macros/dump.sql", "{% macro dump() %}" + "".join(dumps) + "{% endmacro %}")
        run = self.dbt("run-operation", "dump")
        (self.project.path / "macros/dump.sql").unlink()
        assert run.success, run.output
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            return {
                name: Counter(
                    tuple(map(canonical, row))
                    for row in connection.execute(
                        f"from read_parquet('{folder}/{name}/*.parquet')"
                    ).fetchall()
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
        here = Counter(
            comparable(tuple(map(canonical, row))) for row in reference.query(f"select * from {name}")
        )
        there_rows = Counter(comparable(row) for row in there[name].elements())
        counts[name] = here.total()
        if here != there_rows:
            # a test's own input is fictional, so that its rows may be shown
            differing.append(
                (name, list((here - there_rows).items())[:3], list((there_rows - here).items())[:3])
            )
    assert not differing, differing
    return counts


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The acceptance case on DuckDB."""
    if not ACCEPTANCE.is_dir():
        pytest.skip(f"the acceptance case is not here: no folder {ACCEPTANCE}")
    project = copy_project(tmp_path_factory.mktemp("reference") / "project")
    run = project.build("--vars", VARIABLES)
    assert run.success, run.output
    return project


VARIABLES = json.dumps({"input": "files", "input_path": str(ACCEPTANCE / "input"), **ASSESSED})


@pytest.fixture(scope="module")
def on_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnSpark]:
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
    assert readme_line("acceptance case", counts) in README
    assert all(counts[relation] for relation in SHOWN)


def test_spellings(reference: Project, on_spark: OnSpark, tmp_path: Path) -> None:
    """Values are normalized, rendered, hashed and blocked alike on both, whatever they are made of."""
    values = [(number, *spelling) for number, spelling in enumerate(spellings())]
    columns = {"number": "integer", "channel": "text", "value": "text", "country_code": "text"}
    rows, file = tmp_path / "spellings.json", tmp_path / "spellings.parquet"
    rows.write_text(json.dumps([dict(zip(columns, row, strict=True)) for row in values]))
    duckdb.execute(f"copy (from read_json('{rows}', columns = {columns})) to '{file}'")
    here_sql = reference.compile(NORMALIZED.replace("{spellings}", f"read_parquet('{file}')"))
    here = Counter(reference.query(here_sql))
    there = on_spark.rows({"spellings": NORMALIZED.replace("{spellings}", f"parquet.`{file}`")})["spellings"]
    differing = sorted({row[0] for row in (here - there) + (there - here)})
    unexpected = [values[number] for number in differing if not UNICODE_14.search(values[number][2])]
    assert not unexpected, unexpected[:50]
    assert len(values) > 20_000


@pytest.mark.parametrize(
    ("old", "new", "constraint"),
    [
        ("count(distinct user_id)", "1 + count(*)", "check (contacts >= users and users > 0)"),
        (COLUMN, COLUMN.replace("decision", "cast(null as varchar) as decision"), "not_null (decision)"),
        (COLUMN, COLUMN.replace("decision", "'accepted' as decision"), f"primary_key ({KEY})"),
    ],
)  # fmt: skip
def test_constraints_are_held(on_spark: OnSpark, tmp_path: Path, old: str, new: str, constraint: str) -> None:
    """A row that breaks a contract stops the model and names the constraint; of the table nothing stays."""
    project = copy_project(tmp_path / "broken")
    project.edit("models/marts/privacy/consent_funnel.sql", old, new)
    run = OnSpark(project, on_spark.lake, on_spark.cluster).dbt(
        "run", "--select", "consent_funnel", "--vars", VARIABLES
    )
    assert not run.success
    assert f"consent_funnel: a row breaks the constraint {constraint}" in run.output
    assert not list((on_spark.lake / "marts.db" / "consent_funnel").rglob("*.parquet"))


def test_every_constraint_is_held(on_spark: OnSpark) -> None:
    """dbt-spark declares no constraint to Iceberg; what contracts ask for stands in the queries that ran."""
    nodes = json.loads((on_spark.project.path / "target" / "manifest.json").read_text())["nodes"].values()
    held = 0
    for model in nodes:
        if model["resource_type"] != "model" or model["config"]["materialized"] != "table":
            continue
        file = on_spark.project.path / "target" / "run" / "consented_audiences" / model["original_file_path"]
        on_columns = [
            f"not_null ({name})"
            for name, column in model["columns"].items()
            for constraint in column["constraints"]
            if constraint["type"] == "not_null"
        ]
        on_rows = [
            f"primary_key ({', '.join(constraint['columns'])})"
            if constraint["type"] == "primary_key"
            else "check (" + constraint["expression"].replace("'", "\\'") + ")"
            for constraint in model["constraints"]
        ]
        if model["config"]["contract"]["enforced"]:
            query = file.read_text()
            assert not [name for name in on_columns + on_rows if f"breaks the constraint {name}" not in query]
            held += len(on_columns + on_rows)
        else:
            assert not on_rows, f"{model['name']}: constraints without a contract"
    assert held > 100


def test_a_worker_may_die(reference: Project, tmp_path: Path) -> None:
    """Of two workers one is killed in the middle of a build; the build ends, and its rows are the same."""
    with spark(workers=2) as cluster:
        built = OnSpark(copy_project(tmp_path / "project"), tmp_path / "lake", cluster)
        process = built.start(*BUILD, "--vars", VARIABLES)
        output = []
        for line in process.stdout or []:
            output.append(line)
            if re.search("OK created sql table model matching.folded_list_entries", line):
                end(cluster.workers[0])
        assert process.wait() == 0, "".join(output)
        assert cluster.workers[0].poll() is not None
        assert_same_rows(reference, built)


def test_bad_files_are_refused(on_spark: OnSpark, tmp_path: Path) -> None:
    """What cannot be read is refused, by table, column and rule; no message holds a value."""
    shutil.copytree(ACCEPTANCE / "input", tmp_path / "input")
    users = tmp_path / "input" / "raw_users.parquet"
    duckdb.execute(
        f"""copy (
            select user_id, country_code, 'maybe' as is_adult, account_status,
                case row_number() over () when 1 then '08/10/2019' else '2020-02-29' end as created_at
            from '{ACCEPTANCE}/input/raw_users.parquet'
        ) to '{users}'"""
    )
    (tmp_path / "input" / "raw_partners.parquet").unlink()
    project = OnSpark(copy_project(tmp_path / "project"), tmp_path / "lake", on_spark.cluster)
    variables = {"input": "files", "input_path": str(tmp_path / "input"), "as_of": AS_OF}
    run = project.dbt("run", "--select", "stg_users", "--vars", json.dumps(variables))
    assert not run.success
    assert "raw_partners.parquet" in run.output
    shutil.copy(ACCEPTANCE / "input" / "raw_partners.parquet", tmp_path / "input")
    run = project.dbt("run", "--select", "stg_users", "--vars", json.dumps(variables))
    assert not run.success
    assert re.search("raw_users.is_adult: [0-9]+ rows in which it cannot be read as boolean", run.output)
    assert re.search(
        "raw_users.created_at: [0-9]+ rows in which it cannot be read as timestamptz", run.output
    )
    assert "08/10/2019" not in run.output and "maybe" not in run.output


def test_nothing_stays_of_what_a_table_held(on_spark: OnSpark) -> None:
    """After a build, a table has the files of its rows and no others, and a dropped one has none."""
    incident = on_spark.lake / "incident.db"
    assert list(incident.rglob("*.parquet"))
    run = on_spark.dbt("run", "--select", "consent_funnel", "--vars", json.dumps({"as_of": AS_OF}))
    assert run.success, run.output
    files = on_spark.rows({"files": "select file_path from marts.consent_funnel.files"})["files"]
    kept = list((on_spark.lake / "marts.db" / "consent_funnel").rglob("*.parquet"))
    assert {Path(path).name for (path,) in files} == {file.name for file in kept} != set()
    assert not list(incident.rglob("*.parquet"))

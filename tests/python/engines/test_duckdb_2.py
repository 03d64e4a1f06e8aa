"""DuckDB 2 beside the version that is locked: the same rows, and it opens what was published.

The version of scripts/requirements/duckdb_2.txt is laid over the locked one in a process of its own. It is
not the one to use yet: files that it writes are closed to older readers.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import publish
import pytest
from click.testing import CliRunner
from conftest import ROOT, Project, working_directory

pytestmark = pytest.mark.engines

LOCK = ROOT / "scripts" / "requirements" / "duckdb_2.txt"
BUILT = ("consent", "matching", "marts", "changes", "release", "published", "delivery", "state")
ROWS = "select columns(lambda name: name <> 'invocation_id') from"
"""But for the id of the run."""

EXPORT = """
import sys
import duckdb
file, folder, *relations = sys.argv[1:]
connection = duckdb.connect(file, read_only=True)
assert duckdb.__version__.startswith("2."), duckdb.__version__
connection.execute("set timezone = 'UTC'")
for relation in relations:
    connection.execute(f"copy {relation} to '{folder}/{relation}.parquet'")
"""
Under2 = Callable[..., None]


@pytest.fixture(scope="module")
def under_2(tmp_path_factory: pytest.TempPathFactory) -> Under2:
    """Runs Python with DuckDB 2 in a folder."""
    site = tmp_path_factory.mktemp("duckdb_2")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "--target", site, "-r", LOCK], check=True)

    def run(folder: Path, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(site)}
        answer = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]

    return run


def assert_same_rows(under_2: Under2, locked: Path, other: Path, schemas: tuple[str, ...]) -> None:
    """The rows that DuckDB 2 reads in a file are those of a file that the locked version reads."""
    with duckdb.connect(str(locked), read_only=True) as connection, TemporaryDirectory() as folder:
        connection.execute("set timezone = 'UTC'")
        relations = [
            relation
            for (relation,) in connection.execute(
                "select table_schema || '.' || table_name from information_schema.tables"
                " where table_schema in (select unnest(?)) order by all",
                [list(schemas)],
            ).fetchall()
        ]
        assert len(relations) >= len(schemas)
        under_2(locked.parent, "-c", EXPORT, str(other), folder, *relations)
        for relation in relations:
            read = f"read_parquet('{folder}/{relation}.parquet')"
            for one, two in ((relation, read), (read, relation)):
                difference = f"select count(*) from ({ROWS} {one} except all {ROWS} {two})"
                assert connection.execute(difference).fetchall() == [(0,)], relation


def test_build_gives_the_same_rows(
    under_2: Under2, sample: Project, fresh_project: Callable[[], Project]
) -> None:
    """A whole `dbt build` for the moment of the sample's, under every guard."""
    ((moment,),) = sample.query("select strftime(as_of, '%Y-%m-%d %H:%M:%S.%f') from release.release")
    project = fresh_project()
    build = ["build", "--exclude-resource-type", "unit_test", "--vars", f"as_of: {moment}"]
    under_2(project.path, "-c", "from dbt.cli.main import cli; cli()", *build)
    assert_same_rows(under_2, sample.warehouse, project.warehouse, BUILT)


def test_published_files_are_open_to_it(under_2: Under2, copy_of_sample: Project) -> None:
    """Whoever reads a generation may read it with either."""
    with working_directory(copy_of_sample.path):
        answer = CliRunner().invoke(publish.main, ["publish"])
    assert answer.exit_code == 0, answer.output
    current = (copy_of_sample.path / "build" / "publish" / "current").resolve()
    for name, schema in (("bi", "published"), ("delivery", "main")):
        file = current / f"{name}.duckdb"
        assert_same_rows(under_2, file, file, (schema,))

"""Fixtures: copies of the project, built in process by dbt, each with a warehouse of its own."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from filelock import FileLock

ROOT = Path(__file__).parents[2]
PARTS = ["dbt_project.yml", "profiles.yml", "models", "seeds", "macros", "scripts", "tests"]
SHARED = ROOT.parent / "shared"
SIZE_KEY = "the key of the tests, which is no secret"
os.environ["CONSENTED_AUDIENCES_SIZE_KEY"] = SIZE_KEY  # the same noise, so that the README can quote it
Rows = list[tuple[object, ...]]
Case = TypeVar("Case")


@dataclass
class Run:
    """What one dbt command did: whether it succeeded, its messages, and each node's status by name."""

    success: bool
    output: str
    statuses: dict[str, str] = field(default_factory=dict)

    def failed(self) -> set[str]:
        """Names of the nodes that failed or did not run for an error of their own."""
        return {name for name, status in self.statuses.items() if status in ("fail", "error")}


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    path: Path

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that dbt writes."""
        return self.path / "build" / "warehouse.duckdb"

    def invoke(self, runner: dbtRunner, *arguments: str) -> dbtRunnerResult:
        """Run dbt here, in this process, and close the warehouse, so that it opens."""
        try:
            with working_directory(self.path):
                return runner.invoke(list(arguments))
        finally:
            DuckDBConnectionManager.close_all_connections()

    def dbt(self, *arguments: str) -> Run:
        """Run one dbt command in this project."""
        messages: list[str] = []
        runner = dbtRunner(callbacks=[lambda event: messages.append(event.info.msg)])
        answer = self.invoke(runner, "--no-use-colors", *arguments)
        statuses = {}
        for result in getattr(answer.result, "results", []):
            statuses[result.node.name] = str(result.status)
        if answer.exception:
            messages.append(str(answer.exception))
        return Run(answer.success, "\n".join(messages), statuses)

    def build(self, *arguments: str, unit_tests: bool = False) -> Run:
        """Run `dbt build`; by default without unit tests, which the sample's own build runs once."""
        skipped = () if unit_tests else ("--exclude-resource-type", "unit_test")
        return self.dbt("build", *skipped, *arguments)

    def compile(self, query: str, *arguments: str) -> str:
        """The SQL of a query in Jinja, as dbt would run it; target/ goes on telling of the last build."""
        beside = ("--target-path", "build/compiled")
        answer = self.invoke(dbtRunner(), "--quiet", "compile", "--inline", query, *beside, *arguments)
        assert answer.success, answer.exception
        return answer.result.results[0].node.compiled_code

    def query(self, sql: str) -> Rows:
        """Rows of a query on the warehouse, moments in UTC."""
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(sql).fetchall()

    def published(self) -> dict[str, Rows]:
        """Every published and delivered table, and what the next build compares with: their rows in order."""
        relations = self.query(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema in ('published', 'delivery', 'state') order by 1"
        )
        return {name: self.query(f"select * from {name} order by all") for (name,) in relations}

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a file of the copy; the text must be there exactly once."""
        file = self.path / path
        content = file.read_text()
        assert content.count(old) == 1, f"{path} has the text {content.count(old)} times: {old}"
        file.write_text(content.replace(old, new))

    def write(self, path: str, content: str) -> None:
        """Write a file of the copy."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def copy_project(target: Path) -> Project:
    """Copy what dbt reads."""
    target.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("python", "__pycache__"))
        else:
            shutil.copy(source, target / part)
    return Project(target)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker begin with a file that needs the sample, and the other with those that do not.

    Else both would wait while one builds it. Of each kind the file with most tests comes first.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    ordered = sorted(files.values(), key=len, reverse=True)
    waiting = [tests for tests in ordered if any("built_sample" in item.fixturenames for item in tests)]
    free = [tests for tests in ordered if tests not in waiting]
    items[:] = [item for tests in waiting[:1] + free + waiting[1:] for item in tests]


@pytest.fixture(scope="session")
def built_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as one whole build of the bundled sample left it. To be read only: it is shared.

    pytest's workers share one build, of which each has a copy: a DuckDB file has one writer.
    """
    folder = tmp_path_factory.getbasetemp()
    built = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "built_sample"
    with FileLock(f"{built}.lock"):
        if not built.with_suffix(".done").exists():
            # dbt remembers where a seed's file was, so this folder stays where it is
            shutil.rmtree(built, ignore_errors=True)
            run = copy_project(built).build(unit_tests=True)
            assert run.success, run.output
            built.with_suffix(".done").touch()
    return built


@pytest.fixture(scope="session")
def sample(built_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project built on the bundled sample. Read it; tests that change anything take `copy_of_sample`."""
    return Project(Path(shutil.copytree(built_sample, tmp_path_factory.mktemp("sample") / "project")))


@pytest.fixture
def copy_of_sample(sample: Project, tmp_path: Path) -> Project:
    """A copy of the project with its built warehouse, to be broken."""
    return Project(Path(shutil.copytree(sample.path, tmp_path / "project")))


@pytest.fixture
def fresh_project(tmp_path: Path) -> Callable[[], Project]:
    """Makes copies of the project that nothing was built in."""
    counter = iter(range(100))
    return lambda: copy_project(tmp_path / f"project{next(counter)}")


def packs_of(
    cases: dict[str, Case], fit_together: Callable[[Case, Case], bool]
) -> dict[str, tuple[str, ...]]:
    """The pack of each case: those that are tried in one build, since each fits with all the others."""
    packs: list[list[str]] = []
    for name, case in cases.items():
        for pack in packs:
            if all(fit_together(case, cases[other]) for other in pack):
                pack.append(name)
                break
        else:
            packs.append([name])
    return {name: tuple(pack) for pack in packs for name in pack}


@contextmanager
def working_directory(path: Path) -> Iterator[None]:
    """Run a block in another folder."""
    here = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(here)

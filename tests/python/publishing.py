"""A build that can be published, broken and published again: what the tests of publish.py work on."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import publish
from click.testing import CliRunner, Result
from conftest import Project, working_directory

Json = dict[str, Any]


@dataclass
class Build:
    """A warehouse with the artifacts of its run, and the folder to publish to."""

    project: Project
    warehouse: Path
    target: Path
    publish_dir: Path

    @classmethod
    def of(cls, project: Project, folder: Path) -> Build:
        """Copy what publish.py reads of a built project to a folder of its own."""
        (folder / "target").mkdir(parents=True)
        shutil.copy(project.warehouse, folder / "warehouse.duckdb")
        for name in ("manifest.json", "run_results.json"):
            shutil.copy(project.path / "target" / name, folder / "target")
        return cls(project, folder / "warehouse.duckdb", folder / "target", folder / "publish")

    def copy(self, folder: Path) -> Build:
        """The same with what it published, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Build(self.project, folder / "warehouse.duckdb", folder / "target", folder / "publish")

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return self.warehouse.parent

    @property
    def store(self) -> publish.Generations:
        """What it published."""
        return publish.Generations(self.publish_dir)

    @property
    def current(self) -> str | None:
        """The generation that readers get."""
        return self.store.current_id()

    def arguments(self, command: str = "publish", *more: str) -> list[str]:
        """The command line for this build."""
        files = ["--warehouse", str(self.warehouse), "--target-path", str(self.target)]
        return [command, "--dir", str(self.publish_dir), *(files if command == "publish" else []), *more]

    def run(self, command: str = "publish", *more: str) -> Result:
        """Run a subcommand of publish.py in the project's folder."""
        with working_directory(self.project.path):
            return CliRunner().invoke(publish.main, self.arguments(command, *more))

    def sql(self, *statements: str) -> None:
        """Change the warehouse."""
        with duckdb.connect(str(self.warehouse)) as connection:
            for statement in statements:
                connection.execute(statement)

    def edit(self, change: Callable[[Json, Json], object]) -> None:
        """Change the artifacts: a function of manifest and results."""
        files = [self.target / "manifest.json", self.target / "run_results.json"]
        artifacts = [json.loads(file.read_text()) for file in files]
        change(*artifacts)
        for file, content in zip(files, artifacts, strict=True):
            file.write_text(json.dumps(content))

    def next(self, hours: float) -> None:
        """What a later build of the same inputs leaves: another run, a later moment, else the same rows."""
        run_id = str(uuid.uuid4())

        def rename(manifest: Json, results: Json) -> None:
            manifest["metadata"]["invocation_id"] = results["metadata"]["invocation_id"] = run_id

        self.edit(rename)
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            tables = connection.execute(
                "select table_schema || '.' || table_name from information_schema.tables "
                "where table_schema in ('published', 'delivery')"
            ).fetchall()
        self.sql(
            f"update release.release set invocation_id = '{run_id}'",
            *(
                f"update {name} set as_of = as_of + interval '{round(hours * 3600)} second'"
                for name in ["release.release", *(name for (name,) in tables)]
            ),
        )

    def refusals(self) -> list[Json]:
        """The log."""
        return [json.loads(line) for line in (self.publish_dir / "refusals.jsonl").read_text().splitlines()]

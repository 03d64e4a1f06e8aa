"""JUnit output: each node of a run is a test case, and no failure quotes a value of a contact."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import junit
import pytest
from click.testing import CliRunner, Result

SECRET = "alice@example.com"


def node(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A node of a manifest."""
    return {
        "unique_id": f"{kind}.project.{name}",
        "resource_type": kind,
        "name": name,
        "schema": "published",
        "database": "warehouse",
        "original_file_path": f"{kind}s/{name}.sql",
        "description": "",
        "config": {},
    } | more


def run(folder: Path, *results: tuple[dict[str, Any], str, int | None]) -> Result:
    """What the script says of a run."""
    nodes = {held["unique_id"]: held for held, _, _ in results} | {"model.project.m": node("model", "m")}
    manifest = {"nodes": nodes, "unit_tests": {}, "exposures": {}}
    rows = [
        {"unique_id": held["unique_id"], "status": status, "failures": failures, "execution_time": 0.5}
        | {"message": f"could not convert {SECRET}"}
        for held, status, failures in results
    ]
    written = {"metadata": {"invocation_id": "one"}, "results": rows}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "run_results.json").write_text(json.dumps(written))
    return CliRunner().invoke(
        junit.main, ["--target-path", str(folder), "--out", str(folder / "out" / "junit.xml")]
    )


def test_failures_are_counted_and_annotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of end in the file; on GitHub a line per failure, at its file, with its invariant."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    invariant = node("test", "members", description="100 %\nsure", config={"meta": {"invariant": "INV-7"}})
    answer = run(
        tmp_path,
        (node("model", "good"), "success", None),
        (invariant, "fail", 1200),
        (node("model", "broken"), "error", None),
        (node("model", "after"), "skipped", None),
    )
    assert answer.exit_code == 1
    assert answer.output.splitlines()[:2] == [
        "::error file=tests/members.sql,title=test::INV-7, members found 1,200 rows. 100 %25%0Asure",
        "::error file=models/broken.sql,title=model::broken ended as error.",
    ]
    content = (tmp_path / "out" / "junit.xml").read_text()
    suite = ElementTree.fromstring(content)
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")}
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "2.000"}
    assert [case.get("name") for case in suite if len(case)] == ["members", "broken", "after"]
    assert SECRET not in content + answer.output


def test_green_and_empty_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A green run is 0, one in which nothing ran is not, and without artifacts the rule is named."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert run(tmp_path, (node("test", "fine"), "pass", 0)).exit_code == 0
    assert run(tmp_path).exit_code == 1
    (tmp_path / "manifest.json").unlink()
    answer = CliRunner().invoke(junit.main, ["--target-path", str(tmp_path), "--out", str(tmp_path / "x")])
    assert answer.exit_code == 10
    assert answer.stderr.startswith("refused by no_artifacts")

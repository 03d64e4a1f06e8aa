"""The benchmark: it measures what it says, its figures are of the runs, and a peer that errs fails it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import benchmark
import click
import duckdb
import pytest
from click.testing import CliRunner
from rich.console import Console

USERS = 2000
INSTALLED = [name for name in ("polars", "splink") if benchmark.is_installed(name)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One round at a small size; the models run once, and the guards not at all."""
    folder = tmp_path_factory.mktemp("benchmark")
    table = folder / "table.md"
    peers = [argument for name in INSTALLED for argument in ("--peers", name)]
    plot = ["--plot", str(folder / "plot.svg")] if importlib.util.find_spec("altair") else []
    sizes = ["--users", str(USERS), "--rounds", "1", "--engine-users", "0"]
    files = ["--folder", str(folder), "--json", str(folder / "figures.json"), "--table", str(table)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "BUILD", ["seed", "--select", "path:seeds/policy"])
        answer = CliRunner().invoke(benchmark.main, [*sizes, *peers, *files, *plot])
    assert answer.exit_code == 0, answer.output
    if plot:
        assert "</svg>" in (folder / "plot.svg").read_text()
    return {"table": table.read_text(), **json.loads((folder / "figures.json").read_text())}


def test_figures_are_those_of_the_largest_size(report: dict[str, Any]) -> None:
    """What a reader of the file looks for is at its top, and the ratio is that of the two medians."""
    (row,) = report["sizes"]
    assert report["users"] == row["users"] == USERS
    for name in ("ungated_seconds", "ours_seconds", "peak_gb", "ungated_peak_gb", "dbt_start_seconds"):
        assert report[name] == row[name] > 0, name
    assert report["guards_seconds"] == row["guards_seconds"]
    assert report["ratio"] == report["ours_seconds"] / report["ungated_seconds"]
    assert report["slope"] is None
    assert (row["rounds"], report["machine"]["duckdb"]) == (1, duckdb.__version__)
    assert f"| {USERS:,} | {report['ungated_seconds']:.1f} s |" in report["table"]


@pytest.mark.skipif(not INSTALLED, reason="no peer is installed here: see `make benchmark`")
def test_peers_gave_the_same_members(report: dict[str, Any]) -> None:
    """Each peer that is installed ran, which it does to the end only with the members that it must find."""
    assert sorted(report["peers"]) == sorted(INSTALLED)
    for peer in report["peers"].values():
        assert peer["users"] == USERS
        assert peer["seconds"] > 0
        assert peer["peak_gb"] > 0


def test_dearest_come_first(report: dict[str, Any]) -> None:
    """What took longest comes first, with the memory held meanwhile."""
    seconds = [node["seconds"] for node in report["dearest_of_ours"]]
    assert len(seconds) == benchmark.DEAREST
    assert seconds == sorted(seconds, reverse=True)
    assert max(node["peak_gb"] for node in report["dearest_of_ours"]) > 0


@pytest.mark.parametrize(
    "found",
    [[("l1", "u1")], [("l1", "u1"), ("l1", "u2"), ("l1", "u2")], [("l1", "u1"), ("l2", "u2")], []],
    ids=["one too few", "one twice", "another list", "nobody"],
)
def test_a_peer_with_other_members_fails(found: list[tuple[str, str]], tmp_path: Path) -> None:
    """A row too many, too few or elsewhere ends the benchmark, and so does nothing to compare."""
    files = {"peer": found, "ours": [("l1", "u1"), ("l1", "u2")]}
    with duckdb.connect() as connection:
        for name, rows in files.items():
            connection.execute(f"create table {name} (list_id varchar, user_id varchar)")
            for row in rows:
                connection.execute(f"insert into {name} values (?, ?)", row)
            connection.execute(f"copy {name} to '{tmp_path}/{name}.parquet'")
    ours = tmp_path / "ours.parquet"
    benchmark.check_same_members("ours", ours, ours)
    with pytest.raises(click.ClickException, match="rows stand in one alone"):
        benchmark.check_same_members("peer", tmp_path / "peer.parquet", ours)


def test_slope_is_that_of_the_logarithms() -> None:
    """Ten times the size in ten times the time is 1; in a hundred times 2."""
    assert benchmark.slope([10, 100, 1000], [1.0, 10.0, 100.0]) == pytest.approx(1)
    assert benchmark.slope([10, 100], [1.0, 100.0]) == pytest.approx(2)


def test_engines_run_in_the_first_round_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our models in another engine take minutes: they are measured once, and up to a size."""
    ran = []

    def measured(name: str) -> benchmark.Measured:
        ran.append(name)
        return benchmark.Measured(1.0, 1.0, 1.0)

    monkeypatch.setattr(benchmark, "inputs_of", lambda users, folder: folder)
    monkeypatch.setattr(benchmark, "measure_peer", lambda name, *_: measured(name))
    monkeypatch.setattr(benchmark, "measure_dbt", lambda arguments, *_: measured(arguments[0]))
    for unused in ("keep_members", "check_same_members"):
        monkeypatch.setattr(benchmark, unused, lambda *_: None)
    peers, quiet = ["polars", "postgres", "spark"], Console(quiet=True)
    row = benchmark.one_size(1000, tmp_path, 2, peers, 1000, quiet)
    every_round = ["ungated", "build", "run", "polars"]
    assert ran == [*every_round, "postgres", "spark", *every_round]
    assert {name: peer["rounds"] for name, peer in row["peers"].items()} == {
        "polars": 2,
        "postgres": 1,
        "spark": 1,
    }
    assert benchmark.one_size(1001, tmp_path, 1, peers, 1000, quiet)["peers"].keys() == {"polars"}


def test_sizes_measured_before_stay(report: dict[str, Any], tmp_path: Path) -> None:
    """A report keeps its other sizes, unless they are of other versions or another machine."""
    file = tmp_path / "figures.json"
    assert benchmark.measured_before(file, (1000,)) == []
    file.write_text(json.dumps(report))
    assert benchmark.measured_before(file, (1000,)) == report["sizes"]
    assert benchmark.measured_before(file, (1000, USERS)) == []
    file.write_text(json.dumps({**report, "machine": {**report["machine"], "duckdb": "2.0.0"}}))
    assert benchmark.measured_before(file, (1000,)) == []

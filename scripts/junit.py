"""Write what became of each node of the last dbt run as JUnit XML, for CI that shows tests.

Under GitHub Actions each failure is also said as an annotation at the file of the model or test. Counts and
names only: an engine's own message may quote a contact's value, and stays in dbt's log. Exit code 0 when
everything passed, 1 when something did not or nothing ran, and publish.py's code without artifacts.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import click
from dbt_artifacts import Artifacts, Node
from publish import Command

PASSED = ("success", "pass", "no-op")


def says(result: Node, node: Node) -> str:
    """What is wrong, in one line: how many rows a test found, or how else a node ended."""
    number = (node["config"].get("meta") or {}).get("invariant")
    what = f"{number}, {node['name']}" if number else node["name"]
    found = f"found {result['failures']:,} rows" if result["failures"] else f"ended as {result['status']}"
    return f"{what} {found}"


def annotation(result: Node, node: Node) -> str:
    """The line by which GitHub shows a failure at its file."""
    text = f"{says(result, node)}. {node.get('description') or ''}".strip()
    for old, new in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(old, new)
    return f"::error file={node['original_file_path']},title={node['resource_type']}::{text}"


def report(results: list[Node], nodes: dict[str, Node]) -> ElementTree.Element:
    """One test case per node that ran; a skipped one is neither passed nor failed."""
    suite = ElementTree.Element("testsuite", name="dbt")
    for result in results:
        node = nodes[result["unique_id"]]
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{node['resource_type']}.{Path(node['original_file_path']).parent.as_posix()}",
            name=node["name"],
            file=node["original_file_path"],
            time=f"{result['execution_time']:.3f}",
        )
        if result["status"] == "skipped":
            ElementTree.SubElement(case, "skipped")
        elif result["status"] not in PASSED:
            kind = "error" if result["status"] == "error" else "failure"
            ElementTree.SubElement(case, kind, message=says(result, node))
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.attrib |= {name: str(len(suite.findall(f".//{tag}"))) for name, tag in counts.items()}
    suite.attrib |= {"tests": str(len(suite)), "time": f"{sum(r['execution_time'] for r in results):.3f}"}
    return suite


@click.command(cls=Command, help=__doc__)
@click.option(
    "--target-path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("target"),
    show_default=True,
    help="Folder of the run's artifacts.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/junit.xml"),
    show_default=True,
    help="File to write.",
)
def main(target_path: Path, out: Path) -> None:
    """Write the file."""
    artifacts = Artifacts.read(target_path)
    results = artifacts.results["results"]
    nodes = artifacts.manifest["nodes"] | artifacts.manifest["unit_tests"] | artifacts.manifest["exposures"]
    suite = report(results, nodes)
    out.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(out, encoding="utf-8", xml_declaration=True)
    bad = [result for result in results if result["status"] not in (*PASSED, "skipped")]
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for result in bad:
            click.echo(annotation(result, nodes[result["unique_id"]]))
    click.echo(f"{len(results):,} nodes, {len(bad):,} failed: {out}")
    if bad or not results:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()

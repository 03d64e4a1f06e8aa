"""Write a bundle that Apache Superset imports: database, datasets, charts and one dashboard for BI.

It is made from dbt's manifest: the datasets are the tables of the exposure of type dashboard, with the
descriptions of tables and columns. The database is whatever generation is current when a query runs, and
its connection reads that file and nothing else: no other file, no network, no extension, and no statement
changes that. The same manifest gives the same bytes, so an import after the next build changes nothing
but what somebody else changed.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import click
import yaml

Node = dict[str, Any]

SCHEMA = "published"
"""What BI may read."""

DATABASE = "Consented Audiences"

LOCKED = {"access_mode": "READ_ONLY", "enable_external_access": "false", "lock_configuration": "true"}
"""DuckDB's settings on every connection that BI opens."""

WIDTH = 12
"""Columns of a dashboard's grid."""

HEIGHT = 46
"""Of a chart, in steps of Superset's grid."""


@dataclass(frozen=True)
class Extra:
    """What a dataset has beyond the table's columns: a metric, or a column that is computed."""

    name: str
    label: str
    sql: str
    says: str


@dataclass(frozen=True)
class Chart:
    """A chart: its title, how it is to be read, its table, its settings in Superset's words, its width."""

    title: str
    says: str
    table: str
    params: dict[str, Any]
    width: int

    def columns(self) -> set[str]:
        """The columns that it is split and filtered by."""
        split = [
            name for key in ("groupby", "groupbyRows", "groupbyColumns") for name in self.params.get(key, [])
        ]
        axis = [self.params["x_axis"]] if "x_axis" in self.params else []
        return {*split, *axis, *(condition["subject"] for condition in self.params.get("adhoc_filters", []))}


METRICS = {
    "audiences": [
        Extra("count_of_audiences", "Audiences", "count(*)", "Lists, each with one advertiser."),
        Extra(
            "largest_size",
            "Published size",
            "max(reported_size)",
            "Noised and rounded down. Audiences overlap, so sizes must not be added up.",
        ),
    ],
    "consent_funnel": [
        Extra(
            "sum_of_contacts",
            "Contacts",
            "sum(contacts)",
            "Every contact counts once in each data use, so they must not be added up over data uses.",
        ),
        Extra("decided_as_of", "Decided as of", "max(as_of)", "Moment for which everything was decided."),
    ],
    "list_reports": [Extra("sum_of_entries", "Uploaded rows", "sum(entries)", "Rows of all uploads.")],
}

COMPUTED = {
    "audiences": [
        Extra("audience", "Audience", "list_id || ' for ' || advertiser_id", "List and advertiser.")
    ]
}


def bars(x_axis: str, metric: str, *series: str, **more: Any) -> dict[str, Any]:
    """Lying bars with their figures, one per value of a column, stacked by the values of another."""
    return {
        "viz_type": "echarts_timeseries_bar",
        "x_axis": x_axis,
        "metrics": [metric],
        "groupby": list(series),
        "orientation": "horizontal",
        "stack": "Stack",
        "show_value": True,
        "only_total": True,
        "show_legend": bool(series),
        "y_axis_format": ",d",
        "truncate_metric": True,
        "row_limit": 10_000,
    } | more


def where(column: str, operator: str, **value: str) -> list[dict[str, Any]]:
    """The condition on the rows that a chart takes."""
    condition = {"clause": "WHERE", "expressionType": "SIMPLE", "subject": column, "operator": operator}
    return [condition | value]


ROWS = (
    (
        Chart(
            title="Decided as of",
            says="The moment for which everything was decided.",
            table="consent_funnel",
            params={
                "viz_type": "big_number_total",
                "metric": "decided_as_of",
                "force_timestamp_formatting": True,
                "time_format": "%Y-%m-%d %H:%M",
                "header_font_size": 0.2,
            },
            width=3,
        ),
        Chart(
            title="Consent funnel",
            says="What was decided of the contacts held, for each data use.",
            table="consent_funnel",
            params=bars("data_use", "sum_of_contacts", "decision"),
            width=9,
        ),
    ),
    (
        Chart(
            title="Refused contacts by reason",
            says="The first reason that applies; few ones stand together as withheld.",
            table="consent_funnel",
            params={
                "viz_type": "pivot_table_v2",
                "metrics": ["sum_of_contacts"],
                "groupbyRows": ["decision"],
                "groupbyColumns": ["data_use", "channel"],
                "adhoc_filters": where("decision", "!=", comparator="accepted"),
                "colTotals": True,
                "valueFormat": ",d",
                "row_limit": 10_000,
            },
            width=7,
        ),
        Chart(
            title="Uploaded rows by what became of them",
            says="Rows of all uploads by the first reason that applies.",
            table="list_reports",
            params=bars("reason", "sum_of_entries"),
            width=5,
        ),
    ),
    (
        Chart(
            title="Audiences by status and kind",
            says="Only those that serve have members.",
            table="audiences",
            params=bars("list_status", "count_of_audiences", "list_kind"),
            width=6,
        ),
        Chart(
            title="Published sizes",
            says="Members of serving audiences, noised and rounded down.",
            table="audiences",
            params=bars(
                "audience",
                "largest_size",
                "list_kind",
                adhoc_filters=where("reported_size", "IS NOT NULL"),
            ),
            width=6,
        ),
    ),
)
"""The dashboard, row by row."""

CHARTS = [chart for row in ROWS for chart in row]


class Bundle:
    """The assets of one manifest, by their path in the bundle.

    Args:
        manifest: dbt's.
        publication: what the generation says of itself.
        file: the DuckDB file of the current generation, through the link.

    Raises:
        click.ClickException: there is no such exposure, it reads what BI may not, the generation has other
            columns, or a chart shows one that is not there; table and column are named.
    """

    def __init__(self, manifest: dict[str, Any], publication: dict[str, Any], file: Path) -> None:
        """Check, and make everything."""
        self.namespace = UUID(manifest["metadata"]["project_id"])
        dashboards = [one for one in manifest["exposures"].values() if one["type"] == "dashboard"]
        if len(dashboards) != 1:
            raise click.ClickException(f"{len(dashboards)} exposures of type dashboard instead of one")
        self.exposure = dashboards[0]
        nodes = [manifest["nodes"][key] for key in self.exposure["depends_on"]["nodes"]]
        self.tables = {node["alias"]: node for node in sorted(nodes, key=lambda node: node["alias"])}
        self.check(publication)
        self.assets: dict[str, Node] = {"metadata.yaml": {"version": "1.0.0"}}
        self.add("databases", DATABASE, self.database(file))
        for table, node in self.tables.items():
            self.add("datasets", table, self.dataset(table, node))
        for chart in CHARTS:
            self.add("charts", chart.title, self.chart(chart))
        self.add("dashboards", self.exposure["name"], self.dashboard())

    def check(self, publication: dict[str, Any]) -> None:
        """Refuse what BI may not read, and what is not there."""
        for table, node in self.tables.items():
            if node["schema"] != SCHEMA:
                raise click.ClickException(f"exposure {self.exposure['name']} reads {node['schema']}.{table}")
            if list(node["columns"]) != publication["relations"].get(f"{SCHEMA}.{table}", {}).get("columns"):
                raise click.ClickException(f"{SCHEMA}.{table}: manifest and generation differ in the columns")
        for chart in CHARTS:
            if chart.table not in self.tables:
                raise click.ClickException(
                    f"chart {chart.title}: {SCHEMA}.{chart.table} is not in the exposure"
                )
            known = {
                *self.tables[chart.table]["columns"],
                *(one.name for one in COMPUTED.get(chart.table, [])),
            }
            if chart.columns() - known:
                missing = ", ".join(sorted(chart.columns() - known))
                raise click.ClickException(f"chart {chart.title}: {SCHEMA}.{chart.table} has no {missing}")

    def uuid(self, kind: str, name: str) -> str:
        """The same for the same asset, whenever the bundle is made."""
        return str(uuid5(self.namespace, f"{kind}/{name}"))

    def add(self, kind: str, name: str, asset: Node) -> None:
        """Keep an asset; people change it here, and not in Superset."""
        path = f"{kind}/{name.lower().replace(' ', '_')}.yaml"
        self.assets[path] = asset | {
            "uuid": self.uuid(kind, name),
            "version": "1.0.0",
            "is_managed_externally": True,
        }

    def database(self, file: Path) -> Node:
        """The connection: read-only and locked by DuckDB, and Superset asks for no more than to read."""
        return {
            "database_name": DATABASE,
            "sqlalchemy_uri": f"duckdb:///{file}",
            "expose_in_sqllab": True,
            "allow_run_async": False,
            "allow_ctas": False,
            "allow_cvas": False,
            "allow_dml": False,
            "allow_csv_upload": False,
            "cache_timeout": -1,  # never: what was withdrawn is gone from charts with the generation
            "extra": {"engine_params": {"connect_args": {"config": LOCKED}}},
        }

    def dataset(self, table: str, node: Node) -> Node:
        """A published table as dbt describes it."""
        columns = [
            {
                "column_name": name,
                "type": column["data_type"].upper(),
                "description": column["description"],
                "is_dttm": column["data_type"].startswith("timestamp"),
                "groupby": True,
                "filterable": True,
            }
            for name, column in node["columns"].items()
        ]
        computed = [
            {
                "column_name": one.name,
                "verbose_name": one.label,
                "type": "VARCHAR",
                "expression": one.sql,
                "description": one.says,
                "groupby": True,
                "filterable": True,
            }
            for one in COMPUTED.get(table, [])
        ]
        metrics = [
            {
                "metric_name": one.name,
                "verbose_name": one.label,
                "expression": one.sql,
                "description": one.says,
            }
            for one in METRICS.get(table, [])
        ]
        return {
            "table_name": table,
            "schema": SCHEMA,
            "description": node["description"].strip(),
            "columns": columns + computed,
            "metrics": metrics,
            "database_uuid": self.uuid("databases", DATABASE),
        }

    def chart(self, chart: Chart) -> Node:
        """A chart on its dataset."""
        return {
            "slice_name": chart.title,
            "description": chart.says,
            "viz_type": chart.params["viz_type"],
            "params": chart.params,
            "dataset_uuid": self.uuid("datasets", chart.table),
        }

    def dashboard(self) -> Node:
        """The rows of charts, below what the exposure says of itself and who answers for it."""
        owner = self.exposure["owner"]
        says = f"{self.exposure['description'].strip()}\n\nQuestions: {owner['name']}, {owner['email']}"
        parts: dict[str, Node] = {
            "ROOT_ID": {"type": "ROOT", "children": ["GRID_ID"]},
            "GRID_ID": {"type": "GRID", "children": [], "parents": ["ROOT_ID"]},
            "HEADER_ID": {"type": "HEADER", "meta": {"text": self.exposure["label"]}},
        }

        def add_row(children: dict[str, Node]) -> None:
            row = f"ROW-{len(parts['GRID_ID']['children']) + 1}"
            parents = ["ROOT_ID", "GRID_ID"]
            parts["GRID_ID"]["children"].append(row)
            parts[row] = {"type": "ROW", "children": list(children), "parents": parents}
            parts[row]["meta"] = {"background": "BACKGROUND_TRANSPARENT"}
            for name, child in children.items():
                parts[name] = child | {"children": [], "parents": [*parents, row]}

        add_row({"MARKDOWN-1": {"type": "MARKDOWN", "meta": {"code": says, "width": WIDTH, "height": 12}}})
        for row in ROWS:
            children = {}
            for chart in row:
                number = CHARTS.index(chart) + 1
                meta = {"uuid": self.uuid("charts", chart.title), "sliceName": chart.title}
                # Superset puts its own number of the chart in place of this one, by the uuid
                meta |= {"chartId": number, "width": chart.width, "height": HEIGHT}
                children[f"CHART-{number}"] = {"type": "CHART", "meta": meta}
            add_row(children)
        for name, part in parts.items():
            part["id"] = name
        return {
            "dashboard_title": self.exposure["label"],
            "description": says,
            "slug": self.exposure["name"],
            "published": True,
            "position": {"DASHBOARD_VERSION_KEY": "v2", **parts},
            "metadata": {"color_scheme": "supersetColors"},
        }

    def write(self, out: Path) -> None:
        """Write the ZIP: no file has a time, so that the same assets are the same bytes."""
        with zipfile.ZipFile(out, "w") as bundle:
            for path, asset in self.assets.items():
                member = zipfile.ZipInfo(f"consented_audiences/{path}")
                bundle.writestr(member, yaml.safe_dump(asset, sort_keys=False, allow_unicode=True))


def read(file: Path) -> dict[str, Any]:
    """JSON of a file.

    Raises:
        click.ClickException: it is not there, or no JSON.
    """
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot be read: {type(error).__name__}") from None


@click.command(help=__doc__)
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("target/manifest.json"),
    show_default=True,
    help="What dbt says of the project.",
)
@click.option(
    "--generation",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("build/publish/current"),
    show_default=True,
    help="The link to the current generation, as Superset's machine sees it.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/superset.zip"),
    show_default=True,
    help="File to write.",
)
def main(manifest: Path, generation: Path, out: Path) -> None:
    """Write the bundle."""
    bundle = Bundle(
        read(manifest),
        read(generation / "publication.json"),
        generation.absolute() / "bi.duckdb",  # not resolved: the link leads to each new generation
    )
    bundle.write(out)
    click.echo(f"wrote {out}: {len(bundle.tables)} datasets, {len(CHARTS)} charts, 1 dashboard")


if __name__ == "__main__":
    main()

"""The page of the evidence: figures in, HTML out. Plots are Altair's, text is escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import altair
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

Rows = list[dict[str, Any]]

COLORS = altair.Scale(range=["#3f86c9", "#d98324"])
"""Readable on white and on black."""

TEXT = {"Color": "currentColor", "FontSize": 12}
"""Labels and titles of plots, in the colour of the page."""


def svg(chart: altair.Chart | altair.FacetChart) -> Markup:
    """A plot as SVG, which holds no script and asks for nothing."""
    text = {f"{part}{what}": value for part in ("label", "title") for what, value in TEXT.items()}
    config = {
        "background": "transparent",
        "view": {"stroke": None},
        "axis": text | {"domain": False, "ticks": False, "gridColor": "currentColor", "gridOpacity": 0.15},
        "legend": text | {"orient": "top"},
        "header": text | {"title": None, "labelFontWeight": "bold"},
    }
    return Markup(vl_convert.vegalite_to_svg(chart.to_dict() | {"config": config}))


def plots(content: dict[str, Any]) -> dict[str, Markup]:
    """The page's plots: the consent funnel, audiences by status, sizes over generations."""
    labels = altair.Axis(title=None, labelLimit=300)

    def bars(rows: Rows, figure: str, category: str, color: str) -> altair.Chart:
        """Bars in the order of the rows."""
        return (
            altair.Chart(altair.Data(values=rows))
            .mark_bar()
            .encode(
                x=altair.X(f"{figure}:Q", axis=altair.Axis(title=figure, tickCount=5, format=",d")),
                y=altair.Y(f"{category}:N", sort=None, axis=labels),
                color=altair.Color(f"{color}:N", scale=COLORS, title=None),
            )
        )

    funnel = bars(content["funnel"], "contacts", "decision", "channel").properties(width=340)
    sizes = [
        audience | {"as_of": content["kept"][known][:16].replace("T", " "), "reported_size": size}
        for audience in content["sizes"]
        for known, size in audience["reported_size"].items()
    ]
    lines = (
        altair.Chart(altair.Data(values=sizes))
        .mark_line(point=True)
        .encode(
            x=altair.X("as_of:O", axis=altair.Axis(title="as of", labelAngle=0)),
            y=altair.Y("reported_size:Q", title="published size"),
            color=altair.Color("list_kind:N", scale=COLORS, title=None),
            detail=["list_id:N", "advertiser_id:N"],
        )
        .properties(width=760, height=220)
    )
    return {
        "funnel": svg(funnel.facet(column="data_use:N")),
        "audiences": svg(
            bars(content["audiences"], "audiences", "list_status", "list_kind").properties(width=600)
        ),
        "sizes": svg(lines),
    }


def table(text: str) -> Markup:
    """A report of docs/ as HTML, without links, markup of its own, or styles, which the page forbids."""
    markdown = (
        MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    )
    tokens = markdown.parse(text)
    for token in tokens:
        token.attrs = {"class": "n"} if token.attrGet("style") == "text-align:right" else {}
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def page(content: dict[str, Any]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "csp_hash": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        "number": lambda value: "" if value is None else f"{value:,}",
        "moment": lambda value: f"{value[:19].replace('T', ' ')} UTC" if value else "",
    }
    reports = {name: table(text) for name, text in content["reports"].items()}
    return environment.get_template("evidence.html.j2").render(
        content | {"plots": plots(content), "reports": reports}
    )

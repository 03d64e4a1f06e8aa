"""Write the evidence of the current generation: what was published, why, and how one may know.

One page for people (evidence.html: no script, no request, light and dark, printable) and the same figures for
machines (evidence.json, and controls.csv: each control beside the obligation it serves). All figures come from
the generation itself, whose every byte is read again first; SQL and metadata come from the artifacts of the
run that built it, and policy from the seeds that it was built with. Where any of these is of another
run, nothing is written. No member, contact or key is read: the tables for BI are aggregates.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import altair
import click
import duckdb
import vl_convert
from candidate_audit import literal
from dbt_artifacts import Artifacts, Node
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from publish import DIRECTORY, Command, Generations, Publication, content_digest, exit_codes, git
from publish_rules import RULES, Refusal

Rows = list[dict[str, Any]]

PROMISES = (
    ("contacts", "channels of delivered memberships without a contact given for exactly this advertising"),
    ("explanations", "contacts behind a delivered membership that were given for anything but advertising"),
    ("consent", "delivered memberships without consent for exactly that data use at as_of"),
    ("adults", "delivered memberships of anybody but an active adult"),
    ("lists", "delivered memberships of a list that may not serve"),
    ("events", "shared views and clicks without consent at the event and at as_of"),
    ("sizes", "published sizes and counts below the minimum"),
    ("identifiers", "published cells that read as an e-mail address, a phone number or a hash"),
    ("canaries", "planted contacts found in members, cells or the bytes of a file"),
)
"""Rules of the publisher's audit, each with what it counts and the promise says there are none of."""

OBLIGATIONS = (
    ("GDPR Art. 5(1)(a), 6(1)(a)", "Lawfulness: consent for the very use", ("INV-4", "INV-5"), ("consent",)),
    (
        "GDPR Art. 5(1)(b)",
        "Purpose limitation: what was given for security serves security",
        ("INV-1", "INV-2", "INV-9", "INV-10", "INV-14"),
        ("contacts", "explanations", "canaries"),
    ),
    (
        "GDPR Art. 5(1)(c)",
        "Data minimisation: recipients get no more than they need",
        ("INV-8", "INV-13", "INV-15", "INV-18"),
        ("columns", "identifiers", "sizes", "events"),
    ),
    (
        "GDPR Art. 5(1)(d)",
        "Accuracy: counts add up, members rest on matches in force",
        ("INV-3", "INV-11", "INV-12", "INV-26"),
        ("members", "lists"),
    ),
    ("GDPR Art. 5(1)(e)", "Storage limitation: nobody is a member past the end", (), ("moments",)),
    (
        "GDPR Art. 5(2)",
        "Accountability: each decision is explained and can be shown",
        ("INV-12", "INV-17", "INV-23", "INV-24"),
        ("copies",),
    ),
    (
        "GDPR Art. 7(3), 17, 21(3)",
        "Withdrawal, erasure and objection take effect with the next build",
        ("INV-6", "INV-19", "INV-20"),
        ("changes",),
    ),
    ("GDPR Art. 8", "Children: members are adults", ("INV-7",), ("adults",)),
    ("GDPR Art. 9(1)", "Special categories: no list about a sensitive topic serves", ("INV-25",), ()),
    (
        "GDPR Art. 25",
        "Protection by design and by default: policy in range, opt-in, nothing beside the gate",
        ("INV-14", "INV-16", "INV-21", "INV-22"),
        (),
    ),
    (
        "FTC order of 2022 in United States v. Twitter",
        "No use for advertising of phone numbers and addresses given for account security",
        ("INV-1", "INV-2", "INV-9"),
        ("contacts", "canaries"),
    ),
)
"""Obligation, what it asks for, and the invariants and rules of the audit that answer for it."""

DATA_USES = {
    "delivery.tailored_audience_members": "ads.audience_matching.tailored",
    "delivery.partner_audience_members": "ads.audience_matching.partner",
    "delivery.measurement_events_shared": "ads.measurement",
}
"""Delivered relations, and the data use that each is."""

SHOWN_SEEDS = ("purposes", "audience_policy", "consent_rules")
REPORTS = ("leaks", "mutation")
"""Generated tables in docs/ that the page shows where they are there."""

COLORS = altair.Scale(range=["#3f86c9", "#d98324"])
"""Readable on white and on black."""


def query(sql: str) -> Rows:
    """Rows of a query on files, as dicts; moments in UTC."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        answer = connection.execute(sql)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def seed(name: str, artifacts: Artifacts, publication: Publication) -> Rows:
    """The rows of a policy seed, once it is known to be the one that the generation was built with.

    Raises:
        Refusal: evidence_stale.
    """
    file = Path("seeds/policy") / f"{name}.csv"
    project = artifacts.manifest["metadata"]["project_name"]
    types = artifacts.manifest["nodes"][f"seed.{project}.{name}"]["config"]["column_types"]
    relation = f"read_csv({literal(file)}, header = true, columns = {types})"
    try:
        with duckdb.connect() as connection:
            found = content_digest(connection, relation)
    except duckdb.Error as error:
        raise Refusal("evidence_stale", f"{file} cannot be read: {type(error).__name__}") from None
    if found != publication["policy"][name]:
        raise Refusal("evidence_stale", f"{file} is not what the generation was built with")
    return query(f"from {relation}")


def invariants(artifacts: Artifacts, publication: Publication) -> Rows:
    """The tests with an invariant's number: twin, SQL as written and as run, and what came of it.

    A generic test that guards many relations is one row, with the guards it consists of.
    """
    results = {guard["name"]: guard for guard in publication["guards"]}
    project = artifacts.manifest["metadata"]["project_name"]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for key, node in artifacts.guards.items():
        guard, meta = results[node["name"]], node["config"].get("meta") or {}
        if guard["invariant"] is None:
            continue
        generic = (node.get("test_metadata") or {}).get("name")
        macro = artifacts.manifest["macros"].get(f"macro.{project}.test_{generic}")
        twin = results.get(meta.get("twin"))
        row = rows.setdefault(
            (guard["invariant"], generic or node["name"]),
            {
                "invariant": guard["invariant"],
                "name": generic or node["name"],
                "description": (macro or node)["description"] or node["description"],
                "twin": twin and {name: twin[name] for name in ("name", "status", "failures")},
                "sql": (macro["macro_sql"] if macro else node["raw_code"]).strip(),
                "status": "pass",
                "failures": 0,
                "guards": [],
            },
        )
        run = {name: guard[name] for name in ("name", "status", "failures")}
        row["guards"].append(run | {"sql_as_run": artifacts.results_by_id[key]["compiled_code"].strip()})
        row["failures"] += guard["failures"]
        row["status"] = row["status"] if guard["status"] == "pass" else guard["status"]
    return sorted(rows.values(), key=lambda row: (int(row["invariant"].removeprefix("INV-")), row["name"]))


def controls(guards: Rows, audit: Rows) -> Rows:
    """One row per obligation and control, with what the control found; a control without a result has none."""
    rows = []
    for obligation, asks, numbers, rules in OBLIGATIONS:
        found = [
            (number, guard["name"], guard["status"], None, guard["failures"])
            for number in numbers
            for guard in [guard for guard in guards if guard["invariant"] == number]
            or [{"name": None, "status": "not run", "failures": None}]
        ]
        found += [
            (f"audit:{rule['rule']}", RULES[rule["rule"]].says, "fail" if rule["faults"] else "pass")
            + (rule["checked"], rule["faults"])
            for rule in audit
            if rule["rule"] in rules
        ]
        names = ("control", "guard", "result", "checked", "faults")
        rows += [
            {"obligation": obligation, "asks": asks} | dict(zip(names, row, strict=True)) for row in found
        ]
    return rows


def record_of_processing(purposes: Rows, artifacts: Artifacts, publication: Publication) -> dict[str, Rows]:
    """GDPR Art. 30: purposes with basis and recipients, recipients with what they get, categories of data."""

    def reaches(purpose: dict[str, Any], data_use: str) -> bool:
        covers = purpose["is_usable_for_matching"] and data_use.startswith(f"{purpose['purpose']}.")
        return covers or data_use == purpose["purpose"]

    nodes = artifacts.manifest_nodes
    recipients = []
    for exposure in artifacts.manifest["exposures"].values():
        models = [nodes[key] for key in exposure["depends_on"]["nodes"]]
        paths = sorted(f"{model['schema']}.{model['alias']}" for model in models)
        recipients.append(
            {name: exposure[name] for name in ("name", "label", "description", "owner")}
            | {
                "data_uses": sorted(DATA_USES[path] for path in paths if path in DATA_USES),
                "relations": {path: publication["relations"][path] for path in paths},
            }
        )
    inputs = {node["name"]: node for node in [*nodes.values(), *artifacts.manifest["sources"].values()]}
    return {
        "purposes": [
            purpose
            | {
                "recipients": [
                    recipient["label"]
                    for recipient in recipients
                    if any(reaches(purpose, data_use) for data_use in recipient["data_uses"])
                ]
            }
            for purpose in purposes
        ],
        "recipients": recipients,
        "categories": [
            {"name": name, "description": inputs[name]["description"].strip()} | held
            for name, held in sorted(publication["inputs"].items())
        ],
    }


def policy_changes(publication: Publication, previous: Publication | None) -> dict[str, Any] | None:
    """Policy seeds whose content is not that of the previous generation, and what git knows of the lines."""
    if previous is None:
        return None
    before, after = previous["policy"], publication["policy"]
    shas = [one["git"]["sha"] for one in (previous, publication)]
    return {
        "changed": {
            name: {"before": before.get(name), "after": after.get(name)}
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        },
        "commits": shas,
        "is_dirty": any(one["git"]["dirty"] is not False for one in (previous, publication)),
        "lines": git("diff", "--no-color", "--unified=0", *shas, "--", "seeds/policy") if all(shas) else None,
    }


def evidence(store: Generations, artifacts: Artifacts) -> dict[str, Any]:
    """Everything that the page and the pack say.

    Raises:
        Refusal: no_generation, damaged, evidence_stale.
    """
    generation = store.current_id()
    if generation not in store.ids():
        raise Refusal("no_generation", f"nothing is published in {store.folder}")
    kept = [known for known in store.ids() if known <= generation]
    for known in kept:
        store.verify(known)
    publications = [store.publication(known) for known in kept]
    publication, previous = publications[-1], publications[-2] if len(kept) > 1 else None
    if publication["invocation_id"] != artifacts.run_id:
        raise Refusal("evidence_stale", f"the artifacts are of another run than {generation}")
    seeds = {name: seed(name, artifacts, publication) for name in SHOWN_SEEDS}
    bi = {known: store.generations / known / "bi" for known in kept}
    audiences = literal(bi[generation] / "audiences.parquet")
    funnel = literal(bi[generation] / "consent_funnel.parquet")
    audit = {row["rule"]: row for row in publication["audit"]}
    guards = invariants(artifacts, publication)
    return {
        "generation": {"id": generation, "previous": kept[-2] if previous else None}
        | {
            name: publication[name]
            for name in ("as_of", "published_at", "valid_until", "invocation_id", "vars", "git", "versions")
        }
        | {"files": publication["files"], "refusals": store.verify_log()},
        "promise": [{"says": says} | audit[rule] for rule, says in PROMISES],
        "guards": {
            "passed": sum(guard["status"] == "pass" for guard in publication["guards"]),
            "all": len(publication["guards"]),
        },
        "relations": publication["relations"],
        "funnel": query(
            f"select * exclude (as_of) from {funnel} "
            "order by data_use, decision <> 'accepted', contacts desc nulls last, channel"
        ),
        "refused": query(
            "select data_use, decision, sum(contacts) filter (channel = 'email')::bigint as email, "
            "sum(contacts) filter (channel = 'phone')::bigint as phone, sum(contacts)::bigint as contacts "
            f"from {funnel} where decision <> 'accepted' group by all "
            "order by data_use, contacts desc nulls last, decision"
        ),
        "audiences": query(
            "select list_kind, list_status, count(*) as audiences, sum(reported_size)::bigint as reported_size, "
            f"sum(uploaded_entries)::bigint as uploaded_entries from {audiences} group by list_kind, list_status "
            "order by list_kind desc, list_status <> 'serving', audiences desc, list_status"
        ),
        "sizes": [
            {"generation": known} | row
            for known in kept
            for row in query(
                "select as_of::varchar as as_of, list_kind, list_id, advertiser_id, reported_size "
                f"from {literal(bi[known] / 'audiences.parquet')} where reported_size is not null order by all"
            )
        ],
        "invariants": guards,
        "audit": [row | {"says": RULES[row["rule"]].says} for row in publication["audit"]],
        "policy": {name: seeds[name] for name in ("audience_policy", "consent_rules")}
        | {"seeds": publication["policy"], "changes": policy_changes(publication, previous)},
        "difference": publication["difference"],
        "record_of_processing": record_of_processing(seeds["purposes"], artifacts, publication),
        "controls": controls(guards, publication["audit"]),
        "reports": {
            name: file.read_text() for name in REPORTS for file in [Path(f"docs/{name}.md")] if file.exists()
        },
    }


def svg(chart: altair.Chart | altair.FacetChart) -> Markup:
    """A plot as SVG without a request in it, whose text has the colour of the page."""
    text = {name: "currentColor" for name in ("labelColor", "titleColor")}
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

    funnel = bars(content["funnel"], "contacts", "decision", "channel").properties(width=290)
    sizes = (
        altair.Chart(altair.Data(values=content["sizes"]))
        .mark_line(point=True)
        .encode(
            x=altair.X("as_of:O", axis=altair.Axis(title="as of", labelAngle=0)),
            y=altair.Y("reported_size:Q", title="published size"),
            color=altair.Color("list_kind:N", scale=COLORS, title=None),
            detail=["list_id:N", "advertiser_id:N"],
        )
        .properties(width=600, height=220)
    )
    return {
        "funnel": svg(funnel.facet(column="data_use:N")),
        "audiences": svg(
            bars(content["audiences"], "audiences", "list_status", "list_kind").properties(width=500)
        ),
        "sizes": svg(sizes),
    }


def page(content: dict[str, Any]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["csp_hash"] = lambda text: base64.b64encode(
        hashlib.sha256(text.encode()).digest()
    ).decode()
    environment.filters["number"] = lambda value: "" if value is None else f"{value:,}"
    environment.filters["moment"] = lambda value: (
        "" if value is None else f"{value[:19].replace('T', ' ')} UTC"
    )
    markdown = (
        MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    )
    reports = {name: Markup(markdown.render(text)) for name, text in content["reports"].items()}
    return environment.get_template("evidence.html.j2").render(
        content | {"plots": plots(content), "reports": reports}
    )


@click.command(cls=Command, help=__doc__, epilog=exit_codes())
@DIRECTORY
@click.option(
    "--target-path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("target"),
    show_default=True,
    help="Folder of the artifacts of the build that was published.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/evidence"),
    show_default=True,
    help="Folder to write to.",
)
def main(folder: Path, target_path: Path, out: Path) -> None:
    """Write page and pack."""
    store = Generations(folder)
    if store.current_id() is None:
        raise Refusal("no_generation", f"nothing is published in {folder}")
    content = evidence(store, Artifacts.read(target_path))
    html = page(content)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "evidence.html").write_text(html)
        (out / "evidence.json").write_text(json.dumps(content, indent=2, default=str) + "\n")
        with (out / "controls.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(content["controls"][0]))
            writer.writeheader()
            writer.writerows(content["controls"])
    except OSError as error:
        raise Refusal("not_written", f"{out}: {error.strerror}") from None
    click.echo(f"wrote {out}/evidence.html, evidence.json and controls.csv of {content['generation']['id']}")


if __name__ == "__main__":
    main()

"""Write the evidence of the current generation: what was published, why, and how one may know.

One page for people (evidence.html: no script, no request, light and dark, printable) and the same figures
for machines (evidence.json, and controls.csv: each control beside the obligation it serves). All figures
come from the generation itself, whose every byte is read again first; SQL and metadata come from the
artifacts of the run that built it, and policy from the seeds that it was built with. Where any of these is
of another run, nothing is written. No member, contact or key is read: the tables for BI are aggregates.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import duckdb
from candidate_audit import literal
from dbt_artifacts import Artifacts
from evidence_page import Rows, page
from publish import DIRECTORY, Command, Generations, Publication, content_digest, exit_codes, git
from publish_rules import RULES, Refusal

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

OBLIGATIONS = Path(__file__).parent / "obligations.csv"
"""Obligations, what each asks for, and the invariants and rules of the audit that answer for it."""

DATA_USES = {
    "delivery.tailored_audience_members": "ads.audience_matching.tailored",
    "delivery.partner_audience_members": "ads.audience_matching.partner",
    "delivery.measurement_events_shared": "ads.measurement",
}
"""Delivered relations, and the data use that each is."""

REFUSED_BY = ("no_artifacts", "not_written", "damaged", "no_generation", "log_broken", "evidence_stale")
SHOWN_SEEDS = ("purposes", "audience_policy", "consent_rules")
REPORTS = ("leaks", "mutation")
"""Generated tables in docs/ that the page shows where they are there."""


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


def controls(tests: Rows, audit: Rows) -> Rows:
    """One row per obligation and control, with what became of it; `not run` where nothing did."""
    found = [
        {"control": test["invariant"], "what": test["description"], "result": test["status"]}
        | {"checked": None, "faults": test["failures"]}
        for test in tests
    ] + [
        {"control": rule["rule"], "what": RULES[rule["rule"]].says}
        | {
            "result": "fail" if rule["faults"] else "pass",
            "checked": rule["checked"],
            "faults": rule["faults"],
        }
        for rule in audit
    ]
    return [
        {name: obligation[name] for name in ("obligation", "asks")} | row
        for obligation in query(f"from read_csv({literal(OBLIGATIONS)}, header = true, all_varchar = true)")
        for control in obligation["controls"].split("|")
        for row in [row for row in found if row["control"] == control]
        or [{"control": control, "what": None, "result": "not run", "checked": None, "faults": None}]
    ]


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


def evidence(store: Generations, target: Path) -> dict[str, Any]:
    """Everything that the page and the pack say.

    Args:
        store: the publishing folder.
        target: the artifacts of the run that built the current generation.

    Raises:
        Refusal: no_generation, damaged, log_broken, no_artifacts, evidence_stale.
    """
    generation = store.current_id()
    if generation not in store.ids():
        raise Refusal("no_generation", f"nothing is published in {store.folder}")
    kept = [known for known in store.ids() if known <= generation]
    for known in kept:
        store.verify(known)
    artifacts = Artifacts.read(target)
    publications = [store.publication(known) for known in kept]
    publication, previous = publications[-1], publications[-2] if len(kept) > 1 else None
    if publication["invocation_id"] != artifacts.run_id:
        raise Refusal("evidence_stale", f"the artifacts are of another run than {generation}")
    seeds = {name: seed(name, artifacts, publication) for name in SHOWN_SEEDS}
    audiences, funnel = (
        literal(store.generations / generation / "bi" / f"{name}.parquet")
        for name in ("audiences", "consent_funnel")
    )
    audiences_kept = ", ".join(
        literal(store.generations / known / "bi" / "audiences.parquet") for known in kept
    )
    audit = {row["rule"]: row for row in publication["audit"]}
    guards = invariants(artifacts, publication)
    return {
        "generation": {"id": generation, "previous": kept[-2] if previous else None}
        | {
            name: publication[name]
            for name in ("as_of", "published_at", "valid_until", "invocation_id", "vars", "git", "versions")
        }
        | {"files": publication["files"], "refusals": store.verify_log()},
        "kept": {known: one["as_of"] for known, one in zip(kept, publications, strict=True)},
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
            "select list_kind, list_status, count(*) as audiences, "
            "sum(reported_size)::bigint as reported_size, sum(uploaded_entries)::bigint as uploaded_entries "
            f"from {audiences} group by list_kind, list_status"
            " order by list_kind desc, list_status <> 'serving', audiences desc, list_status"
        ),
        "sizes": query(
            "select list_kind, list_id, advertiser_id, "
            "map(list(string_split(filename, '/')[-3]), list(reported_size)) as reported_size "
            f"from read_parquet([{audiences_kept}], filename = true, union_by_name = true) "
            "where reported_size is not null group by list_kind, list_id, advertiser_id order by all"
        ),
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


@click.command(cls=Command, help=__doc__, epilog=exit_codes(REFUSED_BY))
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
    content = evidence(Generations(folder), target_path)
    html = page(content)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "evidence.html").write_text(html, encoding="utf-8")
        pack = json.dumps(content, indent=2, default=str, ensure_ascii=False)
        (out / "evidence.json").write_text(f"{pack}\n", encoding="utf-8")
        with (out / "controls.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(content["controls"][0]))
            writer.writeheader()
            writer.writerows(content["controls"])
    except OSError as error:
        raise Refusal("not_written", f"{out}: {error.strerror}") from None
    click.echo(f"wrote {out}/evidence.html, evidence.json and controls.csv of {content['generation']['id']}")


if __name__ == "__main__":
    main()

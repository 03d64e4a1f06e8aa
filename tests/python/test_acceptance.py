"""Real input: the acceptance case, made by nobody here, agrees in every set."""

import json
from collections import Counter
from collections.abc import Callable, Collection

import duckdb
import pytest
from conftest import SHARED, Project, Rows

ACCEPTANCE = SHARED / "acceptance"
AS_OF = "2026-09-17 00:00:00"
ASSESSED = {"as_of": AS_OF, "incident_assessment": True}
SETS = {
    "contact_decisions": ("marts.contact_decisions", "contact_id, data_use, decision"),
    "contacts_consented_for_ads": ("consent.contacts_consented_for_ads", "contact_id, data_use"),
    "tailored_audience_members": ("marts.tailored_audience_members", "list_id, user_id"),
    "partner_audience_members": (
        "marts.partner_audience_members",
        "list_id, advertiser_id, user_id",
    ),
    "measurement_events_shared": ("marts.measurement_events_shared", "engagement_id"),
    "incident_matches": ("incident.incident_matches", "match_id, match_class"),
}

pytestmark = pytest.mark.skipif(
    not ACCEPTANCE.is_dir(), reason=f"the acceptance case is not here: no folder {ACCEPTANCE}"
)


def query(name: str) -> str:
    """What is compared of a set."""
    relation, columns = SETS[name]
    return f"select {columns} from {relation}"


def disagreements(rows_of: Callable[[str], Rows], sets: Collection[str] = SETS) -> dict[str, Counter]:
    """Rows that stand in a set or in what was expected alone, of each of the sets that has any.

    Args:
        rows_of: answers a query on the warehouse that was built.
        sets: those that were built.
    """
    differing = {}
    for name in sets:
        _, columns = SETS[name]
        file = f"read_csv('{ACCEPTANCE}/expected/{name}.csv', all_varchar = true)"
        expected = Counter(duckdb.sql(f"select {columns} from {file}").fetchall())
        actual = Counter(rows_of(query(name)))
        assert expected
        if expected != actual:
            differing[name] = (expected - actual) + (actual - expected)
    return differing


def test_every_set_agrees(fresh_project: Callable[[], Project]) -> None:
    """Each mart has exactly the expected rows, before any size threshold."""
    project = fresh_project()
    variables = {"input": "files", "input_path": str(ACCEPTANCE / "input"), **ASSESSED}
    run = project.build("--vars", json.dumps(variables))
    assert run.success, run.output
    assert not disagreements(project.query)

"""Real input: the acceptance case, made by nobody here, agrees in every set."""

import json
from collections.abc import Callable

import pytest
from conftest import SHARED, Project

ACCEPTANCE = SHARED / "acceptance"
AS_OF = "2026-09-17 00:00:00"
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


def test_every_set_agrees(fresh_project: Callable[[], Project]) -> None:
    """Each mart has exactly the expected rows, before any size threshold."""
    project = fresh_project()
    variables = {
        "input": "files",
        "input_path": str(ACCEPTANCE / "input"),
        "as_of": AS_OF,
        "incident_assessment": True,
    }
    run = project.build("--vars", json.dumps(variables))
    assert run.success, run.output
    disagreements = {}
    for name, (relation, columns) in SETS.items():
        expected = f"select {columns} from read_csv('{ACCEPTANCE}/expected/{name}.csv', all_varchar = true)"
        actual = f"select {columns} from {relation}"
        assert project.query(f"select count(*) > 0 from ({expected})") == [(True,)]
        disagreements[name] = project.query(
            f"(({expected}) except all ({actual})) union all (({actual}) except all ({expected}))"
        )
    assert disagreements == {name: [] for name in SETS}

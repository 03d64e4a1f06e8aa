"""The small case of another warehouse, in `make test`: the models alone give the acceptance case's rows.

`make test-engines` builds it under every guard, and compares every relation.
"""

import json
from collections.abc import Callable

import click
import pytest
from benchmark import MODELS
from conftest import Project
from test_acceptance import ACCEPTANCE, ASSESSED, disagreements
from test_postgres import LANDED, TARGET, land_acceptance_case, rows, use_database

pytestmark = pytest.mark.skipif(
    not ACCEPTANCE.is_dir(), reason=f"the acceptance case is not here: no folder {ACCEPTANCE}"
)
__all__ = ["use_database"]  # a fixture of this module, too


def test_postgres(request: pytest.FixtureRequest, fresh_project: Callable[[], Project]) -> None:
    """From tables on PostgreSQL."""
    try:
        request.getfixturevalue("use_database")("small_case")
    except click.ClickException as error:
        pytest.skip(error.message)
    land_acceptance_case()
    run = fresh_project().dbt(*MODELS, *TARGET, "--vars", json.dumps(LANDED | ASSESSED))
    assert run.success, run.output
    assert not disagreements(rows)

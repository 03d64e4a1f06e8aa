"""The small case of each other warehouse, in `make test`: the models alone give the acceptance case's rows.

`make test-engines` builds it under every guard, and compares every relation.
"""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from benchmark import MODELS, UNPUBLISHED
from conftest import Project
from spark_cluster import spark
from test_acceptance import ACCEPTANCE, AS_OF, ASSESSED, SETS, disagreements, query
from test_postgres import LANDED, TARGET, land_acceptance_case, rows, use_database
from test_spark import OnSpark

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


def test_spark(fresh_project: Callable[[], Project], tmp_path: Path) -> None:
    """From files on Spark in one process, what the marts beside the incident and the reports are made of.

    A statement takes Spark a second or two, however few the rows.
    """
    sets = SETS.keys() - {"incident_matches"}
    queries = {name: query(name) for name in sets}
    inputs = {"input": "files", "input_path": str(ACCEPTANCE / "input"), "as_of": AS_OF}
    models = [f"+{SETS[name][0].split('.')[1]}" for name in sorted(sets)]
    selected = ["--select", *models, *UNPUBLISHED, "--exclude-resource-type", "test", "unit_test"]
    try:
        with spark() as cluster:
            on_spark = OnSpark(fresh_project(), tmp_path / "lake", cluster)
            run = on_spark.dbt("build", *selected, "--vars", json.dumps(inputs))
            assert run.success, run.output
            answers = on_spark.rows(queries)
    except click.ClickException as error:
        pytest.skip(error.message)
    answered = {queries[name]: list(found.elements()) for name, found in answers.items()}
    assert not disagreements(answered.__getitem__, sets)

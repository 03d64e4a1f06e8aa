"""A macro of the project that dbt would call in place of its own is refused, by dbt and by publishing.

For Spark alone some must be: macros/spark.sql holds them, by name, and nothing else may.
"""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project
from dbt_artifacts import MACROS_ON_SPARK, check_guards
from publish_rules import Refusal

EMPTY = "{{% macro {name}(relation) %}}(select * from {{{{ relation }}}} where false){{% endmacro %}}\n"


def test_dbt_refuses(fresh_project: Callable[[], Project]) -> None:
    """Names of dbt's, and names that its dispatch tries before its own, for any adapter; one run sees all."""
    project = fresh_project()
    drop_schema = "{% macro spark__drop_schema(relation) -%}"
    project.edit("macros/spark.sql", drop_schema, drop_schema.replace("spark__drop_schema", "unused"))
    names = [
        "get_where_subquery",
        "default__get_where_subquery",
        "duckdb__get_where_subquery",
        "spark__get_where_subquery",
        "duckdb__get_test_sql",
        "spark__drop_schema",
    ]
    project.write("macros/planted.sql", "".join(EMPTY.format(name=name) for name in names))
    run = project.dbt("run", "--select", "stg_partners")
    assert not run.success
    refused = re.findall(r"the macro (\w+) stands in for one of dbt's own", run.output)
    assert sorted(set(refused)) == sorted(names), run.output


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("get_where_subquery", "macros/spark.sql"),
        ("duckdb__get_where_subquery", "macros/spark.sql"),
        ("default__get_where_subquery", "macros/spark.sql"),
        ("spark__get_where_subquery", "macros/spark.sql"),
        ("duckdb__drop_schema", "macros/spark.sql"),
        ("spark__drop_schema", "macros/other.sql"),
    ],
)
def test_publishing_refuses(name: str, file: str) -> None:
    """The same, from the manifest of the run that is to be published."""
    with pytest.raises(Refusal) as refusal:
        check_guards(artifacts_with(name, file), [], [], [])
    assert refusal.value.rule == "macro_shadowed"
    assert name in str(refusal.value)


def test_what_spark_needs_is_let_through() -> None:
    """No name is refused where it belongs: the refusals above are of the names and files."""
    for name in MACROS_ON_SPARK:
        check_guards(artifacts_with(name, "macros/spark.sql"), [], [], [])


def artifacts_with(name: str, file: str) -> Any:
    """A run of a project with this macro and no other, beside two of dbt's."""
    macros = [
        {"name": "get_where_subquery", "package_name": "dbt", "original_file_path": "macros/where.sql"},
        {"name": "drop_schema", "package_name": "dbt", "original_file_path": "macros/schema.sql"},
        *({"name": own.removeprefix("spark__"), "package_name": "dbt", "original_file_path": "macros/dbt.sql"}
          for own in MACROS_ON_SPARK),
        {"name": name, "package_name": "project", "original_file_path": file},
    ]  # fmt: skip
    manifest = {
        "disabled": {},
        "nodes": {},
        "macros": dict(enumerate(macros)),
        "metadata": {"project_name": "project"},
    }
    return SimpleNamespace(manifest=manifest, guards={}, variables={})

"""YAML keys against dbt's bundled JSON schema: without it a misspelt guard is dropped in silence."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from jsonschema import Draft7Validator

RESOURCES = json.loads((resources.files("dbt.jsonschemas") / "resources" / "latest.json").read_text())
PROJECT = json.loads((resources.files("dbt.jsonschemas") / "project" / "0.0.110.json").read_text())
FILES = sorted(file for folder in ("models", "seeds", "tests") for file in (ROOT / folder).rglob("*.yml"))
# what the schema closes must stay closed: where these keys stand, a misspelt neighbour is a fault
GUARD_KEYS = {
    "models": {"name", "description", "config", "columns", "data_tests", "constraints"},
    "columns": {"name", "description", "config", "data_type", "data_tests", "constraints"},
    "data_tests": {"arguments", "config", "name", "description"},
    "unit_tests": {"name", "description", "model", "given", "expect", "overrides", "config"},
    "sources": {"name", "description", "database", "schema", "tables", "config"},
    "tables": {"name", "description", "columns", "config", "data_tests"},
    "seeds": {"name", "description", "config", "columns", "data_tests"},
}


def load(file: Path) -> object:
    """The file as YAML; what a var switches on or off, which the schema takes for a text, is on."""
    return yaml.safe_load(re.sub(r'enabled: "\{\{ var\([^"]* \}\}"', "enabled: true", file.read_text()))


def schema_faults(content: object, schema: dict[str, object]) -> list[str]:
    """Faults by dbt's own schema, as paths and messages."""
    return [
        f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}"
        for error in Draft7Validator(schema).iter_errors(content)
    ]


def key_faults(content: object, where: str = "") -> list[str]:
    """Keys that are none of ours, at every place where a guard may stand."""
    faults = []
    if isinstance(content, dict):
        for key, value in content.items():
            for item in value if isinstance(value, list) and key in GUARD_KEYS else []:
                if not isinstance(item, dict):
                    continue
                allowed = GUARD_KEYS[key]
                named = item
                if key == "data_tests" and "name" not in item:
                    (named,) = item.values()
                faults += [f"{where}/{key}: unknown key {other}" for other in set(named) - allowed]
            faults += key_faults(value, f"{where}/{key}")
    elif isinstance(content, list):
        for item in content:
            name = item.get("name", "") if isinstance(item, dict) else ""
            faults += key_faults(item, f"{where}/{name}")
    return faults


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_keys_are_dbts(file: Path) -> None:
    """Every properties file holds dbt's keys and no others."""
    content = load(file)
    assert schema_faults(content, RESOURCES) == []
    assert key_faults(content) == []


def test_project_keys_are_dbts() -> None:
    """dbt_project.yml holds dbt's keys and no others."""
    assert schema_faults(load(ROOT / "dbt_project.yml"), PROJECT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    data_tests:\n", "    data_test:\n"),
        ("data_tests: [not_null]", "data_test: [not_null]"),
        (
            "          - accepted_values:\n              arguments:",
            "          - accepted_values:\n              argument:",
        ),
        ("    constraints:\n", "    constraint:\n"),
    ],
)
def test_misspelt_keys_are_seen(old: str, new: str) -> None:
    """The check itself: a misspelt guard of the audience marts is a fault."""
    content = (ROOT / "models" / "marts" / "audiences" / "_audiences__models.yml").read_text()
    assert old in content
    misspelt = yaml.safe_load(content.replace(old, new, 1))
    assert schema_faults(misspelt, RESOURCES) + key_faults(misspelt) != []

"""Bad input: every line of FAULTS.md has a test that exists or a reason, and docs/faults.md says so."""

import ast
import json
import re
import shutil
from pathlib import Path

import duckdb
import faults
import pytest
from conftest import ROOT, SHARED, Project

LINES = SHARED / "FAULTS.md"
TESTS = Path(__file__).parent


@pytest.mark.skipif(not LINES.is_file(), reason=f"the list of faults is not here: no file {LINES}")
def test_every_line_has_a_row() -> None:
    """Line by line, in order."""
    lines = [line[2:].split(" → ")[0] for line in LINES.read_text().splitlines() if line.startswith("- ")]
    assert len(lines) > 100
    assert [fault.fault for fault in faults.read()] == lines


def test_every_row_has_a_proof_or_a_reason() -> None:
    """A line may be left open only with the reason why."""
    for fault in faults.read():
        assert fault.what_happens and (fault.proofs or len(fault.why_not_more.split()) > 4), fault.fault


def test_proofs_exist(sample: Project) -> None:
    """Each function, each of its cases, each unit test and each data test that a row names.

    A case stands in the file of the test, or in one beside it that this imports.
    """
    manifest = json.loads((sample.path / "target" / "manifest.json").read_text())
    nodes = [*manifest["unit_tests"].values(), *manifest["nodes"].values()]
    known = {f"{node['resource_type'].replace('_', ' ')} {node['name']}" for node in nodes}
    known |= {f"data {name}" for name in known if name.startswith("test ")}
    missing = []
    for proof in {proof for fault in faults.read() for proof in fault.proofs}:
        if "::" not in proof:
            missing += [] if proof in known else [proof]
            continue
        file, function, case = re.fullmatch(r"(\S+\.py)::(\w+)(?:\[(.*)\])?", proof).groups()
        text = (TESTS / file).read_text()
        nodes = list(ast.walk(ast.parse(text)))
        functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        beside = [TESTS / f"{node.module}.py" for node in nodes if isinstance(node, ast.ImportFrom)]
        texts = [text, *(module.read_text() for module in beside if module.exists())]
        if function not in functions or not (case is None or any(f'"{case}"' in text for text in texts)):
            missing.append(proof)
    assert missing == []


def test_table_is_written() -> None:
    """docs/faults.md is the one that tests/python/faults.py writes."""
    assert (ROOT / "docs" / "faults.md").read_text() == faults.table()


@pytest.fixture(scope="module")
def read_entries(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The sample's warehouse, in which list entries can be replaced: what normalizes them is a view."""
    file = Path(shutil.copy(sample.warehouse, tmp_path_factory.mktemp("entries") / "warehouse.duckdb"))
    return duckdb.connect(str(file))


def normalized(warehouse: duckdb.DuckDBPyConnection, entries: list[tuple[str, str]]) -> list[str | None]:
    """What becomes of entries, given as channel and identifier; numbers are of the United States."""
    rows = [(str(number), channel, value) for number, (channel, value) in enumerate(entries)]
    warehouse.execute("create or replace table entries (row_number varchar, channel varchar, value varchar)")
    warehouse.executemany("insert into entries values (?, ?, ?)", rows)
    warehouse.execute(
        "create or replace view staging.stg_list_entries as select 'u' as upload_id, row_number, channel, "
        "value, 'US' as country_code, cast(null as varchar) as hash_hex from entries"
    )
    return [
        value
        for (value,) in warehouse.execute(
            "select normalized_value from matching.normalized_list_entries order by cast(row_number as int)"
        ).fetchall()
    ]


NONE = [
    ("email", "ada@example.com."),
    ("email", "<ada@example.com>"),
    ("email", "mailto:ada@example.com"),
    ("email", "\u201cada\u201d@example.com"),
    ("email", "Ada L <ada@example.com>"),
    ("email", "ada@example.com;bob@example.com"),
    ("email", "ada@example.com,bob@example.com"),
    ("email", '"ada l"@example.com'),
    ("email", "'); drop table entries; --@example.com"),
    ("email", "{{ env_var('HOME') }}@example.com"),
    ("email", "n/a"),
    ("email", "ada@"),
    ("phone", "+1 201 555 0123 x5"),
    ("phone", "+1 800 FLOWERS"),
    ("phone", "+1 201 555 012\u0663"),
    ("phone", "+0201 555 0123"),
    ("phone", "+10000000000"),
    ("phone", "+120155"),
    ("phone", "+1201555012345678"),
]


def test_identifiers_that_are_none(read_entries: duckdb.DuckDBPyConnection) -> None:
    """Each is invalid, is never split or evaluated, and stops nothing; what is one is read beside them."""
    found = normalized(read_entries, [*NONE, ("email", "Ada@example.com"), ("phone", "(201) 555-0123")])
    read = {entry: value for entry, value in zip(NONE, found, strict=False) if value is not None}
    assert read == {}
    assert found[-2:] == ["ada@example.com", "+12015550123"]


def test_look_alikes_are_not_equal(read_entries: duckdb.DuckDBPyConnection) -> None:
    """A Cyrillic letter, a U-label and its A-label are each their own mailbox, or none."""
    alike = ["ada@exmaple.com", "ada@exm\u0430ple.com", "ada@ex\u00e4mple.com", "ada@xn--exmple-cua.com"]
    found = [value for value in normalized(read_entries, [("email", value) for value in alike]) if value]
    assert len(found) == len(set(found)) > 1

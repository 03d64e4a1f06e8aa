"""The mutation tool: it judges as dbt would, its reviewed file is up to date, and mutants are killed."""

from pathlib import Path

import mutate
import pytest
from click.testing import CliRunner
from conftest import Project
from mutation_bench import Bench, Build, Fault, oracle_answers
from mutation_operators import Query

EDITS = {
    "consent_states: winning: compare: expires_at <= as_of -> expires_at < as_of": (
        "models/consent/consent_states.sql",
        "when expires_at <= {{ as_of() }} then",
        "when expires_at < {{ as_of() }} then",
    ),
    "tailored_audience_members: members: opposite: MIN(matched_at)": (
        "models/marts/audiences/tailored_audience_members.sql",
        "min(matched_at)",
        "max(matched_at)",
    ),
    "contacts_clear_of_suppression: usable_contacts: swap relation: usable_contacts -> raw_contacts": (
        "models/consent/contacts_clear_of_suppression.sql",
        "from {{ ref('usable_contacts') }}",
        "from {{ ref('raw_contacts') }}",
    ),
    "membership_changes: previous_moment: opposite: MAX(as_of)": (
        "models/marts/privacy/membership_changes.sql",
        "max(as_of)",
        "min(as_of)",
    ),
}
"""Mutants, and how somebody would write each into the project; the last is an equivalent one."""

EVERY = 60
"""One mutant in so many is tried here: all of them take minutes."""


@pytest.fixture(scope="module")
def bench(built_sample: Path) -> Bench:
    """A bench of the build of the sample, which is what dbt built."""
    build = Build(built_sample)
    bench = Bench(build)
    bench.check()
    bench.load_oracle(oracle_answers(build))
    return bench


@pytest.fixture(scope="module")
def faults(bench: Bench) -> dict[str, Fault]:
    """All mutants by id."""
    return {fault.id: fault for fault in bench.faults()}


def test_reviewed_mutants_are_there(faults: dict[str, Fault]) -> None:
    """Each entry of the reviewed file names a mutant, and has a reason in words."""
    reviewed = mutate.reviewed()
    assert set(reviewed) <= set(faults)
    assert all(len(reason.split()) > 5 for reason in reviewed.values())


def test_mutants_are_killed(bench: Bench, faults: dict[str, Fault]) -> None:
    """A fixed part of the mutants: each is killed, unless reviewed, and those survive."""
    reviewed = mutate.reviewed()
    chosen = [faults[name] for name in sorted(faults)[::EVERY]]
    verdicts = {fault.id: bench.judge(fault) for fault in chosen}
    survivors = {name for name, verdict in verdicts.items() if verdict.status == "survived"}
    assert survivors == set(reviewed).intersection(verdicts)
    assert sum(verdict.status == "killed" for verdict in verdicts.values()) > 20


def test_dbt_says_the_same(bench: Bench, faults: dict[str, Fault], copy_of_sample: Project) -> None:
    """The unit tests that fail in dbt for a mutant are those that fail on the bench: some, or none."""
    expected = {name: bench.unit_tests_that_see(faults[name]) for name in EDITS}
    assert [bool(seen) for seen in expected.values()] == [True, True, True, False]
    for path, old, new in EDITS.values():
        copy_of_sample.edit(path, old, new)
    models = " ".join(Path(path).stem for path, _, _ in EDITS.values())
    run = copy_of_sample.dbt("test", "--select", *[f"{model},test_type:unit" for model in models.split()])
    assert run.failed() == set().union(*expected.values()), run.output


def test_a_survivor_is_told(bench: Bench, faults: dict[str, Fault]) -> None:
    """Without the detectors of a mutant it survives: none of the verdicts is given away."""
    fault = faults[
        "list_matches: matched: drop conjunct: folded_list_entries.channel = contact_match_keys.channel"
    ]
    assert bench.judge(fault).status == "killed"
    blind = Bench.__new__(Bench)
    blind.__dict__.update(bench.__dict__, unit_tests={})
    assert blind.judge(fault).status == "survived"


@pytest.mark.parametrize(
    ("sql", "mutant", "expected"),
    [
        ("select 1 from t where a and b", "drop conjunct: a", "SELECT 1 FROM t WHERE (b)"),
        ("select 1 from t where a < 2", "compare: a < 2 -> a <= 2", "SELECT 1 FROM t WHERE a <= 2"),
        (
            "select 1 from t join u on t.a = u.a",
            "drop join condition: t.a = u.a",
            "SELECT 1 FROM t JOIN u ON TRUE",
        ),
        ("select distinct a from t", "drop distinct: SELECT DISTINCT a FROM t", "SELECT a FROM t"),
        ("select coalesce(a, false) from t", "drop default: COALESCE(a, FALSE)", "SELECT a FROM t"),
        (
            "select 1 from t where c = 'email'",
            "swap code: email -> phone in c = 'email'",
            "SELECT 1 FROM t WHERE c = 'phone'",
        ),
        (
            "select 1 from t where a is not distinct from b",
            "compare: a IS NOT DISTINCT FROM b -> a = b",
            "SELECT 1 FROM t WHERE a = b",
        ),
        (
            "select 1 from t where not exists (select 1 from u)",
            "drop filter: NOT EXISTS(SELECT 1 FROM u)",
            "SELECT 1 FROM t",
        ),
    ],
)
def test_mutants_are_what_they_say(sql: str, mutant: str, expected: str) -> None:
    """An operator changes what its name says and nothing else."""
    assert Query(sql).text(f"select: {mutant}") == expected


def test_unknown_model_is_refused(built_sample: Path) -> None:
    """A misspelt model is no empty success."""
    answer = CliRunner().invoke(mutate.main, ["--built", str(built_sample), "--model", "list_match"])
    assert answer.exit_code == 2
    assert "list_match is none of" in answer.output

"""The repository itself: lint, what stands at the top, and what must not be in any file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TOP_LEVEL = {
    "dbt_project.yml",
    "profiles.yml",
    "models",
    "seeds",
    "tests",
    "macros",
    "scripts",
    "README.md",
    "pyproject.toml",
    "requirements.txt",
    "Makefile",
    "docs",
}


def tracked_files() -> list[Path]:
    """Files that git tracks or would, as paths from the root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the environment at the project's root."""
    tool = Path(sys.executable).parent / arguments[0]
    return subprocess.run([tool, *arguments[1:]], cwd=ROOT, capture_output=True, text=True)


def test_sqlfluff() -> None:
    """The models and invariants are written in the house style."""
    answer = run_tool("sqlfluff", "lint", "--processes", "2", "models", "tests/invariants")
    assert answer.returncode == 0, answer.stdout[-5000:]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff(command: tuple[str, ...]) -> None:
    """Python is lint-free and formatted."""
    answer = run_tool("ruff", *command, ".")
    assert answer.returncode == 0, answer.stdout[-5000:]


def test_top_level() -> None:
    """Nothing stands at the top beyond the design card and dotfiles."""
    names = {file.parts[0] for file in tracked_files()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_models_ask_no_clock_and_use_no_not_in() -> None:
    """Time comes from as_of; `not in` is empty as soon as one row is null."""
    words = re.compile(r"\b(now\s*\(|current_timestamp|current_date|today\s*\(|not in\b|qualify)", re.I)
    for file in tracked_files():
        if file.suffix == ".sql" and file.parts[0] == "models":
            assert not words.search((ROOT / file).read_text()), file


def test_no_registry_and_no_machine_in_any_file() -> None:
    """No file names a package registry or a path of one machine."""
    registry = re.compile(r"(extra|index)-(index-)?url|//[^\s/\"']*(pypi|pythonhosted|npmjs|debian)")
    machine = re.compile(r"(?<![\w.])/(work|root|home)/")
    for file in tracked_files():
        if file == Path(__file__).relative_to(ROOT):
            continue
        try:
            content = (ROOT / file).read_text()
        except UnicodeDecodeError:
            continue
        assert not registry.search(content), file
        assert not machine.search(content), file


def test_lock_is_pinned_and_hashed() -> None:
    """Every requirement of the lock has one version and at least one hash."""
    lock = (ROOT / "requirements.txt").read_text()
    requirements = re.findall(
        r"^(\S+?)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.M
    )
    assert len(requirements) == len(re.findall(r"^[a-zA-Z]", lock, re.M)) > 50
    versions = {name: version for name, version, _ in requirements}
    assert versions["dbt-core"] == "1.11.16"
    assert versions["duckdb"] == "1.5.5"
    assert versions["sqlfluff"] == versions["sqlfluff-templater-dbt"]


@pytest.mark.parametrize("name", ["benchmark", "browser", "engines", "spark"])
def test_further_locks_leave_the_first_as_it_is(name: str) -> None:
    """What a group adds is pinned and hashed too, and changes no version of the lock that it is laid upon."""
    requirement = re.compile(r"^(\S+?)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", re.M)
    first = dict(requirement.findall((ROOT / "requirements.txt").read_text()))
    lock = (ROOT / "scripts" / "requirements" / f"{name}.txt").read_text()
    added = dict(requirement.findall(lock))
    assert len(added) == len(re.findall(r"^[a-zA-Z]", lock, re.M)) > 0
    assert {package: first.get(package, pin) for package, pin in added.items()} == added


def test_sample_values_are_fictional() -> None:
    """Addresses of the sample are under example.com, .org or .net."""
    address = re.compile(r"[^\s,@\"]+@([A-Za-z0-9.-]+)")
    fictional = re.compile(r"(.*\.)?example\.(com|org|net)\.?$", re.I)
    for file in (ROOT / "seeds" / "sample").glob("*.csv"):
        for domain in address.findall(file.read_text()):
            assert fictional.match(domain) or "." not in domain, f"{file.name} has an address elsewhere"

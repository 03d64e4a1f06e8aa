"""Faults of the guards themselves, for scripts/mutate.py: switched off, misspelt, loosened.

dbt builds without a word when a data test is disabled, when its key is misspelt (it then knows of none), or
when its config says that it may fail. What must notice is check_guards at the run's start. One kind of fault
is put into all guards at once, and each must be named: the check judges every guard by itself.
"""

from __future__ import annotations

import copy
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from mutation_bench import Fault, Verdict

CHECK = "check_guards"
LOOSENED = {
    "severity": "warn",
    "where": "false",
    "limit": 1,
    "fail_calc": "0",
    "warn_if": "> 1000000",
    "error_if": "> 1000000",
}
"""Config of a data test with which it passes whatever it finds, or all but a crowd of it."""

Named = Callable[[str], bool]


def told(manifest: Manifest, change: Callable[[Manifest], None]) -> Named:
    """Whether check_guards names a guard when the whole project has been changed."""
    changed = copy.deepcopy(manifest)
    change(changed)
    changed.flat_graph = {}
    changed.build_flat_graph()
    messages: list[str] = []
    runner = dbtRunner(manifest=changed, callbacks=[lambda event: messages.append(event.info.msg)])
    with redirect_stdout(io.StringIO()):  # dbt's own words, of hundreds of guards
        runner.invoke(["--quiet", "run-operation", CHECK])
    names = set(re.findall(r"^ +(\S+) is (?:loosened|gone)", "\n".join(messages), re.M))
    return names.__contains__


def without_tests(manifest: Manifest) -> None:
    """Take all data tests away."""
    for name in [name for name, node in manifest.nodes.items() if node.resource_type == "test"]:
        del manifest.nodes[name]


def without_contracts(manifest: Manifest) -> None:
    """Enforce no contract."""
    for node in manifest.nodes.values():
        if node.resource_type == "model":
            node.config.contract.enforced = False


def loosening(setting: str, value: Any) -> Callable[[Manifest], None]:
    """Let every data test pass by one of its settings."""

    def change(manifest: Manifest) -> None:
        for node in manifest.nodes.values():
            if node.resource_type == "test":
                setattr(node.config, setting, value)

    return change


def judge_guards(folder: Path) -> Iterator[tuple[Fault, Verdict]]:
    """Each fault of each guard of a project, and what became of it."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        manifest = dbtRunner().invoke(["--quiet", "parse"]).result
        tests = [node for node in manifest.nodes.values() if node.resource_type == "test"]
        tests_of: dict[str, list[str]] = defaultdict(list)
        for test in tests:
            if getattr(test, "attached_node", None):
                tests_of[test.attached_node.split(".")[-1]].append(test.name)
        models = [node for node in manifest.nodes.values() if node.resource_type == "model"]
        contracts = [node.name for node in models if node.config.contract.enforced]

        def verdicts(
            change: str, names: dict[str, list[str]], is_told: Named
        ) -> Iterator[tuple[Fault, Verdict]]:
            for name, guards in names.items():
                seen = all(is_told(guard) for guard in guards)
                verdict = Verdict("killed", "run start", CHECK) if seen else Verdict("survived")
                yield Fault("guards", f"{name}: {change}", "loosen guard", ()), verdict

        each_test = {test.name: [test.name] for test in tests}
        is_told = told(manifest, without_tests)
        yield from verdicts("enabled: false", each_test, is_told)
        yield from verdicts("data_tests: -> data_test:", tests_of, is_told)
        for setting, value in LOOSENED.items():
            is_told = told(manifest, loosening(setting, value))
            yield from verdicts(f"{setting}: {value}", each_test, is_told)
        is_told = told(manifest, without_contracts)
        yield from verdicts("contract: {enforced: false}", {name: [name] for name in contracts}, is_told)
    finally:
        os.chdir(here)

"""Where scripts/mutate.py tries faults: a built project held in memory, rebuilt from compiled SQL.

A bench reads what one whole `dbt build` left: the compiled SQL of models, data tests and unit tests, and
the warehouse. A fault is tried as dbt would meet it, cheapest first: group and access, the unit tests of
the model, its rebuild under its contract, then whatever depends on it and every data test on the way. A
model whose rows stay the same ends the walk there: what depends on it would stay the same as well. Then
the oracle's answers are compared. All of it happens in a transaction that is rolled back.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
from duckdb.sqltypes import BIGINT, VARCHAR
from mutation_operators import FIXTURE, NEXT_CODE, Query
from size_noise import keyed_number

ROOT = Path(__file__).parents[1]
SECONDS = 20
"""How long one statement may take: a fault that joins everything with everything never ends."""

PUBLISHED = ("published", "delivery", "state")
DETECTORS = ["access", "unit test", "contract", "run error", "data test", "invariant", "timeout", "oracle"]
"""What kills a mutant, in the order in which it is asked; all but the last are dbt build's own."""

Node = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A mutant: the model, macro or seed at fault, the mutant's name in it, and the nodes that it is in."""

    model: str
    name: str
    operator: str
    nodes: tuple[str, ...]
    update: str | None = None  # of a seed: what changes its rows

    @property
    def id(self) -> str:
        """What the reviewed file calls it."""
        return f"{self.model}: {self.name}"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: stillborn, killed or survived; and by which detector, of which kind."""

    status: str
    kind: str = ""
    detector: str = ""


class Killed(Exception):
    """Raised by the first detector that sees the fault."""

    def __init__(self, kind: str, detector: str) -> None:
        """Name the detector and its kind."""
        super().__init__(kind, detector)
        self.verdict = Verdict("killed", kind, detector)


class Stillborn(Exception):
    """The mutated SQL names what does not exist: no run would get past it."""


@dataclass(frozen=True)
class UnitTest:
    """A unit test: its model's SQL over given rows, the columns that are compared, and the expected rows."""

    name: str
    model: str
    schema: str
    code: str
    columns: str
    expected: str
    overrides_macros: bool


@dataclass
class Build:
    """What a whole dbt build left in a project's target folder."""

    path: Path
    models: dict[str, Node] = field(init=False)
    tests: dict[str, Node] = field(init=False)
    seeds: dict[str, Node] = field(init=False)

    def __post_init__(self) -> None:
        """Read the manifest.

        Raises:
            FileNotFoundError: nothing was built there.
        """
        self.manifest = json.loads((self.path / "target" / "manifest.json").read_text())
        nodes = self.manifest["nodes"]
        self.models = {name: node for name, node in nodes.items() if node["resource_type"] == "model"}
        self.tests = {name: node for name, node in nodes.items() if node["resource_type"] == "test"}
        self.seeds = {name: node for name, node in nodes.items() if node["resource_type"] == "seed"}

    @cached_property
    def order(self) -> list[str]:
        """Models, each behind those that it reads."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in self.models and name not in order:
                for parent in self.models[name]["depends_on"]["nodes"]:
                    visit(parent)
                order[name] = None

        for name in sorted(self.models):
            visit(name)
        return list(order)

    def relations(self) -> dict[str, str]:
        """Models and seeds by name, as SQL writes them."""
        return {node["name"]: node["relation_name"] for node in [*self.models.values(), *self.seeds.values()]}

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Names of all models and seeds that a model depends on."""
        found: set[str] = set()
        stack = [name]
        while stack:
            for parent in self.models.get(stack.pop(), {"depends_on": {"nodes": []}})["depends_on"]["nodes"]:
                if parent not in found:
                    found.add(parent)
                    stack.append(parent)
        return tuple(sorted(parent.split(".")[-1] for parent in found))

    @cached_property
    def macro_parts(self) -> dict[str, str]:
        """Names of common table expressions that a macro of the project writes, with that macro's name."""
        parts = {}
        for name, macro in self.manifest["macros"].items():
            if macro["package_name"] == self.manifest["metadata"]["project_name"]:
                for part in re.findall(
                    r"^(\w+) as (?:\{\{ computed_once\(\) \}\} )?\($", macro["macro_sql"], re.M
                ):
                    parts[f"{name} {part}"] = macro["name"]
        return parts

    def macro_of(self, node: Node, part: str) -> str | None:
        """The macro that writes this part of a node's SQL, if one does."""
        seen: set[str] = set()
        stack = list(node["depends_on"]["macros"])
        while stack:
            name = stack.pop()
            if name in seen:
                continue
            seen.add(name)
            if f"{name} {part}" in self.macro_parts:
                return self.macro_parts[f"{name} {part}"]
            stack.extend(self.manifest["macros"][name]["depends_on"]["macros"])
        return None

    def unit_tests(self) -> Iterator[UnitTest]:
        """The unit tests as dbt ran them."""
        results = json.loads((self.path / "target" / "run_results.json").read_text())["results"]
        code = {result["unique_id"]: result["compiled_code"] for result in results}
        files = {file.stem: file for file in (self.path / "target" / "run").rglob("*.sql")}
        names = {node["name"]: name for name, node in self.models.items()}
        for number, (name, test) in enumerate(sorted(self.manifest["unit_tests"].items())):
            run = files[test["name"]].read_text()
            (columns,) = re.findall(r"as \(\s*select\s+(.*?), 'actual' as", run, re.S)
            (expected,) = re.findall(
                r"dbt_internal_unit_test_expected as \(\s*select.*?from \(\s*(.*)\) "
                r"_dbt_internal_unit_test_expected\s*\)\s*-- Union",
                run,
                re.S,
            )
            if "from dbt_internal_unit_test_actual" in expected:  # none are expected
                expected = ""
            yield UnitTest(
                test["name"],
                names[test["model"]],
                f"unit_{number}",
                code[name],
                columns,
                expected,
                bool((test["overrides"] or {}).get("macros")),
            )


class Bench:
    """A built project in memory."""

    def __init__(self, build: Build) -> None:
        """Load the warehouse and everything dbt compiled.

        Raises:
            AssertionError: unchanged, in this process, something is not what dbt built.
        """
        self.build = build
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        self.connection.execute("set timezone = 'UTC'")
        self.connection.create_function(
            "keyed_number",
            keyed_number,
            [VARCHAR],
            BIGINT,
            null_handling="special",
            side_effects=True,
        )
        self._load_warehouse()
        self.relations = build.relations()
        self.queries = {
            name: Query(node["compiled_code"], build.ancestors(name), self._by_macro(node))
            for name, node in build.models.items()
        }
        self.marks = {name: self._mark(name) for name in build.order}
        self.unit_tests: dict[str, list[tuple[UnitTest, Query]]] = defaultdict(list)
        self.given_seeds: dict[str, list[tuple[UnitTest, Query]]] = defaultdict(list)
        for test in build.unit_tests():
            self._load_unit_test(test)
        self.place = {name: place for place, name in enumerate(build.order)}
        self.ready: dict[int, list[str]] = defaultdict(list)
        for name, test in build.tests.items():
            places = [self.place[parent] for parent in test["depends_on"]["nodes"] if parent in self.place]
            self.ready[max(places, default=0)].append(name)
        self.columns = {name: self._columns(node["relation_name"]) for name, node in build.models.items()}
        self.test_queries: dict[str, Query] = {}

    # -- loading

    def _load_warehouse(self) -> None:
        file = self.build.path / "build" / "warehouse.duckdb"
        self.connection.execute(f"attach '{file}' as built (read_only)")
        self.connection.execute("attach ':memory:' as warehouse")
        relations = self.connection.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'built'"
        ).fetchall()
        self.connection.execute("use built")
        for schema in {schema for schema, _ in relations}:
            self.connection.execute(f"create schema if not exists warehouse.{schema}")
        # a view reads warehouse.<...>, which is complete only with the tables that it reads
        pending = relations
        while pending:
            left = []
            for schema, name in pending:
                try:
                    self.connection.execute(
                        f"create table warehouse.{schema}.{name} as from built.{schema}.{name}"
                    )
                except duckdb.CatalogException:
                    left.append((schema, name))
            assert len(left) < len(pending), f"cannot read {left}"
            pending = left
        self.connection.execute("use warehouse")
        self.connection.execute("detach built")

    def _load_unit_test(self, test: UnitTest) -> None:
        model = self.build.models[test.model]
        query = Query(test.code, self.build.ancestors(test.model), self._by_macro(model), test.schema)
        self.connection.execute(f"create schema {test.schema}")
        for name, rows in query.given.items():
            self.connection.execute(f"create table {test.schema}.{name} as {rows}")
        expected = test.expected or f"select {test.columns} from ({query.text()}) limit 0"
        self.connection.execute(
            f"create table {test.schema}.expected as select {test.columns} from ({expected})"
        )
        difference = self._difference(test, query.text())
        assert not difference, f"unit test {test.name} fails here and not in dbt"
        self.unit_tests[test.model].append((test, query))
        for name, seed in self.build.seeds.items():
            given = f"{test.schema}.{FIXTURE}{seed['name']}"
            if FIXTURE + seed["name"] in query.given and self._is_same(given, seed["relation_name"]):
                self.given_seeds[name].append((test, query))

    def _is_same(self, given: str, seed: str) -> bool:
        """Whether a unit test is given all of a seed, as it stands there; dbt gives '' for an empty cell."""
        rows = [f"select coalesce(columns(*)::varchar, '') from {relation}" for relation in (given, seed)]
        difference = f"(({rows[0]}) except all ({rows[1]})) union all (({rows[1]}) except all ({rows[0]}))"
        return not self.connection.execute(f"select 1 from ({difference}) limit 1").fetchall()

    def _columns(self, relation: str) -> list[tuple[str, str]]:
        return [row[:2] for row in self.connection.execute(f"describe {relation}").fetchall()]

    def _mark(self, name: str) -> tuple[int, int | None]:
        """Number and digest of a relation's rows, whatever their order."""
        relation = self.build.models[name]["relation_name"]
        answer = self.connection.execute(f"select count(*), sum(hash(rows)::hugeint) from {relation} as rows")
        return answer.fetchone()

    def check(self) -> None:
        """Rebuild every model from the SQL as sqlglot writes it.

        Raises:
            AssertionError: some relation has other rows than dbt built.
        """
        with self._undone():
            for name in self.build.order:
                self._create(name, self.queries[name].text())
                assert self._mark(name) == self.marks[name], f"{name} is not what dbt built"
            for name, test in self.build.tests.items():
                assert not self._fails(test["compiled_code"]), f"{name} fails here and not in dbt"

    # -- faults

    def faults(self) -> list[Fault]:
        """All faults of the guarded models; what a macro writes into several is at fault in all of them."""
        found: dict[tuple[str, str], Fault] = {}
        for name, node in self.build.models.items():
            if node["schema"] in (*PUBLISHED, "audit", "incident"):
                continue
            for mutant_name, mutant in self.queries[name].mutants().items():
                macro = self.build.macro_of(node, mutant.within)
                at_fault = f"macro {macro}" if macro else node["name"]
                key = (at_fault, mutant_name)
                if key in found:
                    continue
                nodes = self._nodes_with(macro, mutant.within, mutant_name) if macro else (name,)
                found[key] = Fault(at_fault, mutant_name, mutant.operator, nodes)
        return [*found.values(), *self._seed_faults()]

    def _seed_faults(self) -> Iterator[Fault]:
        """Each flag of a policy seed flipped, each code swapped, each number one more."""
        for node_id, seed in self.build.seeds.items():
            # phone_regions is written by a script, and CI compares it with its source
            if seed["schema"] != "policy" or seed["name"] == "phone_regions":
                continue
            relation = seed["relation_name"]
            table = self.connection.execute(f"select rowid, * from {relation}")
            columns = [column[0] for column in table.description][1:]
            readers = [node for node in self.build.models.values() if node_id in node["depends_on"]["nodes"]]
            sql = " ".join(node["compiled_code"] for node in readers)
            for row, *cells in table.fetchall():
                for column, cell in zip(columns, cells, strict=True):
                    if not re.search(rf"\b{column}\b", sql):
                        continue  # a remark, which no model reads
                    new = NEXT_CODE.get(cell)
                    if isinstance(cell, bool):
                        new = not cell
                    elif str(cell).isdigit() and column == "value":
                        new = int(cell) + 1
                    if new is not None:
                        key = " ".join(str(value) for value in cells[:2] if value is not None)
                        yield Fault(
                            f"seed {seed['name']}",
                            f"{key}: {column}: {cell} -> {new}",
                            "change policy",
                            (node_id,),
                            f"set {column} = '{new}' where rowid = {row}",
                        )

    def _nodes_with(self, macro: str, part: str, mutant_name: str) -> tuple[str, ...]:
        """Models and data tests into which the macro writes the same."""
        nodes = []
        for name, node in [*self.build.models.items(), *self.build.tests.items()]:
            if self.build.macro_of(node, part) == macro and mutant_name in self._query(name).mutants():
                nodes.append(name)
        return tuple(nodes)

    def _by_macro(self, node: Node) -> Callable[[str], bool]:
        return lambda part: self.build.macro_of(node, part) is not None

    def _node(self, name: str) -> Node:
        return self.build.models.get(name) or self.build.tests[name]

    def _query(self, name: str) -> Query:
        if name in self.queries:
            return self.queries[name]
        if name not in self.test_queries:
            test = self.build.tests[name]
            self.test_queries[name] = Query(test["compiled_code"], (), self._by_macro(test))
        return self.test_queries[name]

    # -- judging

    def judge(self, fault: Fault) -> Verdict:
        """What becomes of one fault."""
        try:
            if fault.update is not None:
                self._judge_seed(fault.nodes[0], fault.update)
                return Verdict("survived")
            self._prepare(self._mutated(fault, fault.nodes[0]))
            self._ask_access(fault)
            self._ask_unit_tests(fault)
            with self._undone():
                self._rebuild({name: self._mutated(fault, name) for name in fault.nodes})
                self._ask_oracle()
        except Killed as killed:
            return killed.verdict
        except Stillborn:
            return Verdict("stillborn")
        return Verdict("survived")

    def _judge_seed(self, seed: str, update: str) -> None:
        with self._undone():
            self.connection.execute(f"update {self.build.seeds[seed]['relation_name']} {update}")
            for test, query in self.given_seeds[seed]:
                fixture = f"{test.schema}.{FIXTURE}{self.build.seeds[seed]['name']}"
                self.connection.execute(f"update {fixture} {update}")
                if self._difference(test, query.text()):
                    raise Killed("unit test", test.name)
            self._rebuild({}, {seed})
            self._ask_oracle()

    def _mutated(self, fault: Fault, name: str) -> str:
        return self._query(name).text(fault.name, self.relations.__getitem__)

    def _prepare(self, code: str) -> None:
        try:
            self.connection.execute(f"explain {code}")
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            raise Stillborn from error
        except duckdb.Error:
            pass  # folded at once into an error that the run would meet as well

    def _ask_access(self, fault: Fault) -> None:
        if fault.operator != "swap relation":
            return
        swapped_in = fault.name.split(" -> ")[-1].split(" (#")[0]
        groups = {self._node(name)["config"]["group"] for name in fault.nodes}
        for node in self.build.models.values():
            is_other = groups != {node["config"]["group"]}
            if node["name"] == swapped_in and node["access"] == "private" and is_other:
                raise Killed("access", f"{swapped_in} is private to {node['config']['group']}")

    def unit_tests_that_see(self, fault: Fault) -> set[str]:
        """Names of all unit tests that fail for a fault, where `judge` stops at the first."""
        seen = set()
        for model in fault.nodes:
            for test, query in self.unit_tests.get(model, ()):
                try:
                    self._ask_unit_test(fault, test, query)
                except Killed:
                    seen.add(test.name)
        return seen

    def _ask_unit_tests(self, fault: Fault) -> None:
        for model in fault.nodes:
            for test, query in self.unit_tests.get(model, ()):
                self._ask_unit_test(fault, test, query)

    def _ask_unit_test(self, fault: Fault, test: UnitTest, query: Query) -> None:
        name: str | None = fault.name
        if test.overrides_macros:
            name = query.counterpart(fault.name, self.queries[test.model])
        if name is None:
            return  # what is at fault is in a macro that the test overrides
        missing: list[str] = []

        def relation(ancestor: str) -> str:
            if FIXTURE + ancestor not in query.given:
                missing.append(ancestor)
            return f"{test.schema}.{FIXTURE}{ancestor}"

        code = query.text(name, relation)
        # dbt refuses a unit test whose model reads what it does not give
        if missing or self._difference(test, code):
            raise Killed("unit test", test.name)

    def _difference(self, test: UnitTest, code: str) -> bool:
        comparison = f"""
            with actual as ({code}),
            compared as (
                select 1 as weight, {test.columns} from actual
                union all
                select -1 as weight, {test.columns} from {test.schema}.expected
            )
            select 1 from compared group by {test.columns} having sum(weight) <> 0 limit 1
        """
        try:
            return bool(self._run(comparison))
        except duckdb.InterruptException as error:
            raise Killed("timeout", test.name) from error
        except duckdb.Error:
            return True

    def _rebuild(self, codes: dict[str, str], seeds: Iterable[str] = ()) -> None:
        """Build what is at fault and whatever depends on it, and run each data test when it is due."""
        changed = set(seeds)
        for place, name in enumerate(self.build.order):
            parents = self.build.models[name]["depends_on"]["nodes"]
            if name in codes or changed.intersection(parents):
                code = codes.get(name) or self.build.models[name]["compiled_code"]
                self._create_guarded(name, code)
                if self._mark(name) != self.marks[name]:
                    changed.add(name)
            for test_name in self.ready[place]:
                test = self.build.tests[test_name]
                if test_name in codes or changed.intersection(test["depends_on"]["nodes"]):
                    self._ask_data_test(test, codes.get(test_name) or test["compiled_code"])

    def _create_guarded(self, name: str, code: str) -> None:
        try:
            self._create(name, code)
        except duckdb.ConstraintException as error:
            raise Killed("contract", self.build.models[name]["name"]) from error
        except duckdb.InterruptException as error:
            raise Killed("timeout", self.build.models[name]["name"]) from error
        except duckdb.Error as error:
            raise Killed("run error", self.build.models[name]["name"]) from error
        node = self.build.models[name]
        if node["contract"]["enforced"] and self._columns(node["relation_name"]) != self.columns[name]:
            raise Killed("contract", node["name"])

    def _create(self, name: str, code: str) -> None:
        relation = self.build.models[name]["relation_name"]
        constraints = self._constraints(name)
        self._run(f"create or replace table {relation} as {code}")
        if constraints:
            self.connection.execute(f"create temp table constrained {constraints}")
            self._run(f"insert into constrained by name from {relation}")
            self.connection.execute("drop table constrained")

    def _constraints(self, name: str) -> str | None:
        """Columns and constraints of a table under contract, as dbt wrote them."""
        node = self.build.models[name]
        if not node["contract"]["enforced"] or node["config"]["materialized"] != "table":
            return None
        file = self.build.path / "target" / "run" / node["package_name"] / node["original_file_path"]
        (block,) = re.findall(r'__dbt_tmp"\s*(\(.*?\))\s*;\s*insert into', file.read_text(), re.S)
        return block

    def _fails(self, code: str) -> bool:
        return self._run(f"select count(*) from ({code}\n) as failing")[0][0] > 0

    def _ask_data_test(self, test: Node, code: str) -> None:
        kind = "invariant" if test["original_file_path"].endswith(".sql") else "data test"
        try:
            fails = self._fails(code)
        except duckdb.InterruptException as error:
            raise Killed("timeout", test["name"]) from error
        except duckdb.Error:
            fails = True
        if fails:
            raise Killed(kind, test["name"])

    def _ask_oracle(self) -> None:
        for question, query in ORACLE_QUERIES.items():
            expected = f"select * from oracle.{question}"
            difference = f"(({query}) except all ({expected})) union all (({expected}) except all ({query}))"
            if self._run(f"select 1 from ({difference}) limit 1"):
                raise Killed("oracle", question)

    # -- the connection

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        timer = threading.Timer(SECONDS, self.connection.interrupt)
        timer.start()
        try:
            return self.connection.execute(statement).fetchall()
        finally:
            timer.cancel()

    @contextmanager
    def _undone(self) -> Iterator[None]:
        self.connection.execute("begin")
        try:
            yield
        finally:
            self.connection.execute("rollback")

    # -- the oracle

    def load_oracle(self, answers: dict[str, tuple[str, Iterable[tuple[Any, ...]]]]) -> None:
        """Take the oracle's answers, of each question its columns and rows.

        Raises:
            AssertionError: they are not what dbt built.
        """
        self.connection.execute("create schema oracle")
        for question, (columns, rows) in answers.items():
            self.connection.execute(f"create table oracle.{question} ({columns})")
            marks = ", ".join("?" for _ in columns.split(","))
            self.connection.executemany(f"insert into oracle.{question} values ({marks})", list(rows))
        try:
            self._ask_oracle()
        except Killed as killed:
            raise AssertionError(
                f"the oracle disagrees with the build: {killed.verdict.detector}"
            ) from killed


ORACLE_QUERIES = {
    "decisions": "select contact_id, data_use, decision from marts.contact_decisions",
    "gate": "select contact_id, data_use, consent_event_id from consent.contacts_consented_for_ads",
    "list_reports": "select list_id, reason, entries from marts.list_reports",
    "measurement": "select engagement_id from marts.measurement_events_shared",
    "audiences": (
        "select list_id, advertiser_id, list_kind, partner_id, uploaded_entries, "
        "case when list_status not in ('too_small', 'withheld_differencing', 'serving') then list_status end "
        "from marts.audiences"
    ),
    "members": """
        select 'tailored', list_id, advertiser_id, user_id,
            matched_email, matched_phone, first_matched_at, valid_until
        from marts.tailored_audience_members
        union all
        select 'partner', list_id, advertiser_id, user_id,
            matched_email, matched_phone, first_matched_at, valid_until
        from marts.partner_audience_members
    """,
}
"""What the oracle is asked, and where the marts have it."""


def oracle_answers(build: Build) -> dict[str, tuple[str, list[tuple[Any, ...]]]]:
    """The oracle's own reading of the inputs that were built (tests/python/oracle.py)."""
    sys.path.insert(0, str(ROOT / "tests" / "python"))
    import oracle

    policy = build.path / "seeds" / "policy"
    world = oracle.World.from_csv(
        build.path / "seeds" / "sample",
        policy / "purposes.csv",
        sensitive_list_topics=oracle.read_csv(policy / "sensitive_list_topics.csv"),
    )
    with duckdb.connect(str(build.path / "build" / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        ((as_of,),) = connection.execute("select as_of from release.release").fetchall()
    thresholds = ("too_small", "serving")
    return {
        "decisions": (
            "contact_id varchar, data_use varchar, decision varchar",
            [(*key, decision) for key, decision in oracle.decide(world, as_of).items()],
        ),
        "gate": (
            "contact_id varchar, data_use varchar, consent_event_id varchar",
            [(*key, event) for key, event in oracle.gate(world, as_of).items()],
        ),
        "list_reports": (
            "list_id varchar, reason varchar, entries bigint",
            [(*key, entries) for key, entries in oracle.list_reports(world, as_of).items()],
        ),
        "measurement": ("engagement_id varchar", [(event,) for event in oracle.measurement(world, as_of)]),
        "audiences": (
            "list_id varchar, advertiser_id varchar, list_kind varchar, partner_id varchar, "
            "uploaded_entries bigint, refusal varchar",
            [
                (
                    *key,
                    audience["list_kind"],
                    audience["partner_id"],
                    audience["uploaded_entries"],
                    None if audience["list_status"] in thresholds else audience["list_status"],
                )
                for key, audience in oracle.audiences(world, as_of).items()
            ],
        ),
        "members": (
            "list_kind varchar, list_id varchar, advertiser_id varchar, user_id varchar, "
            "matched_email boolean, matched_phone boolean, "
            "first_matched_at timestamptz, valid_until timestamptz",
            [(*key, *member.values()) for key, member in oracle.members(world, as_of).items()],
        ),
    }

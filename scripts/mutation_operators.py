"""The small faults that scripts/mutate.py puts into a model's compiled SQL, one at a time.

Each is one change of one node of the SQL's syntax tree, as somebody tired might make it: a condition
dropped, a comparison loosened, an inner join turned left. A mutant's name says where and what, in words of
the SQL itself and not by line, so that it stays the same while anything else around it changes.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import ClassVar

import sqlglot
from sqlglot import exp

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it takes sha256 for a function with an argument

VOCABULARIES = [
    ["ads.audience_matching.tailored", "ads.audience_matching.partner", "ads.measurement"],
    ["security", "service", "legal", "marketing", "advertising", "analytics", "unknown"],
    ["granted", "denied", "expired"],
    ["opt_in", "opt_out"],
    ["exclude", "separate_collection"],
    ["email", "phone"],
    ["active", "deactivated", "suspended", "deleted"],
    ["tailored", "partner"],
    ["append", "remove", "replace", "remove_all"],
    ["view", "click"],
    ["then", "now"],
    ["add", "update", "remove"],
    ["min_audience_size", "size_noise", "size_rounding", "min_size_change"],
    [
        "accepted",
        "not_collected",
        "purpose_unknown",
        "purpose_security",
        "purpose_not_ads",
        "removed",
        "not_verified",
        "invalid_value",
        "held_for_protection",
        "user_not_active",
        "user_not_adult",
        "suppressed",
        "consent_denied",
        "consent_expired",
        "consent_unknown",
    ],
    [
        "not_created",
        "not_attested",
        "partner_inactive",
        "licence_not_in_force",
        "advertiser_inactive",
        "terms_not_accepted",
        "sensitive_topic",
        "too_small",
        "withheld_differencing",
        "serving",
    ],
    [
        "hash_in_plain_list",
        "plain_in_hashed_list",
        "hash_format",
        "sentinel_hash",
        "invalid_email",
        "phone_no_country",
        "invalid_phone",
        "unknown_channel",
        "removal_row",
        "superseded",
        "membership_expired",
        "duplicate_in_list",
        "matched",
        "not_matched",
        "withheld",
    ],
    [
        "joined",
        "revised",
        "user_erased",
        "consent_withdrawn",
        "contact_removed",
        "policy_changed",
        "list_withdrawn",
        "entry_removed",
        "none",
    ],
    [
        "email_lower_case",
        "email_gmail_and_googlemail_folded",
        "email_ascii_lower_case_gmail_folded",
        "phone_with_plus",
        "phone_digits",
    ],
]
"""The closed sets of codes in DESIGN: a code becomes the next one of its set."""

NEXT_CODE = {code: words[(n + 1) % len(words)] for words in VOCABULARIES for n, code in enumerate(words)}

COMPARISONS: dict[type[exp.Expression], tuple[type[exp.Expression], ...]] = {
    exp.LT: (exp.LTE, exp.GTE),
    exp.LTE: (exp.LT, exp.GT),
    exp.GT: (exp.GTE, exp.LTE),
    exp.GTE: (exp.GT, exp.LT),
    exp.EQ: (exp.NEQ,),
    exp.NEQ: (exp.EQ,),
    exp.NullSafeEQ: (exp.EQ,),
    exp.NullSafeNEQ: (exp.NEQ, exp.NullSafeEQ),
}
"""Each comparison, loosened or tightened by its edge, and flipped; NULL-safe ones made unsafe."""

OPPOSITES: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.Min: exp.Max,
    exp.Max: exp.Min,
    exp.LogicalOr: exp.LogicalAnd,
    exp.LogicalAnd: exp.LogicalOr,
    exp.Greatest: exp.Least,
    exp.Least: exp.Greatest,
    exp.Add: exp.Sub,
    exp.Sub: exp.Add,
    exp.And: exp.Or,
    exp.Or: exp.And,
}

SHIFTS = ["+ INTERVAL 1 SECOND", "- INTERVAL 1 SECOND", "+ INTERVAL 1 DAY", "- INTERVAL 1 DAY"]

LONGEST_TEXT = 110
FIXTURE = "__dbt__cte__"
SWAPPED = "__swapped__"

Edit = Callable[[], None]
Variant = tuple[str, str, Edit]  # operator, what becomes of what, how


@dataclass(frozen=True)
class Mutant:
    """One fault: its name, and the nodes that it changes."""

    within: str  # the common table expression, or `select` for what stands behind the last
    operator: str
    change: str
    places: tuple[tuple[int, int], ...]  # nodes by their place in the walk, and the variant of each

    @property
    def kind(self) -> tuple[str, str]:
        """Where it is, and what sort of fault."""
        return self.within, self.operator

    @property
    def name(self) -> str:
        """What tells it from every other mutant of the same SQL."""
        return f"{self.within}: {self.operator}: {self.change}"


def neutral(text: str) -> str:
    """SQL without what differs between two compilations: schemas, and the moment as_of."""
    text = re.sub(r"\bCAST\('[0-9: .+-]+' AS TIMESTAMPTZ\)", "as_of", text)
    text = re.sub(r'"\w+"\."\w+"\."(\w+)"|\w+\.__dbt__cte__(\w+)', r"\1\2", text)
    return text.replace(FIXTURE, "")


def text_of(node: exp.Expression) -> str:
    """SQL of a node, neutral and not too long."""
    text = neutral(node.sql(dialect="duckdb", comments=False))
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({hashlib.sha256(text.encode()).hexdigest()[:6]})"
    return text


def is_relation(node: exp.Expression) -> bool:
    """Whether a node is what stands behind `from` or `join`: a leaf here, whatever it is compiled to."""
    return isinstance(node, exp.Table) or (
        isinstance(node, exp.Subquery) and isinstance(node.parent, exp.From | exp.Join)
    )


def walk(tree: exp.Expression) -> list[exp.Expression]:
    """All nodes of a tree in order, those inside relations left out."""
    return list(tree.dfs(prune=is_relation))


def is_as_of(node: exp.Expression) -> bool:
    """Whether a node is the literal that the macro as_of writes."""
    return (
        isinstance(node, exp.Cast)
        and node.to.is_type(exp.DType.TIMESTAMPTZ)
        and isinstance(node.this, exp.Literal)
    )


def is_said(number: exp.Literal) -> bool:
    """Whether a number is the author's, not the 1 of an EXISTS nor the length that sqlglot gives a hash."""
    return not isinstance(number.parent, exp.SHA2) and number.find_ancestor(exp.Exists) is None


def replacing(node: exp.Expression, new: exp.Expression) -> Edit:
    """An edit that puts one node in the place of another."""
    return lambda: node.replace(new)


def setting(node: exp.Expression, **arguments: object) -> Edit:
    """An edit that sets arguments of a node."""

    def edit() -> None:
        for name, value in arguments.items():
            node.set(name, value)

    return edit


def drop_operands(node: exp.Expression) -> Iterator[Variant]:
    """Each operand of a chain of AND or OR left out."""
    if isinstance(node.parent, type(node)):
        return
    operands = list(node.flatten())
    word = "conjunct" if isinstance(node, exp.And) else "disjunct"
    build = exp.and_ if isinstance(node, exp.And) else exp.or_
    for place, operand in enumerate(operands):
        rest = [other.copy() for n, other in enumerate(operands) if n != place]
        yield f"drop {word}", text_of(operand), replacing(node, exp.paren(build(*rest), copy=False))


def of_conditions(node: exp.Expression) -> Iterator[Variant]:
    """Faults of a condition: loosened, flipped, made unsafe for NULL."""
    if isinstance(node, exp.And | exp.Or):
        yield from drop_operands(node)
    for other in COMPARISONS.get(type(node), ()):
        new = other(this=node.this.copy(), expression=node.expression.copy())
        yield "compare", f"{text_of(node)} -> {text_of(new)}", replacing(node, new)
    if isinstance(node, exp.Is | exp.Exists | exp.RegexpLike | exp.Like | exp.In) or (
        isinstance(node, exp.Column) and isinstance(node.parent, exp.Not)
    ):
        if isinstance(node.parent, exp.Not):
            yield "negate", f"NOT {text_of(node)} -> {text_of(node)}", replacing(node.parent, node.copy())
        else:
            yield "negate", f"{text_of(node)} -> NOT", replacing(node, exp.not_(node.copy()))
    if isinstance(node, exp.In) and len(node.expressions) > 1:
        for place, word in enumerate(node.expressions):
            if word.name not in NEXT_CODE:
                continue
            rest = [other.copy() for n, other in enumerate(node.expressions) if n != place]
            yield "drop from set", f"{text_of(node)} without {text_of(word)}", setting(node, expressions=rest)


def of_relations(node: exp.Expression) -> Iterator[Variant]:
    """Faults of joins, filters, unions and what is distinct."""
    if isinstance(node, exp.Join):
        if node.args.get("on") is not None and not isinstance(node.args["on"], exp.And):
            yield "drop join condition", text_of(node.args["on"]), setting(node, on=exp.true())
        if node.side == "LEFT":
            yield "left to inner", text_of(node), setting(node, side=None, kind="INNER")
        elif node.kind == "INNER":
            yield "inner to left", text_of(node), setting(node, side="LEFT", kind=None)
    if isinstance(node, exp.Where | exp.Having) and not isinstance(node.this, exp.And):
        yield "drop filter", text_of(node.this), node.pop
    if isinstance(node, exp.Select) and node.args.get("distinct"):
        yield "drop distinct", text_of(node), setting(node, distinct=None)
    if isinstance(node, exp.Union):
        if node.args.get("distinct"):
            yield "drop distinct", f"UNION of {text_of(node.expression)}", setting(node, distinct=False)
        yield "drop from union", text_of(node.this), replacing(node, node.expression.copy())
        yield "drop from union", text_of(node.expression), replacing(node, node.this.copy())
    if isinstance(node, exp.Group) and len(node.expressions) > 1:
        yield from drop_each(node, "drop from group by", "expressions")


def drop_each(node: exp.Expression, operator: str, argument: str) -> Iterator[Variant]:
    """Each item of a list left out."""
    items = node.args.get(argument) or []
    for place, item in enumerate(items):
        rest = [other.copy() for n, other in enumerate(items) if n != place]
        yield operator, f"{text_of(item)} of {text_of(node)}", setting(node, **{argument: rest})


def of_windows(node: exp.Expression) -> Iterator[Variant]:
    """Faults of a window: its parts, its order, and where NULL stands in it."""
    if isinstance(node, exp.Window):
        yield from drop_each(node, "drop partition key", "partition_by")
        order = node.args.get("order")
        if order is not None and len(order.expressions) == 1:
            yield "drop window order", text_of(order), order.pop
    if isinstance(node, exp.Order) and len(node.expressions) > 1:
        yield from drop_each(node, "drop order key", "expressions")
    if isinstance(node, exp.Ordered):
        nulls_first = bool(node.args.get("nulls_first"))
        turned = setting(node, desc=not node.args.get("desc"))
        yield "turn order", text_of(node), turned
        if "NULLS" in text_of(node):
            yield "turn nulls", text_of(node), setting(node, nulls_first=not nulls_first)


def of_values(node: exp.Expression) -> Iterator[Variant]:
    """Faults of values: defaults, codes, numbers, moments, branches, functions and their opposites."""
    if isinstance(node, exp.Coalesce):
        yield "drop default", text_of(node), replacing(node, node.this.copy())
    if isinstance(node, exp.Boolean):
        yield "flip boolean", text_of(node.parent), setting(node, this=not node.this)
    if isinstance(node, exp.Literal) and node.is_string and node.this in NEXT_CODE:
        around = text_of(node.parent) if isinstance(node.parent, exp.Binary | exp.In) else ""
        change = f"{node.this} -> {NEXT_CODE[node.this]} {f'in {around}' if around else ''}".strip()
        yield "swap code", change, replacing(node, exp.Literal.string(NEXT_CODE[node.this]))
    if isinstance(node, exp.Literal) and not node.is_string and is_said(node):
        one_more = exp.Literal.number(int(node.this) + 1) if node.this.isdigit() else None
        if one_more is not None:
            yield "one more", f"{node.this} in {text_of(node.parent)}", replacing(node, one_more)
    if is_as_of(node):
        for shift in SHIFTS:
            moved = sqlglot.parse_one(f"({node.sql(dialect='duckdb')} {shift})", dialect="duckdb")
            yield "move as_of", f"{shift} in {text_of(node.parent)}", replacing(node, moved)
    if type(node) in OPPOSITES and not (
        isinstance(node, exp.And | exp.Or) and isinstance(node.parent, type(node))
    ):
        yield "opposite", text_of(node), lambda: _turn(node)
    if isinstance(node, exp.Case):
        branches = node.args["ifs"]
        if len(branches) > 1 or node.args.get("default") is not None:
            yield from drop_branches(node)
        if node.args.get("default") is not None:
            yield "drop else", text_of(node.args["default"]), setting(node, default=None)
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Distinct):
        counted = node.this.expressions[0].copy()
        yield "drop distinct", text_of(node), setting(node, this=counted)


def drop_branches(node: exp.Case) -> Iterator[Variant]:
    """Each branch of a case left out; of a case with one branch, its default alone stays."""
    branches = node.args["ifs"]
    for place, branch in enumerate(branches):
        rest = [other.copy() for n, other in enumerate(branches) if n != place]
        edit = setting(node, ifs=rest) if rest else replacing(node, node.args["default"].copy())
        yield "drop branch", text_of(branch), edit


def _turn(node: exp.Expression) -> None:
    """Put the opposite in the place of a function, of an operator or of a whole chain of AND or OR."""
    opposite = OPPOSITES[type(node)]
    if isinstance(node, exp.And | exp.Or):
        operands = [operand.copy() for operand in node.flatten()]
        build = exp.or_ if isinstance(node, exp.And) else exp.and_
        node.replace(exp.paren(build(*operands), copy=False))
    else:
        node.replace(opposite(**{name: _copied(value) for name, value in node.args.items()}))


def _copied(value: object) -> object:
    """A copy of an argument of a node, whatever it is."""
    if isinstance(value, exp.Expression):
        return value.copy()
    return [item.copy() for item in value] if isinstance(value, list) else value


def swaps(node: exp.Expression, ancestors: tuple[str, ...]) -> Iterator[Variant]:
    """A relation swapped for each ancestor of the model; the name of its schema is filled in later."""
    if not isinstance(node, exp.Table) or not (node.args.get("db") or node.name.startswith(FIXTURE)):
        return
    name = node.name.removeprefix(FIXTURE)
    for ancestor in ancestors:
        if ancestor != name:
            alias = node.alias or name
            new = exp.to_table(f"{SWAPPED}{ancestor}").as_(alias, table=True)
            yield "swap relation", f"{name} -> {ancestor}", replacing(node, new)


class Part:
    """One common table expression of a query, or what stands behind the last, with its mutants by name."""

    _known: ClassVar[dict[tuple[str, ...], dict[str, Mutant]]] = {}
    _last: ClassVar[tuple[str, Mutant | None, str]] = ("", None, "")

    def __init__(
        self, name: str, tree: exp.Expression, ancestors: tuple[str, ...], is_of_macro: bool
    ) -> None:
        """Parts that differ in nothing but schemas and as_of have the same mutants, which are made once.

        A macro writes the same expression in several places, and a fault of it is in all of them.
        """
        self.name = name
        self.is_of_macro = is_of_macro
        self.tree = tree
        self.ancestors = ancestors
        self.text = tree.sql(dialect="duckdb", comments=False)

    @cached_property
    def mutants(self) -> dict[str, Mutant]:
        """Its mutants by name; a macro writes no part that a model writes as well."""
        key = (self.name, neutral(self.text), *self.ancestors)
        if key not in self._known:
            self._known[key] = self._find()
        return self._known[key]

    def _find(self) -> dict[str, Mutant]:
        found: dict[str, Mutant] = {}
        count: Counter[str] = Counter()
        for place, node in enumerate(walk(self.tree)):
            for number, (operator, change, _) in enumerate(self._variants(node)):
                mutant = Mutant(self.name, operator, change, ((place, number),))
                name = mutant.name
                count[name] += 1
                if self.is_of_macro and name in found:
                    found[name] = replace(mutant, places=found[name].places + mutant.places)
                else:
                    found[f"{name} (#{count[name]})" if count[name] > 1 else name] = mutant
        return found

    def _variants(self, node: exp.Expression) -> Iterator[Variant]:
        for variants in (of_conditions, of_relations, of_windows, of_values):
            yield from variants(node)
        yield from swaps(node, self.ancestors)

    def mutated(self, mutant: Mutant, relation: Callable[[str], str]) -> str:
        """Its SQL with one fault; the last is kept, since many models hold what a macro wrote."""
        if Part._last[:2] != (self.text, mutant):
            Part._last = (self.text, mutant, self._mutated(mutant, relation))
        return Part._last[2]

    def _mutated(self, mutant: Mutant, relation: Callable[[str], str]) -> str:
        holder = exp.Paren(this=self.tree.copy())  # so that the root can be replaced, too
        nodes = walk(holder.this)
        for edit in [list(self._variants(nodes[node]))[variant][2] for node, variant in mutant.places]:
            edit()
        for table in list(holder.find_all(exp.Table)):
            if table.name.startswith(SWAPPED):
                source = exp.to_table(relation(table.name.removeprefix(SWAPPED)), dialect="duckdb")
                table.replace(source.as_(table.alias, table=True))
        return holder.this.sql(dialect="duckdb", comments=False)


def split(code: str) -> dict[str, str]:
    """The common table expressions of a query by name, and as `select` what stands behind the last."""
    code = re.sub(r"('(?:[^']|'')*')|--[^\n]*", r"\1", code)
    parts = {}
    while match := re.match(r"\s*(?:with|,)\s+(\w+)\s+as\s+\(", code):
        depth = 1
        for token in re.compile(r"'(?:[^']|'')*'|[()]").finditer(code, match.end()):
            depth += {"(": 1, ")": -1}.get(token.group(), 0)
            if depth == 0:
                break
        parts[match.group(1)] = code[match.end() : token.start()]
        code = code[token.end() :]
    return parts | {"select": code}


@cache
def parsed(name: str, code: str, ancestors: tuple[str, ...], is_of_macro: bool) -> Part:
    """A part of a query, read once however many queries hold it."""
    return Part(name, sqlglot.parse_one(code, dialect="duckdb"), ancestors, is_of_macro)


class Query:
    """Compiled SQL, whole or with one fault in one of its parts."""

    def __init__(
        self,
        code: str,
        ancestors: tuple[str, ...] = (),
        is_of_macro: Callable[[str], bool] = lambda part: False,
        fixtures: str | None = None,
    ) -> None:
        """Parse it; `fixtures` is the schema that holds a unit test's given rows, if it is one."""
        parts = split(code)
        self.given = {name: parts.pop(name) for name in list(parts) if name.startswith(FIXTURE)}
        if fixtures is not None:
            parts = {
                name: re.sub(rf"\b{FIXTURE}(?=\w)", f"{fixtures}.{FIXTURE}", part)
                for name, part in parts.items()
            }
        self.parts = [parsed(name, part, ancestors, is_of_macro(name)) for name, part in parts.items()]

    def mutants(self) -> dict[str, Mutant]:
        """All mutants by name."""
        return {name: mutant for part in self.parts for name, mutant in part.mutants.items()}

    def counterpart(self, name: str, other: Query) -> str | None:
        """The name here of another query's mutant, where a unit test writes something else for a macro.

        It is the one in the same place among those of its operator, if there are as many of them.
        """
        if name in self.mutants():
            return name
        kind = other.mutants()[name].kind
        theirs = [key for key, mutant in other.mutants().items() if mutant.kind == kind]
        ours = [key for key, mutant in self.mutants().items() if mutant.kind == kind]
        return ours[theirs.index(name)] if len(theirs) == len(ours) else None

    def text(self, name: str | None = None, relation: Callable[[str], str] = str) -> str:
        """The SQL as sqlglot writes it, with the fault of this name; `relation` gives a relation's SQL.

        Raises:
            KeyError: it has no such mutant.
        """
        texts = {part.name: part.text for part in self.parts}
        if name is not None:
            (part,) = [part for part in self.parts if name in part.mutants] or [None]
            if part is None:
                raise KeyError(name)
            texts[part.name] = part.mutated(part.mutants[name], relation)
        select = texts.pop("select")
        expressions = ", ".join(f"{name} AS ({text})" for name, text in texts.items())
        return f"WITH {expressions} {select}" if expressions else select

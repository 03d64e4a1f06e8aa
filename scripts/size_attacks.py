"""Replay the published attacks on audience sizes against this project's own models.

An advertiser who holds a customer list wants to know one thing about one person that nobody would tell:
whether an e-mail address or a phone number is a matched member, or whether two belong to one account. It
pads lists with accounts of its own, whose number it knows exactly, and looks at what is published of them.

Each trial is an advertiser with a fresh secret, true in every second trial. All trials of an attack are
packed into one input, and the compiled SQL of the models (audience_sizes, audience_differences, audiences,
release_list_reports) runs over it in DuckDB, in this process. The advantage over guessing is the share of
true secrets taken for true minus that of false ones taken for true: 0 for a coin, 1 for certainty. Beside it
stands the same attack against models without the protection that stops it.

Sources: Venkatadri et al., "Privacy Risks with Facebook's PII-based Targeting: Auditing a Data Broker's
Advertising Interface", IEEE S&P 2018; Agresti and Caffo, The American Statistician 54(4), 2000, for the
intervals.
"""

import csv
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import click
import duckdb
from duckdb.sqltypes import BIGINT, VARCHAR
from rich.console import Console
from rich.progress import track
from rich.table import Table
from size_noise import KEY_VARIABLE, keyed_number

ROOT = Path(__file__).parents[1]
MODELS = {
    "audience_sizes": "matching.audience_sizes",
    "audience_differences": "matching.audience_differences",
    "audiences": "marts.audiences",
    "release_list_reports": "release.release_list_reports",
}
REPLAY_KEY = "a key for replays alone, so that their figures are the same everywhere"
TRIALS = 1_000
COPIES = 20
COPIES_AT_MINIMUM = 40


def policy() -> dict[str, int]:
    """The numbers of seeds/policy/audience_policy.csv by setting."""
    with (ROOT / "seeds" / "policy" / "audience_policy.csv").open() as file:
        return {row["setting"]: int(row["value"]) for row in csv.DictReader(file) if row["value"].isdigit()}


POLICY = policy()
MINIMUM, ROUNDING = POLICY["min_audience_size"], POLICY["size_rounding"]
MOST_NOISE = POLICY["size_noise"] + ROUNDING - 2
MIDDLE = MOST_NOISE // 2
LARGE = math.ceil((MINIMUM + MOST_NOISE) / ROUNDING + 1) * ROUNDING
"""A size that no noise takes below the minimum, and an edge of the rounding."""

EDGE_PERCENT = 20
UPLOADED_ROWS = LARGE * 100 // EDGE_PERCENT
"""Rows of every list, so that the same size is an edge of the match-rate bands."""


def own(name: str, first: int, last: int) -> str:
    """Accounts first to last - 1 of the attacker's own on the list, in SQL."""
    accounts = f"trials, range({first}, {last}) as r(n)"
    return f"select trial, '{name}' as list, trial || '-own-' || n as user_id from {accounts}"


def person(name: str, user: str = "target", when: str = "is_true") -> str:
    """One more account on the list, in the trials where the condition holds, in SQL."""
    return f"select trial, '{name}' as list, trial || '-{user}' as user_id from trials where {when}"


Lists = list[str]


@dataclass(frozen=True)
class Attack:
    """An attack: lists per build for a padding, and when the attacker takes the secret for true.

    ``builds`` gets how far above an edge to pad, which is ``shift`` where there is noise, and gives the
    members of all lists for each build in turn. ``guess`` is SQL over one trial's rows of ``seen``.
    """

    name: str
    secret: str
    builds: Callable[[int], list[Lists]]
    guess: str
    without: str  # the protection that is missing in the comparison
    shift: int = 0
    unprotected_guess: str | None = None


@dataclass(frozen=True)
class Setting:
    """Which protections stand: noise by the key, none or anew for each question; the guard; the change."""

    noise: str = "keyed"
    has_guard: bool = True
    min_size_change: int = POLICY["min_size_change"]


WITHOUT = {
    "noise": Setting(noise="none"),
    "noise and minimum change": Setting(noise="none", min_size_change=1),
    "noise fixed per content, guard": Setting(noise="anew", has_guard=False),
    "minimum change": Setting(min_size_change=1),
    "noise, guard": Setting(noise="none", has_guard=False),
    "guard": Setting(has_guard=False),
}

# the size, the band of the match rate or the matched rows of the report: any of them may stand at its edge
TIPS = f"bool_or(reported_size >= {LARGE} or match_rate_percent >= {EDGE_PERCENT} or matched_rows >= {LARGE})"
DIFFERENCE = "sum(case when list = 'c' then -reported_size else reported_size end)"
# of many figures the mean: what noise and rounding take away on average stands above the padding
MEAN = f"avg(reported_size) >= {LARGE} + 0.5 - {MOST_NOISE / 2 + (ROUNDING - 1) / 2}"
# of many lists that each draw for themselves half serve; of those that do not, the one that does
SHARE_SERVING = """
    case
        when count(*) filter (where list_status = 'serving') > 1
            then count(*) filter (where list_status = 'serving') >= count(*) / 2
        else bool_or(list_status = 'serving')
    end
"""


def with_target(lists: Lists) -> Lists:
    """The lists and the target on list a."""
    return [*lists, person("a")]


def varied(count: int, padding: int) -> Lists:
    """As many lists of one size: each with one account that the others have not, and the target."""
    return [
        members
        for copy in range(count)
        for members in (
            own(f"c{copy:02}", 0, padding - 1),
            own(f"c{copy:02}", padding + copy, padding + copy + 1),
            person(f"c{copy:02}"),
        )
    ]


ATTACKS = [
    Attack(
        "Pad to a rounding edge, add one person, watch it tip (March 2018)",
        "is a member",
        lambda shift: [with_target([own("a", 0, LARGE - 1 + shift)])],
        TIPS,
        "noise",
    ),
    Attack(
        "The same rounding edge, padded to where the noise has its middle",
        "is a member",
        lambda shift: [with_target([own("a", 0, LARGE - 1 + shift)])],
        TIPS,
        "noise",
        shift=MIDDLE,
    ),
    Attack(
        "The same over two builds: the person is added on the second day",
        "is a member",
        lambda shift: [[own("a", 0, LARGE - 1)], with_target([own("a", 0, LARGE - 1)])],
        "count(distinct reported_size) > 1",
        "noise and minimum change",
    ),
    Attack(
        "Pad to the minimum size, add one person, see whether the list serves",
        "is a member",
        lambda shift: [with_target([own("a", 0, MINIMUM - 1 + shift)])],
        "bool_or(list_status = 'serving')",
        "noise",
    ),
    Attack(
        "The same minimum size, padded to where the noise has its middle",
        "is a member",
        lambda shift: [with_target([own("a", 0, MINIMUM - 1 + shift)])],
        "bool_or(list_status = 'serving')",
        "noise",
        shift=MIDDLE,
    ),
    Attack(
        "De-duplication (S&P 2018): e-mail and phone of one person in one list, padded to an edge",
        "two accounts",
        lambda shift: [[own("a", 0, LARGE - 2 + shift), person("a", when="true"), person("a", "other")]],
        f"bool_or(reported_size >= {LARGE})",
        "noise",
        shift=MIDDLE,
    ),
    Attack(
        "Size difference (S&P 2018): e-mail in one list, phone in another, both in a third",
        "one account",
        lambda shift: [
            [
                *(own(name, 0, LARGE) for name in ("a", "c")),
                *(own(name, LARGE, 2 * LARGE - 2) for name in ("b", "c")),
                *(person(name, "email", when="true") for name in ("a", "c")),
                *(person(name, "email") for name in ("b", "c")),
                *(person(name, "phone", when="not is_true") for name in ("b", "c")),
            ]
        ],
        f"{DIFFERENCE} >= {-MIDDLE - ROUNDING // 2 + 1}",
        "noise",
        unprotected_guess=f"{DIFFERENCE} >= 0",
    ),
    Attack(
        f"Averaging by re-upload: one content as {COPIES} lists",
        "is a member",
        lambda shift: [
            [
                members
                for copy in range(COPIES)
                for members in (own(f"c{copy:02}", 0, LARGE), person(f"c{copy:02}"))
            ]
        ],
        MEAN,
        "noise fixed per content, guard",
    ),
    Attack(
        f"Averaging by near copies: {COPIES} lists, each with one other account",
        "is a member",
        lambda shift: [varied(COPIES, LARGE)],
        MEAN,
        "guard",
    ),
    Attack(
        f"Averaging by replacement: one list, each of {COPIES} builds with one other account",
        "is a member",
        lambda shift: [
            [own("a", 0, LARGE - 1), own("a", LARGE + day, LARGE + day + 1), person("a")]
            for day in range(COPIES)
        ],
        MEAN,
        "minimum change",
    ),
    Attack(
        "List A against A plus one person",
        "is a member",
        lambda shift: [[own("a", 0, LARGE - 1), own("b", 0, LARGE - 1), person("b")]],
        "max(reported_size) filter (where list = 'b') > max(reported_size) filter (where list = 'a')",
        "noise, guard",
    ),
    Attack(
        "List A against A, padding up to the guard's edge, and one person",
        "is a member",
        lambda shift: [[own("a", 0, LARGE), own("b", 0, LARGE + MINIMUM - 1 + shift), person("b")]],
        "bool_or(list = 'b' and list_status = 'serving')",
        "noise",
        shift=MIDDLE,
    ),
    Attack(
        f"Padding up to the guard's edge of {COPIES} tiny lists at once, and one person",
        "is a member",
        lambda shift: [
            [
                *(own(f"c{copy:02}", copy, copy + 1) for copy in range(COPIES)),
                own("d", 0, MINIMUM + shift),
                person("d"),
            ]
        ],
        "bool_or(list = 'd' and list_status = 'serving')",
        "noise",
        shift=MOST_NOISE - 4,  # where the largest of so many draws would be sharpest
    ),
    Attack(
        f"Averaging by near copies at the minimum size: {COPIES_AT_MINIMUM} lists, how many serve",
        "is a member",
        lambda shift: [varied(COPIES_AT_MINIMUM, MINIMUM - 1 + MIDDLE)],
        SHARE_SERVING,
        "guard",
    ),
]


class Models:
    """The compiled SQL of the models, and warehouses in memory in which it runs."""

    def __init__(self) -> None:
        """Compile the models for a warehouse in which an earlier build left sizes.

        Raises:
            subprocess.CalledProcessError: dbt cannot compile them; its output says why.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "warehouse.duckdb"
            with duckdb.connect(str(file)) as connection:
                connection.execute(
                    "create schema state; create table state.published_sizes (list_id varchar)"
                )
            subprocess.run(
                [
                    *(str(Path(sys.executable).parent / "dbt"), "--quiet", "compile", "--select", *MODELS),
                    *("--target-path", scratch, "--log-path", scratch),
                ],
                cwd=ROOT,
                env={**os.environ, "CONSENTED_AUDIENCES_WAREHOUSE": str(file)},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            compiled = Path(scratch) / "compiled"
            self.sql = {
                relation: next(compiled.rglob(f"{name}.sql")).read_text() for name, relation in MODELS.items()
            }

    def replay(self, attack: Attack, setting: Setting, trials: int, is_protected: bool) -> "Advantage":
        """Run an attack against the models under a setting, in ``trials`` trials, half of them true."""
        with duckdb.connect(config={"threads": 1}) as connection:
            self._prepare(connection, setting, ATTACKS.index(attack) * trials, trials)
            for members in attack.builds(attack.shift if is_protected else 0):
                self._build(connection, setting, " union all ".join(members))
            guess = attack.guess if is_protected else attack.unprotected_guess or attack.guess
            counts = connection.execute(f"""
                select is_true, count(*), count(*) filter (where guessed)
                from (select trial, coalesce({guess}, false) as guessed from seen group by trial)
                inner join trials using (trial)
                group by is_true order by is_true
            """).fetchall()
        (_, false_trials, false_guessed), (_, true_trials, true_guessed) = counts
        return Advantage(true_trials, true_guessed, false_trials, false_guessed)

    def _prepare(
        self, connection: duckdb.DuckDBPyConnection, setting: Setting, first: int, trials: int
    ) -> None:
        """Make the tables that the models read, under their names, and the function of the noise."""
        draws = random.Random(2018)
        functions = {
            "keyed": keyed_number,
            "none": lambda text: 0,
            "anew": lambda text: draws.getrandbits(62),
        }
        connection.create_function(
            "keyed_number", functions[setting.noise], [VARCHAR], BIGINT, side_effects=True
        )
        settings = POLICY | {"min_size_change": setting.min_size_change}
        values = [str(value) for value in settings.values()]
        connection.execute(f"""
            attach ':memory:' as warehouse; use warehouse;
            create schema policy; create schema matching; create schema marts; create schema release;
            create schema state;
            create table policy.audience_policy as
                select unnest({list(settings)}) as setting, unnest({values}) as value;
            create table state.published_sizes (list_id varchar, advertiser_id varchar, reported_size bigint);
            create table trials as
                select {first} + n as trial, n % 2 = 1 as is_true from range({trials}) as r(n);
            create table seen (
                trial bigint, list varchar, list_status varchar, reported_size bigint,
                match_rate_percent integer, matched_rows bigint
            );
        """)

    def _build(self, connection: duckdb.DuckDBPyConnection, setting: Setting, members: str) -> None:
        """One build: inputs, models, what the attacker sees of it, and the state for the next."""
        connection.execute(f"""
            create or replace table matching.audience_matches as
                select trial, list, trial || '-' || list as list_id, 'adv ' || trial as advertiser_id, user_id
                from ({members});
            create or replace table lists as
                select trial, list, list_id, advertiser_id, count(*) as entries
                from matching.audience_matches group by all;
            create or replace table matching.audience_eligibilities as
                select list_id, advertiser_id, 'tailored' as list_kind, null as partner_id,
                    timestamptz '2025-01-01 00:00:00+00' as list_created_at,
                    cast(null as varchar) as refused_status, cast(null as varchar) as list_owner,
                    cast(null as varchar) as terms_version,
                    cast(null as timestamptz) as lawful_basis_attested_at
                from lists;
            create or replace table marts.list_reports as
                select list_id, 'matched' as reason, entries from lists
                union all
                select list_id, 'not_matched' as reason, {UPLOADED_ROWS} - entries as entries from lists;
        """)
        for relation, sql in self.sql.items():
            if relation == MODELS["audience_differences"] and not setting.has_guard:
                sql = (
                    "select list_id, advertiser_id, true as is_far_from_older, true as has_older_serving"
                    " from matching.audience_sizes"
                )
            connection.execute(f"create or replace table {relation} as {sql}")
        connection.execute("""
            insert into seen
            select lists.trial, lists.list, audiences.list_status, audiences.reported_size,
                cast(split_part(audiences.match_rate_band, '-', 1) as integer), reports.entries
            from marts.audiences
            inner join lists using (list_id)
            left join release.release_list_reports as reports
                on audiences.list_id = reports.list_id and reports.reason = 'matched';
            create or replace table state.published_sizes as
                select list_id, advertiser_id, reported_size
                from marts.audiences where reported_size is not null;
        """)


@dataclass(frozen=True)
class Advantage:
    """Trials with a true and with a false secret, and how many of each were taken for true."""

    true_trials: int
    true_guessed: int
    false_trials: int
    false_guessed: int

    @property
    def value(self) -> float:
        """How much more often a true secret is taken for true: twice the share of right guesses, less one."""
        return self.true_guessed / self.true_trials - self.false_guessed / self.false_trials

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of a difference of two shares after Agresti and Caffo, which holds near 0, too."""
        true_share = (self.true_guessed + 1) / (self.true_trials + 2)
        false_share = (self.false_guessed + 1) / (self.false_trials + 2)
        error = math.sqrt(
            true_share * (1 - true_share) / (self.true_trials + 2)
            + false_share * (1 - false_share) / (self.false_trials + 2)
        )
        return true_share - false_share - 1.96 * error, true_share - false_share + 1.96 * error


@dataclass(frozen=True)
class Replay:
    """An attack with its advantage against the models and against models without a protection."""

    attack: Attack
    trials: int
    protected: Advantage
    unprotected: Advantage


def replays(trials: int, attacks: list[Attack] = ATTACKS) -> list[Replay]:
    """Replay attacks, by default all, each in ``trials`` trials with the protections and as many without."""
    models = Models()
    found = []
    with mock.patch.dict(os.environ, {KEY_VARIABLE: REPLAY_KEY}):
        for attack in track(attacks, "replaying", console=Console(stderr=True), transient=True):
            protected = models.replay(attack, Setting(), trials, is_protected=True)
            unprotected = models.replay(attack, WITHOUT[attack.without], trials, is_protected=False)
            found.append(Replay(attack, trials, protected, unprotected))
    return found


def as_markdown(found: list[Replay]) -> str:
    """The table of docs/size_attacks.md."""
    lines = [
        "| attack | secret | trials | advantage | 95 % interval | without | advantage |",
        "|---|---|--:|--:|--:|---|--:|",
    ]
    for replay in found:
        low, high = replay.protected.interval
        lines.append(
            f"| {replay.attack.name} | {replay.attack.secret} | {replay.trials:,}"
            f" | {replay.protected.value:.3f} | {low:.3f} to {high:.3f}"
            f" | {replay.attack.without} | {replay.unprotected.value:.3f} |"
        )
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option(
    "--trials", type=click.IntRange(min=2), default=1_000, show_default=True, help="Trials per attack."
)
@click.option("--table", type=click.Path(dir_okay=False, path_type=Path), help="Markdown file to write.")
def main(trials: int, table: Path | None) -> None:
    """Print the advantage of each attack, and write it as a Markdown table."""
    found = replays(trials)
    shown = Table(title=f"attacks on sizes, {trials:,} trials each", header_style="bold")
    for name in ("attack", "secret", "advantage", "95 % interval", "without", "advantage"):
        shown.add_column(name)
    for replay in found:
        low, high = replay.protected.interval
        shown.add_row(
            replay.attack.name,
            replay.attack.secret,
            f"{replay.protected.value:.3f}",
            f"{low:.3f} to {high:.3f}",
            replay.attack.without,
            f"{replay.unprotected.value:.3f}",
        )
    Console().print(shown)
    if table:
        table.write_text(as_markdown(found))


if __name__ == "__main__":
    main()

"""The rules by which a publication is refused: each with its name and its own exit code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A reason to publish nothing: the exit code, and what must be so."""

    code: int
    says: str


RULES = {
    "no_artifacts": Rule(10, "target/ holds the manifest and the results of a dbt run, whole and readable"),
    "not_a_build": Rule(11, "the last dbt command was `dbt build` on DuckDB, and both artifacts are of it"),
    "empty_or_sample": Rule(12, "it ran without --empty, --sample and --defer"),
    "selection": Rule(13, "it selected and excluded nothing but unit tests"),
    "not_whole": Rule(14, "every model, seed and data test of the project ran in it and succeeded"),
    "unknown_var": Rule(15, "its --vars are those of the README"),
    "guard_disabled": Rule(20, "no model and no guard is disabled but the incident assessment"),
    "guard_loosened": Rule(21, "no guard has another severity, where, limit, fail_calc, error_if or warn_if"),
    "guard_empty": Rule(22, "every guard reads a relation, and its SQL can return a row"),
    "guard_removed": Rule(
        23, "the guards that scripts/lock.py locked, and those of the current generation, are there"
    ),
    "macro_shadowed": Rule(24, "no macro of the project has the name of one of dbt's own"),
    "gate_passed_by": Rule(25, "every path from raw contacts to audiences in dbt's graph passes the gate"),
    "guard_changed": Rule(
        26, "every guard's compiled SQL and config, unit test and contract is as scripts/lock.py locked it"
    ),
    "no_warehouse": Rule(30, "the warehouse is there, opens, and holds what the artifacts name"),
    "stale_wal": Rule(
        31, "no write-ahead log stands beside the warehouse: nobody writes it, or died writing it"
    ),
    "stale_artifacts": Rule(32, "the run of the artifacts is the one that built the warehouse"),
    "retired_table": Rule(33, "published and delivery hold the published models' tables and nothing else"),
    "inputs_changed": Rule(34, "the input files are those that the run read: none is missing or newer"),
    "as_of_older": Rule(35, "as_of is not before that of the current generation"),
    "columns": Rule(
        40, "a relation has the columns of its contract, and none that is named like an identifier"
    ),
    "copies": Rule(
        41, "a relation holds the rows of its candidate in the warehouse, in DuckDB and in Parquet"
    ),
    "moments": Rule(42, "everything is of one as_of, and no member begins after it or ends at or before it"),
    "members": Rule(43, "members are those of the marts' serving audiences"),
    "adults": Rule(44, "members are active adults in the raw input"),
    "consent": Rule(45, "members hold consent for exactly the data use at as_of, by the raw input"),
    "contacts": Rule(
        46, "members gave a contact of each matched channel for this advertising, by the raw input"
    ),
    "explanations": Rule(47, "members are explained, and by contacts given for advertising alone"),
    "lists": Rule(48, "lists, owners, partners and licences may serve at as_of, by the raw input"),
    "sizes": Rule(49, "no size or count is below the minimum, and only serving audiences have members"),
    "events": Rule(50, "views and clicks are the partner's own, with consent at the event and at as_of"),
    "identifiers": Rule(51, "no cell reads as an e-mail address, a phone number or a hash"),
    "canaries": Rule(52, "no planted contact is in any file, and no security canary is a member"),
    "changes": Rule(53, "changes for the ad server add and update members, and remove nobody who is one"),
    "candidate_changed": Rule(59, "the files are still those that were audited"),
    "no_space": Rule(60, "the disk has room for the generation"),
    "locked": Rule(61, "no other publisher is at work in the folder, or in the database"),
    "not_written": Rule(62, "the folder can be written"),
    "damaged": Rule(63, "every file of a generation is there and as it was when published"),
    "no_generation": Rule(64, "there is a generation to show, to verify or to go back to"),
    "log_broken": Rule(65, "the log of refusals only ever grew"),
    "evidence_stale": Rule(66, "artifacts and policy seeds are those that the generation was built with"),
    "expired": Rule(67, "the generation's valid_until is still to come"),
    "no_server": Rule(70, "PostgreSQL is there, and lets the publisher do what it must"),
    "foreign_schema": Rule(
        71, "published and delivery are this publisher's, with all that is in and on them"
    ),
    "roles": Rule(72, "both roles are there, and can reach nothing but the schema that each is to read"),
    "not_copied": Rule(73, "a relation holds the rows of the generation in PostgreSQL, under its contract"),
    "readers": Rule(74, "readers come to the end of their transactions in time"),
}


class Refusal(Exception):
    """A rule does not hold.

    Args:
        rule: its name in RULES.
        why: what was found, for people; ids and counts, never a contact's value.
    """

    def __init__(self, rule: str, why: str) -> None:
        """Keep the rule and what was found."""
        super().__init__(f"{rule}: {why}")
        self.rule = rule
        self.why = why
        self.exit_code = RULES[rule].code


def some(names: list[str]) -> str:
    """Up to five names, and how many more there are."""
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"

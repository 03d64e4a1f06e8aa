"""An independent reading of DESIGN.md section 4.6, on top of the oracle of 4.1 to 4.4.

Match by match: the whole judgement is made anew with as_of := matched_at, one list folded, one user's
contacts judged. No window, no join, and no code shared with the dbt project.

    match_classes   match_id -> class             every match with matched_at <= as_of
    affected_users  user_id -> her matches        those of the class security_only
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime

from oracle import DATA_USE_OF_KIND, Judge, Key, Lists, Row, World, as_utc, happened, match_key


class Assessment:
    """The world cut into what one match needs: the user's own rows, and the list's."""

    def __init__(self, world: World) -> None:
        """Index the rows by user, by list and by upload."""
        self.world = world
        self.contacts = {row["contact_id"]: row for row in world.raw_contacts}
        self.lists = {row["list_id"]: row for row in world.raw_audience_lists}
        self.users = {row["user_id"]: row for row in world.raw_users}
        self.contacts_of = _by(world.raw_contacts, "user_id")
        self.consents_of = _by(world.raw_consent_events, "user_id")
        self.uploads_of = _by(world.raw_list_uploads, "list_id")
        self.entries_of = _by(world.raw_list_entries, "upload_id")
        self.folds: dict[tuple[str, datetime], set[Key]] = {}

    def current_keys(self, list_id: str, moment: datetime) -> set[Key]:
        """4.4: the keys of the list's current entries at a moment."""
        if (list_id, moment) not in self.folds:
            uploads = self.uploads_of[list_id]
            cut = World(
                raw_audience_lists=[self.lists[list_id]],
                raw_list_uploads=uploads,
                raw_list_entries=[row for upload in uploads for row in self.entries_of[upload["upload_id"]]],
            )
            self.folds[list_id, moment] = set(Lists(cut, moment).state(list_id).current)
        return self.folds[list_id, moment]

    def judge(self, user_id: str, moment: datetime) -> Judge:
        """4.1 for one user at a moment; users have no history."""
        cut = replace(
            self.world,
            raw_users=[self.users[user_id]] if user_id in self.users else [],
            raw_contacts=self.contacts_of[user_id],
            raw_consent_events=self.consents_of[user_id],
        )
        return Judge(cut, moment)

    def match_class(self, match: Row) -> str:
        """4.6: the first class that applies, everything as of the match's own moment."""
        moment = as_utc(match["matched_at"])
        contact = self.contacts.get(match["contact_id"])
        audience_list = self.lists.get(match["list_id"])
        if contact is None or audience_list is None or contact["user_id"] != match["user_id"]:
            return "unexplained"
        if not happened(contact["collected_at"], moment):
            return "unexplained"

        keys = self.current_keys(audience_list["list_id"], moment)
        judge = self.judge(match["user_id"], moment)
        country = judge.country_of(match["user_id"])
        data_use = DATA_USE_OF_KIND.get(audience_list["list_kind"] or "")

        def stands(held: Row) -> bool:
            profile = audience_list["normalization_profile"]
            return match_key(profile, held["channel"], held["value"], country) in keys

        def permitted(held: Row) -> bool:
            return bool(data_use) and judge.decide(held, data_use) == "accepted" and stands(held)

        if permitted(contact):
            return "permitted"
        if any(permitted(other) for other in self.contacts_of[match["user_id"]]):
            return "also_permitted"
        if not stands(contact):
            return "unexplained"
        purpose = self.world.purposes.get(contact["purpose"] or "")
        return "security_only" if purpose and purpose["purpose_class"] == "security" else "other_refused"


def _by(rows: list[Row], column: str) -> dict[str, list[Row]]:
    """Rows by the value of a column."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def match_classes(world: World, as_of: datetime) -> dict[str, str]:
    """4.6: the class of each match of the log up to as_of."""
    assessment = Assessment(world)
    return {
        match["match_id"]: assessment.match_class(match)
        for match in world.raw_legacy_matches
        if happened(match["matched_at"], as_of)
    }


def affected_users(world: World, as_of: datetime) -> dict[str, list[Row]]:
    """4.6: the users with a security_only match, each with those matches."""
    classes = match_classes(world, as_of)
    matches = [row for row in world.raw_legacy_matches if classes.get(row["match_id"]) == "security_only"]
    return dict(_by(matches, "user_id"))

"""Small worlds for the oracle to judge: a happy path, and what goes wrong with it.

A world is the inputs of the public contract (DESIGN section 3) around one user, one advertiser and one
partner. On its happy path the user is a member of two audiences, an engagement is shared and an old match
was permitted. Nought to three perturbations move it off that path, each through one table: a moment at or
beside as_of, another purpose, the same value spelled otherwise and given for security, another upload.

Worlds are packed, so that one run of the models judges many; each has ids of its own, `w<number>-...`.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import oracle
from conftest import ROOT
from hypothesis import strategies as st
from oracle import Row, World

AS_OF = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = AS_OF - timedelta(days=400)
POLICY = ROOT / "seeds" / "policy"
PURPOSES = oracle.load_purposes(POLICY / "purposes.csv")
TOPICS = oracle.read_csv(POLICY / "sensitive_list_topics.csv")
CONSENT_RULES = oracle.read_csv(POLICY / "consent_rules.csv")
TABLES = [field.name for field in fields(World) if field.name.startswith("raw_")]

Draw = Callable[[st.SearchStrategy[Any]], Any]
Perturbation = Callable[[World, Draw], None]

MOMENTS = [
    AS_OF + distance * direction
    for distance in (timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1), timedelta(days=40))
    for direction in (-1, 1)
] + [AS_OF, LONG_AGO]
moments = st.sampled_from(MOMENTS)
moments_or_null = st.sampled_from([*MOMENTS, None])
codes = st.sampled_from(
    [
        *PURPOSES,
        None,
        "",
        " ",
        "ADS.audience_matching",
        "ads.audience_match",
        "ads.audience_matching.tailored.new",
    ]
)


@dataclass
class Pack:
    """Worlds side by side, before and after their perturbations, under one policy."""

    before: World
    after: World


def of(world: World, table: str) -> list[Row]:
    """The rows of one input table."""
    return getattr(world, table)


def merged(worlds: Iterable[World], policy: Row) -> World:
    """Worlds as one, under a policy."""
    together = World(purposes=PURPOSES, sensitive_list_topics=TOPICS, **policy)
    for world in worlds:
        for table in TABLES:
            of(together, table).extend(of(world, table))
    return together


def world_of(key: object) -> str:
    """The world that an id, or a key with an id in it, belongs to."""
    texts = key if isinstance(key, tuple) else (key,)
    return next((str(text).split("-")[0] for text in texts if str(text).startswith("w")), "?")


# --- the happy path ---------------------------------------------------------------------------


def _email(number: int, domain: str) -> str:
    return f"ana.w{number}@{domain}"


def _phone(number: int, country: str) -> str:
    """Numbers reserved for fiction: 555-01xx of a North American area, or Ofcom's 07700 900xxx."""
    if country == "GB":
        return f"+447700900{number % 1000:03}"
    return f"+1{200 + number // 100 % 700}55501{number % 100:02}"


def hashed(value: str, profile: str) -> str:
    """What a sender uploads to a hashed list of a profile, for a value that is spelled canonically."""
    text = value.lstrip("+") if profile == "meta" else value
    if profile in ("google", "uid2") and value.endswith(("@gmail.com", "@googlemail.com")):
        local, domain = value.split("@")
        if profile == "google" or domain == "gmail.com":
            text = f"{local.replace('.', '')}@{domain}"
    return hashlib.sha256(text.encode()).hexdigest()


def happy_path(number: int, draw: Draw) -> World:
    """A user whose address and number are on a tailored and on a partner list, and who agreed to it."""
    name = f"w{number}-"
    country = draw(st.sampled_from(["US", "GB"]))
    email = _email(
        number, draw(st.sampled_from(["example.com", "example.org", "gmail.com", "googlemail.com"]))
    )
    phone = _phone(number, country)
    world = World()
    world.raw_users.append(_user(f"{name}ana", country))
    for contact, channel, value in (("c1", "email", email), ("c2", "phone", phone)):
        world.raw_contacts.append(_contact(f"{name}{contact}", f"{name}ana", channel, value))
    for data_use in (*oracle.MATCHING_USES, oracle.MEASUREMENT):
        world.raw_consent_events.append(granted(f"{name}{data_use}", f"{name}ana", data_use))
    for advertiser in ("adv", "licensee"):
        world.raw_advertisers.append(
            {
                "advertiser_id": name + advertiser,
                "name": "Advertiser",
                "status": "active",
                "terms_accepted_at": LONG_AGO,
            }
        )
    world.raw_partners.append({"partner_id": f"{name}par", "name": "Partner", "status": "active"})
    for list_id, kind in ((f"{name}tailored", "tailored"), (f"{name}partner", "partner")):
        profile = draw(st.sampled_from(["x", "meta", "google", "uid2"]))
        is_hashed = draw(st.booleans())
        world.raw_audience_lists.append(
            {
                "list_id": list_id,
                "list_kind": kind,
                "advertiser_id": f"{name}adv" if kind == "tailored" else None,
                "partner_id": f"{name}par" if kind == "partner" else None,
                "name": "Spring sale",
                "normalization_profile": profile,
                "is_hashed": is_hashed,
                "membership_days": None,
                "created_at": LONG_AGO,
                "expires_at": None,
                "lawful_basis_attested_at": LONG_AGO,
            }
        )
        identifiers = [hashed(value, profile) if is_hashed else value for value in (email, phone)]
        _upload(world, f"{list_id}-1", list_id, "append", LONG_AGO, identifiers)
    world.raw_partner_licences.append(
        _licence(f"{name}licence", f"{name}par", f"{name}licensee", f"{name}partner")
    )
    world.raw_ad_engagements.append(
        {
            "engagement_id": f"{name}view",
            "user_id": f"{name}ana",
            "advertiser_id": f"{name}adv",
            "measurement_partner_id": "measurer",
            "event": "view",
            "occurred_at": AS_OF - timedelta(days=1),
            "country_code": country,
        }
    )
    world.raw_legacy_matches.append(
        {
            "match_id": f"{name}match",
            "list_id": f"{name}tailored",
            "user_id": f"{name}ana",
            "contact_id": f"{name}c1",
            "matched_at": AS_OF - timedelta(seconds=1),
        }
    )
    return world


def _user(user_id: str, country: str | None) -> Row:
    return {
        "user_id": user_id,
        "country_code": country,
        "is_adult": True,
        "account_status": "active",
        "created_at": LONG_AGO,
    }


def _contact(contact_id: str, user_id: str, channel: str | None, value: str | None) -> Row:
    return {
        "contact_id": contact_id,
        "user_id": user_id,
        "channel": channel,
        "value": value,
        "purpose": "ads.audience_matching",
        "collected_at": LONG_AGO,
        "verified_at": LONG_AGO,
        "removed_at": None,
    }


def granted(event_id: str, user_id: str, data_use: str) -> Row:
    """A consent event of long ago without an end."""
    return {
        "consent_event_id": event_id,
        "user_id": user_id,
        "data_use": data_use,
        "status": "granted",
        "occurred_at": LONG_AGO,
        "recorded_at": LONG_AGO,
        "expires_at": None,
    }


def _licence(licence_id: str, partner_id: str, advertiser_id: str, list_id: str) -> Row:
    return {
        "licence_id": licence_id,
        "partner_id": partner_id,
        "advertiser_id": advertiser_id,
        "list_id": list_id,
        "starts_at": LONG_AGO,
        "ends_at": None,
        "revoked_at": None,
        "allowed_data_uses": oracle.PARTNER,
    }


def _upload(
    world: World,
    upload_id: str,
    list_id: str,
    operation: str,
    moment: datetime | None,
    identifiers: list[str],
) -> None:
    world.raw_list_uploads.append(
        {"upload_id": upload_id, "list_id": list_id, "operation": operation, "uploaded_at": moment}
    )
    for row_number, identifier in enumerate(identifiers, start=1):
        world.raw_list_entries.append(
            {
                "upload_id": upload_id,
                "row_number": row_number,
                # the first is the address; a hash does not tell
                "channel": "email" if row_number == 1 else "phone",
                "identifier": identifier,
                "country_code": None,
            }
        )


# --- spellings --------------------------------------------------------------------------------


def _wide(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


EMAIL_SPELLINGS: list[Callable[[str], str]] = [
    str.upper,
    str.title,
    lambda email: f" {email}\u00a0",
    lambda email: f"\u200b{email}\ufeff",
    lambda email: email.replace("@", "\u200b@"),
    lambda email: email.replace("@", "+news@"),
    lambda email: email.replace("ana.", "an.a"),
    lambda email: email.replace("@gmail.com", "@googlemail.com"),
    lambda email: email.replace("@", "@@"),
    lambda email: email.replace("@", " @"),
    lambda email: email.replace("@", ""),
    lambda email: email.split("@")[0],
    lambda email: f"{email}.",
    lambda email: email.replace(".com", ""),
    lambda email: email.replace("ana", "an\u00e1"),
    lambda email: email.replace("ana", "\u0130na"),
    _wide,
    lambda _: "",
]
PHONE_SPELLINGS: list[Callable[[str], str]] = [
    lambda phone: f" {phone[:2]} ({phone[2:5]}) {phone[5:8]}-{phone[8:]} ",
    lambda phone: "00" + phone[1:],
    lambda phone: "011" + phone[1:],
    lambda phone: phone[1:],
    lambda phone: phone.removeprefix("+1").removeprefix("+44"),
    lambda phone: "0" + phone.removeprefix("+1").removeprefix("+44"),
    lambda phone: "1" + phone.removeprefix("+1"),
    lambda phone: phone.replace("+44", "+44 (0)"),
    lambda phone: f"{phone} ext. 5",
    lambda phone: phone[:-1],
    lambda phone: phone[:-1] + "A",
    lambda phone: "+" + "0" * 10,
    _wide,
    lambda _: "",
]


def _respelled(value: str | None, draw: Draw) -> str | None:
    if not value:
        return value
    spellings = EMAIL_SPELLINGS if "@" in value else PHONE_SPELLINGS
    return draw(st.sampled_from([lambda same: same, *spellings]))(value)


# --- perturbations ----------------------------------------------------------------------------


def _one(world: World, table: str, draw: Draw) -> Row:
    rows = of(world, table)
    return draw(st.sampled_from(rows)) if rows else {}


def _name(world: World) -> str:
    return str(of(world, "raw_audience_lists")[0]["list_id"]).split("-")[0] + "-"


def _next_id(world: World, table: str) -> str:
    return f"{_name(world)}{table[4:7]}{len(of(world, table)) + 1}"


def _set(table: str, columns: dict[str, st.SearchStrategy[Any]]) -> Perturbation:
    """One cell of one row becomes another."""

    def perturb(world: World, draw: Draw) -> None:
        row = _one(world, table, draw)
        column = draw(st.sampled_from(sorted(columns)))
        if row:
            row[column] = draw(columns[column])

    return perturb


def _drop(table: str) -> Perturbation:
    """One row goes."""

    def perturb(world: World, draw: Draw) -> None:
        rows = of(world, table)
        if rows:
            rows.pop(draw(st.integers(0, len(rows) - 1)))

    return perturb


def _respell_contact(world: World, draw: Draw) -> None:
    contact = _one(world, "raw_contacts", draw)
    contact["value"] = _respelled(contact["value"], draw)


def _give_for_another_purpose(world: World, draw: Draw) -> None:
    """The same value once more, spelled in some way, for some purpose and filed under some channel."""
    contact = dict(_one(world, "raw_contacts", draw))
    contact["contact_id"] = _next_id(world, "raw_contacts")
    contact["value"] = _respelled(contact["value"], draw)
    contact["purpose"] = draw(st.one_of(st.just("security.two_factor"), codes))
    contact["channel"] = draw(
        st.sampled_from([contact["channel"], contact["channel"], "email", "phone", "fax", None])
    )
    contact[draw(st.sampled_from(["collected_at", "verified_at", "removed_at"]))] = draw(moments_or_null)
    world.raw_contacts.append(contact)


def _someone_else(world: World, draw: Draw) -> None:
    """A second user who holds the same value, and who agreed to some of it."""
    user_id = f"{_name(world)}ben"
    if any(user["user_id"] == user_id for user in world.raw_users):
        return
    contact = dict(_one(world, "raw_contacts", draw))
    world.raw_users.append(_user(user_id, draw(st.sampled_from(["US", "GB", None]))))
    contact |= {"contact_id": _next_id(world, "raw_contacts"), "user_id": user_id}
    contact["purpose"] = draw(st.one_of(st.just("ads.audience_matching"), codes))
    contact["value"] = _respelled(contact["value"], draw)
    world.raw_contacts.append(contact)
    for data_use in draw(st.sets(st.sampled_from(oracle.MATCHING_USES))):
        world.raw_consent_events.append(granted(_next_id(world, "raw_consent_events"), user_id, data_use))


def _suppress(world: World, draw: Draw) -> None:
    contact = _one(world, "raw_contacts", draw)
    value = _respelled(contact["value"], draw)
    if not value or contact["channel"] not in ("email", "phone"):
        return
    name = _name(world)
    world.raw_suppressions.append(
        {
            "suppression_id": _next_id(world, "raw_suppressions"),
            "channel": contact["channel"],
            "value": value,
            "advertiser_id": draw(
                st.sampled_from([None, " ", f"{name}adv", f" {name}adv ", f"{name}licensee", f"{name}other"])
            ),
            "added_at": draw(moments_or_null),
        }
    )


def _decide_again(world: World, draw: Draw) -> None:
    """Another consent event: for a use, its parent or its child; at the same moment, before or after."""
    event = dict(_one(world, "raw_consent_events", draw))
    if not event:
        return
    event["consent_event_id"] = (
        _name(world) + draw(st.sampled_from(["a", "z"])) + str(len(world.raw_consent_events))
    )
    event["status"] = draw(st.sampled_from(["granted", "denied"]))
    event["data_use"] = draw(
        st.sampled_from(
            [event["data_use"], event["data_use"], "ads.audience_matching", oracle.TAILORED + ".new"]
        )
    )
    for column in draw(st.sets(st.sampled_from(["occurred_at", "recorded_at"]))):
        event[column] = draw(moments)
    event["expires_at"] = draw(moments_or_null)
    world.raw_consent_events.append(event)


def _license_again(world: World, draw: Draw) -> None:
    licence = dict(_one(world, "raw_partner_licences", draw))
    if licence:
        licence["licence_id"] = _next_id(world, "raw_partner_licences")
        licence[draw(st.sampled_from(["starts_at", "ends_at", "revoked_at"]))] = draw(moments_or_null)
        licence["advertiser_id"] = _name(world) + draw(st.sampled_from(["adv", "licensee"]))
        world.raw_partner_licences.append(licence)


def _upload_again(world: World, draw: Draw) -> None:
    """An upload of any operation, with some of the rows of an earlier one, spelled in some way."""
    upload = _one(world, "raw_list_uploads", draw)
    if not upload:
        return
    identifiers = [
        row["identifier"] for row in world.raw_list_entries if row["upload_id"] == upload["upload_id"]
    ]
    kept = draw(st.integers(0, len(identifiers)))
    _upload(
        world,
        f"{upload['list_id']}-{draw(st.sampled_from(['0', '2']))}{len(world.raw_list_uploads)}",
        upload["list_id"],
        draw(st.sampled_from(["append", "remove", "replace", "remove_all"])),
        draw(st.one_of(st.just(upload["uploaded_at"]), moments_or_null)),
        [_respelled(identifier, draw) if identifier else identifier for identifier in identifiers[:kept]],
    )


def _as_base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode() if len(text) == 64 else text


ENTRY_SPELLINGS: list[Callable[[str], str]] = [
    str.upper,
    lambda text: f" {text}\n",
    _as_base64,
    lambda text: _as_base64(text).rstrip("="),
    lambda text: text[:-1],
    lambda text: hashlib.sha256(text.encode()).hexdigest(),
    lambda _: hashlib.sha256(b"").hexdigest(),
    lambda _: hashlib.sha256(b"null").hexdigest().upper(),
    lambda _: "unknown",
    lambda _: "",
]


def _respell_entry(world: World, draw: Draw) -> None:
    entry = _one(world, "raw_list_entries", draw)
    if entry and entry["identifier"]:
        if draw(st.booleans()):
            entry["identifier"] = draw(st.sampled_from(ENTRY_SPELLINGS))(entry["identifier"])
        else:
            entry["identifier"] = _respelled(entry["identifier"], draw)
            entry["country_code"] = draw(st.sampled_from([None, "US", "GB", "gb", "ZZ"]))


def _repeat_entry(world: World, draw: Draw) -> None:
    entry = dict(_one(world, "raw_list_entries", draw))
    if entry:
        entry["row_number"] = 100 + len(world.raw_list_entries)
        world.raw_list_entries.append(entry)


PERTURBATIONS: dict[str, Perturbation] = {
    "another purpose": _set("raw_contacts", {"purpose": codes}),
    "a contact's moments": _set(
        "raw_contacts", dict.fromkeys(("collected_at", "verified_at", "removed_at"), moments_or_null)
    ),
    "a contact's channel": _set(
        "raw_contacts", {"channel": st.sampled_from(["email", "phone", "fax", None])}
    ),
    "a contact respelled": _respell_contact,
    "given for another purpose": _give_for_another_purpose,
    "a contact gone": _drop("raw_contacts"),
    "someone else": _someone_else,
    "the user": _set(
        "raw_users",
        {
            "country_code": st.sampled_from([None, "US", "GB", "DE", "ZZ"]),
            "is_adult": st.sampled_from([None, False]),
            "account_status": st.sampled_from([None, "suspended", "deactivated", "deleted", "Active"]),
        },
    ),
    "the user gone": _drop("raw_users"),
    "suppressed": _suppress,
    "decided again": _decide_again,
    "a consent's moments": _set(
        "raw_consent_events", {"occurred_at": moments, "recorded_at": moments, "expires_at": moments_or_null}
    ),
    "a consent gone": _drop("raw_consent_events"),
    "the advertiser": _set(
        "raw_advertisers",
        {"status": st.sampled_from(["suspended", None, "Active"]), "terms_accepted_at": moments_or_null},
    ),
    "the advertiser gone": _drop("raw_advertisers"),
    "the partner": _set("raw_partners", {"status": st.sampled_from(["suspended", None])}),
    "the licence": _set(
        "raw_partner_licences",
        {
            **dict.fromkeys(("starts_at", "ends_at", "revoked_at"), moments_or_null),
            "allowed_data_uses": st.sampled_from(
                [None, "ads", "ads.measurement", "ads.measurement|ads.audience_matching", oracle.TAILORED]
            ),
        },
    ),
    "the licence gone": _drop("raw_partner_licences"),
    "licensed again": _license_again,
    "the list": _set(
        "raw_audience_lists",
        {
            **dict.fromkeys(("created_at", "expires_at", "lawful_basis_attested_at"), moments_or_null),
            "membership_days": st.sampled_from([0, 1, 39, 40, 41, 400, 401]),
            "normalization_profile": st.sampled_from(["x", "meta", "google", "uid2"]),
            "is_hashed": st.booleans(),
            "name": st.sampled_from(["", "Diabetes patients", "Healthy snacks", None]),
        },
    ),
    "uploaded again": _upload_again,
    "an upload's moment": _set("raw_list_uploads", {"uploaded_at": moments_or_null}),
    "an entry respelled": _respell_entry,
    "an entry's channel": _set(
        "raw_list_entries", {"channel": st.sampled_from(["email", "phone", "fax", None])}
    ),
    "an entry repeated": _repeat_entry,
    "an entry gone": _drop("raw_list_entries"),
    "the engagement": _set(
        "raw_ad_engagements",
        {
            "occurred_at": moments_or_null,
            "event": st.sampled_from(["click", "purchase", None]),
            "measurement_partner_id": st.sampled_from([None, " ", "another"]),
        },
    ),
    "the old match": _set("raw_legacy_matches", {"matched_at": moments}),
}


@st.composite
def packs(draw: Draw, worlds: int) -> Pack:
    """So many worlds, before and after their perturbations, and a policy for all of them."""
    policy = {
        "dual_purpose_policy": draw(st.sampled_from(["exclude", "exclude", "separate_collection"])),
        "consent_rules": [
            *CONSENT_RULES,
            *(
                {"country_code": "GB", "data_use": data_use, "choice_model": "opt_out"}
                for data_use in draw(st.sets(st.sampled_from(oracle.MATCHING_USES)))
            ),
        ],
    }
    before, after = [], []
    for number in range(worlds):
        world = happy_path(number, draw)
        before.append(copy.deepcopy(world))
        for _ in range(draw(st.integers(0, 3))):
            PERTURBATIONS[draw(st.sampled_from(sorted(PERTURBATIONS)))](world, draw)
        after.append(world)
    return Pack(merged(before, policy), merged(after, policy))

"""Write the bundled sample: the 2019 story in twelve CSV seeds, all of it fictional.

People gave an e-mail address or a phone number for two-factor login, account recovery or
re-authentication. Advertisers (tailored lists) and data partners (partner lists) hold those same
identifiers, in the clear and hashed. Some people also gave a contact for ads, with consent. The
sample holds both kinds, and at least one example of every decision, list status, row reason and
upload operation of DESIGN.md, so that each rule has something to refuse and something to let
through.

How to read it: `PLANTED` are small groups of users, one function per rule, whose users come first
(u0001, u0002, ...); `POPULATION` are the large groups that fill the audiences; `LISTS` says who
uploads what; `CANARIES` stand in every list, to match nothing or to match always. Nothing happens
after `STORY_END`, and what expires has expired before it, so that a build on any later day gives
the same answer (the one exception: membership in l07 runs out in 2046).

Every value is fictional: e-mail at example.com, .org and .net (RFC 2606), phone numbers from
ranges that regulators keep for fiction (NANPA 555-01XX, Ofcom, ARCEP, ACMA).

Exit codes: 0 written, 2 wrong usage.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).resolve().parents[1]

COLUMNS: dict[str, tuple[str, ...]] = {
    "raw_users": ("user_id", "country_code", "is_adult", "account_status", "created_at"),
    "raw_contacts": (
        "contact_id", "user_id", "channel", "value", "purpose",
        "collected_at", "verified_at", "removed_at",
    ),
    "raw_consent_events": (
        "consent_event_id", "user_id", "data_use", "status",
        "occurred_at", "recorded_at", "expires_at",
    ),
    "raw_suppressions": ("suppression_id", "channel", "value", "advertiser_id", "added_at"),
    "raw_advertisers": ("advertiser_id", "name", "status", "terms_accepted_at", "terms_version"),
    "raw_partners": ("partner_id", "name", "status"),
    "raw_partner_licences": (
        "licence_id", "partner_id", "advertiser_id", "list_id",
        "starts_at", "ends_at", "revoked_at", "allowed_data_uses",
    ),
    "raw_audience_lists": (
        "list_id", "list_kind", "advertiser_id", "partner_id", "name", "normalization_profile",
        "is_hashed", "membership_days", "created_at", "expires_at", "lawful_basis_attested_at",
        "owner",
    ),
    "raw_list_uploads": ("upload_id", "list_id", "operation", "uploaded_at"),
    "raw_list_entries": ("upload_id", "row_number", "channel", "identifier", "country_code"),
    "raw_ad_engagements": (
        "engagement_id", "user_id", "advertiser_id", "measurement_partner_id", "event",
        "occurred_at", "country_code",
    ),
    "raw_legacy_matches": ("match_id", "list_id", "user_id", "contact_id", "matched_at"),
}  # fmt: skip

TAILORED = "ads.audience_matching.tailored"
PARTNER = "ads.audience_matching.partner"
MATCHING = "ads.audience_matching"  # as a purpose it covers both; as consent it is a grant for none
MEASUREMENT = "ads.measurement"
BOTH_USES = (TAILORED, PARTNER)

SECURITY_PURPOSES = (
    "security.two_factor",
    "security.account_recovery",
    "security.reauthentication",
    "security.login_alert",
    "security.fraud_prevention",
    "security.identity_or_age_verification",
)
OTHER_PURPOSES = (
    "service.account_registration",
    "service.notifications",
    "service.customer_support",
    "service.payment",
    "service.contact_discovery",
    "legal.obligation",
    "legal.privacy_preferences",
    "marketing.email",
    "marketing.sms",
    "ads.suppression",
    "ads.measurement",
    "ads.lookalike",
    "analytics.aggregate",
)


def moment(text: str) -> datetime:
    """Read an ISO date, with or without a time, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


STORY_END = moment("2019-09-17")  # nothing is later
JOINED = (moment("2013-05-01"), moment("2017-12-31"))  # accounts opened
PROTECTED_UNTIL = moment("2018-12-31")  # security and service contacts collected
ASKED = (moment("2018-05-25"), moment("2018-12-31"))  # ads contacts collected
FAR_END = moment("2099-01-01")  # no build on the sample is made later
CONSENTED = (moment("2018-05-25"), moment("2019-01-31"))  # consent given

FIRST_NAMES = (
    "ada", "amelia", "anton", "bea", "bruno", "cleo", "colin", "dora", "edgar", "elsa", "felix",
    "flora", "gwen", "hugo", "ida", "ivan", "iris", "jonas", "june", "karl", "kira", "leo",
    "lotte", "mabel", "milo", "nadia", "nils", "olive", "otto", "petra", "quinn", "rosa",
    "rufus", "stella", "tamsin", "theo", "una", "viktor", "wanda", "yuri",
)  # fmt: skip
LAST_NAMES = (
    "abbey", "alder", "barrow", "birch", "caskey", "corley", "dunmore", "eastley", "fallow",
    "ferris", "garrow", "hale", "hart", "iverson", "jessop", "kestrel", "larkin", "lind",
    "marlow", "moss", "narrow", "oakley", "pell", "quill", "rook", "sable", "sorrel", "tarn",
    "thorne", "underhill", "vane", "wren", "yarrow",
)  # fmt: skip
MAIL_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.org")
US_AREA_CODES = (
    "202", "206", "212", "213", "215", "303", "305", "312", "404", "415", "503", "512", "602",
    "612", "617", "702",
)  # fmt: skip
HOME_COUNTRIES = {"US": 44, "GB": 34, "FR": 9, "AU": 4, "DE": 5, "IE": 4}  # code: weight

ZERO_WIDTH_SPACE = "\u200b"
NO_BREAK_SPACE = "\u00a0"
KELVIN_SIGN = "\u212a"
FULL_WIDTH_DIGITS = str.maketrans("0123456789", "".join(chr(0xFF10 + n) for n in range(10)))
SENTINELS = ("", " ", "null", "none", "undefined", "nan", "n/a")  # DESIGN 4.2


# -- identifiers and their spellings ---------------------------------------------------------------


@dataclass(frozen=True)
class Email:
    """An e-mail address in canonical form (trimmed, lower case)."""

    address: str
    channel = "email"
    region = None

    def key(self, profile: str) -> str:
        """What a sender hashes; no profile changes an ASCII address outside gmail.com."""
        return self.address

    def spellings(self, country: str | None) -> list[str]:
        """Spellings that normalize to this very address anywhere, the plain one most often."""
        return [
            *[self.address] * 5,
            self.address.upper(),
            self.address.title(),
            f"  {self.address} ",
            f"{self.address}{NO_BREAK_SPACE}",
            f"{ZERO_WIDTH_SPACE}{self.address}",
        ]


class NumberingPlan(NamedTuple):
    """The numbering plan of a country: how its reserved numbers are written."""

    calling_code: str
    trunk_prefix: str
    groups: tuple[int, ...]  # digits per group of a national number


NUMBERING_PLANS = {
    "US": NumberingPlan("1", "1", (3, 3, 4)),
    "GB": NumberingPlan("44", "0", (4, 6)),
    "FR": NumberingPlan("33", "0", (1, 2, 2, 2, 2)),
    "AU": NumberingPlan("61", "0", (3, 3, 3)),
}


@dataclass(frozen=True)
class Phone:
    """A phone number: its region and its national number without trunk prefix."""

    region: str
    national: str
    channel = "phone"

    @property
    def plan(self) -> NumberingPlan:
        """How numbers of the region are written."""
        return NUMBERING_PLANS[self.region]

    @property
    def digits(self) -> str:
        """Calling code and national number: E.164 without the plus sign."""
        return self.plan.calling_code + self.national

    def key(self, profile: str) -> str:
        """What a sender hashes: E.164, which `meta` writes without the plus sign."""
        return self.digits if profile == "meta" else f"+{self.digits}"

    def grouped(self, separator: str = " ") -> str:
        """The national number in its usual groups."""
        ends = [sum(self.plan.groups[: n + 1]) for n in range(len(self.plan.groups))]
        starts = [0, *ends[:-1]]
        pairs = zip(starts, ends, strict=True)
        return separator.join(self.national[start:end] for start, end in pairs)

    def national_spelling(self) -> str:
        """As people of that country write it; readable only with the country."""
        if self.region == "US":
            return f"({self.national[:3]}) {self.national[3:6]}-{self.national[6:]}"
        return self.plan.trunk_prefix + self.grouped()

    def spellings(self, country: str | None) -> list[str]:
        """Spellings that normalize to this number for a record of that country (None: unknown)."""
        code = self.plan.calling_code
        everywhere = [
            *[f"+{self.digits}"] * 3,
            f"+{code} {self.grouped()}",
            f"+{code}-{self.grouped('-')}",
            f"00{code} {self.grouped()}",
            f"+{self.digits.translate(FULL_WIDTH_DIGITS)}",
        ]
        if self.plan.trunk_prefix == "0":
            everywhere.append(f"+{code} (0){self.grouped()}")
        if country == self.region:
            return [*everywhere, *[self.national_spelling()] * 4, self.grouped(".")]
        if country == "US":  # a number of elsewhere, as dialled from there
            return [*everywhere, *[f"011 {code} {self.grouped()}"] * 2]
        return everywhere


Identifier = Email | Phone


def reserved_numbers() -> dict[str, list[Phone]]:
    """Per country, the phone numbers that its regulator keeps for fiction."""
    return {
        "US": [Phone("US", f"{area}55501{n:02d}") for area in US_AREA_CODES for n in range(100)],
        "GB": [Phone("GB", f"7700900{n:03d}") for n in range(1000)],
        "FR": [Phone("FR", f"63998{n:04d}") for n in range(100)],
        "AU": [Phone("AU", f"491570{n}") for n in ("006", "110", "156", "157", "158", "159")],
    }


# -- the world: people and the rows about them -----------------------------------------------------


@dataclass
class Person:
    """A user, and the identifiers that advertisers and partners may know of that person."""

    user_id: str
    name: str
    domain: str
    country: str | None
    created_at: datetime
    identifiers: list[Identifier] = field(default_factory=list)

    def email(self, tag: str = "") -> Email:
        """An address of this person; the account number in it keeps people apart."""
        number = int(self.user_id[1:])
        return Email(f"{self.name}{number}{tag}@{self.domain}")


class World:
    """Collects the rows of every table; all chance comes from one seeded generator."""

    def __init__(self, seed: int) -> None:
        """Start with no rows and every reserved number free."""
        self.rng = random.Random(seed)
        self.tables: dict[str, list[dict[str, object]]] = {table: [] for table in COLUMNS}
        self.last_number: dict[str, int] = {}
        self.held: dict[Identifier, list[dict[str, object]]] = {}  # contacts by what they really are
        self.sent: list[tuple[dict[str, object], list[Identifier]]] = []  # adding uploads, and of whom
        self.free_numbers = reserved_numbers()
        for numbers in self.free_numbers.values():
            self.rng.shuffle(numbers)

    def next_id(self, prefix: str, width: int) -> str:
        """The next readable id of a kind: u0001, u0002, ..."""
        self.last_number[prefix] = self.last_number.get(prefix, 0) + 1
        return f"{prefix}{self.last_number[prefix]:0{width}d}"

    def between(self, start: datetime, end: datetime) -> datetime:
        """A moment in [start, end), to the second."""
        return start + timedelta(seconds=self.rng.randrange(int((end - start).total_seconds())))

    def shortly_after(self, start: datetime) -> datetime:
        """A moment within the next quarter of an hour."""
        return self.between(start + timedelta(seconds=5), start + timedelta(minutes=15))

    def spell(self, identifier: Identifier, country: str | None) -> str:
        """One of the spellings that normalize to the identifier."""
        return self.rng.choice(identifier.spellings(country))

    def stranger(self, country: str | None = None) -> Person:
        """A person without an account row; `add_user` gives them one."""
        return Person(
            user_id=self.next_id("u", 4),
            name=f"{self.rng.choice(FIRST_NAMES)}.{self.rng.choice(LAST_NAMES)}",
            domain=self.rng.choice(MAIL_DOMAINS),
            country=country,
            created_at=self.between(*JOINED),
        )

    def add_user(self, person: Person, is_adult: bool | None, status: str) -> Person:
        """Give the person an account row."""
        self.tables["raw_users"].append(
            {
                "user_id": person.user_id,
                "country_code": person.country,
                "is_adult": is_adult,
                "account_status": status,
                "created_at": person.created_at,
            }
        )
        return person

    def user(self, country: str | None = "GB") -> Person:
        """An active adult user."""
        return self.add_user(self.stranger(country), is_adult=True, status="active")

    def resident(self) -> Person:
        """An active adult user of some country."""
        countries, weights = list(HOME_COUNTRIES), list(HOME_COUNTRIES.values())
        return self.user(self.rng.choices(countries, weights)[0])

    def phone(self, country: str) -> Phone:
        """A reserved number that nobody has yet."""
        return self.free_numbers[country].pop()

    def phone_or_email(self, person: Person, tag: str) -> Identifier:
        """A number of the person's country; where none is left, one more address."""
        if self.free_numbers.get(person.country or ""):
            return self.phone(person.country)
        return person.email(tag)

    def contact(
        self,
        person: Person,
        identifier: Identifier,
        purpose: str | None,
        value: str | None = None,
        **changes: datetime | None,
    ) -> None:
        """One collection event; `value` and `changes` replace what is filled in by default."""
        if purpose is not None and purpose.startswith("ads"):
            collected_at = self.between(*ASKED)
        else:
            collected_at = self.between(person.created_at, PROTECTED_UNTIL)
        contact = {
            "contact_id": self.next_id("c", 5),
            "user_id": person.user_id,
            "channel": identifier.channel,
            "value": value or self.spell(identifier, person.country),
            "purpose": purpose,
            "collected_at": collected_at,
            "verified_at": self.shortly_after(collected_at),
            "removed_at": None,
        } | changes
        self.tables["raw_contacts"].append(contact)
        self.held.setdefault(identifier, []).append(contact)
        if identifier not in person.identifiers:
            person.identifiers.append(identifier)

    def consent(
        self,
        person: Person,
        data_use: str,
        status: str = "granted",
        occurred_at: datetime | None = None,
        recorded_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """One consent event; by default a grant without end, recorded shortly after it was made."""
        occurred_at = occurred_at or self.between(*CONSENTED)
        self.tables["raw_consent_events"].append(
            {
                "consent_event_id": self.next_id("e", 5),
                "user_id": person.user_id,
                "data_use": data_use,
                "status": status,
                "occurred_at": occurred_at,
                "recorded_at": recorded_at or self.shortly_after(occurred_at),
                "expires_at": expires_at,
            }
        )

    def consent_to_matching(self, person: Person) -> Person:
        """Grant both matching uses, every fifth time until a far end, which members then carry."""
        until = FAR_END if len(self.tables["raw_consent_events"]) % 5 == 0 else None
        for data_use in BOTH_USES:
            self.consent(person, data_use, expires_at=until)
        return person

    def willing(self, country: str | None = "GB") -> Person:
        """An active adult who consents to both matching uses: refused for the planted reason only.

        Most planted users are of this kind.
        """
        return self.consent_to_matching(self.user(country))

    def suppress(self, channel: str, value: str, advertiser_id: str | None = None) -> None:
        """Do-not-match: for one advertiser, or (None) for all."""
        self.tables["raw_suppressions"].append(
            {
                "suppression_id": self.next_id("s", 3),
                "channel": channel,
                "value": value,
                "advertiser_id": advertiser_id,
                "added_at": self.between(moment("2019-02-01"), moment("2019-09-01")),
            }
        )


# -- spellings that only the block key sees through (DESIGN 4.3) -----------------------------------


def dotted(address: str) -> str:
    """Another dot in the local part."""
    return f"{address[0]}.{address[1:]}"


def undotted(address: str) -> str:
    """No dot in the local part."""
    local, domain = address.split("@")
    return f"{local.replace('.', '')}@{domain}"


def tagged(address: str) -> str:
    """A +tag on the local part."""
    return address.replace("@", "+login@")


def full_width(address: str) -> str:
    """The local part in full-width letters and digits."""
    local, domain = address.split("@")
    wide = "".join(chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in local)
    return f"{wide}@{domain}"


def broken_by_zero_width(address: str) -> str:
    """An invisible character inside: does not normalize, yet is the same mailbox."""
    return address.replace("@", f"{ZERO_WIDTH_SPACE}@")


WIDE_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.lower,
    str.upper,
    dotted,
    undotted,
    tagged,
    full_width,
    broken_by_zero_width,
)


# -- planted groups: one per rule of DESIGN 4.1 ----------------------------------------------------


def not_collected(world: World) -> Iterator[Person]:
    """not_collected: an ads contact whose collection was never recorded."""
    for _ in range(4):
        person = world.willing()
        world.contact(person, person.email(), MATCHING, collected_at=None)
        yield person


def purpose_unknown(world: World) -> Iterator[Person]:
    """purpose_unknown: no purpose, a blank, a root code, another case, a code nobody registered."""
    codes = (None, "   ", "unknown", "ads", "security", "Ads.Audience_Matching", "growth.import")
    for code in codes:
        person = world.willing()
        world.contact(person, person.email(), code)
        yield person


def purpose_security(world: World) -> Iterator[Person]:
    """purpose_security: consent to both uses, but every contact was given for security."""
    for code in SECURITY_PURPOSES:
        person = world.willing()
        world.contact(person, person.email(), code)
        world.contact(person, world.phone("GB"), code)
        yield person


def purpose_not_ads(world: World) -> Iterator[Person]:
    """purpose_not_ads: collected for service, legal, marketing or another ads purpose."""
    for code in OTHER_PURPOSES:
        person = world.willing()
        world.contact(person, person.email(), code)
        yield person


def removed(world: World) -> Iterator[Person]:
    """removed: the user took the ads contact back."""
    for day in ("2019-02-01", "2019-05-20", "2019-09-01"):
        person = world.willing()
        world.contact(person, person.email(), MATCHING, removed_at=moment(day))
        yield person


def not_verified(world: World) -> Iterator[Person]:
    """not_verified: the user never confirmed the ads contact."""
    for _ in range(4):
        person = world.willing()
        world.contact(person, person.email(), MATCHING, verified_at=None)
        yield person


def invalid_emails(world: World) -> Iterator[Person]:
    """invalid_value: two @, none, a space or zero-width inside, no top domain, a Kelvin sign."""
    breaks: tuple[Callable[[str], str], ...] = (
        lambda address: address.replace("@", "@@"),
        lambda address: address.replace("@", " at "),
        lambda address: address.replace(".", " ", 1),
        lambda address: address.replace("@", "@.", 1),
        lambda address: address.split("@")[0] + "@example",
        lambda address: KELVIN_SIGN + address,
        broken_by_zero_width,
    )
    for break_up in breaks:
        person = world.willing()
        world.contact(person, person.email(), MATCHING, value=break_up(person.email().address))
        yield person


def invalid_phones(world: World) -> Iterator[Person]:
    """invalid_value: local-only, letters, an extension, too short, one repeated digit."""
    breaks: tuple[Callable[[Phone], str], ...] = (
        lambda phone: f"{phone.national[3:6]}-{phone.national[6:]}",
        lambda phone: f"+1 {phone.national[:3]} KL5-{phone.national[6:]}",
        lambda phone: f"+{phone.digits} ext 5",
        lambda phone: f"+{phone.digits[:-2]}",
        lambda phone: "555 555 5555",
    )
    for break_up in breaks:
        person = world.willing("US")
        phone = world.phone("US")
        world.contact(person, phone, MATCHING, value=break_up(phone))
        yield person


def phone_without_country(world: World) -> Iterator[Person]:
    """invalid_value: a national number of a user whose country nobody knows is never guessed."""
    for region in ("US", "GB", "FR"):
        person = world.willing(country=None)
        phone = world.phone(region)
        world.contact(person, phone, MATCHING, value=phone.national_spelling())
        yield person


def held_in_another_spelling(world: World) -> Iterator[Person]:
    """held_for_protection: one mailbox, for two-factor in one spelling, for ads in another."""
    for respell in WIDE_SPELLINGS:
        person = world.willing()
        ads = person.email()
        world.contact(person, ads, "security.two_factor", value=respell(ads.address))
        world.contact(person, ads, MATCHING, value=ads.address)
        yield person


def held_with_accent(world: World) -> Iterator[Person]:
    """held_for_protection: an accented letter, composed for ads and decomposed for recovery."""
    person = world.willing()
    ads = Email(f"zo\u00eb.{person.email().address}")
    decomposed = unicodedata.normalize("NFD", ads.address)
    world.contact(person, ads, "security.account_recovery", value=decomposed)
    world.contact(person, ads, MATCHING, value=ads.address)
    yield person


def held_phones(world: World) -> Iterator[Person]:
    """held_for_protection: national for two-factor, international for ads, country known or not."""
    for country, region in (("US", "US"), ("GB", "GB"), ("FR", "FR"), ("AU", "AU"), (None, "GB")):
        person = world.willing(country)
        phone = world.phone(region)
        two_factor = phone.national_spelling()
        world.contact(person, phone, "security.two_factor", value=two_factor)
        world.contact(person, phone, MATCHING, value=f"+{phone.digits}")
        yield person


def held_by_other_protection(world: World) -> Iterator[Person]:
    """held_for_protection: address book, legal duty, unknown purpose; also removed or undated."""
    changes: tuple[tuple[str | None, dict[str, datetime | None]], ...] = (
        ("service.contact_discovery", {}),
        ("legal.obligation", {}),
        ("legal.privacy_preferences", {}),
        (None, {}),
        ("growth.import", {}),
        ("security.two_factor", {"removed_at": moment("2019-01-15")}),
        ("security.reauthentication", {"collected_at": None}),
        ("security.login_alert", {"verified_at": None}),
    )
    for purpose, change in changes:
        person = world.willing()
        world.contact(person, person.email(), purpose, **change)
        world.contact(person, person.email(), MATCHING)
        yield person


def user_not_active(world: World) -> Iterator[Person]:
    """user_not_active: deactivated, suspended and deleted accounts, and two without any row."""
    for status in ("deactivated", "suspended", "deleted", "deleted", None, None):
        person = world.stranger("GB")
        if status is not None:
            world.add_user(person, is_adult=True, status=status)
        world.consent_to_matching(person)
        world.consent(person, MEASUREMENT)
        world.contact(person, person.email(), MATCHING)
        yield person


def user_not_adult(world: World) -> Iterator[Person]:
    """user_not_adult: minors, and users whose age nobody knows."""
    for is_adult in (False, False, None, None):
        person = world.add_user(world.stranger("GB"), is_adult=is_adult, status="active")
        world.consent_to_matching(person)
        world.consent(person, MEASUREMENT)
        world.contact(person, person.email(), MATCHING)
        yield person


def suppressed_emails(world: World) -> Iterator[Person]:
    """suppressed: asked never to be matched by anyone, in whatever spelling."""
    for respell in WIDE_SPELLINGS:
        person = world.willing()
        world.contact(person, person.email(), MATCHING)
        world.suppress("email", respell(person.email().address))
        yield person


def suppressed_phones(world: World) -> Iterator[Person]:
    """suppressed: the number in national, international and full-width writing."""
    spellings: tuple[Callable[[Phone], str], ...] = (
        Phone.national_spelling,
        lambda phone: f"+{phone.digits}",
        lambda phone: f"00{phone.digits}",
        lambda phone: f"+{phone.digits.translate(FULL_WIDTH_DIGITS)}",
    )
    for respell in spellings:
        person = world.willing("US")
        phone = world.phone("US")
        world.contact(person, phone, MATCHING)
        world.suppress("phone", respell(phone))
        yield person


def suppressed_for_one_advertiser(world: World) -> Iterator[Person]:
    """accepted, but not for a01 (tailored) and a05 (partner); other advertisers still match."""
    for respell in (str.lower, str.upper, undotted, tagged):
        person = world.willing()
        world.contact(person, person.email(), MATCHING)
        for advertiser_id in ("a01", "a05"):
            world.suppress("email", respell(person.email().address), advertiser_id)
        yield person


def suppressed_for_one_contact(world: World) -> Iterator[Person]:
    """accepted: a01 may not match the e-mail address, but still matches the phone number."""
    person = world.willing("US")
    world.contact(person, person.email(), MATCHING)
    world.contact(person, world.phone("US"), MATCHING)
    world.suppress("email", dotted(person.email().address), "a01")
    yield person


class ConsentEvent(NamedTuple):
    """One event of a planted consent history."""

    status: str
    occurred: str
    recorded: str
    expires: str | None = None


CONSENT_HISTORIES: dict[str, tuple[ConsentEvent, ...]] = {
    "consent_denied: only ever refused": (ConsentEvent("denied", "2018-06-01", "2018-06-01"),),
    "consent_denied: granted, then withdrawn": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
        ConsentEvent("denied", "2019-02-01", "2019-02-01"),
    ),
    "consent_denied: same instant, denied wins": (
        ConsentEvent("denied", "2018-09-01 10:00", "2018-09-01 10:01"),
        ConsentEvent("granted", "2018-09-01 10:00", "2018-09-01 10:01"),
    ),
    "consent_denied: an older grant arrived last": (
        ConsentEvent("denied", "2018-10-01", "2018-10-01"),
        ConsentEvent("granted", "2018-07-01", "2018-12-01"),
    ),
    "consent_denied: same moment, the denial recorded later": (
        ConsentEvent("granted", "2018-09-01 10:00", "2018-09-01 10:01"),
        ConsentEvent("denied", "2018-09-01 10:00", "2018-09-01 10:02"),
    ),
    "consent_denied: the expiry of a denial means nothing": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
        ConsentEvent("denied", "2018-08-01", "2018-08-01", "2018-12-01"),
    ),
    "consent_expired: granted for a year": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01", "2019-06-01"),
    ),
    "consent_expired: same instant, the earliest end wins over no end": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
        ConsentEvent("granted", "2018-06-01", "2018-06-01", "2019-06-01"),
    ),
    "consent_expired: a grant with an end replaced one without": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
        ConsentEvent("granted", "2018-09-01", "2018-09-01", "2019-03-01"),
    ),
    "consent_unknown: never asked": (),
    "accepted: refused first, then granted": (
        ConsentEvent("denied", "2018-06-01", "2018-06-01"),
        ConsentEvent("granted", "2018-11-01", "2018-11-01"),
    ),
    "accepted: same moment, the grant recorded later": (
        ConsentEvent("denied", "2018-09-01 10:00", "2018-09-01 10:01"),
        ConsentEvent("granted", "2018-09-01 10:00", "2018-09-01 10:02"),
    ),
    "accepted: two equal grants, the lowest id is the evidence": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
        ConsentEvent("granted", "2018-06-01", "2018-06-01"),
    ),
    "accepted: an expired grant, then one without end": (
        ConsentEvent("granted", "2018-06-01", "2018-06-01", "2018-12-01"),
        ConsentEvent("granted", "2018-12-05", "2018-12-05"),
    ),
}


def consent_histories(world: World) -> Iterator[Person]:
    """consent_denied, _expired, _unknown and accepted: one user per entry of CONSENT_HISTORIES."""
    for events in CONSENT_HISTORIES.values():
        person = world.user()
        world.contact(person, person.email(), MATCHING)
        for data_use in BOTH_USES:
            for status, occurred, recorded, expires in events:
                expires_at = moment(expires) if expires else None
                world.consent(person, data_use, status, moment(occurred), moment(recorded), expires_at)
        yield person


def consent_for_something_else(world: World) -> Iterator[Person]:
    """consent_unknown: granted for the parent, for measurement, or for the other use only."""
    for data_use in (MATCHING, MEASUREMENT, TAILORED, PARTNER):
        person = world.user()
        world.contact(person, person.email(), MATCHING)
        world.consent(person, data_use)
        yield person


def household(world: World) -> Iterator[Person]:
    """accepted for one, purpose_security for the other: two users share one mailbox."""
    for _ in range(2):
        protected, willing = world.willing(), world.willing()
        shared = willing.email("family")
        world.contact(protected, shared, "security.account_recovery")
        world.contact(willing, shared, MATCHING)
        yield from (protected, willing)


PLANTED: tuple[Callable[[World], Iterator[Person]], ...] = (
    not_collected,
    purpose_unknown,
    purpose_security,
    purpose_not_ads,
    removed,
    not_verified,
    invalid_emails,
    invalid_phones,
    phone_without_country,
    held_in_another_spelling,
    held_with_accent,
    held_phones,
    held_by_other_protection,
    user_not_active,
    user_not_adult,
    suppressed_emails,
    suppressed_phones,
    suppressed_for_one_advertiser,
    suppressed_for_one_contact,
    consent_histories,
    consent_for_something_else,
    household,
)


# -- canaries: accounts that two tests know by the prefix of their user_id -------------------------


class Canary(NamedTuple):
    """One canary, and the address and number that stand in every list."""

    user_id: str
    country: str
    email: Email
    phone: Phone

    @property
    def identifiers(self) -> tuple[Identifier, Identifier]:
        """The address and the number."""
        return self.email, self.phone


# Numbers of an area code and a range that `reserved_numbers` leaves out: nobody else has them.
SECURITY_CANARIES = (
    Canary("canary-security-1", "US", Email("canary.security.1@example.com"), Phone("US", "6465550101")),
    Canary("canary-security-2", "GB", Email("canary.security.2@example.org"), Phone("GB", "3069990101")),
)
CONSENTED_CANARIES = (
    Canary(
        "canary-consented-1", "US", Email("canary.consented.1@example.com"),
        Phone("US", "6465550102"),
    ),
    Canary(
        "canary-consented-2", "GB", Email("canary.consented.2@example.net"),
        Phone("GB", "3069990102"),
    ),
)  # fmt: skip


CANARY_VALUES = (*CONSENTED_CANARIES, *SECURITY_CANARIES)


def add_canary(world: World, canary: Canary) -> Person:
    """An active adult who consents to all three data uses; the contacts are still to come."""
    person = Person(
        user_id=canary.user_id,
        name=canary.user_id,
        domain="example.com",
        country=canary.country,
        created_at=world.between(*JOINED),
    )
    for data_use in (*BOTH_USES, MEASUREMENT):
        world.consent(person, data_use)
    return world.add_user(person, is_adult=True, status="active")


def canaries_for_security(world: World) -> Iterator[Person]:
    """purpose_security: all is consented to, so that only the purpose can refuse them.

    The first has one contact per value, which nothing else of the same user protects.
    """
    first, second = SECURITY_CANARIES
    person = add_canary(world, first)
    world.contact(person, first.email, "security.account_recovery", value=first.email.address)
    world.contact(person, first.phone, "security.two_factor", value=f"+{first.phone.digits}")
    yield person
    person = add_canary(world, second)
    world.contact(person, second.email, "security.two_factor", value=second.email.address)
    world.contact(person, second.phone, "security.reauthentication", value=f"+{second.phone.digits}")
    world.contact(person, second.email, "security.login_alert", value=tagged(second.email.address))
    world.contact(person, second.phone, "security.login_alert", value=second.phone.national_spelling())
    yield person


def canaries_with_consent(world: World) -> Iterator[Person]:
    """accepted: in every audience that may have members, by e-mail address and phone number."""
    for canary in CONSENTED_CANARIES:
        person = add_canary(world, canary)
        world.contact(person, canary.email, MATCHING, value=canary.email.address)
        world.contact(person, canary.phone, MATCHING, value=f"+{canary.phone.digits}")
        yield person


CANARIES: tuple[Callable[[World], Iterator[Person]], ...] = (
    canaries_for_security,
    canaries_with_consent,
)


# -- the population: large groups that fill the lists ----------------------------------------------


def security_only(world: World, count: int) -> Iterator[Person]:
    """The people of 2019: contacts for security only. One in three even consented to ads."""
    for index in range(count):
        person = world.resident()
        world.contact(person, world.phone_or_email(person, "login"), "security.two_factor")
        world.contact(person, person.email(), "security.account_recovery")
        if index % 2:
            purpose = SECURITY_PURPOSES[2 + index // 2 % 4]
            world.contact(person, person.email("alerts"), purpose)
        if index % 3 == 0:
            world.consent_to_matching(person)
        yield person


def ads_and_security(world: World, count: int) -> Iterator[Person]:
    """An e-mail address for ads, with consent to both uses; a phone number for two-factor only.

    One in three signed up with that same address, which is no obstacle; one in four also gave a
    second number for ads; one in ten had refused before consenting.
    """
    for index in range(count):
        person = world.resident()
        world.contact(person, person.email(), MATCHING)
        world.contact(person, world.phone_or_email(person, "login"), "security.two_factor")
        if index % 3 == 0:
            world.contact(person, person.email(), "service.account_registration")
        if index % 4 == 0:
            world.contact(person, world.phone_or_email(person, "deals"), MATCHING)
        if index % 10 == 0:
            for data_use in BOTH_USES:
                world.consent(person, data_use, "denied", moment("2018-05-24"))
        yield world.consent_to_matching(person)


def ads_tailored(world: World, count: int) -> Iterator[Person]:
    """A contact for advertisers' lists only: accepted for tailored, purpose_not_ads for partner.

    One in five refused partner matching in so many words.
    """
    for index in range(count):
        person = world.resident()
        world.contact(person, world.phone_or_email(person, "deals"), TAILORED)
        world.contact(person, person.email(), "security.account_recovery")
        world.consent(person, TAILORED)
        if index % 5 == 0:
            world.consent(person, PARTNER, "denied")
        yield person


def ads_partner(world: World, count: int) -> Iterator[Person]:
    """A contact for partners' lists only: accepted for partner, purpose_not_ads for tailored."""
    for _ in range(count):
        person = world.resident()
        world.contact(person, person.email(), PARTNER)
        world.contact(person, world.phone_or_email(person, "login"), "security.reauthentication")
        world.consent(person, PARTNER)
        yield person


def service_only(world: World, count: int) -> Iterator[Person]:
    """Sign-up address and newsletter, nothing for ads: purpose_not_ads."""
    for _ in range(count):
        person = world.resident()
        world.contact(person, person.email(), "service.account_registration")
        world.contact(person, person.email(), "marketing.email")
        yield person


POPULATION: tuple[tuple[Callable[[World, int], Iterator[Person]], float], ...] = (
    (security_only, 0.27),  # the share of the users who are not planted; the last takes the rest
    (ads_and_security, 0.38),
    (ads_tailored, 0.16),
    (ads_partner, 0.13),
    (service_only, 1.0),
)

Groups = dict[str, list[Person]]


def make_people(world: World, users: int) -> tuple[Groups, Groups]:
    """Make the planted groups, then fill up to `users` rows in raw_users; both by group name."""
    planted = {plant.__name__: list(plant(world)) for plant in PLANTED}
    to_fill = users - len(world.tables["raw_users"])
    population: Groups = {}
    for make_group, share in POPULATION:
        left = users - len(world.tables["raw_users"])
        count = min(left, round(share * to_fill))
        population[make_group.__name__] = list(make_group(world, count))
    return planted, population


# -- advertisers, partners, lists ------------------------------------------------------------------

ADVERTISERS = (  # id, name, status, terms accepted, their version
    ("a01", "Alder and Finch Outfitters", "active", "2018-03-01 09:00", "2018-02"),
    ("a02", "Bluebarrow Coffee", "active", "2018-03-12 11:30", "2018-02"),
    ("a03", "Castlewick Travel", "active", "2018-04-02 08:15", "2018-02"),
    ("a04", "Dunmere Savings", "active", "2018-04-20 14:00", "2018-02"),
    ("a05", "Elderbrook Games", "active", "2018-06-05 16:45", "2018-05"),
    ("a06", "Fennimore Motors", "suspended", "2018-06-18 10:00", "2018-05"),  # advertiser_inactive
    ("a07", "Gullmarsh Insurance", "active", None, None),  # terms_not_accepted
    ("a08", "Harrow Lane Books", "active", "2018-09-03 09:30", "2018-05"),
    ("a09", "Ivydale Board Games", "active", "2018-09-17 15:00", "2018-05"),
    ("a10", "Juniper Street Kitchens", "active", "2018-10-08 12:00", "2018-05"),
)
PARTNERS = (  # id, name, status
    ("p01", "Meridian Household Data", "active"),
    ("p02", "Copperline Insights", "active"),
    ("p03", "Oldbridge Consumer Files", "suspended"),  # partner_inactive
)
LICENCES = (  # partner, advertiser, list, starts, ends, revoked, allowed data uses
    ("p01", "a10", "l21", "2019-01-15", None, None, MATCHING),
    ("p01", "a05", "l21", "2018-06-01", "2018-12-31", None, PARTNER),  # ended, then renewed: in force
    ("p01", "a05", "l21", "2019-01-01", None, None, PARTNER),
    ("p01", "a01", "l21", "2018-06-01", "2019-05-31", None, PARTNER),  # ended: licence_not_in_force
    ("p01", "a06", "l21", "2019-01-15", None, None, PARTNER),  # advertiser_inactive
    ("p01", "a07", "l21", "2019-01-15", None, None, PARTNER),  # terms_not_accepted
    ("p01", "a04", "l22", "2019-02-01", None, None, PARTNER),
    ("p01", "a02", "l22", "2019-02-01", None, "2019-06-15", PARTNER),  # revoked: licence_not_in_force
    ("p02", "a02", "l23", "2019-02-10", None, None, PARTNER),
    ("p02", "a10", "l23", "2019-02-10", None, None, f"{MEASUREMENT}|{PARTNER}"),
    ("p03", "a05", "l24", "2018-02-01", None, None, PARTNER),  # partner_inactive
    ("p03", "a08", "l24", "2018-02-01", "2018-12-31", None, PARTNER),  # ended too; partner_inactive is first
    ("p02", "a01", "l25", "2019-02-10", None, None, PARTNER),  # the list itself is not_attested
    # In force, but for another use, or for none: licence_not_in_force
    ("p02", "a05", "l23", "2019-02-10", None, None, MEASUREMENT),
    ("p02", "a01", "l23", "2019-02-10", None, None, None),
    ("p02", "a10", "l26", "2019-02-10", None, None, PARTNER),  # the list's topic is sensitive
)


class Upload(NamedTuple):
    """One upload: the share of the list's identifiers, from start to end, that it carries."""

    operation: str
    uploaded: str
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class ListPlan:
    """One list: who owns it, whom it reaches, and its uploads in order."""

    list_id: str
    owner: str  # an advertiser (tailored list) or a partner (partner list)
    name: str
    profile: str
    is_hashed: bool
    reach: tuple[float, float]  # the slice of each population group that the owner knows
    uploads: tuple[Upload, ...]
    knows_planted: bool = False  # serving lists know every planted user
    membership_days: int | None = None
    created: str | None = "2019-01-10"
    expires: str | None = None
    attested: str | None = "2019-01-10"
    team: str | None = "Customer marketing"


ONE_UPLOAD = (Upload("append", "2019-02-04 08:00"),)

# Two serving audiences of one advertiser reach mostly different people: else DESIGN 4.5 would
# withhold the newer one (withheld_differencing).
LISTS = (
    # Serving, tailored. Overlapping uploads hold the same person twice: duplicate_in_list.
    ListPlan("l01", "a01", "Catalogue customers", "x", False, (0.0, 0.5), (
        Upload("append", "2019-02-04 08:00", 0.0, 0.6),
        Upload("append", "2019-03-04 08:00", 0.55, 1.0),
        Upload("remove", "2019-04-01 08:00", 0.0, 0.04),
    ), knows_planted=True),
    # The replace drops the first tenth of the append before it: superseded.
    ListPlan("l02", "a02", "Loyalty card holders", "meta", True, (0.1, 0.6), (
        Upload("append", "2019-02-11 07:30", 0.0, 0.25),
        Upload("replace", "2019-05-06 07:30", 0.1, 1.0),
        Upload("remove", "2019-06-03 07:30", 0.1, 0.13),
    ), knows_planted=True),
    # Append and remove at the same instant: the upload id decides, so the removal holds.
    ListPlan("l03", "a03", "Newsletter readers", "google", True, (0.0, 0.42), (
        Upload("append", "2019-02-18 06:00", 0.0, 0.5),
        Upload("append", "2019-03-18 06:00", 0.5, 1.0),
        Upload("remove", "2019-03-18 06:00", 0.5, 0.53),
    ), knows_planted=True),
    ListPlan("l04", "a03", "Frequent travellers", "google", False, (0.55, 0.95), (
        Upload("append", "2019-04-15 06:00"),
    )),
    ListPlan("l05", "a04", "Savings account holders", "uid2", True, (0.5, 0.95), (
        Upload("append", "2019-02-25 05:00", 0.0, 0.1),
        Upload("remove_all", "2019-03-25 05:00"),
        Upload("append", "2019-03-26 05:00", 0.05, 1.0),
    ), knows_planted=True),
    # too_small: below the threshold; mostly outlived by its membership_days; emptied on request.
    ListPlan("l06", "a09", "Testers of Tower Keep", "x", True, (0.3, 0.38), ONE_UPLOAD),
    # In l07 a clock that started from zero dates the first upload, and 10,000 days mean "no end" to
    # the owner: the first upload expired in 1997, what the second holds stays until 2046. Days that
    # people would choose cannot keep some entries and drop others on every later day.
    ListPlan("l07", "a08", "Book fair visitors", "x", False, (0.0, 0.08), (
        Upload("append", "1970-01-01 00:00", 0.0, 0.8),
        Upload("append", "2019-03-08 12:00", 0.7, 1.0),
    ), membership_days=10_000),
    # Emptied; then an upload of no known people, which holds nobody but the canaries.
    ListPlan("l08", "a08", "Closed accounts", "meta", False, (0.1, 0.16), (
        Upload("append", "2019-03-11 12:00"),
        Upload("remove_all", "2019-04-11 12:00"),
        Upload("append", "2019-04-12 12:00", 0.0, 0.0),
    )),
    # Refused before anybody counts.
    ListPlan("l09", "a08", "Autumn readers, draft", "x", False, (0.2, 0.26), ONE_UPLOAD,
             created=None),  # not_created
    ListPlan("l10", "a08", "Summer sale", "uid2", False, (0.4, 0.46), ONE_UPLOAD,
             expires="2019-08-31"),  # expired
    ListPlan("l11", "a08", "Rented addresses", "x", True, (0.6, 0.66), ONE_UPLOAD,
             attested=None, team=None),  # not_attested
    ListPlan("l12", "a06", "Test drives", "google", True, (0.7, 0.76), ONE_UPLOAD),
    ListPlan("l13", "a07", "Quote requests", "uid2", False, (0.8, 0.86), ONE_UPLOAD),
    ListPlan("l14", "a07", "Quote requests 2018", "x", False, (0.9, 0.94), ONE_UPLOAD,
             expires="2019-03-31", attested=None),  # expired comes before not_attested
    # Partner lists; the licences say for whom.
    ListPlan("l21", "p01", "Households that travel", "x", True, (0.1, 0.7), (
        Upload("append", "2019-02-05 03:00", 0.0, 0.7),
        Upload("append", "2019-05-05 03:00", 0.65, 1.0),
    ), knows_planted=True),
    ListPlan("l22", "p01", "Home improvers", "meta", False, (0.0, 0.45), (
        Upload("replace", "2019-02-06 03:00", 0.0, 0.15),
        Upload("replace", "2019-05-06 03:00", 0.05, 1.0),
    )),
    ListPlan("l23", "p02", "Gardeners and cooks", "google", False, (0.5, 1.0), (
        Upload("append", "2019-02-12 02:00", 0.0, 0.95),
        Upload("append", "2019-07-12 02:00", 0.9, 1.0),
        Upload("remove", "2019-08-12 02:00", 0.0, 0.02),
    )),
    ListPlan("l24", "p03", "Magazine subscribers 2015", "uid2", True, (0.3, 0.36), ONE_UPLOAD),
    ListPlan("l25", "p02", "Warranty cards", "uid2", False, (0.5, 0.56), ONE_UPLOAD,
             attested=None),  # not_attested
)  # fmt: skip

# Nothing stands against these lists but what their names say they are about: sensitive_topic.
SENSITIVE_LISTS = (
    ListPlan("l15", "a08", "Diabetes self-help groups", "x", False, (0.2, 0.26), ONE_UPLOAD),
    ListPlan("l26", "p02", "Catholic households", "meta", True, (0.3, 0.36), ONE_UPLOAD),
)

# The people of l04 once more, and hardly anybody else: withheld_differencing.
NEAR_LISTS = (
    ListPlan("l16", "a03", "Frequent travellers, second try", "google", False, (0.53, 0.97), ONE_UPLOAD,
             created="2019-01-20"),
)  # fmt: skip


def make_companies(world: World) -> None:
    """Advertisers, partners and licences."""
    for advertiser_id, name, status, terms, version in ADVERTISERS:
        world.tables["raw_advertisers"].append(
            {
                "advertiser_id": advertiser_id,
                "name": name,
                "status": status,
                "terms_accepted_at": moment(terms) if terms else None,
                "terms_version": version,
            }
        )
    for row in PARTNERS:
        world.tables["raw_partners"].append(dict(zip(COLUMNS["raw_partners"], row, strict=True)))
    for partner_id, advertiser_id, list_id, starts, ends, revoked, uses in LICENCES:
        world.tables["raw_partner_licences"].append(
            {
                "licence_id": world.next_id("lic", 2),
                "partner_id": partner_id,
                "advertiser_id": advertiser_id,
                "list_id": list_id,
                "starts_at": moment(starts),
                "ends_at": moment(ends) if ends else None,
                "revoked_at": moment(revoked) if revoked else None,
                "allowed_data_uses": uses,
            }
        )


class Entry(NamedTuple):
    """One uploaded row, before it has an upload and a row number."""

    channel: str
    identifier: str
    country_code: str | None = None


def sha256_hex(text: str) -> str:
    """SHA-256 of the UTF-8 bytes, in lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def hashed_entry(world: World, identifier: Identifier, profile: str) -> Entry:
    """The hash of the profile's key: hex in either case, spaced hex or padded base64."""
    digest = hashlib.sha256(identifier.key(profile).encode()).digest()
    encoded = base64.b64encode(digest).decode()
    writing = (digest.hex(), digest.hex(), digest.hex().upper(), encoded, f" {digest.hex()} ")
    return Entry(identifier.channel, world.rng.choice(writing))


def plain_entry(world: World, identifier: Identifier) -> Entry:
    """The identifier in one of its spellings, which the row's country (some have none) explains."""
    country = world.rng.choice((identifier.region, identifier.region, None, "US"))
    return Entry(identifier.channel, world.spell(identifier, country), country)


def odd_plain_rows(world: World) -> list[Entry]:
    """Rows of a plain list that cannot match, one per reason of DESIGN 4.4."""
    someone = world.stranger().email("lead").address
    digest = hashlib.sha256(someone.encode())
    return [
        Entry("email", digest.hexdigest()),  # hash_in_plain_list
        Entry("email", digest.hexdigest().upper()),
        Entry("email", base64.b64encode(digest.digest()).decode()),
        Entry("phone", sha256_hex("+12025550100")),
        Entry("email", someone.replace("@", "@@")),  # invalid_email
        Entry("email", someone.replace("@", " at ")),
        Entry("email", someone.split("@")[0]),
        Entry("phone", "07700 900000"),  # phone_no_country
        Entry("phone", "(202) 555-0100"),
        Entry("phone", "555-0100", "US"),  # invalid_phone: local only
        Entry("phone", "+44 7700 90000"),  # too short
        Entry("phone", "+1 202 555 0100 x5", "US"),  # an extension
        Entry("phone", "555 555 5555", "US"),  # one repeated digit
    ]


def odd_hashed_rows(world: World) -> list[Entry]:
    """Rows of a hashed list that cannot match, one per reason of DESIGN 4.4."""
    someone = world.stranger().email("lead").address
    digest = hashlib.sha256(someone.encode())
    encoded = base64.b64encode(digest.digest()).decode()
    sentinels = [Entry("email", sha256_hex(text)) for text in SENTINELS]
    return [
        Entry("email", someone),  # plain_in_hashed_list
        Entry("phone", "+447700900000"),
        Entry("email", hashlib.sha1(someone.encode()).hexdigest()),  # hash_format: another hash
        Entry("email", digest.hexdigest()[:-1]),  # a digit is missing
        Entry("email", f"0x{digest.hexdigest()}"),
        Entry("email", encoded.rstrip("=")),  # base64 without padding
        *sentinels,  # sentinel_hash: somebody hashed an empty cell
        Entry("phone", sha256_hex("null").upper()),
    ]


PROFILES = ("x", "meta", "google", "uid2")


def email_canary_rows(email: Email) -> list[Entry]:
    """Ten spellings of an address: of the same key, of another, and one that has none."""
    address = email.address
    spellings = (
        address,
        address.upper(),
        address.title(),
        f"  {address} ",
        f"{NO_BREAK_SPACE}{address}\t",
        dotted(address),
        tagged(address),
        f"{ZERO_WIDTH_SPACE}{address}{ZERO_WIDTH_SPACE}",
        broken_by_zero_width(address),
        full_width(address),
    )
    return [Entry("email", spelling) for spelling in spellings]


def phone_canary_rows(phone: Phone) -> list[Entry]:
    """Ten spellings of a number, each with the country that it needs to be read."""
    code, region = phone.plan.calling_code, phone.region
    spellings = (
        (f"+{phone.digits}", None),
        (f"+{code} {phone.grouped()}", None),
        (f"{NO_BREAK_SPACE}+{code}-{phone.grouped('-')}{ZERO_WIDTH_SPACE}", None),
        (f"00{code} {phone.grouped()}", None),
        (f"011 {code} {phone.grouped()}", "US"),
        (f"+{code} ({phone.plan.trunk_prefix}){phone.grouped()}", None),
        (phone.national_spelling(), region),
        (phone.grouped("."), region),
        (phone.digits, region),
        (f"+{phone.digits.translate(FULL_WIDTH_DIGITS)}", None),
    )
    return [Entry("phone", spelling, country) for spelling, country in spellings]


def hashed_canary_rows(identifier: Identifier, plain_rows: list[Entry]) -> list[Entry]:
    """Every profile's key, hashed and written in three ways; each spelling hashed as it stands."""
    writings: list[str] = []
    for key in (identifier.key(profile) for profile in PROFILES):
        digest = hashlib.sha256(key.encode()).digest()
        writings += [digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()]
    writings += [sha256_hex(row.identifier) for row in plain_rows]
    return [Entry(identifier.channel, writing) for writing in dict.fromkeys(writings)]


def canary_rows(plan: ListPlan) -> list[Entry]:
    """Canaries with consent in one spelling that the list's profile reads; the others in all."""
    rows: list[Entry] = []
    for canary in CONSENTED_CANARIES:
        for known_as in canary.identifiers:
            plain = known_as.key("x")
            writing = sha256_hex(known_as.key(plan.profile)) if plan.is_hashed else plain
            rows.append(Entry(known_as.channel, writing))
    for canary in SECURITY_CANARIES:
        emails, phones = email_canary_rows(canary.email), phone_canary_rows(canary.phone)
        if plan.is_hashed:
            emails = hashed_canary_rows(canary.email, emails)
            phones = hashed_canary_rows(canary.phone, phones)
        rows += emails + phones
    return rows


def known_identifiers(world: World, plan: ListPlan, planted: Groups, population: Groups) -> list[Identifier]:
    """Whom the owner of a list knows: people with and without an account, security or not.

    One identifier in five of the population is missing. Planted users come last, so that only the
    end of an upload's share holds them.
    """
    start, end = plan.reach
    known: list[Identifier] = []
    for people in population.values():
        for person in people[int(start * len(people)) : int(end * len(people))]:
            known += [known_as for known_as in person.identifiers if world.rng.random() < 0.8]
    known += [world.stranger().email("lead") for _ in range(len(known) // 15)]
    world.rng.shuffle(known)
    if plan.knows_planted:
        people = [person for group in planted.values() for person in group]
        known += [known_as for person in people for known_as in person.identifiers]
    return known


def make_list(world: World, plan: ListPlan, planted: Groups, population: Groups) -> None:
    """The list, its uploads and their rows.

    The odd rows open the first upload. The canaries close the last one that adds, so that nothing
    later takes them away.
    """
    is_tailored = plan.owner.startswith("a")
    world.tables["raw_audience_lists"].append(
        {
            "list_id": plan.list_id,
            "list_kind": "tailored" if is_tailored else "partner",
            "advertiser_id": plan.owner if is_tailored else None,
            "partner_id": None if is_tailored else plan.owner,
            "name": plan.name,
            "normalization_profile": plan.profile,
            "is_hashed": plan.is_hashed,
            "membership_days": plan.membership_days,
            "created_at": moment(plan.created) if plan.created else None,
            "expires_at": moment(plan.expires) if plan.expires else None,
            "lawful_basis_attested_at": moment(plan.attested) if plan.attested else None,
            "owner": plan.team,
        }
    )
    known = known_identifiers(world, plan, planted, population)
    odd_rows = odd_hashed_rows(world) if plan.is_hashed else odd_plain_rows(world)
    last_adding = max(
        number
        for number, upload in enumerate(plan.uploads, start=1)
        if upload.operation in ("append", "replace")
    )
    for number, upload in enumerate(plan.uploads, start=1):
        share = upload_share(upload, known)
        entries = odd_rows + upload_entries(world, plan, share)
        if number == last_adding:
            entries += canary_rows(plan)
            share = share + [known_as for canary in CANARY_VALUES for known_as in canary.identifiers]
        row = add_upload(world, plan.list_id, number, upload, entries)
        if upload.operation in ("append", "replace"):
            world.sent.append((row, share))
        odd_rows = []


def upload_share(upload: Upload, known: list[Identifier]) -> list[Identifier]:
    """The identifiers that the upload carries."""
    if upload.operation == "remove_all":
        return []
    return known[int(upload.start * len(known)) : int(upload.end * len(known))]


def upload_entries(world: World, plan: ListPlan, share: list[Identifier]) -> list[Entry]:
    """The upload's identifiers, as the list writes them."""
    if plan.is_hashed:
        return [hashed_entry(world, identifier, plan.profile) for identifier in share]
    return [plain_entry(world, identifier) for identifier in share]


def add_upload(
    world: World, list_id: str, number: int, upload: Upload, entries: list[Entry]
) -> dict[str, object]:
    """The upload row, which is returned, and one numbered row per entry."""
    row: dict[str, object] = {
        "upload_id": f"{list_id}-u{number}",
        "list_id": list_id,
        "operation": upload.operation,
        "uploaded_at": moment(upload.uploaded),
    }
    world.tables["raw_list_uploads"].append(row)
    for row_number, entry in enumerate(entries, start=1):
        numbered = {"upload_id": row["upload_id"], "row_number": row_number} | entry._asdict()
        world.tables["raw_list_entries"].append(numbered)
    return row


# -- measurement (DESIGN 4.5) ----------------------------------------------------------------------


def add_engagement(world: World, person: Person, occurred_at: datetime) -> None:
    """One view or click of an ad, meant for one of two measurement partners."""
    world.tables["raw_ad_engagements"].append(
        {
            "engagement_id": world.next_id("g", 4),
            "user_id": person.user_id,
            "advertiser_id": world.rng.choice(ADVERTISERS)[0],
            "measurement_partner_id": world.rng.choice(("m01", "m02")),
            "event": world.rng.choice(("view", "view", "view", "click")),
            "occurred_at": occurred_at,
            "country_code": person.country,
        }
    )


def shared_consented(world: World, person: Person) -> datetime:
    """Shared: granted before the ad was seen, never withdrawn."""
    world.consent(person, MEASUREMENT)
    return world.between(moment("2019-02-01"), moment("2019-09-01"))


def shared_at_the_instant(world: World, person: Person) -> datetime:
    """Shared: consent recorded at the very instant of the view, which counts."""
    seen_at = world.between(moment("2019-02-01"), moment("2019-09-01"))
    world.consent(person, MEASUREMENT, occurred_at=seen_at, recorded_at=seen_at)
    return seen_at


def stays_never_asked(world: World, person: Person) -> datetime:
    """Stays: no consent to measurement at all (the fault of August 2019)."""
    return world.between(moment("2018-06-01"), moment("2019-08-01"))


def stays_withdrawn(world: World, person: Person) -> datetime:
    """Stays: granted when the ad was seen, withdrawn since."""
    world.consent(person, MEASUREMENT)
    world.consent(person, MEASUREMENT, "denied", moment("2019-08-05 12:00"))
    return world.between(moment("2019-02-01"), moment("2019-08-01"))


def stays_granted_later(world: World, person: Person) -> datetime:
    """Stays: not yet granted when the ad was seen."""
    world.consent(person, MEASUREMENT, occurred_at=moment("2019-08-05 12:00"))
    return world.between(moment("2019-02-01"), moment("2019-08-01"))


def stays_recorded_later(world: World, person: Person) -> datetime:
    """Stays: granted before the ad was seen, but nobody knew it then."""
    world.consent(person, MEASUREMENT, occurred_at=moment("2019-01-10"), recorded_at=moment("2019-08-05"))
    return world.between(moment("2019-02-01"), moment("2019-08-01"))


def stays_expired_since(world: World, person: Person) -> datetime:
    """Stays: consent that held when the ad was seen has expired since."""
    world.consent(person, MEASUREMENT, expires_at=moment("2019-08-15"))
    return world.between(moment("2019-02-01"), moment("2019-08-01"))


MEASUREMENT_CASES: tuple[Callable[[World, Person], datetime], ...] = (
    shared_consented,
    shared_at_the_instant,
    shared_consented,
    stays_withdrawn,
    stays_granted_later,
    shared_consented,
    stays_recorded_later,
    stays_expired_since,
    stays_never_asked,
)


def make_engagements(world: World, planted: Groups, population: Groups) -> None:
    """Views and clicks: consented or not in turn, and those of closed accounts and minors."""
    for index, person in enumerate(population["ads_and_security"]):
        case = MEASUREMENT_CASES[index % len(MEASUREMENT_CASES)]
        add_engagement(world, person, case(world, person))
    for person in population["security_only"][::3]:
        add_engagement(world, person, stays_never_asked(world, person))
    for person in planted["user_not_active"] + planted["user_not_adult"]:
        add_engagement(world, person, moment("2019-06-01 18:00"))


# -- the log of the old matcher (DESIGN 4.6) --------------------------------------------------------


def log_match(world: World, list_id: str, user_id: str, contact_id: str, matched_at: datetime) -> None:
    """One line of the log."""
    world.tables["raw_legacy_matches"].append(
        {
            "match_id": world.next_id("x", 5),
            "list_id": list_id,
            "user_id": user_id,
            "contact_id": contact_id,
            "matched_at": matched_at,
        }
    )


def match_ungated(world: World) -> None:
    """What the old matcher did with every upload: each row against every contact, at once.

    It knew no purpose, and asked neither for verification nor for removal. It saw through spellings
    that no profile allows, so that some of its matches find no key.
    """
    for upload, share in world.sent:
        for identifier in dict.fromkeys(share):
            for contact in world.held.get(identifier, ()):
                if contact["collected_at"] is None or contact["collected_at"] <= upload["uploaded_at"]:
                    log_match(
                        world,
                        upload["list_id"],
                        contact["user_id"],
                        contact["contact_id"],
                        upload["uploaded_at"] + timedelta(minutes=10),
                    )


def log_riddles(world: World) -> None:
    """Lines that nothing explains: no such contact or list, somebody else's, of before its collection."""
    first, second = world.tables["raw_contacts"][20], world.tables["raw_contacts"][-20]
    matched_at = moment("2019-03-05 09:00")
    log_match(world, "l01", first["user_id"], "c99999", matched_at)
    log_match(world, "l99", first["user_id"], first["contact_id"], matched_at)
    log_match(world, "l01", second["user_id"], first["contact_id"], matched_at)
    log_match(world, "l01", first["user_id"], first["contact_id"], moment("2013-01-01"))


def make_log(world: World) -> None:
    """The log, which is complete: the replay's lower bound is not above what it shows."""
    match_ungated(world)
    log_riddles(world)


# -- writing ---------------------------------------------------------------------------------------


def cell(value: object) -> str:
    """A CSV cell: empty for NULL, true/false, instants with offset; refuses what is too late."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value >= STORY_END and value != FAR_END:
            raise ValueError(f"{value} is after the end of the story, {STORY_END}")
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    """Write one table: UTF-8, LF, comma, quotes only where needed."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row[column]) for column in columns] for row in rows)


def make_world(seed: int, users: int) -> tuple[World, Groups]:
    """Everything in order; returns the world and every group of users by name.

    The accounts of the canaries come after all others', and the lists that a topic refuses or that are
    withheld last: without them, every other row would be the same.
    """
    world = World(seed)
    planted, population = make_people(world, users)
    make_companies(world)
    for plan in LISTS:
        make_list(world, plan, planted, population)
    make_engagements(world, planted, population)
    canaries = {plant.__name__: list(plant(world)) for plant in CANARIES}
    for plan in (*SENSITIVE_LISTS, *NEAR_LISTS):
        make_list(world, plan, planted, population)
    make_log(world)
    return world, planted | population | canaries


def report(out: Path, world: World, groups: Groups) -> None:
    """Print the files, and which users show which rule."""
    console = Console()
    files = Table("file", "rows", "bytes", title=str(out))
    for table, rows in world.tables.items():
        size = (out / f"{table}.csv").stat().st_size
        files.add_row(f"{table}.csv", f"{len(rows):,}", f"{size:,}")
    console.print(files)
    makers = (*PLANTED, *(make_group for make_group, _ in POPULATION), *CANARIES)
    stories = {maker.__name__: (maker.__doc__ or "").splitlines()[0] for maker in makers}
    people = Table("users", "group", "what it shows")
    for name, members in groups.items():
        people.add_row(f"{members[0].user_id}-{members[-1].user_id}", name, stories[name])
    console.print(people)


@click.command(help=__doc__.split("\n\n")[0], epilog="Exit codes: 0 written, 2 wrong usage.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=PROJECT / "seeds" / "sample",
    show_default="seeds/sample of the project",
    help="Folder to write to; made if missing.",
)
@click.option("--seed", default=2019, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--users",
    type=click.IntRange(min=900, max=5000),
    default=1000,
    show_default=True,
    help="Rows of raw_users, the canaries aside; fewer than 900 would not fill the audiences.",
)
def main(out: Path, seed: int, users: int) -> None:
    """Write every table, then say what was written."""
    world, groups = make_world(seed, users)
    out.mkdir(parents=True, exist_ok=True)
    for table, columns in COLUMNS.items():
        write_table(out / f"{table}.csv", columns, world.tables[table])
    report(out, world, groups)


if __name__ == "__main__":
    main()

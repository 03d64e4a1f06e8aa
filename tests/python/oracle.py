"""An independent reading of DESIGN.md sections 4.1 to 4.4 and of measured sharing in 4.5.

Row by row, in plain Python: no SQL, and no code shared with the dbt project, so that the two can be
compared. It answers six questions about a `World` (the input tables of section 3 and the policy):

    decide        (contact_id, data_use) -> decision                                  section 4.1
    gate          (contact_id, data_use) -> consent_event_id                          section 4.1
    members       (list_kind, list_id, advertiser_id, user_id) -> what a mart holds   section 4.4
    audiences     (list_id, advertiser_id) -> status and sizes                        section 4.4
    list_reports  (list_id, reason) -> uploaded rows                                  section 4.4
    measurement   engagement ids that may be shared                                   section 4.5

All times are timezone-aware datetimes in UTC. Where the design leaves a choice, the reading that
refuses more is taken; the docstring of the function says which.

Source of the phone metadata: libphonenumber, through the PyPI package `phonenumbers`. Only its
tables are read (calling codes, prefixes, number shapes and lengths); none of its parser is used.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypedDict

import duckdb
import phonenumbers
from phonenumbers import PhoneMetadata

Row = dict[str, Any]
Decision = str
ContactUse = tuple[str, str]  # (contact_id, data_use)
Key = tuple[str, str]  # (channel, SHA-256 in lower-case hex): the identity of an entry, section 4.4

TAILORED = "ads.audience_matching.tailored"
PARTNER = "ads.audience_matching.partner"
MEASUREMENT = "ads.measurement"
MATCHING_USES = (TAILORED, PARTNER)
DATA_USE_OF_KIND = {"tailored": TAILORED, "partner": PARTNER}

# --- 3. Inputs --------------------------------------------------------------------------------

TEXT, INTEGER, BOOLEAN, INSTANT = "text", "integer", "boolean", "instant"

TABLES: dict[str, dict[str, str]] = {
    "raw_users": {
        "user_id": TEXT,
        "country_code": TEXT,
        "is_adult": BOOLEAN,
        "account_status": TEXT,
        "created_at": INSTANT,
    },
    "raw_contacts": {
        "contact_id": TEXT,
        "user_id": TEXT,
        "channel": TEXT,
        "value": TEXT,
        "purpose": TEXT,
        "collected_at": INSTANT,
        "verified_at": INSTANT,
        "removed_at": INSTANT,
    },
    "raw_consent_events": {
        "consent_event_id": TEXT,
        "user_id": TEXT,
        "data_use": TEXT,
        "status": TEXT,
        "occurred_at": INSTANT,
        "recorded_at": INSTANT,
        "expires_at": INSTANT,
    },
    "raw_suppressions": {
        "suppression_id": TEXT,
        "channel": TEXT,
        "value": TEXT,
        "advertiser_id": TEXT,
        "added_at": INSTANT,
    },
    "raw_advertisers": {
        "advertiser_id": TEXT,
        "name": TEXT,
        "status": TEXT,
        "terms_accepted_at": INSTANT,
        "terms_version": TEXT,
    },
    "raw_partners": {"partner_id": TEXT, "name": TEXT, "status": TEXT},
    "raw_partner_licences": {
        "licence_id": TEXT,
        "partner_id": TEXT,
        "advertiser_id": TEXT,
        "list_id": TEXT,
        "starts_at": INSTANT,
        "ends_at": INSTANT,
        "revoked_at": INSTANT,
        "allowed_data_uses": TEXT,
    },
    "raw_audience_lists": {
        "list_id": TEXT,
        "list_kind": TEXT,
        "advertiser_id": TEXT,
        "partner_id": TEXT,
        "name": TEXT,
        "normalization_profile": TEXT,
        "is_hashed": BOOLEAN,
        "membership_days": INTEGER,
        "created_at": INSTANT,
        "expires_at": INSTANT,
        "lawful_basis_attested_at": INSTANT,
        "owner": TEXT,
    },
    "raw_list_uploads": {
        "upload_id": TEXT,
        "list_id": TEXT,
        "operation": TEXT,
        "uploaded_at": INSTANT,
    },
    "raw_list_entries": {
        "upload_id": TEXT,
        "row_number": INTEGER,
        "channel": TEXT,
        "identifier": TEXT,
        "country_code": TEXT,
    },
    "raw_ad_engagements": {
        "engagement_id": TEXT,
        "user_id": TEXT,
        "advertiser_id": TEXT,
        "measurement_partner_id": TEXT,
        "event": TEXT,
        "occurred_at": INSTANT,
        "country_code": TEXT,
    },
    "raw_legacy_matches": {
        "match_id": TEXT,
        "list_id": TEXT,
        "user_id": TEXT,
        "contact_id": TEXT,
        "matched_at": INSTANT,
    },
}
# Columns that an older input lacks, and what every cell of them then means.
WHEN_MISSING: dict[str, str | None] = {"allowed_data_uses": PARTNER, "owner": None, "terms_version": None}
OPTIONAL_TABLES = {"raw_legacy_matches"}  # for the incident models only, which no rule here reads


def as_utc(moment: datetime) -> datetime:
    """An instant in UTC: an offset is honoured, none means UTC (section 3)."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _typed(text: str | None, kind: str) -> Any:
    """One CSV cell as its column's type; an empty cell is null."""
    if text is None or text == "":
        return None
    if kind == INTEGER:
        return int(text)
    if kind == BOOLEAN:
        return {"true": True, "false": False}[text.lower()]
    if kind == INSTANT:
        return as_utc(datetime.fromisoformat(text))
    return text


def read_csv(path: Path | str, columns: dict[str, str] | None = None) -> list[Row]:
    """Rows of a CSV with a header, UTF-8, one BOM allowed; without `columns` every cell is text."""
    with Path(path).open(encoding="utf-8-sig", newline="") as handle:
        lines = list(csv.DictReader(handle, strict=True))
    if columns is None:
        return [{name: _typed(cell, TEXT) for name, cell in line.items()} for line in lines]
    return [
        {
            name: WHEN_MISSING[name]
            if name in WHEN_MISSING and name not in line
            else _typed(line[name], kind)
            for name, kind in columns.items()
        }
        for line in lines
    ]


def read_parquet(path: Path, columns: dict[str, str]) -> list[Row]:
    """Rows of a Parquet file. duckdb is used to read the bytes, never to apply a rule."""
    casts = {INSTANT: 'epoch_us("{}"::timestamptz)', INTEGER: '"{}"::bigint', BOOLEAN: '"{}"'}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute("select * from read_parquet(?) limit 0", [str(path)]).description or []
        missing = columns.keys() & WHEN_MISSING.keys() - {column[0] for column in found}
        present = {name: kind for name, kind in columns.items() if name not in missing}
        selected = ", ".join(casts.get(kind, '"{}"::varchar').format(n) for n, kind in present.items())
        rows = connection.execute(f"select {selected} from read_parquet(?)", [str(path)]).fetchall()
    meanings = {name: WHEN_MISSING[name] for name in missing}
    return [_from_parquet_row(dict(zip(present, row, strict=True)), columns) | meanings for row in rows]


def _from_parquet_row(row: Row, columns: dict[str, str]) -> Row:
    """Microseconds since 1970 become instants; exact, unlike a float of seconds."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return {
        name: epoch + timedelta(microseconds=cell) if columns[name] == INSTANT and cell is not None else cell
        for name, cell in row.items()
    }


def load_purposes(path: Path | str) -> dict[str, Row]:
    """The `purposes` seed by code; a flag is set only where the cell says true."""
    flags = ("is_assignable", "is_protective", "is_usable_for_matching")
    rows = read_csv(path)
    return {row["purpose"]: row | {flag: str(row[flag]).lower() == "true" for flag in flags} for row in rows}


@dataclass
class World:
    """The input tables of section 3, as lists of dicts, and the policy seeds.

    A key missing from a row counts as null. `consent_rules` without a row for a country and data
    use, nor for `*`, means opt_in. Anything but 'separate_collection' is the strict default. Without
    `sensitive_list_topics` a list is refused only for a name that says nothing.
    """

    raw_users: list[Row] = field(default_factory=list)
    raw_contacts: list[Row] = field(default_factory=list)
    raw_consent_events: list[Row] = field(default_factory=list)
    raw_suppressions: list[Row] = field(default_factory=list)
    raw_advertisers: list[Row] = field(default_factory=list)
    raw_partners: list[Row] = field(default_factory=list)
    raw_partner_licences: list[Row] = field(default_factory=list)
    raw_audience_lists: list[Row] = field(default_factory=list)
    raw_list_uploads: list[Row] = field(default_factory=list)
    raw_list_entries: list[Row] = field(default_factory=list)
    raw_ad_engagements: list[Row] = field(default_factory=list)
    raw_legacy_matches: list[Row] = field(default_factory=list)
    purposes: dict[str, Row] = field(default_factory=dict)
    consent_rules: list[Row] = field(default_factory=list)
    sensitive_list_topics: list[Row] = field(default_factory=list)
    dual_purpose_policy: str = "exclude"
    min_audience_size: int = 100

    @classmethod
    def from_parquet(cls, directory: Path | str, purposes: Path | str, **policy: Any) -> World:
        """DIR/<table>.parquet or, where that is missing, DIR/<table>.csv (input mode `files`)."""
        return cls._load(Path(directory), purposes, (".parquet", ".csv"), policy)

    @classmethod
    def from_csv(cls, directory: Path | str, purposes: Path | str, **policy: Any) -> World:
        """DIR/<table>.csv, header, UTF-8; an empty cell is null."""
        return cls._load(Path(directory), purposes, (".csv",), policy)

    @classmethod
    def _load(cls, directory: Path, purposes: Path | str, suffixes: tuple[str, ...], policy: Row) -> World:
        tables: dict[str, list[Row]] = {}
        for table, columns in TABLES.items():
            candidates = [directory / f"{table}{suffix}" for suffix in suffixes]
            path = next((candidate for candidate in candidates if candidate.exists()), None)
            if path is None and table not in OPTIONAL_TABLES:
                raise FileNotFoundError(f"{table}: none of {[c.name for c in candidates]}")
            if path is not None:
                reader = read_parquet if path.suffix == ".parquet" else read_csv
                tables[table] = reader(path, columns)
        return cls(**tables, purposes=load_purposes(purposes), **policy)


# --- 4.2 Normalization: characters ------------------------------------------------------------

# The Unicode property White_Space.
WHITE_SPACE_CODES = (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B))
WHITE_SPACE = frozenset(map(chr, (*WHITE_SPACE_CODES, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)))
# Letters and marks that are never drawn: Hangul fillers, Khmer inherent vowels, Mongolian selectors.
BLANK_LETTERS = frozenset("\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
FULL_WIDTH_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def _is_zero_width(character: str) -> bool:
    """Format characters, the grapheme joiner, variation selectors, fillers: nothing is drawn."""
    is_joiner = character == "\u034f" or "\ufe00" <= character <= "\ufe0f"
    return is_joiner or character in BLANK_LETTERS or unicodedata.category(character) == "Cf"


def _is_invisible(character: str) -> bool:
    """White space, zero-width and control characters: none may stand inside an address."""
    is_control = unicodedata.category(character) == "Cc"
    return character in WHITE_SPACE or is_control or _is_zero_width(character)


# What is trimmed at both ends of a value: white space and zero-width characters of the basic plane.
TRIMMED = "".join(c for c in map(chr, range(0x10000)) if c in WHITE_SPACE or _is_zero_width(c))


def sha256_hex(text: str) -> str:
    """SHA-256 of the UTF-8 bytes, lower-case hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# --- 4.2 Normalization: e-mail ----------------------------------------------------------------

MAX_EMAIL_CHARACTERS = 254
GMAIL, GOOGLEMAIL = "gmail.com", "googlemail.com"
# Not a plain address: RFC 5322 specials and typographic quotes (FAULTS.md, Identifiers).
SPECIALS = frozenset('<>()[]:;,\\"\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\xab\xbb\u2039\u203a')


def _case_differs_between_engines(character: str) -> bool:
    """4.2: case mapping leaves the character (grows) or reaches ASCII; and the context-bound sigma.

    Every direction counts (lower, upper, title, fold): U+017F is lower-case already and reaches
    ASCII upwards, U+1E9E when folded. So U+00DF and U+0131 are refused with them.
    """
    if character.isascii():
        return False
    mapped = (character.lower(), character.upper(), character.title(), character.casefold())
    return character == "\u03a3" or any(len(m) != 1 or m.isascii() for m in mapped)


def _is_refused_in_email(character: str) -> bool:
    """A character that no canonical e-mail holds (4.2; FAULTS.md: specials, full-width forms)."""
    return (
        _is_invisible(character)
        or character in SPECIALS
        or ord(character) in FULL_WIDTH_TO_ASCII
        or _case_differs_between_engines(character)
    )


def _has_email_shape(email: str) -> bool:
    """Exactly one @, a local part, two or more domain labels, none empty; an ASCII domain.

    A domain with other letters is refused: DESIGN gives it no one canonical form, and FAULTS.md
    asks for one canonical form or quarantine.
    """
    local, at, domain = email.partition("@")
    labels = domain.split(".")
    is_one_address = bool(at and local) and "@" not in domain and domain.isascii()
    return is_one_address and len(labels) >= 2 and all(labels)


def canonical_email(value: str | None) -> str | None:
    """4.2, e-mail: trimmed, lower-cased, one plain address of at most 254 characters; else None."""
    trimmed = (value or "").strip(TRIMMED)
    if len(trimmed) > MAX_EMAIL_CHARACTERS or any(map(_is_refused_in_email, trimmed)):
        return None
    email = "".join(character.lower() for character in trimmed)
    return email if _has_email_shape(email) else None


def _fold_local(local: str) -> str:
    """Drop +suffix and dots of a local part."""
    return local.split("+", 1)[0].replace(".", "")


def _fold_mailbox(email: str, domains: frozenset[str]) -> str | None:
    """Fold the local part on these domains and keep the domain; an empty local part has no key."""
    local, _, domain = email.partition("@")
    if domain not in domains:
        return email
    folded = _fold_local(local)
    return f"{folded}@{domain}" if folded else None


def _ascii_lower(text: str) -> str:
    """Lower-case A-Z and nothing else."""
    return "".join(c.lower() if c.isascii() else c for c in text)


# --- 4.2 Normalization: phone -----------------------------------------------------------------

# libphonenumber's punctuation, and any space: but no tab, line break or other control character.
PHONE_PUNCTUATION = (
    frozenset("-.()[]/~\xad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u2053\u223c")
    | frozenset(c for c in WHITE_SPACE if unicodedata.category(c) == "Zs")
    | frozenset(TRIMMED) - WHITE_SPACE
)
BRACKETED_ZERO = re.compile(r"\(\s*0\s*\)")
E164_DIGITS = range(7, 16)  # FAULTS.md: fewer than 7 or more than 15 digits are quarantined


@dataclass(frozen=True)
class Region:
    """The metadata of one region: what DESIGN calls a row of `phone_regions`."""

    calling_code: str
    international_prefix: re.Pattern[str] | None
    national_prefix: re.Pattern[str] | None
    national_prefix_transform: str | None
    national_shape: re.Pattern[str]
    possible_lengths: frozenset[int]
    local_only_lengths: frozenset[int]
    has_national_prefix: bool


@cache
def region_of(country_code: str | None) -> Region | None:
    """The region of an ISO 3166-1 alpha-2 code, compared exactly; None when it has no row."""
    if country_code not in phonenumbers.SUPPORTED_REGIONS:
        return None
    data = PhoneMetadata.metadata_for_region(country_code)
    return Region(
        calling_code=str(data.country_code),
        international_prefix=_compiled(data.international_prefix),
        national_prefix=_compiled(data.national_prefix_for_parsing),
        national_prefix_transform=data.national_prefix_transform_rule or None,
        national_shape=re.compile(data.general_desc.national_number_pattern),
        possible_lengths=frozenset(data.general_desc.possible_length),
        local_only_lengths=frozenset(data.general_desc.possible_length_local_only),
        has_national_prefix=bool(data.national_prefix),
    )


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


def _region_of_calling_code(code: str) -> Region | None:
    """The main region of a calling code; codes of no country (+800, +870, ...) have none."""
    if not code or code.startswith("0"):
        return None
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code), ())
    return region_of(regions[0]) if regions else None


@dataclass(frozen=True)
class PhoneReading:
    """A number with a country: calling code and national (significant) number, digits only."""

    region: Region
    national: str

    @property
    def digits(self) -> str:
        """The E.164 digits, without `+`."""
        return self.region.calling_code + self.national

    @property
    def is_valid(self) -> bool:
        """A possible national length, not one repeated digit, and within E.164.

        The length must be possible in the region and for its calling code at large: Canada's
        310 1234 could not be told from a local-only number once it is +1 310 1234.
        """
        at_large = _region_of_calling_code(self.region.calling_code) or self.region
        return (
            len(self.national) in self.region.possible_lengths & at_large.possible_lengths
            and len(set(self.national)) > 1
            and len(self.digits) in E164_DIGITS
        )


def _without_national_prefix(region: Region, digits: str) -> str:
    """Drop the national prefix where what remains has a possible length.

    As in libphonenumber, digits that look like a national number stay whole when dropping the
    prefix would end that, and a local-only number is never completed with an area code.
    """
    found = region.national_prefix.match(digits) if region.national_prefix else None
    if not found or not found.group() or len(digits) in region.local_only_lengths:
        return digits
    shorter = digits[found.end() :]
    if region.national_prefix_transform and found.groups()[-1] is not None:
        shorter = found.expand(region.national_prefix_transform) + shorter
    looks_national = region.national_shape.fullmatch
    if looks_national(digits) and not looks_national(shorter):
        return digits
    return shorter if len(shorter) in region.possible_lengths else digits


def _read_national(region: Region, digits: str) -> PhoneReading:
    return PhoneReading(region, _without_national_prefix(region, digits))


def _read_international(digits: str) -> PhoneReading | None:
    """Calling code, then national number in the calling code's main region."""
    for length in (1, 2, 3):
        region = _region_of_calling_code(digits[:length])
        if region and len(digits) > length:
            return _read_national(region, digits[length:])
    return None


def _read_after_own_prefix(region: Region | None, digits: str) -> PhoneReading | None:
    """A number dialled with the region's own international prefix."""
    prefix = region.international_prefix if region else None
    found = prefix.match(digits) if prefix else None
    return _read_international(digits[found.end() :]) if found else None


def _digit_readings(has_plus: bool, digits: str, country: str | None) -> list[PhoneReading]:
    """4.2: `+`, `00` or the region's own prefix carries the country; otherwise the record does.

    `00` comes first, in every region; the own prefix (Australia's 0011, Singapore's 001) has its
    turn when `00` gives no valid number. A number that opens with either never falls back to the
    country of the record, except where no calling code follows the own prefix.
    """
    region = region_of(country)
    own = _read_after_own_prefix(region, digits)
    if has_plus:
        readings = [_read_international(digits)]
    elif digits.startswith("00"):
        readings = [_read_international(digits[2:]), own]
    elif own:
        readings = [own]
    else:
        readings = [_read_national(region, digits) if region else None]
    return [reading for reading in readings if reading and digits]


def _split_plus(text: str) -> tuple[bool, str]:
    """Whether a `+` opens the number, and its digits."""
    number = "".join(character for character in text if character in "+0123456789")
    return number.startswith("+"), number.replace("+", "")


def _readings(text: str, country_code: str | None) -> list[PhoneReading]:
    """The ways to read digits and punctuation, likeliest first; none where no country is known.

    `(0)` is a national prefix in brackets. A region without a national prefix keeps the zero where
    the length allows (Italy, where it belongs to the number) and loses it otherwise.
    """
    kept = _digit_readings(*_split_plus(text), country_code)
    if not kept or not BRACKETED_ZERO.search(text):
        return kept
    without_zero = BRACKETED_ZERO.sub("", text, count=1)
    dropped = _digit_readings(*_split_plus(without_zero), country_code)
    return dropped if kept[0].region.has_national_prefix else kept + dropped


def _plain_phone(value: str | None) -> str | None:
    """Trimmed, full-width forms to ASCII; None unless it is one number: digits and punctuation.

    Letters, extensions, control characters, digits of other scripts and an inner `+` refuse it.
    """
    text = (value or "").strip(TRIMMED).translate(FULL_WIDTH_TO_ASCII)
    bare = "".join(character for character in text if character not in PHONE_PUNCTUATION)
    return text if re.fullmatch(r"\+?[0-9]+", bare) else None


@cache
def _valid_readings(value: str | None, country_code: str | None) -> tuple[PhoneReading, ...]:
    """The valid readings of a phone; the first is the number, the others only help to refuse."""
    text = _plain_phone(value)
    readings = _readings(text, country_code) if text is not None else []
    return tuple(reading for reading in readings if reading.is_valid)


def phone_e164(value: str | None, country_code: str | None) -> str | None:
    """4.2, phone: E.164 with its `+`, or None: no country is invalid, never guessed."""
    readings = _valid_readings(value, country_code)
    return f"+{readings[0].digits}" if readings else None


def lacks_country(value: str | None, country_code: str | None) -> bool:
    """A number, as far as its characters go, that names no country, nor does its record."""
    text = _plain_phone(value)
    if text is None or region_of(country_code):
        return False
    has_plus, digits = _split_plus(text)
    return not has_plus and not digits.startswith("00")


def canonical(channel: str | None, value: str | None, country_code: str | None) -> str | None:
    """The canonical value of rule 7, by channel; None is `invalid_value`."""
    if channel == "email":
        return canonical_email(value)
    return phone_e164(value, country_code) if channel == "phone" else None


# --- 4.2 Normalization: profiles and hashes ---------------------------------------------------


def _uid2_email(value: str | None) -> str | None:
    trimmed = _ascii_lower((value or "").strip(TRIMMED))
    return _fold_mailbox(trimmed, frozenset({GMAIL})) if canonical_email(value) else None


def _google_email(value: str | None) -> str | None:
    email = canonical_email(value)
    return _fold_mailbox(email, frozenset({GMAIL, GOOGLEMAIL})) if email else None


def _digits_only(value: str | None, country_code: str | None) -> str | None:
    number = phone_e164(value, country_code)
    return number.removeprefix("+") if number else None


EmailRule = Callable[[str | None], str | None]
PhoneRule = Callable[[str | None, str | None], str | None]
PROFILES: dict[str, tuple[EmailRule, PhoneRule]] = {
    "x": (canonical_email, phone_e164),
    "meta": (canonical_email, _digits_only),
    "google": (_google_email, phone_e164),
    "uid2": (_uid2_email, phone_e164),
}


def render(
    profile: str | None, channel: str | None, value: str | None, country_code: str | None = None
) -> str | None:
    """4.2, profiles: the text whose SHA-256 is the match key; None when the value has no key.

    An unknown profile or channel has no key. `e164`, of the vectors, is libphonenumber's own form.
    """
    if profile == "e164" and channel == "phone":
        return phone_e164(value, country_code)
    if profile not in PROFILES:
        return None
    email_rule, phone_rule = PROFILES[profile]
    if channel == "email":
        return email_rule(value)
    return phone_rule(value, country_code) if channel == "phone" else None


def match_key(
    profile: str | None, channel: str | None, value: str | None, country_code: str | None
) -> Key | None:
    """The identity of a value under a profile, or None when it has no key."""
    rendered = render(profile, channel, value, country_code)
    return (str(channel), sha256_hex(rendered)) if rendered else None


SENTINELS = frozenset(sha256_hex(text) for text in ("", " ", "null", "none", "undefined", "nan", "n/a"))


def parse_hash(identifier: str | None) -> str | None:
    """A SHA-256 in hex of any case or padded standard base64, outer white space allowed; as hex.

    The base64 must be the one spelling of its 32 bytes (no stray bits under the padding).
    """
    text = (identifier or "").strip("".join(WHITE_SPACE))
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    if not re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        return None
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return decoded.hex() if base64.b64encode(decoded).decode("ascii") == text else None


# --- 4.3 Block keys ---------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockKey:
    """The wide class of one value, used only to refuse. Two meet when `meets` says so.

    E-mails live in `full`. A phone with a country has its E.164 digits in `full` and its national
    number in `national`; one without has its digits in `bare`. Neither keeps leading zeros in
    `national` and `bare`. (A value that does not normalize may have several of each.)
    """

    channel: str
    full: AbstractSet[str] = frozenset()
    national: AbstractSet[str] = frozenset()
    bare: AbstractSet[str] = frozenset()

    def meets(self, other: BlockKey) -> bool:
        """Equal keys, or digits without a country equal to the other side's national number."""
        pairs = (
            (self.full, other.full),
            (self.bare, other.bare),
            (self.bare, other.full),
            (self.bare, other.national),
            (self.full, other.bare),
            (self.national, other.bare),
        )
        return self.channel == other.channel and any(not left.isdisjoint(right) for left, right in pairs)


class BlockIndex:
    """Many block keys, to ask whether a key meets any of them."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_channel: dict[str, tuple[set[str], set[str], set[str]]] = {}

    def add(self, key: BlockKey) -> None:
        """Add one key."""
        full, national, bare = self._by_channel.setdefault(key.channel, (set(), set(), set()))
        full |= key.full
        national |= key.national
        bare |= key.bare

    def meets(self, key: BlockKey) -> bool:
        """Whether any key of the index meets this one."""
        parts = self._by_channel.get(key.channel)
        return parts is not None and key.meets(BlockKey(key.channel, *parts))


def _fold_widely(value: str) -> str:
    """NFKC, invisible characters removed, case-folded; a dotted capital I is an i."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", value) if not _is_invisible(c))
    folded = unicodedata.normalize("NFKC", visible.casefold())
    return folded.replace("i\u0307", "i")


def _unwrapped(text: str) -> str:
    """The first address of `Name <address>`, `mailto:address`, `address (remark)`, `address; address`."""
    parts = re.split(r"[<>()\[\]:;,]", text)
    address = next((part for part in parts if "@" in part), text)
    return re.sub(r"@[.@]+", "@", address.partition("?")[0]).strip("".join(SPECIALS))


def _block_email(value: str) -> BlockKey:
    """4.3, e-mail: dots and +suffix dropped on every domain, googlemail.com = gmail.com.

    Of several @ the last opens the domain; stray and doubled dots of the domain go.
    """
    text = _fold_widely(value)
    if canonical_email(value) is None:
        text = _unwrapped(text)
    local, at, domain = text.rpartition("@")
    if at:
        domain = re.sub(r"[.]+", ".", domain).strip(".")
        text = f"{_fold_local(local)}@{GMAIL if domain == GOOGLEMAIL else domain}"
    return BlockKey("email", full=frozenset({text} if text else ()))


def _phone_remains(value: str) -> Iterator[str]:
    """Of a value that is no valid phone: it without letters, and it up to an extension."""
    text = unicodedata.normalize("NFKC", value).strip(TRIMMED)
    ascii_digits = "".join(str(unicodedata.decimal(c, c)) for c in text)
    yield ascii_digits
    extension = re.search(r"(?<=[0-9)])[\s.,-]*(?:[^\W\d_]|[;,#*])", ascii_digits)
    if extension:
        yield ascii_digits[: extension.start()]


@cache
def _block_phone(value: str, country_code: str | None) -> BlockKey:
    """4.3, phone: E.164 digits; without a country the digits without leading zeros.

    A value that does not normalize keeps both, since its country may be part of its digits. Where
    a value can be read in several ways, each way counts.
    """
    readings: list[PhoneReading] = list(_valid_readings(value, country_code))
    bare: set[str] = set()
    if not readings:
        for text in _phone_remains(value):
            bare.add(_split_plus(text)[1].lstrip("0"))
            readings += _readings(text, country_code)
    full = {reading.digits for reading in readings}
    national = {reading.national.lstrip("0") for reading in readings}
    return BlockKey("phone", full, national - {""}, bare - {""})


def block_key(value: str | None, country_code: str | None) -> BlockKey:
    """4.3: the wide equivalence class of a value, also of one that does not normalize.

    It is read as what it looks like, an address where it has an at sign, and not as what it was filed under:
    rule 8 speaks of the same value.
    """
    if "@" in unicodedata.normalize("NFKC", value or ""):
        return _block_email(value or "")
    return _block_phone(value or "", country_code)


def block_keys_meet(
    left_value: str | None,
    left_country: str | None,
    right_value: str | None,
    right_country: str | None,
) -> bool:
    """4.3: whether two values may be the same mailbox or telephone."""
    left = block_key(left_value, left_country)
    return left.meets(block_key(right_value, right_country))


# --- 4.1 Decisions ----------------------------------------------------------------------------


def happened(moment: datetime | None, as_of: datetime) -> bool:
    """A timestamp counts only when it is <= as_of; null never happened."""
    return moment is not None and moment <= as_of


@dataclass(frozen=True)
class Consent:
    """The state of a (user, data use): granted, denied, expired or unknown, and its event."""

    state: str
    event: Row | None = None


def _consent_order(event: Row) -> tuple[Any, ...]:
    """Sort key whose greatest event wins, up to the id, which `fold_consent` breaks downwards."""
    is_grant = event.get("status") == "granted"
    expires_at = event.get("expires_at")
    lateness = 0.0 if expires_at is None else -expires_at.timestamp()
    sooner_expiry = (expires_at is not None, lateness) if is_grant else (False, 0.0)
    not_granted = {"denied": 2, "granted": 0}.get(event.get("status"), 1)
    return (event["occurred_at"], event["recorded_at"], not_granted, *sooner_expiry)


def fold_consent(events: Iterable[Row], as_of: datetime) -> Consent:
    """Rule 12: the winning event. A status outside the closed set wins over a tied grant.

    Such a status grants nothing, and neither does it let opt_out pass: it has an event.
    """
    counted = [
        event
        for event in events
        if happened(event.get("occurred_at"), as_of) and happened(event.get("recorded_at"), as_of)
    ]
    if not counted:
        return Consent("unknown")
    by_lowest_id = sorted(counted, key=lambda event: event["consent_event_id"])
    winner = max(by_lowest_id, key=_consent_order)
    if winner.get("status") == "granted":
        is_over = happened(winner.get("expires_at"), as_of)
        return Consent("expired" if is_over else "granted", winner)
    return Consent("denied" if winner.get("status") == "denied" else "unknown", winner)


def covers(purpose: str, data_use: str) -> bool:
    """Rule 4: a purpose covers the data use it equals and those below it."""
    return data_use == purpose or data_use.startswith(f"{purpose}.")


class Judge:
    """The rules of 4.1 over one world at one moment, with the look-ups they need."""

    def __init__(self, world: World, as_of: datetime) -> None:
        """Index users, consent events, protective contacts and suppressions."""
        self.world = world
        self.as_of = as_utc(as_of)
        self.users: dict[str, Row] = {user["user_id"]: user for user in world.raw_users}
        self.consent_events: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
        for event in world.raw_consent_events:
            self.consent_events[event["user_id"], event["data_use"]].append(event)

    # purposes

    def purpose_is_unknown(self, code: str | None) -> bool:
        """Rule 2: null, blank, not in the seed, not assignable, or the code `unknown`."""
        purpose = self.world.purposes.get(code or "")
        return purpose is None or not purpose["is_assignable"] or code == "unknown"

    def is_protective(self, contact: Row) -> bool:
        """Rule 8: protective in the seed or refused by rule 2; collected by now, or no date."""
        collected_at = contact.get("collected_at")
        if collected_at is not None and collected_at > self.as_of:
            return False
        code = contact.get("purpose")
        return self.purpose_is_unknown(code) or self.world.purposes[code]["is_protective"]

    # look-ups

    def country_of(self, user_id: str | None) -> str | None:
        """4.2: for contacts, the country of the record is the user's."""
        return self.users.get(user_id or "", {}).get("country_code")

    def block_key_of(self, contact: Row) -> BlockKey:
        """The block key of a contact."""
        country_code = self.country_of(contact.get("user_id"))
        return block_key(contact.get("value"), country_code)

    @cached_property
    def protected(self) -> dict[str, BlockIndex]:
        """Per user, the block keys of their protective contacts, removed or not."""
        indexes: dict[str, BlockIndex] = defaultdict(BlockIndex)
        for contact in self.world.raw_contacts:
            if self.is_protective(contact):
                indexes[contact.get("user_id") or ""].add(self.block_key_of(contact))
        return indexes

    def is_protected(self, contact: Row) -> bool:
        """Rule 8: the user also holds the same value, by block key, in a protective contact."""
        index = self.protected.get(contact.get("user_id") or "")
        return index is not None and index.meets(self.block_key_of(contact))

    @cached_property
    def suppressed(self) -> dict[str | None, BlockIndex]:
        """Block keys by trimmed advertiser; None for every one. One without a date is in force."""
        indexes: dict[str | None, BlockIndex] = defaultdict(BlockIndex)
        for row in self.world.raw_suppressions:
            added_at = row.get("added_at")
            if added_at is None or added_at <= self.as_of:
                key = block_key(row.get("value"), None)
                indexes[(row.get("advertiser_id") or "").strip(TRIMMED) or None].add(key)
        return indexes

    def is_suppressed(self, contact: Row, advertiser_id: str | None) -> bool:
        """Whether the contact's block key is suppressed for the advertiser (None: for every)."""
        trimmed = advertiser_id.strip(TRIMMED) if advertiser_id else None
        return self.suppressed[trimmed].meets(self.block_key_of(contact))

    # consent

    def consent(self, user_id: str, data_use: str, as_of: datetime | None = None) -> Consent:
        """Rule 12's state of a user and data use; a grant for another use is never looked at."""
        return fold_consent(self.consent_events.get((user_id, data_use), ()), as_of or self.as_of)

    def choice_model(self, country_code: str | None, data_use: str) -> str:
        """The country's consent rule, else the `*` row, else opt_in."""
        models = {
            (rule["country_code"], rule["data_use"]): rule["choice_model"]
            for rule in self.world.consent_rules
        }
        for code in (country_code, "*"):
            if (code, data_use) in models:
                return models[code, data_use]
        return "opt_in"

    def consent_refusal(self, user: Row, data_use: str) -> str | None:
        """Rule 12: the reason for refusal, or None when consent lets the contact through."""
        consent = self.consent(user["user_id"], data_use)
        if consent.state == "granted":
            return None
        may_be_silent = self.choice_model(user.get("country_code"), data_use) == "opt_out"
        if consent.state == "unknown" and consent.event is None and may_be_silent:
            return None
        return f"consent_{consent.state}"

    # the rules in their order

    def purpose_refusal(self, code: str | None, data_use: str) -> str | None:
        """Rules 2 to 4."""
        if self.purpose_is_unknown(code):
            return "purpose_unknown"
        purpose = self.world.purposes[code]
        if purpose["purpose_class"] == "security":
            return "purpose_security"
        is_usable = purpose["is_usable_for_matching"] and covers(code, data_use)
        return None if is_usable else "purpose_not_ads"

    def value_refusal(self, contact: Row) -> str | None:
        """Rules 5 to 8."""
        user_id = contact.get("user_id")
        if happened(contact.get("removed_at"), self.as_of):
            return "removed"
        if not happened(contact.get("verified_at"), self.as_of):
            return "not_verified"
        if not canonical(contact.get("channel"), contact.get("value"), self.country_of(user_id)):
            return "invalid_value"
        is_strict = self.world.dual_purpose_policy != "separate_collection"
        if is_strict and self.is_protected(contact):
            return "held_for_protection"
        return None

    def user_refusal(self, contact: Row, data_use: str) -> str | None:
        """Rules 9 to 12."""
        user = self.users.get(contact.get("user_id") or "")
        if user is None or user.get("account_status") != "active":
            return "user_not_active"
        if user.get("is_adult") is not True:
            return "user_not_adult"
        if self.is_suppressed(contact, None):
            return "suppressed"
        return self.consent_refusal(user, data_use)

    def decide(self, contact: Row, data_use: str) -> Decision:
        """4.1: the first rule that applies, or `accepted`."""
        if not happened(contact.get("collected_at"), self.as_of):
            return "not_collected"
        return (
            self.purpose_refusal(contact.get("purpose"), data_use)
            or self.value_refusal(contact)
            or self.user_refusal(contact, data_use)
            or "accepted"
        )

    @cached_property
    def decisions(self) -> dict[ContactUse, Decision]:
        """One decision per contact and matching use."""
        return {
            (contact["contact_id"], data_use): self.decide(contact, data_use)
            for contact in self.world.raw_contacts
            for data_use in MATCHING_USES
        }

    def accepted(self, data_use: str) -> list[Row]:
        """The contacts behind the gate for one data use."""
        return [
            contact
            for contact in self.world.raw_contacts
            if self.decisions[contact["contact_id"], data_use] == "accepted"
        ]


# --- 4.4 Lists --------------------------------------------------------------------------------


@dataclass(frozen=True)
class EntryRow:
    """One uploaded row: its upload, its key, or the reason why it has none."""

    upload: Row
    key: Key | None
    fault: str | None


def _entry_fault(entry: Row, is_hashed: bool | None, profile: str | None) -> str | None:
    """4.4, list_reports: the reasons that leave a row without a key, the first that applies.

    A plain value in a hashed list is one that normalizes; what is neither that nor a hash is
    `hash_format`. A list that declares neither (null) fails both ways. No reason says that a plain value is
    filed under no channel we know: it has no fault, and no key either, so that it matches nothing.
    """
    channel, value, country = (entry.get(c) for c in ("channel", "identifier", "country_code"))
    digest = parse_hash(value)
    if digest and is_hashed is not True:
        return "hash_in_plain_list"
    if is_hashed is None or (is_hashed and not digest and canonical(channel, value, country)):
        return "plain_in_hashed_list"
    if is_hashed:
        if digest is None:
            return "hash_format"
        return "sentinel_hash" if digest in SENTINELS else None
    if channel not in ("email", "phone") or render(profile, channel, value, country):
        return None
    if channel == "email":
        return "invalid_email"
    return "phone_no_country" if lacks_country(value, country) else "invalid_phone"


def _entry_key(entry: Row, is_hashed: bool | None, profile: str | None) -> Key | None:
    """The identity of an entry without a fault: (channel, match key)."""
    channel, value = entry.get("channel"), entry.get("identifier")
    if channel not in ("email", "phone"):
        return None
    if is_hashed:
        return (str(channel), parse_hash(value) or "")
    return match_key(profile, channel, value, entry.get("country_code"))


def _row_number(entry: Row) -> int:
    return entry.get("row_number") or 0


@dataclass
class ListState:
    """A list at a moment: its uploaded rows in order and the fold of its uploads.

    `last_added` holds every key that no later upload took away; `current` those of them whose
    membership has not ended.
    """

    rows: list[EntryRow]
    last_added: dict[Key, datetime]
    current: dict[Key, datetime]


def membership_end(audience_list: Row, last_added: datetime) -> datetime | None:
    """When an entry is gone: last added + membership_days; None when the list sets none."""
    days = audience_list.get("membership_days")
    return None if days is None else last_added + timedelta(days=days)


def _apply(upload: Row, keys: set[Key], state: dict[Key, datetime]) -> None:
    """Fold one upload into the state; an operation outside the closed set changes nothing."""
    operation = upload["operation"]
    if operation in ("replace", "remove_all"):
        state.clear()
    if operation in ("replace", "append"):
        state.update(dict.fromkeys(keys, upload["uploaded_at"]))
    if operation == "remove":
        for key in keys:
            state.pop(key, None)


class Lists:
    """Every list of a world at a moment."""

    def __init__(self, world: World, as_of: datetime) -> None:
        """Index uploads by list, in order, and entries by upload."""
        self.as_of = as_utc(as_of)
        self.by_id = {row["list_id"]: row for row in world.raw_audience_lists}
        self.uploads: dict[str, list[Row]] = defaultdict(list)
        self.entries: dict[str, list[Row]] = defaultdict(list)
        for upload in world.raw_list_uploads:
            if happened(upload.get("uploaded_at"), self.as_of):
                self.uploads[upload["list_id"]].append(upload)
        for uploads in self.uploads.values():
            uploads.sort(key=lambda upload: (upload["uploaded_at"], upload["upload_id"]))
        for entry in world.raw_list_entries:
            self.entries[entry["upload_id"]].append(entry)
        self._states: dict[str, ListState] = {}

    def state(self, list_id: str) -> ListState:
        """The rows uploaded so far and the current entries of a list."""
        if list_id not in self._states:
            self._states[list_id] = self._fold(self.by_id[list_id])
        return self._states[list_id]

    def _fold(self, audience_list: Row) -> ListState:
        rows: list[EntryRow] = []
        last_added: dict[Key, datetime] = {}
        for upload in self.uploads[audience_list["list_id"]]:
            uploaded = list(self._rows(audience_list, upload))
            _apply(upload, {row.key for row in uploaded if row.key}, last_added)
            rows += uploaded
        current = {
            key: added_at
            for key, added_at in last_added.items()
            if not happened(membership_end(audience_list, added_at), self.as_of)
        }
        return ListState(rows, last_added, current)

    def _rows(self, audience_list: Row, upload: Row) -> Iterator[EntryRow]:
        is_hashed = audience_list.get("is_hashed")
        profile = audience_list.get("normalization_profile")
        for entry in sorted(self.entries[upload["upload_id"]], key=_row_number):
            fault = _entry_fault(entry, is_hashed, profile)
            key = None if fault else _entry_key(entry, is_hashed, profile)
            yield EntryRow(upload, key, fault)


def _row_reason(row: EntryRow, state: ListState, matched_keys: set[Key], seen: set[Key | None]) -> str:
    """4.4, list_reports: the one reason of an uploaded row, the first that applies.

    Rows under remove_all, which add nothing either, count as removal rows. `matched` looks at
    accepted contacts only, whatever the list's status and the advertiser's suppressions.
    """
    if row.fault:
        return row.fault
    if row.upload["operation"] in ("remove", "remove_all"):
        return "removal_row"
    if row.key is None:
        return "not_matched"
    if row.key not in state.last_added:
        return "superseded"
    if row.key not in state.current:
        return "membership_expired"
    if row.key in seen:
        return "duplicate_in_list"
    return "matched" if row.key in matched_keys else "not_matched"


# --- 4.4 Audiences and matching ---------------------------------------------------------------


class Member(TypedDict):
    """What a mart holds of one user in one audience."""

    matched_email: bool
    matched_phone: bool
    first_matched_at: datetime
    valid_until: datetime | None


class Audience(TypedDict):
    """One row of `audiences`, before noise, rounding and withholding for differencing."""

    list_kind: str
    partner_id: str | None
    list_status: str
    members: int
    uploaded_entries: int


MemberKey = tuple[str, str, str, str]  # (list_kind, list_id, advertiser_id, user_id)
AudienceKey = tuple[str, str]  # (list_id, advertiser_id)


def licence_in_force(licence: Row, as_of: datetime) -> bool:
    """Started, not ended, not revoked, and given for the matching of partner lists.

    An allowed use covers what it equals and what is below it, as a purpose does.
    """
    return (
        happened(licence.get("starts_at"), as_of)
        and not happened(licence.get("ends_at"), as_of)
        and not happened(licence.get("revoked_at"), as_of)
        and any(covers(use, PARTNER) for use in (licence.get("allowed_data_uses") or "").split("|"))
    )


def is_sensitive(name: str | None, topics: Iterable[Row]) -> bool:
    """A name of whose words some are about a topic, or one without a letter from a to z.

    Words are compared without case and accents; a pattern takes whole words, with `%` beginnings.
    """
    plain = "".join(c for c in unicodedata.normalize("NFD", name or "") if not unicodedata.combining(c))
    words = " ".join(re.findall(r"[a-z0-9]+", plain.lower()))
    if not re.search("[a-z]", words):
        return True
    return any(_words(topic["name_pattern"]).search(words) for topic in topics)


@cache
def _words(pattern: str) -> re.Pattern[str]:
    end = "" if pattern.endswith("%") else r"\b"
    return re.compile(rf"\b{re.escape(pattern.removesuffix('%'))}{end}")


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    """The earliest of some ends; None, which never ends, is last."""
    return min((moment for moment in moments if moment is not None), default=None)


def _latest_end(ends: Iterable[datetime | None]) -> datetime | None:
    """The latest of some ends; None, which never ends, is last."""
    known = list(ends)
    return None if None in known else max(known)


class Matcher:
    """Audiences and their members over one world at one moment."""

    def __init__(self, world: World, as_of: datetime) -> None:
        """Judge the contacts and fold the lists."""
        self.world = world
        self.as_of = as_utc(as_of)
        self.judge = Judge(world, as_of)
        self.lists = Lists(world, as_of)
        self.advertisers = {row["advertiser_id"]: row for row in world.raw_advertisers}
        self.partners = {row["partner_id"]: row for row in world.raw_partners}
        self._keyed: dict[tuple[str, str], dict[Key, list[Row]]] = {}

    def licences(self, audience_list: Row, advertiser_id: str | None = None) -> list[Row]:
        """Licences of this list by its own partner, of one advertiser or of all."""
        return [
            licence
            for licence in self.world.raw_partner_licences
            if licence["list_id"] == audience_list["list_id"]
            and licence["partner_id"] == audience_list.get("partner_id") is not None
            and advertiser_id in (None, licence["advertiser_id"])
        ]

    def audience_keys(self) -> Iterator[tuple[Row, str]]:
        """One per tailored list; one per partner list and advertiser with any licence of it."""
        for audience_list in self.world.raw_audience_lists:
            if audience_list.get("list_kind") == "tailored":
                yield audience_list, audience_list.get("advertiser_id") or ""
            if audience_list.get("list_kind") == "partner":
                for advertiser_id in sorted(
                    {licence["advertiser_id"] for licence in self.licences(audience_list)}
                ):
                    yield audience_list, advertiser_id

    def refusal(self, audience_list: Row, advertiser_id: str) -> str | None:
        """The first status that stands against members: DESIGN's seven, then the topic; else None."""
        if not happened(audience_list.get("created_at"), self.as_of):
            return "not_created"
        if happened(audience_list.get("expires_at"), self.as_of):
            return "expired"
        if not happened(audience_list.get("lawful_basis_attested_at"), self.as_of):
            return "not_attested"
        if audience_list["list_kind"] == "partner":
            partner = self.partners.get(audience_list.get("partner_id") or "", {})
            if partner.get("status") != "active":
                return "partner_inactive"
            if not self.licences_in_force(audience_list, advertiser_id):
                return "licence_not_in_force"
        advertiser = self.advertisers.get(advertiser_id, {})
        if advertiser.get("status") != "active":
            return "advertiser_inactive"
        if not happened(advertiser.get("terms_accepted_at"), self.as_of):
            return "terms_not_accepted"
        if is_sensitive(audience_list.get("name"), self.world.sensitive_list_topics):
            return "sensitive_topic"
        return None

    def licences_in_force(self, audience_list: Row, advertiser_id: str) -> list[Row]:
        """The advertiser's licences of the list that are in force."""
        licences = self.licences(audience_list, advertiser_id)
        return [licence for licence in licences if licence_in_force(licence, self.as_of)]

    def keyed_contacts(self, audience_list: Row) -> dict[Key, list[Row]]:
        """The accepted contacts for the list's kind, by their key under the list's profile."""
        data_use = DATA_USE_OF_KIND.get(audience_list.get("list_kind") or "", "")
        profile = audience_list.get("normalization_profile") or ""
        if (data_use, profile) not in self._keyed:
            keyed: dict[Key, list[Row]] = defaultdict(list)
            for contact in self.judge.accepted(data_use) if data_use else ():
                country_code = self.judge.country_of(contact["user_id"])
                key = match_key(profile, contact["channel"], contact["value"], country_code)
                if key:
                    keyed[key].append(contact)
            self._keyed[data_use, profile] = keyed
        return self._keyed[data_use, profile]

    def matches(self, audience_list: Row, advertiser_id: str) -> Iterator[tuple[Row, datetime]]:
        """Accepted contacts with the key of a current entry, and the entry's last addition.

        A contact that the advertiser suppressed matches nothing there.
        """
        keyed = self.keyed_contacts(audience_list)
        for key, last_added in self.lists.state(audience_list["list_id"]).current.items():
            for contact in keyed.get(key, ()):
                if not self.judge.is_suppressed(contact, advertiser_id):
                    yield contact, last_added

    def _matched_at(self, contact: Row, consent: Consent, last_added: datetime) -> datetime:
        """The latest of collection, verification, consent and the entry's last addition."""
        moments = [contact["collected_at"], contact["verified_at"], last_added]
        return max(moments + ([consent.event["occurred_at"]] if consent.event else []))

    def _valid_until(
        self, audience_list: Row, advertiser_id: str, consent: Consent, last_added: datetime
    ) -> datetime | None:
        """The earliest of membership end, list, licence and consent expiry.

        A match under several licences in force ends with the last of them.
        """
        ends = [membership_end(audience_list, last_added), audience_list.get("expires_at")]
        if audience_list["list_kind"] == "partner":
            licences = self.licences_in_force(audience_list, advertiser_id)
            ends.append(_latest_end(licence.get("ends_at") for licence in licences))
        if consent.event:
            ends.append(consent.event.get("expires_at"))
        return _earliest(ends)

    def members_of(self, audience_list: Row, advertiser_id: str) -> dict[str, Member]:
        """The members of one audience by user, over all their matches."""
        data_use = DATA_USE_OF_KIND[audience_list["list_kind"]]
        found: dict[str, list[tuple[str, datetime, datetime | None]]] = defaultdict(list)
        for contact, last_added in self.matches(audience_list, advertiser_id):
            consent = self.judge.consent(contact["user_id"], data_use)
            matched_at = self._matched_at(contact, consent, last_added)
            until = self._valid_until(audience_list, advertiser_id, consent, last_added)
            found[contact["user_id"]].append((contact["channel"], matched_at, until))
        return {user_id: _member(matches) for user_id, matches in found.items()}

    def audience_members(self) -> Iterator[tuple[Row, str, str | None, dict[str, Member]]]:
        """Every audience with its refusal, if any, and its members, none where refused."""
        for audience_list, advertiser_id in self.audience_keys():
            refusal = self.refusal(audience_list, advertiser_id)
            found = {} if refusal else self.members_of(audience_list, advertiser_id)
            yield audience_list, advertiser_id, refusal, found


def _member(matches: list[tuple[str, datetime, datetime | None]]) -> Member:
    """One user over (channel, matched at, valid until): earliest match, latest end."""
    channels = {channel for channel, _, _ in matches}
    return Member(
        matched_email="email" in channels,
        matched_phone="phone" in channels,
        first_matched_at=min(matched_at for _, matched_at, _ in matches),
        valid_until=_latest_end(until for _, _, until in matches),
    )


# --- Public interface -------------------------------------------------------------------------


def decide(world: World, as_of: datetime) -> dict[ContactUse, Decision]:
    """4.1: one decision per contact and matching data use."""
    return Judge(world, as_of).decisions


def gate(world: World, as_of: datetime) -> dict[ContactUse, str | None]:
    """4.1: accepted (contact, data use) and its consent event; None where opt_out passed it."""
    judge = Judge(world, as_of)
    passed: dict[ContactUse, str | None] = {}
    for data_use in MATCHING_USES:
        for contact in judge.accepted(data_use):
            event = judge.consent(contact["user_id"], data_use).event
            passed[contact["contact_id"], data_use] = event["consent_event_id"] if event else None
    return passed


def members(world: World, as_of: datetime) -> dict[MemberKey, Member]:
    """4.4: members of every audience that passes the first seven statuses, of whatever size."""
    return {
        (audience_list["list_kind"], audience_list["list_id"], advertiser_id, user_id): member
        for audience_list, advertiser_id, _, found in Matcher(world, as_of).audience_members()
        for user_id, member in found.items()
    }


def audiences(world: World, as_of: datetime) -> dict[AudienceKey, Audience]:
    """4.4 and 4.5: status and sizes of every audience; differencing is not judged here.

    `uploaded_entries` are the list's uploaded rows up to as_of, whatever became of them.
    """
    matcher = Matcher(world, as_of)
    result: dict[AudienceKey, Audience] = {}
    for audience_list, advertiser_id, refusal, found in matcher.audience_members():
        size_status = "too_small" if len(found) < world.min_audience_size else "serving"
        result[audience_list["list_id"], advertiser_id] = Audience(
            list_kind=audience_list["list_kind"],
            partner_id=audience_list.get("partner_id"),
            list_status=refusal or size_status,
            members=len(found),
            uploaded_entries=len(matcher.lists.state(audience_list["list_id"]).rows),
        )
    return result


def list_reports(world: World, as_of: datetime) -> dict[tuple[str, str], int]:
    """4.4: per list and reason the number of rows uploaded up to as_of; every row has one."""
    matcher = Matcher(world, as_of)
    counts: Counter[tuple[str, str]] = Counter()
    for audience_list in world.raw_audience_lists:
        list_id = audience_list["list_id"]
        state = matcher.lists.state(list_id)
        matched_keys = set(matcher.keyed_contacts(audience_list))
        seen: set[Key | None] = set()
        for row in state.rows:
            reason = _row_reason(row, state, matched_keys, seen)
            if reason in ("matched", "not_matched"):
                seen.add(row.key)
            counts[list_id, reason] += 1
    return dict(counts)


def measurement(world: World, as_of: datetime) -> set[str]:
    """4.5: views and clicks of active adults whose `ads.measurement` consent was granted.

    Granted both when it occurred and at as_of. Granted is meant in words: an opt_out market, where
    silence passes the gate, does not let silence share an engagement. One without a measurement
    partner, or with a blank one, goes nowhere.
    """
    judge = Judge(world, as_of)
    return {
        engagement["engagement_id"]
        for engagement in world.raw_ad_engagements
        if _may_be_measured(judge, engagement)
    }


def _may_be_measured(judge: Judge, engagement: Row) -> bool:
    user = judge.users.get(engagement.get("user_id") or "", {})
    occurred_at = engagement.get("occurred_at")
    return (
        engagement.get("event") in ("view", "click")
        and bool((engagement.get("measurement_partner_id") or "").strip(TRIMMED))
        and happened(occurred_at, judge.as_of)
        and user.get("account_status") == "active"
        and user.get("is_adult") is True
        and all(
            judge.consent(user["user_id"], MEASUREMENT, moment).state == "granted"
            for moment in (occurred_at, judge.as_of)
        )
    )

"""Our phone numbers against libphonenumber's: every example number that it knows, in four spellings."""

import duckdb
import phonenumbers
import pytest
from conftest import ROOT, Project
from phonenumbers import PhoneNumberFormat, PhoneNumberType

SPELLINGS = {
    "E.164": lambda number: phonenumbers.format_number(number, PhoneNumberFormat.E164),
    "international": lambda number: phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL),
    "national": lambda number: phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL),
    "00": lambda number: "00" + phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:],
}
TYPES = [code for code in PhoneNumberType.values() if code != PhoneNumberType.UNKNOWN]

# every disagreement, by region and spelling, with its cause
CAUSES = {
    (
        "CA",
        "E.164",
    ): "7-digit 310 numbers exist in Canada only; +1 is read by the lengths of its main region",
    ("CA", "international"): "likewise",
    ("CA", "00"): "likewise",
    (
        "AR",
        "national",
    ): "the 15 of Argentine mobiles is rewritten to a 9 by a rule, not taken off as a prefix",
    (
        "001",
        "national",
    ): "a calling code without a region has no country that a national number could name",
}


def examples() -> list[tuple[str, str, str, str]]:
    """Region (001: none), spelling, text and E.164 of each example number of each type."""
    numbers = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for code in TYPES:
            numbers.append((region, phonenumbers.example_number_for_type(region, code)))
    for calling_code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS):
        numbers.append(("001", phonenumbers.example_number_for_non_geo_entity(calling_code)))
    return [
        (region, spelling, spell(number), SPELLINGS["E.164"](number))
        for region, number in numbers
        if number is not None
        for spelling, spell in SPELLINGS.items()
    ]


@pytest.fixture(scope="module")
def normalized(sample: Project) -> list[tuple[str, str, str, str | None]]:
    """Region, spelling, expected and our E.164 of each example."""
    query = """
        with addresses as (select * from examples where channel <> 'phone'),
        numbers as (select * from examples where channel = 'phone'),
        {{ normalize_identifiers('addresses', 'numbers', 'country_code, spelling, expected') }}
        select country_code, spelling, expected, normalized_value from normalized_identifiers
    """
    sql = sample.compile(query)
    with duckdb.connect(str(sample.warehouse), read_only=True) as connection:
        connection.execute(
            "create temp table examples "
            "(country_code text, spelling text, value text, expected text, channel text default 'phone')"
        )
        connection.executemany(
            "insert into examples (country_code, spelling, value, expected) values (?, ?, ?, ?)",
            examples(),
        )
        return connection.execute(sql).fetchall()


def test_examples_cover_every_region_and_type(
    normalized: list[tuple[str, str, str, str | None]],
) -> None:
    """All regions, at least 1,300 numbers, each in four spellings."""
    assert {row[0] for row in normalized} == {*phonenumbers.SUPPORTED_REGIONS, "001"}
    assert len(normalized) >= 4 * 1300


def test_agreement(normalized: list[tuple[str, str, str, str | None]]) -> None:
    """At least 99.5 % agree, and every disagreement has a known cause; a cause that is gone must go."""
    disagreements = [row for row in normalized if row[2] != row[3]]
    print(f"{len(normalized) - len(disagreements)} of {len(normalized)} agree")
    assert len(disagreements) <= 0.005 * len(normalized)
    assert {(row[0], row[1]) for row in disagreements} == set(CAUSES)


def test_disagreements_are_refusals(normalized: list[tuple[str, str, str, str | None]]) -> None:
    """Where we differ we refuse; we never make another number of it."""
    assert [row for row in normalized if row[3] is not None and row[2] != row[3]] == []


def test_calling_codes_are_found_by_their_first_digits(sample: Project) -> None:
    """The calling_code macro finds each calling code of the seed in front of any digits."""
    sql = sample.compile(
        "select calling_code from {{ ref('phone_regions') }} "
        "where calling_code <> {{ calling_code(\"calling_code || '5550123'\") }}"
    )
    assert sample.query(sql) == []


def test_seed_is_what_the_script_writes() -> None:
    """seeds/policy/phone_regions.csv is the output of scripts/make_phone_regions.py."""
    import make_phone_regions

    seed = (ROOT / "seeds" / "policy" / "phone_regions.csv").read_text().splitlines()
    lines = [
        ",".join("" if row[column] is None else str(row[column]) for column in row)
        for row in make_phone_regions.rows()
    ]
    assert seed[0] == ",".join(make_phone_regions.COLUMNS)
    assert [line.replace('"', "") for line in seed[1:]] == lines

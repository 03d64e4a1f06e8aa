"""Conformance: published and measured vectors of the senders' own libraries."""

import csv
import hashlib

import duckdb
import pytest
from conftest import SHARED, Project

VECTORS = SHARED / "vectors" / "normalization.csv"

pytestmark = pytest.mark.skipif(not VECTORS.is_file(), reason=f"the vectors are not here: no file {VECTORS}")

# vectors that we do not follow: what the sender accepts beyond our rules, we refuse, with one exception
TRIMMED_BY_US = {"\u00a0user@example.com": "user@example.com"}
# numbers without a calling code that are the sender's own output once the record's country is known
COUNTRIES = {
    "0491 570 006": "AU",
    "1 800 555 0100": "US",
    "18005550100": "US",
    "18005550101": "US",
}


def vectors() -> list[dict[str, str]]:
    """The rows of the file, with a number each."""
    with VECTORS.open(encoding="utf-8", newline="") as file:
        return [{"number": str(number), **row} for number, row in enumerate(csv.DictReader(file))]


def profile_of(row: dict[str, str]) -> str:
    """Our profile for a vector; e164 is libphonenumber, whose output the x profile renders."""
    return "x" if row["profile"] == "e164" else row["profile"]


def parameters(follow: bool) -> list[object]:
    """The vectors that we follow, or those that we do not, as pytest parameters."""
    rows = vectors() if VECTORS.is_file() else []
    return [
        pytest.param(row, id=f"{row['profile']}-{row['number']}")
        for row in rows
        if (row["follow"] == "yes") == follow
    ]


@pytest.fixture(scope="module")
def rendered(sample: Project) -> dict[str, tuple[str | None, str | None]]:
    """Our text and our match key of each vector, by its number."""
    query = """
        with addresses as (select * from vectors where channel <> 'phone'),
        numbers as (select * from vectors where channel = 'phone'),
        {{ normalize_identifiers('addresses', 'numbers', 'number, profile, channel') }},
        rendered as (
            select
                normalized_identifiers.number,
                {{ render_identifier('normalized_value', 'profiles.rendering') }} as text
            from normalized_identifiers
            left join {{ ref('normalization_profiles') }} as profiles
                on profiles.normalization_profile = normalized_identifiers.profile
                and profiles.channel = normalized_identifiers.channel
        )
        select number, text, {{ sha256_hex('text') }} from rendered
    """
    sql = sample.compile(query)
    with duckdb.connect(str(sample.warehouse), read_only=True) as connection:
        connection.execute(
            "create temp table vectors "
            "(number text, profile text, channel text, value text, country_code text)"
        )
        connection.executemany(
            "insert into vectors values (?, ?, ?, ?, ?)",
            [
                (number, profile_of(row), row["channel"], row["raw_value"], country)
                for row in vectors()
                for number, country in [
                    (row["number"], row["country_code"] or None),
                    (row["number"] + " with country", COUNTRIES.get(row["raw_value"])),
                ]
            ],
        )
        return {number: (text, key) for number, text, key in connection.execute(sql).fetchall()}


@pytest.mark.parametrize("row", parameters(follow=True))
def test_followed_vectors_agree(
    row: dict[str, str], rendered: dict[str, tuple[str | None, str | None]]
) -> None:
    """Rows with follow = yes: same text, same SHA-256, or refused by both."""
    text, key = rendered[row["number"]]
    if row["expected"] == "__REJECT__":
        assert text is None and key is None
    else:
        assert text == row["expected"]
        assert key == row["expected_sha256"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("row", parameters(follow=False))
def test_other_vectors_behave_as_remarked(
    row: dict[str, str], rendered: dict[str, tuple[str | None, str | None]]
) -> None:
    """Rows with follow = no: refused by us, or accepted once the record says the country."""
    assert rendered[row["number"]][0] == TRIMMED_BY_US.get(row["raw_value"])
    if row["raw_value"] in COUNTRIES:
        assert rendered[row["number"] + " with country"][0] == row["expected"]

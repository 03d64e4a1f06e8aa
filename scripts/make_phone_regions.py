"""Write seeds/policy/phone_regions.csv from libphonenumber's metadata (the PyPI package phonenumbers).

One row per region that libphonenumber knows, and one per calling code that belongs to no region
(international freephone, satellite networks). The SQL of macros/normalization.sql reads nothing
else about phone numbers. Run it after an upgrade of `phonenumbers` and review the difference.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import click
import phonenumbers
from phonenumbers import PhoneMetadata

COLUMNS = [
    "region_code",
    "calling_code",
    "is_main_region",
    "international_prefix",
    "national_prefix",
    "other_national_prefix",
    "possible_lengths",
]
DEFAULT_OUT = Path(__file__).parent.parent / "seeds" / "policy" / "phone_regions.csv"


def portable(pattern: str | None) -> str | None:
    """The pattern without backslashes, which Spark would take out of a string literal."""
    return re.sub(r"\\d", "[0-9]", pattern) if pattern else None


def national_prefixes(metadata: PhoneMetadata) -> list[str]:
    """What may be dialled before a national number, the two longest, longest first, its own before others.

    Only literal prefixes: parsing rules that rewrite the number (Argentine mobiles, island numbers
    without their area code) are left out, and tests/python/test_phone_numbers.py lists what that costs.
    """
    spelled_out = re.sub(r"(\d)(\d)\?", r"\1\2|\1", metadata.national_prefix_for_parsing or "")
    spelled_out = re.sub(r"\[(\d)(\d)\]", r"\1|\2", spelled_out)
    literals = [part for part in spelled_out.split("|") if part.isdigit() and len(part) < 6]
    prefixes = set(literals if re.fullmatch(r"[\d|]+", spelled_out) else [])
    if metadata.national_prefix:
        prefixes.add(metadata.national_prefix)
    return sorted(prefixes, key=lambda prefix: (-len(prefix), prefix != metadata.national_prefix))


def region_row(region: str, metadata: PhoneMetadata, is_main_region: bool) -> dict[str, object]:
    """One seed row. Lengths are those of national numbers; local-only lengths are left out."""
    first, second, *_ = [*national_prefixes(metadata), None, None]
    return {
        "region_code": region,
        "calling_code": metadata.country_code,
        "is_main_region": str(is_main_region).lower(),
        "international_prefix": portable(metadata.international_prefix),
        "national_prefix": first,
        "other_national_prefix": second,
        "possible_lengths": "|".join(str(n) for n in metadata.general_desc.possible_length),
    }


def rows() -> Iterator[dict[str, object]]:
    """Regions by code, then the calling codes without a region, as `001-<calling code>`."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        metadata = PhoneMetadata.metadata_for_region(region)
        main_region = phonenumbers.region_code_for_country_code(metadata.country_code)
        yield region_row(region, metadata, is_main_region=region == main_region)
    for calling_code in sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS):
        metadata = PhoneMetadata.metadata_for_nongeo_region(calling_code)
        yield region_row(f"001-{calling_code}", metadata, is_main_region=True)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=False)
def main(out: Path) -> None:
    """Write the seed and say what was written."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows())
    click.echo(f"{out.name}: written from phonenumbers {phonenumbers.__version__}")


if __name__ == "__main__":
    main()

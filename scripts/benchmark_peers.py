"""What scripts/benchmark.py times beside our models, each in a process of its own, on the same files.

\b
    python scripts/benchmark_peers.py NAME DATA OUT ANSWER

NAME is one of ungated, polars, splink, postgres and spark; DATA a folder that scripts/generate.py wrote; OUT
a folder for what it makes, where it leaves members.parquet; ANSWER the file for its seconds of work, which
are those from opening the inputs to having all members, without imports and the writing of members.parquet.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import duckdb
from generate import AS_OF

ROOT = Path(__file__).parents[1]

# What a team writes who joins lists to every identifier on an account. A number without a digit or an
# address without an at sign is nobody's key: were placeholders ("not given", "unknown") keys like any other,
# they would all meet each other, and the join would be slow for rows that no honest matcher would return
UNGATED_KEYS = """
    create view contact_keys as
    select contact_id, user_id, channel, sha256(case
        when channel = 'phone' then '+' || nullif(ltrim(regexp_replace(value, '[^0-9]', '', 'g'), '0'), '')
        when value like '%@%' then lower(trim(value))
    end) as match_key
    from '{data}/raw_contacts.parquet';

    create view entry_keys as
    select lists.list_id, entries.upload_id, entries.row_number, entries.channel, case
        when lists.is_hashed then lower(entries.identifier)
        when entries.channel = 'phone'
            then sha256('+' || nullif(ltrim(regexp_replace(entries.identifier, '[^0-9]', '', 'g'), '0'), ''))
        when entries.identifier like '%@%' then sha256(lower(trim(entries.identifier)))
    end as match_key
    from '{data}/raw_list_entries.parquet' as entries
    inner join '{data}/raw_list_uploads.parquet' as uploads on entries.upload_id = uploads.upload_id
    inner join '{data}/raw_audience_lists.parquet' as lists on uploads.list_id = lists.list_id
    where uploads.operation <> 'remove'
"""
UNGATED = """
    create table audience as
    select distinct entry_keys.list_id, contact_keys.user_id
    from entry_keys
    inner join contact_keys
        on entry_keys.channel = contact_keys.channel and entry_keys.match_key = contact_keys.match_key
"""


def ungated(data: Path, out: Path) -> float:
    """The shortest honest DuckDB SQL: (list_id, user_id) in a table of a new file."""
    with duckdb.connect(str(out / "ungated.duckdb"), config={"threads": 2}) as connection:
        started = time.monotonic()
        connection.execute(UNGATED_KEYS.format(data=data))
        connection.execute(UNGATED)
        seconds = time.monotonic() - started
        connection.execute(f"copy audience to '{out}/members.parquet'")
    return seconds


def splink(data: Path, out: Path) -> float:
    """Deterministic linking by Splink on the keys of the ungated join: the same (list_id, user_id).

    As its documentation says: one table for each side, a blocking rule strict enough for true links only.
    """
    from splink import Linker, SettingsCreator, block_on
    from splink.backends.duckdb import DuckDBAPI

    with duckdb.connect(str(out / "splink.duckdb"), config={"threads": 2}) as connection:
        started = time.monotonic()
        connection.execute(UNGATED_KEYS.format(data=data))
        connection.execute("""
            create table contacts as
            select contact_id as unique_id, user_id as owner, channel, match_key from contact_keys;
            create table entries as
            select upload_id || '/' || row_number as unique_id, list_id as owner, channel, match_key
            from entry_keys
        """)
        settings = SettingsCreator(
            link_type="link_only",
            blocking_rules_to_generate_predictions=[block_on("channel", "match_key")],
            additional_columns_to_retain=["owner"],
        )
        api = DuckDBAPI(connection)
        tables = [api.register(name, dataset_display_name=name) for name in ("contacts", "entries")]
        links = Linker(tables, settings, log_level="ERROR").inference.deterministic_link().physical_name
        connection.execute(
            f"create table audience as select distinct owner_r as list_id, owner_l as user_id from {links}"
        )
        seconds = time.monotonic() - started
        connection.execute(f"copy audience to '{out}/members.parquet'")
    return seconds


def polars(data: Path, out: Path) -> float:
    """DESIGN 4.1 to 4.4 in Polars, lazy, by its streaming engine: (list_id, advertiser_id, user_id).

    As far as generated inputs exercise them: every number carries its calling code and is North American, no
    address has a dot, a plus sign or a letter that folds. So this does less than our models do, who also
    give reports, decisions and moments; it is measured for what it leaves out.
    """
    import polars as pl
    import polars_hash as plh

    as_of = pl.lit(AS_OF).str.to_datetime(time_zone="UTC")

    def table(name: str) -> pl.LazyFrame:
        return pl.scan_parquet(data / f"raw_{name}.parquet")

    def has_come(moment: str) -> pl.Expr:
        return (pl.col(moment) <= as_of).fill_null(False)

    def is_open(moment: str) -> pl.Expr:
        return (pl.col(moment) > as_of).fill_null(True)

    def sha256(column: str) -> pl.Expr:
        return plh.col(column).chash.sha2_256()

    def normalized(column: str) -> pl.Expr:
        """Section 4.2, null where invalid; a number as its digits, without `+`."""
        text = pl.col(column).str.strip_chars(" \t\n\u00a0\u200b\u200d\ufeff")
        address = text.str.to_lowercase()
        digits = text.str.replace("^00", "+").str.replace_all(r"[ ()-]", "")
        return (
            pl.when(pl.col("channel") == "phone")
            .then(pl.when(digits.str.contains(r"^\+1[2-9][0-9]{9}$")).then(digits.str.slice(1)))
            .when(address.str.contains(r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$") & (address.str.len_chars() <= 254))
            .then(address)
        )

    def rendered(values: pl.LazyFrame) -> pl.LazyFrame:
        """Keys of normalized values: an address has one, a number one with `+` and one without."""
        with_plus = values.filter(channel="phone").with_columns(value=pl.lit("+") + pl.col("value"))
        keyed = values.with_columns(has_plus=False), with_plus.with_columns(has_plus=True)
        return pl.concat(keyed).with_columns(match_key=sha256("value"))

    started = time.monotonic()
    # --- 4.1: contacts accepted for a data use
    purposes = pl.scan_csv(ROOT / "seeds/policy/purposes.csv").filter("is_assignable")
    contacts = table("contacts").with_columns(value=normalized("value"))
    known = purposes.filter(pl.col("purpose_class") != "unknown").select(
        "purpose", "purpose_class", "is_usable_for_matching", "is_protective"
    )
    contacts = contacts.join(known, on="purpose", how="left")
    usable = contacts.filter(
        "is_usable_for_matching",
        pl.col("purpose_class") != "security",
        has_come("collected_at"),
        is_open("removed_at"),
        has_come("verified_at"),
        pl.col("value").is_not_null(),
    )
    protective = contacts.filter(
        pl.col("is_protective").fill_null(True), has_come("collected_at") | pl.col("collected_at").is_null()
    )
    adults = table("users").filter(pl.col("account_status") == "active", "is_adult")
    suppressions = (
        table("suppressions")
        .filter(has_come("added_at") | pl.col("added_at").is_null())
        .with_columns(value=normalized("value"))
    )
    clear = (
        usable.join(protective, on=["user_id", "value"], how="anti")
        .join(adults, on="user_id", how="semi")
        .join(suppressions.filter(pl.col("advertiser_id").is_null()), on="value", how="anti")
    )
    # the winning event of a user and data use: latest, denials first, then the earliest end
    consents = (
        table("consent_events")
        .filter(has_come("occurred_at"), has_come("recorded_at"))
        .with_columns(is_granted=(pl.col("status") == "granted").fill_null(False))
        .sort(
            "occurred_at",
            "recorded_at",
            "is_granted",
            "expires_at",
            "consent_event_id",
            descending=[True, True, False, False, False],
            nulls_last=True,
        )
        .unique(["user_id", "data_use"], keep="first")
        .filter("is_granted", is_open("expires_at"))
    )
    kinds = pl.scan_csv(ROOT / "seeds/policy/list_kinds.csv").select("list_kind", "data_use")
    covers = (pl.col("data_use") == pl.col("purpose")) | pl.col("data_use").str.starts_with(
        pl.col("purpose") + "."
    )
    accepted = (
        clear.join(kinds, how="cross")
        .filter(covers)
        .join(consents, on=["user_id", "data_use"], how="semi")
        .select("user_id", "channel", "value", "list_kind")
    )
    contact_keys = rendered(accepted.with_columns(block_key=pl.col("value")))

    # --- 4.4: lists whose audiences may have members, and their current entries
    lists = table("audience_lists").filter(
        has_come("created_at"), is_open("expires_at"), has_come("lawful_basis_attested_at")
    )
    advertisers = table("advertisers").filter(pl.col("status") == "active", has_come("terms_accepted_at"))
    partners = table("partners").filter(pl.col("status") == "active")
    licences = table("partner_licences").filter(
        has_come("starts_at"), is_open("ends_at"), is_open("revoked_at")
    )
    licensed = (
        lists.filter(list_kind="partner")
        .drop("advertiser_id")
        .join(partners, on="partner_id", how="semi")
        .join(licences, on=["list_id", "partner_id"])
    )
    audiences = (
        pl.concat(
            frame.select("list_id", "advertiser_id")
            for frame in (lists.filter(list_kind="tailored"), licensed)
        )
        .unique()
        .join(advertisers, on="advertiser_id", how="semi")
    )
    uploads = (
        table("list_uploads")
        .filter(has_come("uploaded_at"))
        .sort("uploaded_at", "upload_id")
        .with_columns(position=pl.int_range(1, pl.len() + 1).over("list_id"))
    )
    emptied = (
        uploads.filter(pl.col("operation").is_in(["replace", "remove_all"]))
        .group_by("list_id")
        .agg(emptied_at=pl.col("position").max())
    )
    entries = table("list_entries").join(uploads, on="upload_id").join(lists, on="list_id")
    text = pl.col("identifier").str.strip_chars()
    from_base64 = text.str.decode("base64", strict=False).bin.encode("hex")
    sentinels = pl.scan_csv(ROOT / "seeds/policy/sentinel_hashes.csv")
    hashed = (
        entries.filter("is_hashed")
        .with_columns(
            match_key=pl.when(text.str.contains("^[0-9a-fA-F]{64}$"))
            .then(text.str.to_lowercase())
            .when(text.str.contains("^[A-Za-z0-9+/]{43}=$"))
            .then(from_base64)
        )
        .drop_nulls("match_key")
        .join(sentinels, on="match_key", how="anti")
    )
    wants_plus = (pl.col("channel") == "phone") & (pl.col("normalization_profile") != "meta")
    plain = (
        entries.filter(~pl.col("is_hashed"))
        .with_columns(value=normalized("identifier"))
        .drop_nulls("value")
        .with_columns(value=pl.when(wants_plus).then("+" + pl.col("value")).otherwise("value"))
        .with_columns(match_key=sha256("value"))
    )
    columns = ["list_id", "list_kind", "channel", "match_key", "has_plus"]
    parts = [
        frame.with_columns(has_plus=wants_plus).select(
            *columns, "operation", "position", "uploaded_at", "membership_days"
        )
        for frame in (hashed, plain)
    ]
    is_added = pl.col("operation").is_in(["append", "replace"])
    ends_at = pl.col("last_added_at") + pl.duration(days=pl.col("membership_days"))
    current = (
        pl.concat(parts)
        .group_by(columns)
        .agg(
            added_at=pl.col("position").filter(is_added).max(),
            last_added_at=pl.col("uploaded_at").filter(is_added).max(),
            removed_at=pl.col("position").filter(pl.col("operation") == "remove").max(),
            membership_days=pl.col("membership_days").first(),
        )
        .join(emptied, on="list_id", how="left")
        .filter(
            pl.col("added_at") >= pl.col("emptied_at").fill_null(0),
            pl.col("added_at") > pl.col("removed_at").fill_null(0),
            (ends_at > as_of).fill_null(True),
        )
    )
    matches = current.join(contact_keys, on=["list_kind", "channel", "match_key", "has_plus"])
    members = (
        matches.join(audiences, on="list_id")
        .join(
            suppressions.drop_nulls("advertiser_id"),
            left_on=["advertiser_id", "block_key"],
            right_on=["advertiser_id", "value"],
            how="anti",
        )
        .select("list_id", "advertiser_id", "user_id")
        .unique()
        .collect(engine="streaming")
    )
    seconds = time.monotonic() - started
    members.write_parquet(out / "members.parquet")
    return seconds


POSTGRES_TYPES = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


def postgres(data: Path, out: Path) -> float:
    """Our own models in PostgreSQL, from tables that are loaded before: (list_id, advertiser_id, user_id)."""
    import psycopg2
    from benchmark import RUN
    from postgres import server

    csv_file = out / "table.csv"
    with server() as variables:
        os.environ.update(variables)
        connection = psycopg2.connect("")
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("create schema landing")
        for file in sorted(data.glob("raw_*.parquet")):
            table = duckdb.from_parquet(str(file))
            kinds = [POSTGRES_TYPES[str(kind)] for kind in table.types]
            columns = ", ".join(f"{name} {kind}" for name, kind in zip(table.columns, kinds, strict=True))
            table.write_csv(str(csv_file), na_rep="\\N")
            cursor.execute(f"create table landing.{file.stem} ({columns})")
            with csv_file.open() as rows:
                cursor.copy_expert(
                    f"copy landing.{file.stem} from stdin (format csv, header, null '\\N')", rows
                )
            csv_file.unlink()
        cursor.execute("analyze")
        variables = {"input": "tables", "input_schema": "landing", "as_of": AS_OF}
        arguments = ["--target", "postgres", "--vars", json.dumps(variables), "--target-path", str(out)]
        for command in (["seed", "--select", "path:seeds/policy"], RUN):
            dbt = [str(Path(sys.executable).parent / "dbt"), "--quiet", *command, *arguments]
            subprocess.run(dbt, cwd=ROOT, check=True, stdout=sys.stderr)
        with csv_file.open("w") as rows:
            cursor.copy_expert(
                """copy (
                    select list_id, advertiser_id, user_id from marts.tailored_audience_members
                    union all
                    select list_id, advertiser_id, user_id from marts.partner_audience_members
                ) to stdout (format csv, header)""",
                rows,
            )
        connection.close()
    members = duckdb.read_csv(str(csv_file), all_varchar=True)
    members.write_parquet(str(out / "members.parquet"))
    return json.loads((out / "run_results.json").read_text())["elapsed_time"]


def spark(data: Path, out: Path) -> float:
    """Our own models in Spark within one process, from the files: (list_id, advertiser_id, user_id)."""
    import spark_cluster

    lake = out / "lake"
    with spark_cluster.spark(lake=lake) as in_process:
        seconds = spark_cluster.build(in_process, data, lake)
    # a table that was written once is what its files hold
    members = duckdb.sql(f"""
        select list_id, advertiser_id, user_id
        from read_parquet('{lake}/marts.db/*_audience_members/data/*.parquet', union_by_name = true)
    """)
    members.write_parquet(str(out / "members.parquet"))
    return seconds


BODIES: dict[str, Callable[[Path, Path], float]] = {
    "ungated": ungated,
    "polars": polars,
    "splink": splink,
    "postgres": postgres,
    "spark": spark,
}


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(list(BODIES)))
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("answer", type=click.Path(path_type=Path, dir_okay=False))
def main(name: str, data: Path, out: Path, answer: Path) -> None:
    """Run one of them and write down its seconds."""
    out.mkdir(parents=True)
    answer.write_text(str(BODIES[name](data.resolve(), out.resolve())))


if __name__ == "__main__":
    main()

"""Days of a small made-up platform, and the models of a build run on each of them without dbt.

`Platform` is the inputs of the public contract (DESIGN section 3) as they change from day to day: consents
granted, withdrawn, run out and recorded late, contacts added, removed and given for security too, uploads of
the four operations in and out of order, licences, advertisers and lists that come and go, opt-outs, erasures.
The same seed gives the same days.

`Replay` runs the SQL that dbt compiled, in the order of dbt's graph, in DuckDB in this process: a day costs
a second or two and not the half minute of a whole build.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import networkx
import oracle
import size_noise

FIRST_DAY = datetime(2026, 1, 1, 12, tzinfo=UTC)
USERS = 120
Row = oracle.Row


def as_of(day: int) -> datetime:
    """The moment for which the build of a day decides: its noon, UTC."""
    return FIRST_DAY + timedelta(days=day)


def moment_text(moment: datetime) -> str:
    """A moment as var `as_of` and the CSV files write it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class Platform:
    """The input tables of one day, as an oracle's world, and the chance that moves them on."""

    world: oracle.World
    chance: random.Random = field(default_factory=lambda: random.Random(20191008))
    day: int = 0
    erased: list[str] = field(default_factory=list)
    made: int = 0

    @classmethod
    def on_its_first_day(cls, world: oracle.World) -> Platform:
        """Users, contacts, consents and lists of day 0; `world` brings the policy."""
        platform = cls(world)
        platform._open()
        return platform

    def move_on(self) -> None:
        """The inputs of the next day."""
        self.day += 1
        for _ in range(3):
            self._sign_up(self._now())
            self._consent(self._user(), "granted", days=self.chance.choice([2, 5, 20, None]))
        for _ in range(2):
            self._consent(self._user(), "denied")
            self._remove_contact()
            self._contact(self._user(), self.chance.choice(["ads.audience_matching", "marketing.email"]))
        if self.day % 2:
            self._protect(self._user())
            self._set_status("active", "deactivated")
        else:
            self._suppress(self._user(), self.chance.choice([None, "a1", "a2", "a3"]))
            self._set_status("deactivated", "active")
        for list_id in self.chance.sample(["l1", "l2", "l3", "l4", "l5"], 2):
            operation = self.chance.choices(["append", "remove", "replace", "remove_all"], [6, 3, 2, 0.3])[0]
            self._upload(list_id, operation)
        if self.day % 4 == 1:
            self._erase(self._user())
        self._turn_of_events()

    def write(self, folder: Path) -> None:
        """The inputs as CSV files."""
        folder.mkdir(parents=True, exist_ok=True)
        for table, columns in oracle.TABLES.items():
            if table in oracle.OPTIONAL_TABLES:
                continue
            with (folder / f"{table}.csv").open("w", newline="") as handle:
                writer = csv.writer(handle)
                writer.writerow(columns)
                for row in getattr(self.world, table):
                    writer.writerow([_cell(row.get(column)) for column in columns])

    # --- what happens ---------------------------------------------------------------------------

    def _now(self) -> datetime:
        """Some moment since the build of the day before."""
        return as_of(self.day) - timedelta(seconds=self.chance.randrange(1, 86_000))

    def _id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}-{self.made:06}"

    def _user(self) -> str:
        return self.chance.choice(self.world.raw_users)["user_id"]

    def _contacts_of(self, user_id: str) -> list[Row]:
        return [row for row in self.world.raw_contacts if row["user_id"] == user_id]

    def _open(self) -> None:
        long_ago = as_of(0) - timedelta(days=100)
        for _ in range(USERS):
            self._sign_up(long_ago)
        for advertiser in ("a1", "a2", "a3", "a4"):
            self.world.raw_advertisers.append(
                {
                    "advertiser_id": advertiser,
                    "name": advertiser,
                    "status": "active",
                    "terms_accepted_at": long_ago,
                }
            )
        for partner in ("p1", "p2"):
            self.world.raw_partners.append({"partner_id": partner, "name": partner, "status": "active"})
        for list_id, owner, profile, is_hashed, membership_days, last_day in (
            ("l1", "a1", "x", False, 12, None),
            ("l2", "a2", "meta", True, None, None),
            ("l3", "p1", "google", False, None, None),
            ("l4", "a3", "uid2", False, 30, 40),
            ("l5", "p2", "x", True, 25, None),
        ):
            kind = "tailored" if owner.startswith("a") else "partner"
            self.world.raw_audience_lists.append(
                {
                    "list_id": list_id,
                    "list_kind": kind,
                    "advertiser_id": owner if kind == "tailored" else None,
                    "partner_id": owner if kind == "partner" else None,
                    "name": list_id,
                    "normalization_profile": profile,
                    "is_hashed": is_hashed,
                    "membership_days": membership_days,
                    "created_at": long_ago,
                    "expires_at": last_day and as_of(last_day),
                    "lawful_basis_attested_at": long_ago,
                }
            )
            self._upload(list_id, "append", share=0.8)
        self._license("l3", "p1", "a1", days=None)
        self._license("l3", "p1", "a2", days=25)
        self._license("l5", "p2", "a4", days=None)
        self._suppress(self._user(), None)

    def _sign_up(self, moment: datetime) -> None:
        """A user with an address for ads, some with a number for ads or for security, most with consent."""
        user_id = self._id("sim-user")
        self.world.raw_users.append(
            {
                "user_id": user_id,
                "country_code": self.chance.choice(["US", "US", "CA", None]),
                "is_adult": self.chance.random() > 0.03,
                "account_status": "active",
                "created_at": moment,
            }
        )
        self._contact(user_id, "ads.audience_matching", moment)
        purpose = self.chance.choice(["ads.audience_matching.tailored", "security.two_factor", None])
        if purpose:
            self._contact(user_id, purpose, moment, channel="phone")
        for data_use in oracle.MATCHING_USES:
            if self.chance.random() < 0.9:
                self._consent(user_id, "granted", data_use, moment, self.chance.choice([None, None, 130]))

    def _turn_of_events(self) -> None:
        """What happens once, on its day."""
        licence = self.world.raw_partner_licences[0]
        lists = {row["list_id"]: row for row in self.world.raw_audience_lists}
        if self.day == 15:
            licence["revoked_at"] = self._now()
        elif self.day == 22:
            self._license("l3", "p1", "a1", days=60)
        elif self.day in (30, 33):
            self.world.raw_partners[1]["status"] = "suspended" if self.day == 30 else "active"
        elif self.day in (35, 37):
            self.world.raw_advertisers[1]["status"] = "suspended" if self.day == 35 else "active"
        elif self.day == 45:
            lists["l4"]["expires_at"] = None
        elif self.day == 50:
            lists["l5"]["partner_id"] = "p1"
            self.world.raw_partner_licences[2]["partner_id"] = "p1"
        elif self.day == 52:
            # a list of which few rows are left in the input, so that it falls below the minimum
            uploads = {row["upload_id"] for row in self.world.raw_list_uploads if row["list_id"] == "l2"}
            self.world.raw_list_entries[:] = [
                row
                for row in self.world.raw_list_entries
                if row["upload_id"] not in uploads or row["row_number"] <= 5
            ]

    def _contact(
        self, user_id: str, purpose: str, moment: datetime | None = None, channel: str = "email"
    ) -> None:
        contact_id = self._id("contact")
        if channel == "email":
            value = f"person.{self.made}@example.{self.chance.choice(['com', 'org', 'net'])}"
        else:
            value = f"+1{200 + self.made // 100 % 700}55501{self.made % 100:02}"
        collected_at = moment or self._now()
        self.world.raw_contacts.append(
            {
                "contact_id": contact_id,
                "user_id": user_id,
                "channel": channel,
                "value": value,
                "purpose": purpose,
                "collected_at": collected_at,
                "verified_at": collected_at,
                "removed_at": None,
            }
        )

    def _consent(
        self,
        user_id: str,
        status: str,
        data_use: str | None = None,
        moment: datetime | None = None,
        days: int | None = None,
    ) -> None:
        """One event; some were decided days ago and only now known, some will only be known tomorrow."""
        occurred_at = moment or self._now()
        recorded_at = occurred_at
        late = self.chance.random()
        if moment is None and late < 0.3:
            occurred_at -= timedelta(days=self.chance.choice([1, 3]))
        elif moment is None and late < 0.5:
            recorded_at += timedelta(days=1)
        self.world.raw_consent_events.append(
            {
                "consent_event_id": self._id("consent"),
                "user_id": user_id,
                "data_use": data_use or self.chance.choice(oracle.MATCHING_USES),
                "status": status,
                "occurred_at": occurred_at,
                "recorded_at": recorded_at,
                "expires_at": days and occurred_at + timedelta(days=days),
            }
        )
        self.chance.shuffle(self.world.raw_consent_events)

    def _remove_contact(self) -> None:
        contact = self.chance.choice(self.world.raw_contacts)
        if self.chance.random() < 0.3:
            self.world.raw_contacts.remove(contact)
        elif contact["removed_at"] is None:
            contact["removed_at"] = max(self._now(), contact["collected_at"])

    def _protect(self, user_id: str) -> None:
        """The user gives a value that is behind their memberships for two-factor authentication, too."""
        own = [row for row in self._contacts_of(user_id) if row["channel"] == "email"]
        if own:
            self._contact(user_id, "security.two_factor")
            self.world.raw_contacts[-1]["value"] = own[0]["value"].upper()

    def _suppress(self, user_id: str, advertiser_id: str | None) -> None:
        own = self._contacts_of(user_id)
        if own:
            self.world.raw_suppressions.append(
                {
                    "suppression_id": self._id("suppression"),
                    "channel": own[0]["channel"],
                    "value": own[0]["value"],
                    "advertiser_id": advertiser_id,
                    "added_at": self._now(),
                }
            )

    def _set_status(self, old: str, new: str) -> None:
        user = self.chance.choice([row for row in self.world.raw_users if row["account_status"] == old])
        user["account_status"] = new

    def _erase(self, user_id: str) -> None:
        """The user is deleted from every input."""
        self.erased.append(user_id)
        for table in oracle.TABLES:
            rows = getattr(self.world, table)
            rows[:] = [row for row in rows if row.get("user_id") != user_id]

    def _license(self, list_id: str, partner_id: str, advertiser_id: str, days: int | None) -> None:
        starts_at = as_of(self.day) - timedelta(hours=1)
        self.world.raw_partner_licences.append(
            {
                "licence_id": self._id("licence"),
                "partner_id": partner_id,
                "advertiser_id": advertiser_id,
                "list_id": list_id,
                "starts_at": starts_at,
                "ends_at": days and starts_at + timedelta(days=days),
                "revoked_at": None,
                "allowed_data_uses": "ads.audience_matching.partner",
            }
        )

    def _upload(self, list_id: str, operation: str, share: float | None = None) -> None:
        """Rows of some contacts, whatever they were given for; some uploads arrive two days late."""
        (audience_list,) = [row for row in self.world.raw_audience_lists if row["list_id"] == list_id]
        upload_id = self._id("upload")
        late = timedelta(days=2) if share is None and self.chance.random() < 0.2 else timedelta()
        self.world.raw_list_uploads.append(
            {
                "upload_id": upload_id,
                "list_id": list_id,
                "operation": operation,
                "uploaded_at": self._now() - late,
            }
        )
        share = share or {"append": 0.3, "remove": 0.1, "replace": 0.7, "remove_all": 0}[operation]
        contacts = [row for row in self.world.raw_contacts if self.chance.random() < share]
        for row_number, contact in enumerate(contacts, start=1):
            value = contact["value"].lower()
            if audience_list["is_hashed"]:
                plain = value.lstrip("+") if audience_list["normalization_profile"] == "meta" else value
                value = hashlib.sha256(plain.encode()).hexdigest()
            self.world.raw_list_entries.append(
                {
                    "upload_id": upload_id,
                    "row_number": row_number,
                    "channel": contact["channel"],
                    "identifier": value,
                    "country_code": None,
                }
            )


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return moment_text(value)
    return value


@dataclass
class Replay:
    """The compiled models of one build, run again on other inputs and moments, in memory."""

    manifest: dict[str, dict[str, Row]]
    moment: str
    inputs: Path
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)

    @classmethod
    def of_build(cls, project_path: Path, moment: str, inputs: Path) -> Replay:
        """What `dbt build` compiled in a project with this `as_of` and `input_path`, and its policy.

        The build must have had a state to start from, or its SQL would read none.
        """
        manifest = json.loads((project_path / "target" / "manifest.json").read_text())
        replay = cls(manifest, moment, inputs)
        replay.connection.execute(
            "attach ':memory:' as warehouse; use warehouse; set timezone = 'UTC'; set threads = 1"
        )
        replay.connection.execute(
            f"attach '{project_path / 'build' / 'warehouse.duckdb'}' as built (read_only)"
        )
        size_noise.Plugin.create("size_noise").configure_connection(replay.connection)
        replay._create_schemas()
        return replay

    def _create_schemas(self) -> None:
        nodes = [*self.manifest["nodes"].values(), *self.manifest["sources"].values()]
        for schema in sorted({node["schema"] for node in nodes if node["resource_type"] != "test"}):
            self.connection.execute(f"create schema if not exists {schema}")
        for node in nodes:
            name = f"{node['schema']}.{node.get('alias', node['name'])}"
            if node["resource_type"] == "seed" and node["schema"] == "policy":
                self.connection.execute(f"create table {name} as from built.{name}")
            elif node["schema"] == "state":
                self.connection.execute(f"create table {name} ({_columns(node)})")

    def models(self, *schemas: str) -> list[Row]:
        """The models of these schemas and whatever they rest on, parents first."""
        nodes = self.manifest["nodes"]
        models = {key: node for key, node in nodes.items() if node["resource_type"] == "model"}
        graph = networkx.DiGraph(
            (parent, child)
            for child, node in models.items()
            for parent in node["depends_on"]["nodes"]
            if parent in models
        )
        last = {key for key, node in models.items() if node["schema"] in schemas}
        return [
            models[key]
            for key in networkx.lexicographical_topological_sort(graph)
            if key in last or any(networkx.has_path(graph, key, target) for target in last)
        ]

    def read(self, inputs: Path) -> None:
        """Take the inputs of a day from CSV files, by the views that the run's start made over them."""
        for name, view in self.query(
            "select schema_name || '.' || view_name, sql from duckdb_views()"
            " where database_name = 'built' and schema_name = 'input_views'"
        ):
            _, _, select = view.replace(str(self.inputs), str(inputs)).partition(" AS ")
            self.connection.execute(f"create or replace table {name} as {select}")

    def take(self, world: oracle.World) -> None:
        """Take a world's rows in place of the bundled sample, and its policy."""
        schemas = {node["name"]: node["schema"] for node in self.manifest["nodes"].values()}
        for source in self.manifest["sources"].values():
            columns = source["columns"]
            typed = ", ".join(
                f"cast({name} as {column['data_type']}) as {name}" for name, column in columns.items()
            )
            self._load(
                f"{schemas[source['name']]}.{source['name']}",
                getattr(world, source["name"]),
                list(columns),
                typed,
            )
        self._load(
            "policy.consent_rules", world.consent_rules, ["country_code", "data_use", "choice_model"], "*"
        )
        for setting, value in (
            ("dual_purpose_policy", world.dual_purpose_policy),
            ("min_audience_size", str(world.min_audience_size)),
        ):
            self.connection.execute(
                "update policy.audience_policy set value = ? where setting = ?", [value, setting]
            )

    def _load(self, name: str, rows: list[Row], columns: list[str], selected: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            for row in rows:
                file.write(json.dumps({column: row.get(column) for column in columns}, default=str) + "\n")
            file.flush()
            types = ", ".join(f"{column}: 'varchar'" for column in columns)
            self.connection.execute(
                f"create or replace table {name} as select {selected}"
                f" from read_json('{file.name}', format = 'newline_delimited', columns = {{{types}}})"
            )

    def build(self, moment: str, *schemas: str) -> None:
        """Run for this moment the models of these schemas and what they rest on: by default, of the state."""
        for model in self.models(*schemas or ("state",)):
            name = f"{model['schema']}.{model['alias']}"
            self.connection.execute(f"create or replace table {name} as {self._sql(model, moment)}")

    def breaches(self, guard: str, moment: str) -> list[tuple[object, ...]]:
        """The rows that a data test of the project returns."""
        (node,) = [node for node in self.manifest["nodes"].values() if node["name"] == guard]
        return self.query(self._sql(node, moment))

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Rows of a query."""
        return self.connection.execute(sql).fetchall()

    def _sql(self, node: Row, moment: str) -> str:
        return node["compiled_code"].replace(f"'{self.moment}+00:00'", f"'{moment}+00:00'")


def _columns(node: Row) -> str:
    return ", ".join(f"{name} {entry['data_type']}" for name, entry in node["columns"].items())

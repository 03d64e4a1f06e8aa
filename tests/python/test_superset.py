"""The Superset bundle: its charts show what is published, and its connection reaches nothing else.

The tests that need Superset itself (marker superset) start one, import the bundle, and look at it as an
analyst does: in Chromium and in SQL Lab.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest
import superset_bundle
import yaml
from click.testing import CliRunner, Result
from conftest import ROOT, Project
from publishing import Build

Json = dict[str, Any]
ENVIRONMENT = ROOT / ".venv" / "superset"
PASSWORD = secrets.token_hex(16)

FIGURES = {
    "Decided as of": "select max(as_of) from published.consent_funnel",
    "Consent funnel": """
        select data_use, decision, sum(contacts) from published.consent_funnel
        where contacts is not null group by all
    """,
    "Refused contacts by reason": """
        select decision, data_use, channel, contacts from published.consent_funnel
        where decision <> 'accepted' and contacts is not null
    """,
    "Uploaded rows by what became of them": """
        select reason, sum(entries) from published.list_reports where entries is not null group by all
    """,
    "Audiences by status and kind": """
        select list_status, list_kind, count(*) from published.audiences group by all
    """,
    "Published sizes": """
        select list_id || ' for ' || advertiser_id, list_kind, reported_size from published.audiences
        where reported_size is not null
    """,
}
"""What each chart must show, by its title."""

READ = [
    "select * from read_text('{manifest}')",
    "select * from read_csv('{seed}')",
    "select * from read_parquet('{delivery}.parquet')",
    "select * from '{delivery}.parquet'",
    "select * from glob('{manifest}')",
    "select * from query('select * from read_text(''{manifest}'')')",
    "attach '{warehouse}' as warehouse (read_only)",
]
"""Ways to read another file; each works on a connection that is not locked."""

CHANGE = [
    "create table published.planted as select 1 as planted",
    "delete from published.audiences",
    "update published.audiences set reported_size = 1",
    "drop table published.audiences",
    "copy published.audiences to '{folder}/copy.csv'",
    "copy published.audiences to '{folder}/copy.parquet'",
    "set enable_external_access = true",
    "reset enable_external_access",
    "set lock_configuration = false",
    "select 1; set enable_external_access = true; select * from read_text('{manifest}')",
    "install httpfs",
    "load httpfs",
]
"""Ways to change what is published, to write elsewhere, or to take the locks off."""

DRAWN = """plots => {
    const drawn = [...document.querySelectorAll("canvas")].filter(canvas => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(pixels.data.buffer)).size > 100;
    });
    return drawn.length === plots;
}"""
"""Whether so many plots are drawn: an empty one has a single colour."""

REFUSED_BY_DUCKDB = (
    "file system operations are disabled|configuration has been locked|attached in read-only mode|"
    "Loading external extensions is disabled"
)


@dataclass
class Place:
    """A build, its generation as BI sees it, and the bundle that is made of them."""

    manifest: Path
    generation: Path
    warehouse: Path
    seed: Path
    folder: Path

    @property
    def out(self) -> Path:
        """The bundle."""
        return self.folder / "superset.zip"

    def run(self, manifest: Path | None = None) -> Result:
        """Run the script."""
        paths = ["--manifest", manifest or self.manifest, "--generation", self.generation, "--out", self.out]
        return CliRunner().invoke(superset_bundle.main, [str(path) for path in paths])

    def bundle(self) -> dict[str, Json]:
        """The assets in the bundle, by path without its first folder."""
        answer = self.run()
        assert answer.exit_code == 0, answer.output
        with zipfile.ZipFile(self.out) as bundle:
            return {name.partition("/")[2]: yaml.safe_load(bundle.read(name)) for name in bundle.namelist()}

    def statements(self, templates: list[str]) -> list[str]:
        """Statements with the paths of this place in them; every file that they name is there."""
        paths = {
            "manifest": self.manifest,
            "seed": self.seed,
            "warehouse": self.warehouse,
            "delivery": self.generation.resolve() / "delivery" / "membership_changes",
            "folder": self.folder,
        }
        assert all(path.exists() or path.with_suffix(".parquet").is_file() for path in paths.values())
        return [template.format(**paths) for template in templates]

    def figures(self) -> dict[str, set[tuple[object, ...]]]:
        """What each chart must show, from the published file."""
        with duckdb.connect(str(self.generation / "bi.duckdb"), read_only=True) as bi:
            bi.execute("set timezone = 'UTC'")
            return {title: set(bi.execute(sql).fetchall()) for title, sql in FIGURES.items()}


@pytest.fixture(scope="module")
def place(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What the publisher makes of the sample as far as the bundle needs it, without its audit."""
    folder = tmp_path_factory.mktemp("bundle")
    generation = folder / "generation"
    (generation / "delivery").mkdir(parents=True)
    relations: dict[str, Json] = {}
    with duckdb.connect(str(generation / "bi.duckdb")) as bi:
        bi.execute(f"attach '{sample.warehouse}' as warehouse (read_only)")
        bi.execute("create schema published")
        for schema, table in bi.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_catalog = 'warehouse' and table_schema in ('published', 'delivery')"
        ).fetchall():
            rows = bi.sql(f"from warehouse.{schema}.{table}")
            relations[f"{schema}.{table}"] = {"columns": rows.columns}
            if schema == "published":
                bi.execute(f"create table published.{table} as from warehouse.published.{table}")
            else:
                rows.write_parquet(str(generation / "delivery" / f"{table}.parquet"))
    (generation / "publication.json").write_text(json.dumps({"relations": relations}))
    seed = sample.path / "seeds" / "sample" / "raw_users.csv"
    return Place(sample.path / "target" / "manifest.json", generation, sample.warehouse, seed, folder)


def of_kind(assets: dict[str, Json], kind: str) -> list[Json]:
    """The assets of one kind."""
    return [asset for path, asset in assets.items() if path.startswith(f"{kind}/")]


def test_same_bytes_whenever_it_is_made(place: Place) -> None:
    """Two runs write the same file; nothing in it has a time, and every asset a name of its own."""
    assets = place.bundle()
    first = place.out.read_bytes()
    place.bundle()
    assert place.out.read_bytes() == first
    with zipfile.ZipFile(place.out) as bundle:
        assert {member.date_time for member in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    names = [asset["uuid"] for asset in assets.values() if "uuid" in asset]
    assert len(set(names)) == len(names) == len(assets) - 1
    known = set(names)
    used = [
        asset[key] for asset in assets.values() for key in ("database_uuid", "dataset_uuid") if key in asset
    ]
    (dashboard,) = of_kind(assets, "dashboards")
    parts = [part for part in dashboard["position"].values() if isinstance(part, dict)]
    used += [part["meta"]["uuid"] for part in parts if part["type"] == "CHART"]
    assert set(used) <= known


def test_datasets_are_what_bi_may_read(place: Place) -> None:
    """Every published table and none that is delivered, described in every column as dbt does."""
    assets = place.bundle()
    datasets = {dataset["table_name"]: dataset for dataset in of_kind(assets, "datasets")}
    relations = json.loads((place.generation / "publication.json").read_text())["relations"]
    assert {f"published.{name}" for name in datasets} == {name for name in relations if "published." in name}
    assert any("delivery." in name for name in relations)
    manifest = json.loads(place.manifest.read_text())
    for name, dataset in datasets.items():
        node = manifest["nodes"][f"model.consented_audiences.published_{name}"]
        assert (dataset["schema"], dataset["description"]) == ("published", node["description"].strip())
        described = {column["column_name"]: column["description"] for column in dataset["columns"]}
        assert {column: described[column] for column in node["columns"]} == {
            column: about["description"] for column, about in node["columns"].items()
        }
        assert all(described.values())
    (dashboard,) = of_kind(assets, "dashboards")
    owner = manifest["exposures"]["exposure.consented_audiences.audience_reporting"]["owner"]
    assert owner["email"] in dashboard["description"]


def test_charts_show_the_figures(place: Place) -> None:
    """Each chart's own metric, columns and condition, run on the published file, give its figures."""
    assets = place.bundle()
    datasets = {dataset["uuid"]: dataset for dataset in of_kind(assets, "datasets")}
    shown = {}
    with duckdb.connect(str(place.generation / "bi.duckdb"), read_only=True) as bi:
        bi.execute("set timezone = 'UTC'")
        for chart in of_kind(assets, "charts"):
            dataset, params = datasets[chart["dataset_uuid"]], chart["params"]
            computed = {one["column_name"]: one.get("expression") for one in dataset["columns"]}
            metrics = {one["metric_name"]: one["expression"] for one in dataset["metrics"]}
            by = [params["x_axis"], *params["groupby"]] if "x_axis" in params else []
            by += params.get("groupbyRows", []) + params.get("groupbyColumns", [])
            (metric,) = params.get("metrics") or [params["metric"]]
            selected = ", ".join([*(computed[name] or name for name in by), metrics[metric]])
            conditions = [
                f"{one['subject']} {one['operator']} "
                + (f"'{one['comparator']}'" if "comparator" in one else "")
                for one in params.get("adhoc_filters", [])
            ]
            rows = bi.execute(
                f"select {selected} from {dataset['schema']}.{dataset['table_name']} "
                f"where {' and '.join(conditions) or 'true'} group by all"
            ).fetchall()
            shown[chart["slice_name"]] = {row for row in rows if row[-1] is not None}
    assert shown == place.figures()
    assert all(shown.values())


def test_descriptions_stand_in_the_warehouse(sample: Project) -> None:
    """Who opens the warehouse with any tool reads at every model and column what dbt says of it."""
    manifest = json.loads((sample.path / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    said = {(node["schema"], node["alias"], None): node["description"] for node in models}
    for node in models:
        for name, column in node["columns"].items():
            said[node["schema"], node["alias"], name] = column["description"]
    assert all(said.values())
    comments = sample.query(
        "select schema_name, table_name, null, comment from duckdb_tables() union all "
        "select schema_name, view_name, null, comment from duckdb_views() union all "
        "select schema_name, table_name, column_name, comment from duckdb_columns()"
    )
    found = {row[:-1]: row[-1] for row in comments}
    assert {what: found[what] for what in said} == said


def connect(place: Place) -> duckdb.DuckDBPyConnection:
    """A connection such as Superset opens by the bundle."""
    (database,) = of_kind(place.bundle(), "databases")
    file = database["sqlalchemy_uri"].removeprefix("duckdb:///")
    assert file == str(place.generation / "bi.duckdb")
    return duckdb.connect(file, **database["extra"]["engine_params"]["connect_args"])


def test_connection_is_locked(place: Place) -> None:
    """What is published can be read; nothing else, nothing can be changed, and the locks stay on."""
    with connect(place) as locked:
        for statement in place.statements([*READ, *CHANGE]):
            with pytest.raises(duckdb.Error, match=REFUSED_BY_DUCKDB):
                locked.execute(statement)
            assert locked.execute("select count(*) from published.audiences").fetchone()[0] > 0
    assert not list(place.folder.glob("copy.*"))


def test_unlocked_connection_would_reach_the_files(place: Place) -> None:
    """The twin: without the locks each of the reads works, so it is these that refuse them."""
    with duckdb.connect(str(place.generation / "bi.duckdb"), read_only=True) as unlocked:
        for statement in place.statements(READ):
            unlocked.execute(statement)
        assert unlocked.execute("select count(*) from warehouse.sample.raw_contacts").fetchone()[0] > 0


def reads_delivery(manifest: Json) -> None:
    """An exposure for BI that reads what is for the ad server."""
    exposure = manifest["exposures"]["exposure.consented_audiences.audience_reporting"]
    exposure["depends_on"]["nodes"].append("model.consented_audiences.delivery_membership_changes")


def other_columns(manifest: Json) -> None:
    """A model that has a column more than what was published."""
    columns = manifest["nodes"]["model.consented_audiences.published_audiences"]["columns"]
    columns["list_name"] = columns["list_id"] | {"name": "list_name"}


def no_table(manifest: Json) -> None:
    """An exposure that lacks a table of which there is a chart."""
    exposure = manifest["exposures"]["exposure.consented_audiences.audience_reporting"]
    exposure["depends_on"]["nodes"].remove("model.consented_audiences.published_list_reports")


def no_dashboard(manifest: Json) -> None:
    """No exposure is a dashboard."""
    manifest["exposures"]["exposure.consented_audiences.audience_reporting"]["type"] = "application"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reads_delivery, "exposure audience_reporting reads delivery.membership_changes"),
        (other_columns, "published.audiences: manifest and generation differ in the columns"),
        (no_table, "published.list_reports is not in the exposure"),
        (no_dashboard, "0 exposures of type dashboard instead of one"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused(place: Place, tmp_path: Path, change: Callable[[Json], None], message: str) -> None:
    """What BI may not read, and what is not there, is named, and nothing is written."""
    manifest = json.loads(place.manifest.read_text())
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    place.out.unlink(missing_ok=True)
    answer = place.run(tmp_path / "manifest.json")
    assert answer.exit_code == 1
    assert message in answer.output
    assert not place.out.exists()


def test_chart_of_a_column_that_is_gone(place: Place, tmp_path: Path) -> None:
    """A column that is in neither manifest nor generation any more is named with its chart."""
    manifest = json.loads(place.manifest.read_text())
    publication = json.loads((place.generation / "publication.json").read_text())
    del manifest["nodes"]["model.consented_audiences.published_audiences"]["columns"]["list_status"]
    publication["relations"]["published.audiences"]["columns"].remove("list_status")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "publication.json").write_text(json.dumps(publication))
    gone = Place(tmp_path / "manifest.json", tmp_path, place.warehouse, place.seed, tmp_path)
    answer = gone.run()
    assert answer.exit_code == 1
    assert "Audiences by status and kind: published.audiences has no list_status" in answer.output


def test_lock_is_that_of_the_group() -> None:
    """Every requirement of Superset's environment is pinned and hashed, as pyproject.toml says."""
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["superset"]
    lock = (ROOT / "scripts" / "requirements" / "superset.txt").read_text()
    pinned = re.findall(r"^(\S+?==\S+) \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.M)
    assert len(pinned) == len(re.findall(r"^[a-zA-Z]", lock, re.M)) > 100
    assert {name for name in group if "==" in name} <= set(pinned)
    assert {name.partition("==")[0] for name in group} <= {name.partition("==")[0] for name in pinned}


class Superset:
    """A running Superset with an administrator and an analyst, and what they ask of it."""

    def __init__(self, base: str, api: Any) -> None:
        """Log the administrator in."""
        self.base, self.api = base, api
        self.headers: dict[str, Json] = {}
        self.log_in("admin")

    def log_in(self, user: str) -> None:
        """Get a token for a user."""
        who = {"username": user, "password": PASSWORD, "provider": "db", "refresh": False}
        token = self.ask(user, "post", "/api/v1/security/login", data=who)["access_token"]
        self.headers[user] = {"Authorization": f"Bearer {token}", "Referer": self.base}
        self.headers[user]["X-CSRFToken"] = self.ask(user, "get", "/api/v1/security/csrf_token/")["result"]

    def call(self, user: str, method: str, path: str, **more: Any) -> Any:
        """A request of a user, and Superset's answer."""
        return getattr(self.api, method)(self.base + path, headers=self.headers.get(user), **more)

    def ask(self, user: str, method: str, path: str, **more: Any) -> Json:
        """The same where nothing may go wrong."""
        answer = self.call(user, method, path, **more)
        assert answer.ok, answer.text()
        return answer.json()

    def add_analyst(self) -> None:
        """A user who sees all data there is, and writes SQL, but administers nothing."""
        roles = self.ask("admin", "get", "/api/v1/security/roles/")["result"]
        user = {name: "analyst" for name in ("first_name", "last_name", "username")}
        user |= {"email": "analyst@example.com", "password": PASSWORD, "active": True}
        user["roles"] = [role["id"] for role in roles if role["name"] in ("Alpha", "sql_lab")]
        self.ask("admin", "post", "/api/v1/security/users/", data=user)
        self.log_in("analyst")

    def bring_in(self, bundle: Path) -> None:
        """Import a bundle over what is there."""
        file = {"name": bundle.name, "mimeType": "application/zip", "buffer": bundle.read_bytes()}
        self.ask("admin", "post", "/api/v1/assets/import/", multipart={"bundle": file})

    @property
    def database(self) -> int:
        """The number of the one database there is."""
        (database,) = self.ask("admin", "get", "/api/v1/database/")["result"]
        return database["id"]

    def alter_database(self, **settings: object) -> None:
        """Have the administrator change the connection."""
        self.ask("admin", "put", f"/api/v1/database/{self.database}", data=settings)

    def sql(self, statement: str) -> Any:
        """What the analyst gets for a statement in SQL Lab."""
        query = {"database_id": self.database, "sql": statement, "schema": "published", "runAsync": False}
        return self.call("analyst", "post", "/api/v1/sqllab/execute/", data=query)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server to answer, at most three minutes."""
    port = urlsplit(address).port
    for _ in range(360):
        assert process.poll() is None, log.read_text()[-5000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"no server at {address}: {log.read_text()[-5000:]}")


@pytest.fixture(scope="module")
def built(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The sample's build, published for real."""
    built = Build.of(sample, tmp_path_factory.mktemp("superset") / "built")
    answer = built.run()
    assert answer.exit_code == 0, answer.output
    return built


@pytest.fixture(scope="module")
def published(built: Build) -> Place:
    """The published generation, by the link that leads to each new one."""
    seed = built.project.path / "seeds" / "sample" / "raw_users.csv"
    current = built.publish_dir / "current"
    return Place(built.target / "manifest.json", current, built.warehouse, seed, built.folder)


@pytest.fixture(scope="module")
def superset(published: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    """A Superset on loopback, with metadata and keys of its own, into which the bundle was imported."""
    from playwright.sync_api import sync_playwright

    home = tmp_path_factory.mktemp("home")
    (home / "superset_config.py").write_text(
        f"SECRET_KEY = {secrets.token_hex(32)!r}\nSQLALCHEMY_DATABASE_URI = 'sqlite:///{home}/metadata.db'\n"
    )
    environment = os.environ | {
        "SUPERSET_CONFIG_PATH": str(home / "superset_config.py"),
        "SUPERSET_HOME": str(home),
        "FLASK_APP": "superset.app",
        "TZ": "UTC",
    }
    command = str(ENVIRONMENT / "bin" / "superset")
    admin = ["--username", "admin", "--firstname", "admin", "--lastname", "admin"]
    admin += ["--email", "admin@example.com", "--password", PASSWORD]
    log = home / "superset.log"
    with log.open("ab") as output:
        for arguments in (["db", "upgrade"], ["fab", "create-admin", *admin], ["init"]):
            subprocess.run([command, *arguments], env=environment, check=True, stdout=output, stderr=output)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [command, "run", "--host", "127.0.0.1", "--port", str(port), "--with-threads"],
            env=environment,
            stdout=output,
            stderr=output,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(base, server, log)
        with sync_playwright() as playwright:
            api = playwright.request.new_context(timeout=120_000)
            started = Superset(base, api)
            started.add_analyst()
            published.bundle()
            started.bring_in(published.out)
            started.playwright = playwright
            yield started
            api.dispose()
    finally:
        server.terminate()
        server.wait(timeout=60)


def shown_by(chart: Json, rows: list[Json]) -> set[tuple[object, ...]]:
    """What a chart was given, as rows of its columns and its metric."""
    params = chart["params"]
    if "metric" in params:
        return {(row[params["metric"]],) for row in rows}
    (metric,) = params["metrics"]
    if "x_axis" not in params:
        by = params["groupbyRows"] + params["groupbyColumns"]
        return {(*(row[name] for name in by), row[metric]) for row in rows if row[metric] is not None}
    return {
        (row[params["x_axis"]], *([series] if params["groupby"] else []), value)
        for row in rows
        for series, value in row.items()
        if series != params["x_axis"] and value is not None
    }


@pytest.mark.superset
def test_dashboard_in_chromium(superset: Superset, published: Place) -> None:
    """An analyst sees every chart, and what each was given equals the published table's figures."""
    charts = {chart["slice_name"]: chart for chart in of_kind(published.bundle(), "charts")}
    titles = {
        one["id"]: one["slice_name"] for one in superset.ask("admin", "get", "/api/v1/chart/")["result"]
    }
    assert set(titles.values()) == set(charts) == set(FIGURES)
    answers: dict[str, Json] = {}

    def keep(response: Any) -> None:
        if urlsplit(response.url).path == "/api/v1/chart/data":
            (form,) = parse_qs(urlsplit(response.url).query)["form_data"]
            answers[titles[json.loads(form)["slice_id"]]] = response.json()

    # as root in CI; the other switches keep Chromium from talking to its maker
    browser = superset.playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
    )
    tab = browser.new_page(viewport={"width": 1400, "height": 1400})
    tab.set_default_timeout(120_000)
    # Superset's pages ask their maker for a pixel
    tab.route(lambda url: not url.startswith(superset.base), lambda route: route.abort())
    tab.on("response", keep)
    tab.goto(f"{superset.base}/login/")
    tab.locator("#username").fill("analyst")
    tab.locator("#password").fill(PASSWORD)
    tab.locator("#password").press("Enter")
    tab.wait_for_url("**/superset/welcome/")
    tab.goto(f"{superset.base}/superset/dashboard/audience_reporting/")
    figures = published.figures()
    ((as_of,),) = figures["Decided as of"]
    tab.get_by_text(f"{as_of:%Y-%m-%d %H:%M}").wait_for()
    for *_, contacts in figures["Refused contacts by reason"]:
        tab.get_by_role("gridcell", name=f"{contacts:,}", exact=True).first.wait_for()
    plots = sum(chart["viz_type"] == "echarts_timeseries_bar" for chart in charts.values())
    tab.wait_for_function(DRAWN, arg=plots)
    tab.wait_for_timeout(2000)  # bars grow
    picture = tab.screenshot(path=published.folder / "superset.png", full_page=True)
    browser.close()
    assert len(picture) > 50_000
    shown = {title: shown_by(charts[title], answer["result"][0]["data"]) for title, answer in answers.items()}
    figures["Decided as of"] = {(as_of.timestamp() * 1000,)}
    assert shown == figures


@pytest.mark.superset
def test_descriptions_are_in_superset(superset: Superset, published: Place) -> None:
    """Who looks for a column in Superset reads what dbt says of it."""
    expected = {dataset["table_name"]: dataset for dataset in of_kind(published.bundle(), "datasets")}
    found = superset.ask("analyst", "get", "/api/v1/dataset/")["result"]
    assert {dataset["table_name"] for dataset in found} == set(expected)
    for dataset in found:
        held = superset.ask("analyst", "get", f"/api/v1/dataset/{dataset['id']}")["result"]
        described = {column["column_name"]: column["description"] for column in held["columns"]}
        wanted = expected[dataset["table_name"]]
        assert held["description"] == wanted["description"]
        assert described == {column["column_name"]: column["description"] for column in wanted["columns"]}


@pytest.mark.superset
def test_sql_lab_reaches_nothing_else(superset: Superset, published: Place) -> None:
    """Superset refuses writes and DuckDB all else; where Superset lets writes through, DuckDB refuses all."""
    refused = f"{REFUSED_BY_DUCKDB}|does not allow for DDL/DML"
    for dml, pattern in ((False, refused), (True, REFUSED_BY_DUCKDB)):
        superset.alter_database(allow_dml=dml)
        for statement in published.statements([*READ, *CHANGE]):
            answer = superset.sql(statement)
            assert answer.status >= 400, statement
            assert re.search(pattern, answer.text()), (statement, answer.text())
        answer = superset.sql("select count(*) as audiences from published.audiences")
        assert answer.json()["data"][0]["audiences"] > 0
    assert not list(published.folder.glob("copy.*"))
    warehouse = {"sqlalchemy_uri": f"duckdb:///{published.warehouse}", "database_name": "warehouse"}
    assert superset.call("analyst", "post", "/api/v1/database/", data=warehouse).status == 403
    change = {"extra": "{}"}
    path = f"/api/v1/database/{superset.database}"
    assert superset.call("analyst", "put", path, data=change).status == 403


@pytest.mark.superset
def test_import_puts_the_locks_back(superset: Superset, published: Place) -> None:
    """The twin: without the locks SQL Lab reads any file; the next import ends that."""
    loose = {"engine_params": {"connect_args": {"config": {"access_mode": "READ_ONLY"}}}}
    superset.alter_database(extra=json.dumps(loose), allow_dml=True)
    (statement, *_) = published.statements(READ)
    answer = superset.sql(statement)
    assert answer.ok, answer.text()
    superset.bring_in(published.out)
    answer = superset.sql(statement)
    assert answer.status >= 400
    assert "file system operations are disabled" in answer.text()
    (database,) = superset.ask("admin", "get", "/api/v1/database/")["result"]
    assert database["allow_dml"] is False


@pytest.mark.superset
def test_next_generation_is_read_without_a_restart(
    superset: Superset, built: Build, published: Place
) -> None:
    """Superset opens the file for each query, through the link."""
    question = "select strftime(max(as_of), '%Y-%m-%d %H:%M:%S') as as_of from published.audiences"
    before = superset.sql(question).json()["data"]
    built.next(24)
    answer = built.run()
    assert answer.exit_code == 0, answer.output
    after = superset.sql(question).json()["data"]
    assert before != after
    with duckdb.connect(str(published.generation / "bi.duckdb"), read_only=True) as bi:
        assert bi.execute(question).fetchall() == [(after[0]["as_of"],)]

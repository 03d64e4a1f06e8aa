"""The evidence page: its figures are those of the tables, it asks for nothing, and it names nobody."""

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import candidate_audit
import duckdb
import evidence
import pytest
from click.testing import CliRunner, Result
from conftest import Project, working_directory
from publish_rules import RULES
from publishing import Build

VOID = {"meta", "br", "img", "link", "input", "hr", "base", "source", "embed", "wbr"}
ASKING = {"src", "href", "xlink:href", "action", "data", "srcset", "poster", "style", "background", "srcdoc"}
PACK = ("evidence.html", "evidence.json", "controls.csv")


class Page(HTMLParser):
    """A page as a browser reads it: tables by id, what its tags ask for, its style, its text."""

    def __init__(self, html: str) -> None:
        """Parse; a tag that is closed out of turn is an error."""
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.style = ""
        self.open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))
        if tag in ("tr", "li"):
            self.rows().append([])
        if tag in ("td", "th", "li", "dd"):
            self.rows().append([]) if tag == "dd" else None
            self.rows()[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        """Text, of a cell or not."""
        if self.open and self.open[-1][0] == "style":
            self.style += data
        else:
            self.text.append(data)
            if {"td", "th", "li", "dd"} & {tag for tag, _ in self.open}:
                self.rows()[-1][-1] += data

    def rows(self) -> list[list[str]]:
        """The rows of the innermost table or list with an id."""
        return self.tables.setdefault(next(name for _, name in reversed(self.open) if name), [])

    def body(self, table: str) -> list[list[str]]:
        """The cells of a table without its head."""
        return [[cell.strip() for cell in row] for row in self.tables[table][1:]]


class Evidence:
    """A publishing folder, the artifacts of its last build, and what evidence.py writes of it."""

    def __init__(self, folder: Path, target: Path, seeds: Path) -> None:
        """Say where it stands; the project's folder is a copy of the policy and nothing else."""
        self.folder, self.target, self.project = folder, target, folder.parent / "project"
        self.out = folder.parent / "evidence"
        shutil.copytree(seeds, self.project / "seeds" / "policy", dirs_exist_ok=True)

    def run(self, *more: str) -> Result:
        """Run the script."""
        paths = ["--dir", str(self.folder), "--target-path", str(self.target), "--out", str(self.out)]
        with working_directory(self.project):
            return CliRunner().invoke(evidence.main, [*paths, *more])

    def page(self) -> Page:
        """The page, as it is written now."""
        answer = self.run()
        assert answer.exit_code == 0, answer.output
        return Page((self.out / "evidence.html").read_text())

    @property
    def generations(self) -> list[Path]:
        """The generations, oldest first."""
        return sorted((self.folder / "generations").iterdir())

    def alter(self, number: int, change: Callable[[dict[str, Any]], object]) -> None:
        """Have a generation say something else of itself, and be whole for all that."""
        folder = self.generations[number]
        is_current = (self.folder / "current").readlink().name == folder.name
        file = folder / "publication.json"
        publication = json.loads(file.read_text())
        change(publication)
        content = json.dumps(publication).encode()
        folder.chmod(0o755)
        file.chmod(0o644)
        file.write_bytes(content)
        renamed = folder.rename(
            folder.with_name(f"{folder.name.split('-')[0]}-{hashlib.sha256(content).hexdigest()[:16]}")
        )
        if is_current:
            (self.folder / "current").unlink()
            (self.folder / "current").symlink_to(Path("generations") / renamed.name)


@pytest.fixture(scope="module")
def published(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """The sample's build, published twice. Read it; tests that change anything take `own`."""
    built = Build.of(sample, tmp_path_factory.mktemp("evidence") / "built")
    for hours in (0, 24):
        if hours:
            built.next(hours)
        answer = built.run()
        assert answer.exit_code == 0, answer.output
    return Evidence(built.publish_dir, built.target, sample.path / "seeds" / "policy")


@pytest.fixture
def own(published: Evidence, tmp_path: Path) -> Evidence:
    """A copy of both generations, to be changed."""
    shutil.copytree(published.folder, tmp_path / "publish", symlinks=True)
    shutil.copytree(published.target, tmp_path / "target")
    return Evidence(tmp_path / "publish", tmp_path / "target", published.project / "seeds" / "policy")


@pytest.fixture(scope="module")
def page(published: Evidence) -> Page:
    """The page of the sample."""
    return published.page()


def cells(*values: object) -> list[str]:
    """Values as the page writes them."""
    return [
        "" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in values
    ]


def test_figures_are_those_of_the_tables(published: Evidence, page: Page) -> None:
    """Refusals, audiences, sizes, rows, audit and promise, held against the files of the generation."""
    current = published.folder / "current"
    publication = json.loads((current / "publication.json").read_text())
    with duckdb.connect(str(current / "bi.duckdb"), read_only=True) as bi:
        by_channel: dict[tuple[str, str], dict[str, int]] = {}
        for use, channel, decision, contacts in bi.sql(
            "select data_use, channel, decision, contacts from published.consent_funnel"
        ).fetchall():
            if decision != "accepted":
                by_channel.setdefault((use, decision), {})[channel] = contacts
        refused = [
            cells(*key, held.get("email"), held.get("phone"), sum(filter(None, held.values())))
            for key, held in by_channel.items()
        ]
        assert sorted(page.body("refused")) == sorted(refused)
        assert len(refused) >= 4

        audiences = bi.sql("select list_kind, list_status, reported_size from published.audiences").fetchall()
        shown = page.body("audiences")
        assert sum(int(row[2]) for row in shown) == len(audiences)
        for kind, status, count, size, _ in shown:
            sizes = [row[2] for row in audiences if row[:2] == (kind, status)]
            assert [count, size] == cells(len(sizes), sum(filter(None, sizes)) or None)

        sizes = bi.sql(
            "select list_kind, list_id, advertiser_id, reported_size, reported_size from published.audiences "
            "where reported_size is not null order by all"
        ).fetchall()
        assert page.body("sizes") == [cells(*row) for row in sizes]
    relations = {row[0]: row[1] for row in page.body("relations")}
    assert relations == {path: f"{held['rows']:,}" for path, held in publication["relations"].items()}
    looked_at = {row[0]: row[2:] for row in page.body("audit")}
    assert looked_at == {row["rule"]: cells(row["checked"], row["faults"]) for row in publication["audit"]}
    audit = {row["rule"]: row for row in publication["audit"]}
    tiles = [re.match(r"([\d,]+) of ([\d,]+)", tile).groups() for (tile,) in page.tables["promise"]]
    assert tiles == [
        tuple(cells(audit[rule]["faults"], audit[rule]["checked"])) for rule, _ in evidence.PROMISES
    ]
    guards = len(publication["guards"])
    assert any(f"{guards} of {guards} guards passed" in text for text in page.text)


def test_plots_show_the_figures(published: Evidence, page: Page) -> None:
    """Every bar and line of a plot says its figure; each row of the tables has its bar."""
    labels = [attributes.get("aria-label") or "" for _, attributes in page.tags]
    with duckdb.connect(str(published.folder / "current" / "bi.duckdb"), read_only=True) as bi:
        for channel, decision, contacts in bi.sql(
            "select channel, decision, contacts from published.consent_funnel where contacts is not null"
        ).fetchall():
            assert f"contacts: {contacts}; decision: {decision}; channel: {channel}" in labels
    assert sum(label.startswith("audiences: ") for label in labels) == len(page.body("audiences"))
    for kind, audience, advertiser, *sizes in page.body("sizes"):
        ends = f"list_kind: {kind}; list_id: {audience}; advertiser_id: {advertiser}"
        points = {label for label in labels if label.startswith("as_of: ") and label.endswith(ends)}
        assert len(points) == len(sizes) == 2
        assert all(f"published size: {sizes[0]};" in label for label in points)


def test_page_asks_for_nothing(page: Page) -> None:
    """No script, no address, no style but the one that the policy of the page vouches for by its hash."""
    for tag, attributes in page.tags:
        assert tag not in {
            "script",
            "link",
            "base",
            "iframe",
            "object",
            "embed",
            "form",
            "img",
            "image",
            "use",
        }
        assert not ASKING & set(attributes), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert not re.search(r"url\(|@import", page.style)
    policies = [
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]
    assert "prefers-color-scheme: dark" in page.style
    assert "@media print" in page.style


def test_nobody_is_named(sample: Project, published: Evidence, page: Page) -> None:
    """No planted contact in any of its forms, and no member, in any file; one would be seen."""
    with duckdb.connect(str(sample.warehouse), read_only=True) as connection:
        connection.execute("create temp view raw_contacts as from sample.raw_contacts")
        connection.execute("create temp view raw_users as from sample.raw_users")
        planted = connection.execute(candidate_audit.PLANTED).fetchall()
        members = connection.execute(
            "select distinct user_id from delivery.tailored_audience_members"
        ).fetchall()
    forms = sorted({form for value, _ in planted for form in candidate_audit.planted_forms(value)})
    needles = [form.encode() for form in forms]
    assert len(needles) > 20
    for name in PACK:
        file = published.out / name
        assert not candidate_audit.holds_any(file, needles), name
        words = set(re.findall(r"[\w-]+", file.read_text()))
        assert not words & {user_id for (user_id,) in members}, name
    leaking = published.out.parent / "leaking"
    leaking.write_text(f"{(published.out / 'evidence.html').read_text()}{forms[0]}")
    assert candidate_audit.holds_any(leaking, needles)


def test_every_invariant_has_its_sql_and_an_obligation(published: Evidence, page: Page) -> None:
    """All invariants of the run are on the page with SQL and twin; controls name nothing else."""
    manifest = json.loads((published.target / "manifest.json").read_text())
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    numbers = {(node["config"].get("meta") or {}).get("invariant") for node in nodes} - {None}
    rows = page.body("invariants")
    assert {row[0] for row in rows} == numbers
    assert all("select" in row[1] and row[2:] == ["pass", "0"] for row in rows)
    assert any("twin everybody_matched_is_a_member: pass" in row[1] for row in rows)
    with (published.out / "controls.csv").open(newline="") as file:
        controls = list(csv.DictReader(file))
    results = {row["control"]: row["result"] for row in controls}
    incident = {
        node["config"]["meta"]["invariant"]
        for (node,) in manifest["disabled"].values()
        if "invariant" in (node["config"].get("meta") or {})
    } - numbers
    assert set(results) <= numbers | incident | set(RULES)
    assert numbers <= set(results)
    assert {name for name, result in results.items() if result != "pass"} == incident


def test_record_of_processing(page: Page) -> None:
    """What was given for security goes to nobody; the ad server gets what was given for its matching."""
    recipients = {row[0]: row[4] for row in page.body("purposes")}
    classes = {row[0]: row[1] for row in page.body("purposes")}
    assert {recipients[name] for name, purpose_class in classes.items() if purpose_class == "security"} == {
        "none"
    }
    assert {name for name, who in recipients.items() if who == "Ad server"} == {
        "ads.audience_matching",
        "ads.audience_matching.tailored",
        "ads.audience_matching.partner",
    }
    assert recipients["ads.measurement"] == "Measurement partners"
    assert len(page.body("recipients")) == 3


def test_policy_change_is_shown(published: Evidence, page: Page, own: Evidence) -> None:
    """Nothing where nothing changed; the seed with rows and digests where there were others before."""
    assert "Every policy seed has the same rows." in page.text
    own.alter(0, lambda publication: publication["policy"]["purposes"].update(rows=26, sha256="0" * 64))
    assert [row[:4] for row in own.page().body("policy_changes")] == [["purposes", "26", "27", "0" * 16]]


def test_faults_are_not_glossed_over(own: Evidence) -> None:
    """A generation that says of itself that a guard failed has a page that says so; text is never markup."""

    def broken(publication: dict[str, Any]) -> None:
        for guard in publication["guards"]:
            if guard["name"] == "members_are_active_adults":
                guard.update(status="fail", failures=3)
        for row in publication["audit"]:
            row["faults"] = {"adults": 3, "copies": 4}.get(row["rule"], 0)
        publication["vars"] = {"as_of": "<script>alert(1)</script>"}

    own.alter(1, broken)
    page = own.page()
    (row,) = [row for row in page.body("invariants") if row[0] == "INV-7"]
    assert row[2:] == ["fail", "3"]
    guards = len(json.loads((own.folder / "current" / "publication.json").read_text())["guards"])
    verdict = f"{guards - 1} of {guards} guards passed; the publisher's own audit found 7 faults."
    assert verdict in page.text
    assert ("p", {"class": "verdict bad"}) in page.tags
    assert "script" not in {tag for tag, _ in page.tags}
    results = {row["control"]: row["result"] for row in csv.DictReader((own.out / "controls.csv").open())}
    assert (results["INV-7"], results["adults"]) == ("fail", "fail")


def test_reports_are_shown_where_there_are_any(page: Page, own: Evidence) -> None:
    """A table of docs/ is a table of the page, without the links and markup that it may hold."""
    assert not {"leaks", "mutation"} & set(page.tables)
    (own.project / "docs").mkdir()
    (own.project / "docs" / "leaks.md").write_text(
        "| leak | seen by |\n|---|--:|\n| [one](https://example.com) <b>way</b> | 3 |\n"
    )
    shown = own.page()
    assert shown.body("leaks") == [["[one](https://example.com) <b>way</b>", "3"]]
    test_page_asks_for_nothing(shown)


def damage(own: Evidence) -> None:
    """A byte more in a file of the current generation."""
    file = own.folder / "current" / "bi" / "audiences.parquet"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"x")


def another_run(own: Evidence) -> None:
    """Artifacts of a run after the one that was published."""
    for name in ("manifest.json", "run_results.json"):
        file = own.target / name
        content = json.loads(file.read_text())
        content["metadata"]["invocation_id"] = "00000000-0000-0000-0000-000000000000"
        file.write_text(json.dumps(content))


def another_policy(own: Evidence) -> None:
    """A purpose that became usable since."""
    file = own.project / "seeds" / "policy" / "purposes.csv"
    old = "security.two_factor,security,true,security,true,false"
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, old.removesuffix("false") + "true"))


def in_a_file(own: Evidence) -> None:
    """A folder to write to that cannot be made."""
    own.out.write_text("a file where the folder would be")
    own.out /= "evidence"


def no_generation(own: Evidence) -> None:
    """Nothing is published."""
    (own.folder / "current").unlink()


def no_artifacts(own: Evidence) -> None:
    """The manifest of the build is gone."""
    (own.target / "manifest.json").unlink()


REFUSED = {
    "no_generation": no_generation,
    "damaged": damage,
    "no_artifacts": no_artifacts,
    "evidence_stale": another_run,
    "not_written": in_a_file,
}


@pytest.mark.parametrize(
    ("rule", "change"),
    [*REFUSED.items(), ("evidence_stale", another_policy)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_refused(own: Evidence, rule: str, change: Callable[[Evidence], object]) -> None:
    """Each by its rule and exit code, and nothing is written."""
    change(own)
    answer = own.run()
    assert answer.exit_code == RULES[rule].code, answer.output
    assert answer.stderr.startswith(f"refused by {rule}: ")
    assert not own.out.is_dir()


def test_help_names_the_exit_codes() -> None:
    """--help says what is written, and by which rules nothing is."""
    answer = CliRunner().invoke(evidence.main, ["--help"])
    assert answer.exit_code == 0
    assert "66  evidence_stale" in answer.output


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_chromium(published: Evidence, page: Page, scheme: str) -> None:
    """A real browser shows it in both schemes, reports nothing, asks for nothing and prints it."""
    from playwright.sync_api import sync_playwright

    address = (published.out / "evidence.html").as_uri()
    asked, said = [], []
    with sync_playwright() as playwright:
        # as root in CI; the other switches keep Chromium from talking to its maker
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        tab = browser.new_page(viewport={"width": 1100, "height": 1400}, color_scheme=scheme)
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(address)
        colors = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, "
            "getComputedStyle(document.querySelector('svg text')).fill]"
        )
        assert tab.locator("#refused tr").count() == len(page.tables["refused"])
        assert tab.locator("svg").count() == 3
        assert all(tab.locator("svg").nth(number).bounding_box()["height"] > 80 for number in range(3))
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"
        picture = tab.screenshot(path=published.out / f"{scheme}.png")
        printed = tab.pdf()
        browser.close()
    assert (asked, said) == ([address], [])
    light, dark = "rgb(255, 255, 255)", "rgb(18, 22, 28)"
    assert colors[0] == {"light": light, "dark": dark}[scheme]
    assert colors[1] == {"light": "rgb(28, 36, 48)", "dark": "rgb(228, 232, 238)"}[scheme]
    assert len(picture) > 50_000
    assert printed.startswith(b"%PDF")

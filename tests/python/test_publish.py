"""Publishing: whole generations or none, each refusal by its rule, each rule of the audit seen to fail."""

import dataclasses
import json
import os
import random
import re
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import candidate_audit
import duckdb
import lock
import publish
import pytest
import show_published
from attacks import (
    ATTACKS,
    JOBS,
    Attack,
    Outcome,
    expected,
    guard_of,
    is_refused,
    run_job,
    table,
    try_attack,
)
from click.testing import CliRunner, Result
from conftest import ROOT, Project
from dbt_artifacts import Artifacts
from filelock import FileLock
from kills import (
    SEED,
    hold,
    kill_steps,
    killed_publication,
    poll,
    publication,
    read_current,
    readers,
    run,
    seconds_of,
)
from publish_rules import RULES, Refusal
from publishing import Build, Json


@pytest.fixture
def build(sample: Project, tmp_path: Path) -> Build:
    """The sample's build, to be published or broken."""
    return Build.of(sample, tmp_path / "built")


@pytest.fixture(scope="module")
def published(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The sample's build, published once. Read it."""
    built = Build.of(sample, tmp_path_factory.mktemp("published") / "built")
    answer = built.run()
    assert answer.exit_code == 0, answer.output
    return built


def assert_refused(build: Build, rule: str, answer: Result) -> None:
    """Refused by the rule's name and exit code, kept in the log, and nothing published."""
    assert answer.exit_code == RULES[rule].code, answer.output
    assert f"refused by {rule}: " in answer.output
    assert build.refusals()[-1]["rule"] == rule
    assert build.current is None
    assert list(build.publish_dir.glob("generations/*")) == []


@pytest.fixture(scope="module")
def later(published: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build that follows a published one. Read it."""
    build = published.copy(tmp_path_factory.mktemp("later") / "built")
    build.next(1)
    return build


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(later: Build, tmp_path: Path, attack: str) -> None:
    """Whatever is wrong with a build, its rule is named and what is published stays as it was."""
    build = later.copy(tmp_path / "built")
    outcome = try_attack(ATTACKS[attack], build)
    assert is_refused(ATTACKS[attack], outcome), outcome
    assert build.refusals()[-1]["rule"] == ATTACKS[attack].rule


def test_without_an_attack_it_is_published(later: Build, tmp_path: Path) -> None:
    """So what is refused above is refused for the attack."""
    build = later.copy(tmp_path / "built")
    outcome = try_attack(Attack("nothing", "", lambda build: None), build)
    assert outcome == Outcome("", 0, is_unchanged=False)


@pytest.mark.prove
@pytest.mark.parametrize("job", JOBS)
def test_jobs_are_refused(sample: Project, tmp_path: Path, job: str) -> None:
    """A real build with a hole in it publishes nothing."""
    said, outcome = run_job(JOBS[job], sample, tmp_path / "project")
    assert is_refused(JOBS[job], outcome) and said == JOBS[job].dbt_says, (said, outcome)


def test_table_of_attacks_is_written() -> None:
    """docs/attacks.md has what is expected of every attack and job, which is what `make prove` writes."""
    outcomes = {name: expected(attack) for name, attack in ATTACKS.items()}
    jobs = {name: (job.dbt_says, expected(job)) for name, job in JOBS.items()}
    assert (ROOT / "docs" / "attacks.md").read_text() == table(outcomes, jobs)


def test_no_artifacts_are_refused(build: Build) -> None:
    """A missing and a cut-off file."""
    file = build.target / "run_results.json"
    file.write_text(file.read_text()[:1000])
    assert_refused(build, "no_artifacts", build.run())
    file.unlink()
    assert_refused(build, "no_artifacts", build.run())


def test_guards_of_the_current_generation_stay(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard that the current generation passed may only be gone by a review, whatever the lock says."""
    name = "funnel_adds_up"
    content = lock.GUARDS.content()

    def drop(manifest: Json, results: Json) -> None:
        del manifest["nodes"][guard_of(manifest, name)["unique_id"]]

    def refusal() -> str:
        answer = build.run()
        assert answer.exit_code == RULES["guard_removed"].code and name in answer.output
        return answer.output

    assert build.run().exit_code == 0
    current = build.current
    build.next(1)
    build.edit(drop)
    refusal()
    monkeypatch.setattr(lock, "GUARDS", dataclasses.replace(lock.GUARDS, file=tmp_path / "guards.sql"))
    monkeypatch.setattr(lock, "REVIEWS", tmp_path / "reviews.csv")
    lock.GUARDS.write(content, "1", "with the guard of the funnel")
    lock.GUARDS.file.write_text(re.sub(rf"data_test,{name},.*\n", "", lock.GUARDS.file.read_text()))
    refusal()
    lock.GUARDS.file.unlink()
    lock.GUARDS.write(content, "2", "with the guard of the funnel")
    del content["data_test", name]
    lock.GUARDS.write(content, "3", "without the guard of the funnel")
    assert build.current == current
    answer = build.run()
    assert answer.exit_code == 0, answer.output
    assert build.current != current


class Candidate:
    """A candidate to be audited, as it stands before it is sealed."""

    def __init__(self, build: Build, folder: Path) -> None:
        """Write it."""
        self.build = build
        self.folder = folder
        self.artifacts = Artifacts.read(build.target)
        with publish.open_warehouse(build.warehouse, "warehouse", folder / "spill") as connection:
            publish.write_candidate(connection, "warehouse", self.artifacts.relations(), folder)

    def sql(self, file: str, *statements: str) -> None:
        """Change one of its DuckDB files."""
        with duckdb.connect(str(self.folder / f"{file}.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)

    def faults(self) -> set[str]:
        """Names of the rules that the audit finds broken."""
        build = self.build
        with publish.open_warehouse(build.warehouse, "warehouse", self.folder / "spill") as connection:
            as_of = publish.check_warehouse(connection, self.artifacts)
            audit = candidate_audit.Audit(connection, self.artifacts, self.folder, as_of)
            try:
                audit.audit()
            except Refusal as refusal:
                assert refusal.rule in {result.rule for result in audit.results if result.faults}
            return {result.rule for result in audit.results if result.faults}


MEMBER = "(select min(user_id) from delivery.tailored_audience_members)"
HER_VALUE = (
    "(select contacts.channel as channel, contacts.value as value from sample.raw_contacts as contacts "
    "inner join marts.member_explanations as explanations on contacts.contact_id = explanations.contact_id "
    f"where contacts.user_id = {MEMBER})"
)

RAW_CHANGES: dict[str, tuple[set[str], str]] = {
    "deactivated": (
        {"adults"},
        f"update sample.raw_users set account_status = 'deactivated' where user_id = {MEMBER}",
    ),
    "not adult": ({"adults"}, f"update sample.raw_users set is_adult = null where user_id = {MEMBER}"),
    "withdrawn": (
        {"consent"},
        "insert into sample.raw_consent_events "
        "(consent_event_id, user_id, data_use, status, occurred_at, recorded_at) "
        f"select 'w', {MEMBER}, 'ads.audience_matching.tailored', 'denied', as_of, as_of "
        "from release.release",
    ),
    "expired": (
        {"consent"},
        "update sample.raw_consent_events set expires_at = (select as_of from release.release) "
        f"where user_id = {MEMBER} and data_use = 'ads.audience_matching.tailored'",
    ),
    "for security": (
        {"contacts", "explanations"},
        f"update sample.raw_contacts set purpose = 'security.two_factor' where user_id = {MEMBER}",
    ),
    "not verified": (
        {"contacts"},
        f"update sample.raw_contacts set verified_at = null where user_id = {MEMBER}",
    ),
    "protected in capitals": (
        {"contacts"},
        "insert into sample.raw_contacts (contact_id, user_id, channel, value, purpose) "
        f"select 'p' || row_number() over (), {MEMBER}, channel, upper(value), 'security.two_factor' "
        f"from {HER_VALUE}",
    ),
    "suppressed": (
        {"contacts"},
        "insert into sample.raw_suppressions (suppression_id, channel, value) "
        f"select 's' || row_number() over (), channel, value from {HER_VALUE}",
    ),
    "not explained": ({"explanations"}, f"delete from marts.member_explanations where user_id = {MEMBER}"),
    "list expired": (
        {"lists"},
        "update sample.raw_audience_lists set expires_at = (select as_of from release.release) "
        "where list_id = (select min(list_id) from delivery.tailored_audience_members)",
    ),
    "licence revoked": (
        {"lists"},
        "update sample.raw_partner_licences set revoked_at = (select as_of from release.release)",
    ),
    "terms withdrawn": ({"lists"}, "update sample.raw_advertisers set terms_accepted_at = null"),
    "minimum raised": (
        {"copies", "sizes"},
        "update policy.audience_policy set value = '5000' where setting = 'min_audience_size'",
    ),
    "no minimum": (
        {"copies", "sizes"},
        "delete from policy.audience_policy where setting = 'min_audience_size'",
    ),
    "measurement denied": (
        {"events"},
        "update sample.raw_consent_events set status = 'denied' where data_use = 'ads.measurement'",
    ),
    "another partner's": ({"events"}, "update sample.raw_ad_engagements set measurement_partner_id = 'm99'"),
    "gone from the marts": (
        {"copies", "members"},
        f"delete from marts.tailored_audience_members where user_id = {MEMBER}",
    ),
    "in the marts and delivered": (
        {"adults", "consent", "contacts", "explanations"},
        "insert into marts.tailored_audience_members select * replace ('u-planted' as user_id) "
        "from marts.tailored_audience_members where list_id = "
        "(select min(list_id) from delivery.tailored_audience_members) order by user_id limit 1; "
        "insert into delivery.tailored_audience_members select * replace ('u-planted' as user_id) "
        "from delivery.tailored_audience_members order by list_id, user_id limit 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", RAW_CHANGES)
def test_audit_reads_the_raw_input(build: Build, tmp_path: Path, change: str) -> None:
    """What the raw inputs, the policy or the marts say otherwise is found, by exactly the rules about it."""
    expected, sql = RAW_CHANGES[change]
    if "delivered" in change:
        build.sql(sql)
    candidate = Candidate(build, tmp_path / "candidate")
    if "delivered" not in change:
        build.sql(sql)
    assert candidate.faults() == expected


CANARY = "canary.security.1@example.com"
CANDIDATE_CHANGES: dict[str, tuple[str, str, str]] = {
    "column": ("columns", "bi", "alter table published.audiences add column contact_value varchar"),
    "person in BI": ("columns", "bi", "alter table published.audiences add column user_id varchar"),
    "column gone": ("columns", "bi", "alter table published.audiences drop column list_owner"),
    "table": ("columns", "delivery", "create table delivery.more as select 1 as one"),
    "view": ("columns", "bi", "create view published.more as select 1 as one"),
    "count off by one": (
        "copies",
        "bi",
        "update published.audiences set uploaded_entries = uploaded_entries + 1",
    ),
    "moment": ("moments", "bi", "update published.consent_funnel set as_of = as_of + interval 1 second"),
    "ended member": (
        "moments",
        "delivery",
        "update delivery.partner_audience_members set valid_until = as_of",
    ),
    "planted member": (
        "members",
        "delivery",
        "insert into delivery.partner_audience_members select * replace ('u0001' as user_id) "
        "from delivery.partner_audience_members limit 1",
    ),
    "missing member": (
        "members",
        "delivery",
        "delete from delivery.partner_audience_members where user_id = "
        "(select min(user_id) from delivery.partner_audience_members)",
    ),
    "size": (
        "sizes",
        "bi",
        "update published.audiences set reported_size = 90 where reported_size is not null",
    ),
    "size of a list that does not serve": (
        "sizes",
        "bi",
        "update published.audiences set reported_size = 200 where list_status = 'too_small'",
    ),
    "removed member": (
        "changes",
        "delivery",
        "update delivery.membership_changes set change = 'remove'",
    ),
    "added stranger": (
        "changes",
        "delivery",
        "update delivery.membership_changes set user_id = user_id || 'x'",
    ),
    "count": ("sizes", "bi", "update published.consent_funnel set users = 99"),
    "address": ("identifiers", "bi", "update published.audiences set list_owner = 'a.person@example.com'"),
    "number": ("identifiers", "bi", "update published.audiences set terms_version = '+12025550143'"),
    "hash": ("identifiers", "bi", "update published.audiences set list_owner = sha256('a')"),
    "canary": ("canaries", "bi", f"update published.audiences set list_owner = 'of {CANARY.upper()}'"),
    "hashed canary": ("canaries", "bi", f"update published.audiences set list_owner = sha256('{CANARY}')"),
    "security canary": (
        "canaries",
        "delivery",
        "insert into delivery.tailored_audience_members select * replace ('canary-security-1' as user_id) "
        "from delivery.tailored_audience_members limit 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CANDIDATE_CHANGES)
def test_audit_reads_the_candidate(published: Build, tmp_path: Path, change: str) -> None:
    """What is wrong in the files themselves is found there."""
    rule, file, sql = CANDIDATE_CHANGES[change]
    candidate = Candidate(published, tmp_path / "candidate")
    candidate.sql(file, sql)
    assert rule in candidate.faults()


def test_audit_reads_bytes_and_parquet(published: Build, tmp_path: Path) -> None:
    """A value may stand in no cell and yet in a file, and a Parquet file may hold other rows."""
    candidate = Candidate(published, tmp_path / "candidate")
    assert candidate.faults() == set()
    candidate.sql("bi", f"comment on table published.audiences is 'without {CANARY.title()}'")
    assert candidate.faults() == {"canaries"}
    other = Candidate(published, tmp_path / "other")
    file = other.folder / "bi" / "audiences.parquet"
    rows = f"(select * replace (uploaded_entries + 1 as uploaded_entries) from read_parquet('{file}'))"
    duckdb.execute(f"copy {rows} to '{file}.new' (format parquet)")
    Path(f"{file}.new").replace(file)
    assert other.faults() == {"copies"}


def test_audit_looked_at_something(published: Build) -> None:
    """Each rule of the audit held something, and every rule is there."""
    (folder,) = published.publish_dir.glob("generations/*")
    audit = json.loads((folder / "publication.json").read_text())["audit"]
    assert {result["rule"] for result in audit} == {
        name for name, rule in RULES.items() if 40 <= rule.code < 59
    }
    assert all(result["checked"] > 0 and result["faults"] == 0 for result in audit)


def test_a_generation_is_whole(published: Build, sample: Project) -> None:
    """It holds the published tables with their comments, twice, and says where they are from."""
    folder = published.publish_dir / "current"
    publication = json.loads((folder / "publication.json").read_text())
    expected = {name: rows for name, rows in sample.published().items() if not name.startswith("state.")}
    assert set(publication["relations"]) == set(expected)
    for file in ("bi", "delivery"):
        with duckdb.connect(str(folder / f"{file}.duckdb"), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            tables = connection.execute(
                "select table_name, comment from duckdb_tables() order by table_name"
            ).fetchall()
            assert connection.execute(
                "select count(*) from duckdb_views() where not internal"
            ).fetchone() == (0,)
            assert connection.execute(
                "select tags from duckdb_databases() where not internal"
            ).fetchone() == ({"storage_version": "v1.0.0+"},)
            for table, comment in tables:
                name = f"{'published' if file == 'bi' else 'delivery'}.{table}"
                rows = connection.execute(f"select * from {name} order by all").fetchall()
                assert rows == expected.pop(name)
                parquet = folder / file / f"{table}.parquet"
                assert connection.execute(f"select * from '{parquet}' order by all").fetchall() == rows
                assert publication["relations"][name]["rows"] == len(rows)
                assert comment.startswith("One row per")
            comments = connection.execute(
                "select comment from duckdb_columns() where not internal"
            ).fetchall()
            assert all(comment for (comment,) in comments)
    assert expected == {}
    assert len(publication["guards"]) > 150 and {guard["status"] for guard in publication["guards"]} == {
        "pass"
    }
    for relation in publication["relations"].values():
        assert relation["primary_key"]
        assert set(relation["primary_key"]) <= set(relation["not_null"]) <= set(relation["columns"])
    assert {"raw_contacts", "raw_consent_events"} <= set(publication["inputs"])
    assert {"purposes", "audience_policy"} <= set(publication["policy"])
    assert publication["versions"]["duckdb"] == duckdb.__version__
    for path in folder.rglob("*"):
        assert not path.stat().st_mode & 0o222, path
    assert stat.S_IMODE((folder / "delivery.duckdb").stat().st_mode) == 0o440


def test_generations(build: Build) -> None:
    """Publishing twice is publishing once; later builds follow, N are kept, a rollback flips."""
    answer = build.run("status")
    assert answer.exit_code == RULES["no_generation"].code
    assert build.run().exit_code == 0
    first = build.current
    assert build.run().exit_code == 0 and build.current == first
    for hours in (1, 2, 3):
        build.next(hours)
        answer = build.run("publish", "--keep", "3")
        assert answer.exit_code == 0, answer.output
    answer = json.loads(build.run("status", "--json").output)
    assert len(answer["generations"]) == 3 and answer["current"] == build.current
    assert [row["is_current"] for row in answer["generations"]] == [False, False, True]
    assert answer["generations"][0]["generation"] != first
    second, third, last = (row["generation"] for row in answer["generations"])
    publication = json.loads((build.publish_dir / "current" / "publication.json").read_text())
    assert publication["difference"]["previous"] == third
    assert publication["difference"]["relations"]["published.audiences"] == {"added": 0, "removed": 0}
    assert build.run("rollback").exit_code == 0 and build.current == third
    assert build.run("rollback", "--to", last).exit_code == 0 and build.current == last
    assert build.run("rollback", "--to", "nothing").exit_code == RULES["no_generation"].code
    assert build.run("verify").exit_code == 0
    build.next(-12)  # a backfill
    answer = build.run()
    assert answer.exit_code == RULES["as_of_older"].code and build.current == last
    assert build.run("status").exit_code == 0
    for file, change in {
        "bi.duckdb": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        "delivery/tailored_audience_members.parquet": lambda content: content[:-1],
        "publication.json": lambda content: content.replace(b'"faults": 0', b'"faults": 1', 1),
    }.items():
        path = build.publish_dir / "generations" / second / file
        kept = path.read_bytes()
        path.parent.chmod(0o755)
        path.chmod(0o644)
        path.write_bytes(change(kept))
        for command in (["verify"], ["rollback", "--to", second]):
            answer = build.run(*command)
            assert answer.exit_code == RULES["damaged"].code and Path(file).name in answer.output
        path.write_bytes(kept)
    (build.publish_dir / "generations" / second / "more.txt").touch()
    assert build.run("verify").exit_code == RULES["damaged"].code
    assert build.current == last


def test_log_of_refusals_only_grows(build: Build) -> None:
    """A line that is changed or taken out breaks the chain; one that a kill cut short does not."""
    log = build.publish_dir / "refusals.jsonl"
    wal = build.warehouse.with_name("warehouse.duckdb.wal")
    wal.touch()
    assert build.run().exit_code == build.run().exit_code == RULES["stale_wal"].code
    with log.open("ab") as stream:
        stream.write(b'{"at": "20')
    assert build.run().exit_code == RULES["stale_wal"].code
    wal.unlink()
    assert build.run().exit_code == 0
    assert build.run("verify").exit_code == 0
    content = log.read_bytes()
    lines = content.splitlines(keepends=True)
    for changed in (
        content.replace(b"stale_wal", b"stale_war", 1),
        b"".join(lines[1:]),
        b"".join(lines[:-1]),
    ):
        log.write_bytes(changed)
        assert build.run("verify").exit_code == RULES["log_broken"].code
    log.write_bytes(content)
    assert build.run("verify").exit_code == 0


def test_one_publisher_at_a_time(build: Build) -> None:
    """A second one leaves at once."""
    build.publish_dir.mkdir()
    with FileLock(build.publish_dir / ".lock"):
        answer = build.run()
        assert answer.exit_code == RULES["locked"].code
        assert build.run("rollback").exit_code == RULES["locked"].code
    assert build.run().exit_code == 0


def test_no_space(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is seen before anything is written."""
    usage = shutil.disk_usage(build.folder)
    monkeypatch.setattr(publish.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    assert_refused(build, "no_space", build.run())


def test_not_written(build: Build) -> None:
    """A disk that fills while the candidate is written, here a limit on the size of a file."""
    answer = subprocess.run(
        [sys.executable, ROOT / "scripts" / "publish.py", *build.arguments()],
        cwd=build.project.path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert answer.returncode == RULES["not_written"].code, answer.stderr
    assert build.refusals()[-1]["rule"] == "not_written"
    assert list(build.publish_dir.glob("generations/*")) == []
    (build.folder / "file").touch()
    build.publish_dir = build.folder / "file" / "publish"
    assert build.run().exit_code == RULES["not_written"].code


def test_an_interrupt_leaves_nothing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the candidate is audited."""

    def interrupt(self: candidate_audit.Audit) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(candidate_audit.Audit, "audit", interrupt)
    assert build.run().exit_code != 0
    assert build.current is None and list(build.publish_dir.glob("generations/*")) == []


def test_killed_publishers(build: Build) -> None:
    """Killed at any moment, a publisher leaves one whole generation, which readers never miss.

    One of them reads on from a generation that retention removes meanwhile.
    """
    assert build.run().exit_code == 0
    build.next(1)
    seconds = seconds_of(build, publication(build))
    moments = random.Random(SEED)
    with readers(build.publish_dir, poll, hold) as readings:
        kills = [killed_publication(build, moments.uniform(0.2, seconds)) for _ in range(5)]
    polling, held = readings
    killed = [kill for kill in kills if kill]
    assert len(killed) >= 3
    assert [kill for kill in killed if kill.faults] == []
    assert polling.errors == held.errors == []
    assert held.reads.total() == 3 and not set(held.reads) & set(build.store.ids())
    assert polling.reads.total() > 20 and len(polling.reads) >= 3
    assert build.run("verify").exit_code == 0


def test_killed_steps(later: Build, tmp_path: Path) -> None:
    """From the audit's end to the removal of old generations, a kill leaves whole generations."""
    build = later.copy(tmp_path / "built")
    assert build.run().exit_code == 0
    left, faults = kill_steps(build, tmp_path / "publish", stride=6)
    assert faults == []
    assert min(left["the one before"], left["the new one"]) > 2


@pytest.mark.prove
def test_killed_jobs(tmp_path: Path) -> None:
    """A few of the kills of docs/kills.md, dbt's among them."""
    report = run(5, tmp_path, lambda: None)
    assert report.faults() == []
    assert len(report.kills) == 5
    assert any(kill.recovered_by == "the next whole job" for kill in report.kills)
    assert all(readings.reads for readings in report.readings)


def test_table_of_kills_shows_no_fault() -> None:
    """docs/kills.md is of 60 kills, every one of them whole, and of no failed read; the README shows it."""
    text = (ROOT / "docs" / "kills.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    kills = [row for row in rows if len(row) >= 5 and row[1].isdigit()]
    assert all(row[1] == row[3] for row in kills)
    assert sum(int(row[1]) for row in kills if row[-1].startswith(("itself", "the next"))) == 60
    reads = [row for row in rows if len(row) == 4 and row[3] == "0"]
    assert len(reads) == 3
    assert text.strip() in (ROOT / "README.md").read_text()


def test_status_and_verify_beside_retention(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation that is removed while somebody looks at it is no damage; one that lost a file is."""
    assert build.run().exit_code == 0
    first = build.store.generations / build.current
    build.next(1)
    assert build.run().exit_code == 0
    verify = publish.Generations.verify

    def removed_meanwhile(self: publish.Generations, generation: str) -> None:
        if first.exists():
            self.prune(1)
        verify(self, generation)

    monkeypatch.setattr(publish.Generations, "verify", removed_meanwhile)
    answer = build.run("verify")
    assert answer.exit_code == 0 and answer.output.startswith("1 generations"), answer.output
    remaining = build.store.generations / build.current
    remaining.chmod(0o755)
    (remaining / "delivery.duckdb").unlink()
    assert build.run("verify").exit_code == RULES["damaged"].code


def unprivileged() -> list[str]:
    """A prefix under which the permissions of files bind root, too."""
    powers = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"] if os.geteuid() == 0 else []


def test_read_only_folder(later: Build, tmp_path: Path) -> None:
    """A folder that may not be written to is refused, and readers read on."""
    build = later.copy(tmp_path / "built")
    before = build.current
    command = [*unprivileged(), sys.executable, "scripts/publish.py", *build.arguments()]
    for folder in (build.publish_dir, build.store.generations):
        folder.chmod(0o555)
        answer = subprocess.run(command, cwd=build.project.path, capture_output=True, text=True)
        folder.chmod(0o755)
        assert answer.returncode == RULES["not_written"].code, answer.stderr
        assert "refused by not_written: " in answer.stderr and "Traceback" not in answer.stderr
        assert read_current(build.publish_dir) == before
    assert build.run().exit_code == 0 and build.current != before


@pytest.mark.parametrize("file", ["publication.json", "bi.duckdb"])
def test_a_file_that_cannot_be_read_is_named(published: Build, tmp_path: Path, file: str) -> None:
    """It counts as damage, and its reader is told why in a line."""
    build = published.copy(tmp_path / "built")
    (build.publish_dir / "current" / file).chmod(0)
    command = [*unprivileged(), sys.executable, "scripts/publish.py", *build.arguments("verify")]
    answer = subprocess.run(command, cwd=build.project.path, capture_output=True, text=True)
    assert answer.returncode == RULES["damaged"].code, answer.stderr
    assert "Permission denied" in answer.stderr and "Traceback" not in answer.stderr


ON_A_DISK = """
import shutil, subprocess, sys
import publish
source, disk, size, setup, *arguments = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=True)
shutil.copytree(source, disk, symlinks=True, dirs_exist_ok=True)
exec(setup)
try:
    publish.main(arguments)
finally:
    shutil.copytree(disk, f"{source}.left", symlinks=True)
"""
MOUNTING = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.skipif(
    subprocess.run([*MOUNTING, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode != 0,
    reason="a small disk cannot be mounted here",
)
@pytest.mark.parametrize(
    ("rule", "setup"), [("no_space", ""), ("not_written", "publish.check_space = lambda *_: None")]
)
def test_full_disk(later: Build, tmp_path: Path, rule: str, setup: str) -> None:
    """Without room nothing is written; where the disk fills up meanwhile, nothing is left."""
    build = later.copy(tmp_path / "built")
    before = publish.digests(build.store.generations)
    size = sum(file["bytes"] for file in before.values()) + 2**20
    disk = tmp_path / "disk"
    disk.mkdir()
    source, build.publish_dir = build.publish_dir, disk
    answer = subprocess.run(
        [*MOUNTING, sys.executable, "-c", ON_A_DISK, source, disk, str(size), setup, *build.arguments()],
        cwd=build.project.path,
        env=os.environ | {"PYTHONPATH": "scripts"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == RULES[rule].code, answer.stderr
    build.publish_dir = tmp_path / "built" / "publish.left"
    assert publish.digests(build.store.generations) == before
    assert read_current(build.publish_dir) == build.current
    assert build.refusals()[-1]["rule"] == rule


def test_readme_and_help_have_every_exit_code() -> None:
    """The README's table is that of the rules, and so is the help."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", readme, re.M)
    assert rows == [(str(rule.code), name, rule.says) for name, rule in RULES.items()]
    assert len({rule.code for rule in RULES.values()}) == len(RULES)
    answer = CliRunner().invoke(publish.main, ["--help"])
    assert all(f"{rule.code}  {name}: {rule.says}" in answer.output for name, rule in RULES.items())


def test_what_was_published_is_shown(published: Build) -> None:
    """show_published.py shows the generation as it shows the warehouse."""
    warehouse = ["--warehouse", str(published.warehouse)]
    generation = published.publish_dir / "current"
    shown = CliRunner().invoke(show_published.main, [*warehouse, "--generation", str(generation)])
    assert shown.exit_code == 0, shown.output
    lines = CliRunner().invoke(show_published.main, warehouse).output.splitlines()
    assert len(lines) > 30
    assert [line for line in shown.output.splitlines() if published.current not in line] == lines

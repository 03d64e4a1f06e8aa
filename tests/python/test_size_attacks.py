"""Sizes teach nothing: the published attacks, replayed; builds without the key; where the key is not."""

import pytest
import size_attacks
import size_noise
from conftest import ROOT, SIZE_KEY, Project
from test_faults import assert_red_and_unchanged

TABLE = (ROOT / "docs" / "size_attacks.md").read_text()


FEW_LISTS = 4


def learn_nothing(attacks: list[size_attacks.Attack]) -> list[size_attacks.Replay]:
    """Replays of which no advantage can be told from 0, while each works where its protection is missing."""
    found = size_attacks.replays(size_attacks.TRIALS, attacks)
    for replay in found:
        low, high = replay.protected.interval
        assert low <= 0 <= high, (replay.attack.name, replay.protected)
        low, _ = replay.unprotected.interval
        assert low > 0, (replay.attack.name, replay.unprotected)
    return found


def test_attacks_with_few_lists_learn_nothing() -> None:
    """Their figures are those of the table in docs, which the README shows."""
    attacks = [
        attack
        for attack in size_attacks.ATTACKS
        if sum(len(build) for build in attack.builds(attack.shift)) <= FEW_LISTS
    ]
    assert len(attacks) >= 8
    _, _, *rows = size_attacks.as_markdown(learn_nothing(attacks)).strip().split("\n")
    assert set(rows) <= set(TABLE.split("\n"))
    assert TABLE in (ROOT / "README.md").read_text()


@pytest.mark.prove
def test_attacks_learn_nothing() -> None:
    """All of them, and the table is what they give."""
    assert size_attacks.as_markdown(learn_nothing(size_attacks.ATTACKS)) == TABLE


def test_interval_and_advantage() -> None:
    """Shares of secrets found less those imagined; the interval has a width where all guesses are one."""
    coin = size_attacks.Advantage(500, 250, 500, 250)
    assert coin.value == 0
    assert coin.interval == pytest.approx((-0.062, 0.062), abs=0.001)
    certain = size_attacks.Advantage(500, 500, 500, 0)
    assert certain.value == 1
    assert certain.interval[0] > 0.98
    silent = size_attacks.Advantage(500, 0, 500, 0)
    assert silent.interval[0] < 0 < silent.interval[1]


def test_noise_is_the_stated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed per text and key; all values of both draws occur, and none twice as often as the bound."""
    monkeypatch.setenv(size_noise.KEY_VARIABLE, SIZE_KEY)
    numbers = [size_noise.keyed_number(f"text {number}") for number in range(50_000)]
    assert numbers == [size_noise.keyed_number(f"text {number}") for number in range(50_000)]
    for width in (size_attacks.POLICY["size_noise"], size_attacks.ROUNDING):
        counts = [0] * width
        for number in numbers:
            counts[number % width] += 1
        assert all(0.8 < count * width / len(numbers) < 1.2 for count in counts)
    monkeypatch.setenv(size_noise.KEY_VARIABLE, SIZE_KEY[::-1] + "x")
    assert size_noise.keyed_number("text 0") != numbers[0]


@pytest.mark.parametrize("key", [None, "", " " * 40, "x" * (size_noise.SHORTEST_KEY - 1)])
def test_no_number_without_a_secret_key(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    """A key that is missing, blank or too short makes no number."""
    monkeypatch.delenv(size_noise.KEY_VARIABLE, raising=False)
    if key is not None:
        monkeypatch.setenv(size_noise.KEY_VARIABLE, key)
    assert size_noise.keyed_number("text") is None


def test_key_is_in_no_file(sample: Project) -> None:
    """Neither the warehouse nor a compiled file, an artifact or a log holds the key of the build."""
    files = [file for file in sample.path.rglob("*") if file.is_file()]
    assert {"warehouse.duckdb", "manifest.json", "run_results.json", "dbt.log"} <= {f.name for f in files}
    for file in files:
        assert SIZE_KEY.encode() not in file.read_bytes(), file


def test_build_without_a_key(copy_of_sample: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is green, says once what it withholds, and tells no size, no band and no matched rows."""
    told = "select count(*) from published.audiences where {} is not null"
    statuses = "select list_id, advertiser_id, list_status from published.audiences order by all"
    assert copy_of_sample.query(told.format("reported_size")) != [(0,)]
    assert copy_of_sample.query("select count(*) from published.list_reports where reason = 'matched'") != [
        (0,)
    ]
    before = copy_of_sample.query(statuses)
    monkeypatch.delenv(size_noise.KEY_VARIABLE)
    run = copy_of_sample.build()
    assert run.success, run.output
    assert run.output.count("sizes and match rates are withheld") == 1
    assert copy_of_sample.query(statuses) == before
    assert copy_of_sample.query(told.format("reported_size")) == [(0,)]
    assert copy_of_sample.query(told.format("match_rate_band")) == [(0,)]
    assert copy_of_sample.query("select count(*) from published.list_reports where reason = 'matched'") == [
        (0,)
    ]
    assert copy_of_sample.query("select count(*) from state.published_sizes") == [(0,)]


def test_near_copy_that_serves(copy_of_sample: Project) -> None:
    """The guard against differencing is dropped: the invariant that derives it a second time sees it."""
    copy_of_sample.edit(
        "models/marts/audiences/audiences.sql",
        "select list_id, advertiser_id, is_far_from_older, has_older_serving\n",
        "select list_id, advertiser_id, true as is_far_from_older, has_older_serving\n",
    )
    assert_red_and_unchanged(copy_of_sample, "nothing_released_below_the_minimum")

"""The calibration card: every line in its range, at the scale of the lessons."""

import pytest

from reclab.world import World, WorldConfig, generate, phenomena
from reclab.world.__main__ import main
from reclab.world.card import Line, card, near

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def laptop() -> World:
    return generate(WorldConfig.at("laptop", 0))


def out_of_range(lines: list[Line]) -> list[str]:
    return [str(line) for line in lines if not line.ok]


def test_every_line_of_the_card_is_in_its_range(laptop: World):
    lines = card(laptop)
    assert sum(line.low is not None for line in lines) >= 20
    assert not out_of_range(lines)


def test_the_scale_of_the_lessons_is_as_promised(laptop: World):
    assert len(laptop.logs.users) == 5_000
    assert 18_000 < len(laptop.logs.items) < 24_000
    assert 1_000_000 < len(laptop.logs.interactions) < 3_000_000
    assert len(laptop.truth.held_out) == len(laptop.truth.tuning) == 4_000


def test_what_lists_are_worth_is_in_its_range(laptop: World):
    assert not out_of_range(list(phenomena.lists(laptop)))


def test_the_rich_get_richer_as_the_card_says():
    assert not out_of_range(list(phenomena.matthew()))


def test_commercial_load_trades_watching_for_money_as_the_card_says():
    assert not out_of_range(list(phenomena.load()))


def test_a_scale_that_is_not_calibrated_says_so(capsys: pytest.CaptureFixture[str]):
    assert main(["--scale", "tiny", "--brief"]) == 0
    assert "tiny is not calibrated" in capsys.readouterr().out


def test_a_line_out_of_its_range_shows():
    line = near("click rate", 0.4, 0.5, 0.1)
    assert not line.ok and "OUT" in str(line)
    assert Line("unclaimed", 0.4, 0.5, note="why").ok

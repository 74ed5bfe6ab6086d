import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from counting.lies import CHANGES, Answer
from counting.lies_figure import COLORS, draw_lies, read_all, summary
from tests.counting.liars import Clock, Counter, Stubborn


def cells(axes):
    """The colour in each cell, by column and row."""
    found = {}
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        x, y = patch.get_center()
        found[round(x), round(y)] = to_hex(patch.get_facecolor()).upper()
    return found


@pytest.mark.parametrize(
    ("rule", "answer"), [(Clock, Answer.KEPT), (Counter, Answer.ANEW), (Stubborn, Answer.LOST)]
)
def test_cells_have_the_colour_of_the_answer(rule, answer):
    numbers, changes = read_all(rule(5))
    above, below = draw_lies(numbers, changes, "some").axes
    assert set(cells(above)) == {(lie.column, lie.row) for lie in numbers}
    assert set(cells(below)) == {(lie.column, CHANGES.index(lie.row)) for lie in changes}
    assert {*cells(above).values(), *cells(below).values()} == {COLORS[answer].upper()}


def test_figures_count_the_tokens_until_it_is_right_again():
    numbers, changes = read_all(Stubborn(5))
    above, _ = draw_lies(numbers, changes, "some").axes
    assert {text.get_text() for text in above.texts} == {"never"}
    numbers, changes = read_all(Clock(5))
    above, below = draw_lies(numbers, changes, "some").axes
    assert not above.texts and not below.texts


def test_changes_are_read_downward_and_numbers_upward():
    above, below = draw_lies(*read_all(Counter(5)), "some").axes
    bottom, top = above.get_ylim()
    assert bottom < top
    bottom, top = below.get_ylim()
    assert bottom > top
    assert [label.get_text() for label in below.get_yticklabels()] == list(CHANGES)


def test_the_title_says_who_and_the_shares():
    figure = draw_lies(*read_all(Clock(5)), "some")
    title = "some, told other numbers: kept its place 100%, counted anew 0%, lost its way 0%"
    assert figure.get_suptitle() == title


def test_summary_gives_the_share_of_each_answer():
    numbers, _ = read_all(Counter(5))
    assert summary(numbers) == "kept its place 0%, counted anew 100%, lost its way 0%"


def test_a_large_vocabulary_has_no_figures_and_few_ticks():
    above, _ = draw_lies(*read_all(Stubborn(17)), "some").axes
    assert not above.texts
    assert above.get_xticks().tolist() == [1, 5, 10, 15]

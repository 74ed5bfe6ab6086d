"""What a lie does to a model, checked by models whose rule is known and by a plain computation."""

import itertools

import numpy as np
import pytest

from counting import lies
from counting.lies import (
    CHANGES,
    Answer,
    changed_runs,
    keeps_place,
    other_numbers,
    read_lies,
)
from counting.scores import mistakes, periods
from models import ARCHS
from models.generation import generate
from tests.counting.liars import Clock, Counter, Deaf, Restless, Stubborn
from tests.counting.test_scores import trained

KEPT, ANEW, LOST = Answer
sizes = pytest.mark.parametrize("n_vocab", [4, 5, 10])


def answers(model, told):
    return {(lie.column, lie.row): one.answer for lie, one in read_lies(model, told).items()}


def place_kept(model, n_vocab):
    """:func:`keeps_place` after what it is to come after."""
    model.reset_state()
    mistakes(model, periods(n_vocab, 2))
    return keeps_place(model)


def plain_answer(model, n_vocab, v, w):
    """What the model does when told ``w`` after the run of ``v``, by runs written out in full."""
    largest = n_vocab - 1
    period = [number for number in range(1, n_vocab) for _ in range(number)]
    true = [number for number in range(1, v + 1) for _ in range(number)]
    prime = [*period, *period, *true, w]
    written = generate(model, prime, 3 * n_vocab)[len(prime) :].tolist()
    n = 1 if v == largest else v + 1
    after = 1 if n == largest else n + 1
    ignored = [n] * n + [after]
    replaced = [n] * (n - 1) + [after] if n > 1 else [2, 2, 3]
    if written[: len(ignored)] == ignored or written[: len(replaced)] == replaced:
        return KEPT
    if w > 1:
        return ANEW if written[: w - 1] == [w] * (w - 1) and written[w - 1] != w else LOST
    u = written[0]
    return ANEW if u != 1 and written[:u] == [u] * u and written[u] != u else LOST


@sizes
@pytest.mark.parametrize(
    ("rule", "number", "change"),
    [(Clock, KEPT, KEPT), (Counter, ANEW, ANEW), (Stubborn, LOST, LOST)],
)
def test_models_whose_rule_is_known_are_told_apart(n_vocab, rule, number, change):
    model = rule(n_vocab)
    assert set(answers(model, other_numbers(n_vocab)).values()) == {number}
    assert set(answers(model, changed_runs(n_vocab)).values()) == {change}


@sizes
def test_not_to_hear_a_lie_is_to_keep_ones_place(n_vocab):
    assert set(answers(Deaf(n_vocab), other_numbers(n_vocab)).values()) == {KEPT}


@sizes
def test_who_counts_without_knowing_the_order_counts_anew(n_vocab):
    model = Restless(n_vocab)
    found = {**answers(model, changed_runs(n_vocab)), **answers(model, other_numbers(n_vocab))}
    # Told a 1 it can begin any run, by chance that which is due.
    assert {one for (_, told), one in found.items() if told not in (1, "left out")} == {ANEW}


@pytest.mark.parametrize("arch", ARCHS)
def test_equals_a_plain_computation_at_every_stage_of_learning(arch):
    n_vocab, seen = 5, set()
    for model in itertools.islice(trained(arch), 0, None, 5):
        found = answers(model, other_numbers(n_vocab))
        for (v, w), answer in found.items():
            assert answer == plain_answer(model, n_vocab, v, w), (v, w)
        share = list(found.values()).count(KEPT) / len(found)
        assert place_kept(model, n_vocab) == pytest.approx(share)
        seen.update(found.values())
    assert seen >= {KEPT, LOST}


@sizes
@pytest.mark.parametrize(("rule", "share"), [(Clock, 1), (Deaf, 1), (Counter, 0), (Stubborn, 0)])
def test_share_of_who_keeps_place(n_vocab, rule, share):
    assert place_kept(rule(n_vocab), n_vocab) == share


def test_keeps_place_of_a_network_leaves_no_state_and_no_graph():
    model = ARCHS["lstm"](5, 3)
    place_kept(model, 5)
    assert model.l1.c is None and model.l2.h is None


def test_lies_are_all_other_numbers_after_every_run():
    found = {(lie.column, lie.row, lie.place, lie.told) for lie in other_numbers(4)}
    assert found == {(1, 3, 1, (3,)), (2, 1, 3, (1,)), (3, 2, 6, (2,))}
    assert len(other_numbers(10)) == 9 * 7


def test_changed_runs_are_told_as_they_are_called():
    told = {(lie.column, lie.row): (lie.place, lie.told) for lie in changed_runs(4)}
    short, long, twice, out = CHANGES
    assert told[2, short] == (2, (3,))
    assert told[2, long] == (3, (2, 3))
    assert told[3, twice] == (6, (3, 3, 3, 1))
    assert told[2, out] == (1, (3,))
    assert (1, short) not in told and told[1, out] == (0, (2,))


@pytest.mark.parametrize(
    ("written", "right_after"),
    [
        ([3, 3, 1, 2, 2, 3, 3, 3, 1], 0),
        ([3, 3, 3, 3, 1, 2, 2, 3], 1),
        ([2, 2, 2, 2, 3, 1, 1, 2, 2, 1], 6),
        ([3, 2, 3, 3, 2, 2, 1], 2),
        ([2, 1, 1, 1], 4),
        ([3, 3, 2, 2], 4),
    ],
)
def test_right_after_is_where_a_run_ends_and_the_next_is_right(written, right_after):
    assert lies._right_after(np.array(written)) == right_after


def test_outcomes_say_what_was_written():
    (outcome,) = read_lies(Clock(4), other_numbers(4)[:1]).values()
    assert outcome.written.tolist() == [2, 3, 3, 3, 1, 2]
    assert outcome.right_after == 0

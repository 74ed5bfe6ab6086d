import chainer_compat

import numpy as np
import pytest
from kernel_source import Kernel

X = np.array([[-2, 0.5], [0, 3]], np.float32)
TYPES = {"T": np.dtype(np.float32), "S": np.dtype(np.int32)}


def run(source, raw=(), **values):
    """The values after some statements."""
    values = {name: np.asarray(value) for name, value in values.items()}
    Kernel(source)(values, TYPES, raw)
    return values


def value(source, raw=(), **values):
    """The value of an expression."""
    values = {name: np.asarray(value) for name, value in values.items()}
    return Kernel(source, expression=True)(values, TYPES, raw)


class TestExpression:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 4 - 3", 3),
            ("7 / 2", 3),
            ("7. / 2", 3.5),
            ("12 / 2 % 4", 2),
            ("-2 * -3", 6),
            ("1 < 2 && 3 <= 2", False),
            ("1 > 2 || !(3 == 2)", True),
            ("2 != 2 ? 3 : 1 < 2 ? 4 : 5", 4),
            ("max(2, min(3, 4))", 3),
            ("5 - (3 == 3)", 4),
            ("1.5f + .5", 2),
            ("2e-1", 0.2),
            ("static_cast<S>(2.9)", 2),
            ("int(2.9)", 2),
            ("sqrt(9.)", 3),
        ],
    )
    def test_of_numbers(self, source, expected):
        assert value(source) == expected

    @pytest.mark.parametrize("name", ["exp", "tanh"])
    def test_function(self, name):
        np.testing.assert_allclose(value(f"{name}(x)", x=X), getattr(np, name)(X))

    def test_condition_chooses_for_each_element(self):
        np.testing.assert_array_equal(value("x < 0 ? 7 : x", x=X), [[7, 0.5], [0, 3]])

    def test_index_counts_the_elements_in_order(self):
        assert value("x[2 * n + 1]", raw=["x"], x=X, n=1) == 3

    def test_maximum_is_the_number_where_there_is_one(self):
        assert value("max(x, T(0))", x=np.float32(np.nan)) == 0

    def test_division_of_negative_integers_is_refused(self):
        with pytest.raises(ValueError, match="negative"):
            value("x / 2", x=-3)


class TestStatements:
    def test_declaration_and_assignments(self):
        values = run("const T y = x * 2; x += y; x = -x; x -= 1; x *= 2;", x=X)
        np.testing.assert_array_equal(values["x"], 2 * (-3 * X - 1))

    def test_declaration_converts(self):
        assert run("S n = x;", x=2.9)["n"] == 2

    def test_assignment_keeps_the_type(self):
        values = run("n = x", n=np.zeros(2, np.int32), x=np.array([1.7, 2.2]))
        assert values["n"].dtype == np.int32 and values["n"].tolist() == [1, 2]

    def test_condition_counts_for_each_element(self):
        values = run(
            "if (x < 0) { y = 1; } else { if (x > 1) { y = 2; } }", x=X, y=np.zeros((2, 2))
        )
        np.testing.assert_array_equal(values["y"], [[1, 0], [0, 2]])

    def test_last_semicolon_may_be_missing(self):
        assert run("y = x", x=3, y=0)["y"] == 3


class TestRefusal:
    @pytest.mark.parametrize(
        "source",
        [
            "x = y",
            "z = 1",
            "x = 1 y = 2",
            "x = (1",
            "x = 1 +",
            "x = 1,2",
            "x++",
            "x = y = 1",
            "x = a.b",
            "x = sinh(1)",
            "x = unknown<T>(1)",
            "x = x[0]",
            "x = r",
            "T x = 1",
            "T w += 1",
            "for (;;) {}",
            "if (x) x = 1;",
            "x = 1 & 2",
            "/* */ x = 1",
            "x = 'a'",
            "return;",
            "{",
            "}",
        ],
    )
    def test_of_what_is_not_understood(self, source):
        with pytest.raises(SyntaxError):
            run(source, raw=["r"], x=0, r=X)

    def test_of_an_index_beyond_the_array(self):
        with pytest.raises(IndexError):
            value("x[i]", raw=["x"], x=X, i=4)

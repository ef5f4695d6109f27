"""Tables, as lines for people, `cut` and terminals of every width."""

import pytest

from devvm.cli import table


def _lines(rows, limit=None):
    widths = table.widths(rows, limit)
    return ["".join(line).rstrip() for row in rows for line in table.fold(row, widths)]


def test_a_column_is_as_wide_as_its_widest_cell():
    assert _lines([("NAME", "STATE"), ("dev1", "running"), ("anna-2", "")]) == [
        "NAME    STATE",
        "dev1    running",
        "anna-2",
    ]


def test_the_last_column_takes_what_remains_of_the_terminal():
    rows = [("KEY", "MEANING"), ("pool", "name of the libvirt storage-pool of this host")]
    assert _lines(rows, 24) == [
        "KEY   MEANING",
        "pool  name of the",
        "      libvirt",
        "      storage-pool of",
        "      this host",
    ]
    assert max(map(len, _lines(rows, 24))) <= 24


@pytest.mark.parametrize("limit", [0, 5, 20])
def test_a_column_that_a_narrow_terminal_has_no_room_for_is_still_readable(limit):
    assert _lines([("a" * 30, "one two three four")], limit)[0] == "a" * 30 + "  one two"


def test_a_word_longer_than_the_line_is_broken():
    assert _lines([("x", "y" * 25)], 13) == ["x  " + "y" * 10, "   " + "y" * 10, "   " + "y" * 5]


def test_a_cell_may_have_several_lines():
    assert _lines([("a\nb", "1"), ("c", "2\n3")]) == ["a  1", "b", "c  2", "   3"]


def test_wide_characters_take_two_places():
    assert _lines([("日本", "x"), ("abcd", "y")]) == ["日本  x", "abcd  y"]


def test_a_table_without_rows_is_its_heading():
    assert _lines([("A", "B")], 80) == ["A  B"]

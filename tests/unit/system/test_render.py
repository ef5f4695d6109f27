"""Templates: undefined variables are errors, and Ruby strings can't be broken out of."""

import jinja2
import pytest

from devvm.system.process import run
from devvm.system.render import render


def test_an_undefined_value_is_an_error(tmp_path):
    (tmp_path / "t.j2").write_text("{{ missing }}")
    with pytest.raises(jinja2.UndefinedError):
        render(tmp_path / "t.j2")


@pytest.mark.parametrize("value", ["plain", 'q"uote', "#{`id`}", "#$0 #@x", "a\\b", "ü\n"])
def test_a_ruby_literal_is_read_back_as_it_was(tmp_path, value):
    (tmp_path / "t.j2").write_text("STDOUT.write({{ value | ruby }})")
    assert run(["ruby", "-e", render(tmp_path / "t.j2", value=value)]).stdout == value

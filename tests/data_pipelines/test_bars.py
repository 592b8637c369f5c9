"""Progress bars: drawn on a terminal, and never into a file."""

import ast
import io
import pathlib

import pytest

import data_pipelines
from data_pipelines import bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("screen", [Terminal, io.StringIO])
def test_a_bar_is_drawn_on_a_terminal_only(screen):
    file = screen()
    assert list(bars.bar(range(3), "three", file=file)) == [0, 1, 2]
    assert ("three: 100%" in file.getvalue()) == (screen is Terminal)


def test_all_bars_are_these():
    folder = pathlib.Path(data_pipelines.__file__).parent
    users = set()
    for path in [*folder.rglob("*.py"), *(folder.parent / "mmjax").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [n.name for n in getattr(node, "names", []) if hasattr(n, "name")]
            if "tqdm" in [*names, getattr(node, "module", "")]:
                users.add(path.name)
    assert users == {"bars.py"}

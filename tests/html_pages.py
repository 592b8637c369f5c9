"""HTML pages under test: read strictly, and shown by a browser."""

import html.parser
import pathlib
import re
import shutil
import subprocess

import pytest

VOID = {"meta", "img", "br", "hr", "link", "input"}
WITHIN = """<!doctype html><iframe src="page.html" width="{width}" height="900">
</iframe><script>onload = () => {{ const root = document.querySelector("iframe")
.contentDocument.documentElement; document.body.textContent = "overflow " +
(root.scrollWidth - root.clientWidth) + " height " + root.scrollHeight; }}</script>"""


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and text; fails on tags that don't match."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(text: str) -> Reader:
    """What a page holds; all of its tags must match."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def shown(text: str, width: int, folder: pathlib.Path) -> tuple[int, int]:
    """How far a page exceeds a window of this width, and its height, in pixels.

    Skips the test where there is no browser; files are written into the folder.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    (folder / "page.html").write_text(text)
    outer = folder / "outer.html"
    outer.write_text(WITHIN.format(width=width))
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--allow-file-access-from-files", f"--user-data-dir={folder}/profile",
            "--virtual-time-budget=3000", f"file://{outer}",
        ],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    found = re.search(r"overflow (-?\d+) height (\d+)", done.stdout)
    assert found, done.stdout[-500:]
    return int(found[1]), int(found[2])

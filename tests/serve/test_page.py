"""The page needs nothing but the server, and runs nothing but its own script."""

import base64
import hashlib
import re

import html_pages
import pytest
import serving
import talking
from chromium import Browser

from mmjax.generation import speaker
from mmjax.serve import page


def policy() -> dict[str, str]:
    header = page.read().headers["Content-Security-Policy"]
    return dict(rule.split(" ", 1) for rule in header.split("; "))


def test_the_page_is_whole_and_names_nothing_outside():
    text = page.read().html.decode("ascii")
    read = html_pages.read(text)
    assert read.tags.count("script") == read.tags.count("style") == 1
    names = {name for name, _ in read.attributes}
    assert not names & {"src", "href", "style", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"https?://|@import|url\(|innerHTML|eval\(", text)


def test_the_policy_lets_only_its_own_style_and_script_run(site):
    found = site.send("GET", "/")
    assert found.status == 200
    assert (
        found.headers["content-security-policy"]
        == (page.read().headers["Content-Security-Policy"])
    )
    rules = policy()
    assert rules["default-src"] == "'none'"
    for tag in ("style", "script"):
        text = found.body.split(f"<{tag}>".encode())[1].split(f"</{tag}>".encode())[0]
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert found.headers["x-content-type-options"] == "nosniff"


PICTURE = "!document.querySelector('#picture').hidden"
SAID = "document.querySelector('#said')"
SEND = "document.querySelector('#send').click()"


@pytest.mark.extra
@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 390])
def test_a_browser_sends_an_image_and_shows_the_answer_as_it_comes(
    answerer, tmp_path, monkeypatch, width
):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    image = tmp_path / "cat.png"
    image.write_bytes(talking.image(5).data)
    with serving.served(answerer) as site, Browser.open(tmp_path, width) as browser:
        browser.visit(f"http://127.0.0.1:{site.port}/")
        browser.until("document.querySelector('h1').textContent === 'tiny'")
        browser.upload("#file", image)
        browser.until(PICTURE)
        browser.run("document.querySelector('#prompt').value = 'a red'")
        browser.run("document.querySelector('#tokens').value = '40'")
        browser.run(SEND)
        browser.until(f"{SAID}.className === 'said done'")
        content = [serving.part(talking.image(5)), serving.words("a red")]
        expected = site.ask(content, max_tokens=40)
        assert browser.value(f"{SAID}.textContent") == expected.text
        pieces = browser.value(f"{SAID}.childNodes.length")
        assert pieces > 2
        note = browser.value("document.querySelector('#note').textContent")
        used = expected.json["usage"]
        assert note.startswith(f"40 tokens after {used['prompt_tokens']}, in ")
        over = "document.documentElement.scrollWidth - innerWidth"
        assert browser.value(over) <= 0
        (tmp_path / "page.png").write_bytes(browser.screenshot())
        browser.run("document.querySelector('#tokens').value = '400'")
        browser.run(SEND)
        browser.until(f"{SAID}.className === 'said bad'")
        assert "a row has 64" in browser.value(f"{SAID}.textContent")
        assert browser.complaints == []
        browser.run(
            "document.body.append(Object.assign("
            "document.createElement('script'), {text: 'window.bad = 1'}))"
        )
        assert browser.value("window.bad === undefined")

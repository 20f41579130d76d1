"""What is wrong with a rendered page is found: `nox -s docs` looks at all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import browser, markup

HEAD = '<title>Title</title><meta name="description" content="About it">'


def written(directory: Path, body: str, *, head: str = HEAD, name: str = "page.html") -> Path:
    (directory / name).write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
    return directory


def whats(directory: Path) -> list[str]:
    return [fault.what for fault in markup.faults(directory)]


@pytest.mark.parametrize(
    "body, what",
    [
        ("<p>of the image (default: %(default)s)</p>", "a default that was not filled in"),
        ("<p>set `stores` <code>first</code></p>", "a backtick"),
        ("<td>CacheKey(host=None)</td>", "the repr of an object"),
        ("<td>&lt;Policy.STRICT: 'strict'&gt;</td>", "the repr of an object"),
        ("<p>--host HOST @BACKEND#POOL</p>", "a torn value"),
        ("<pre>[--host <span>HOST</span>\n    @BACKEND#POOL]\n    @BACKEND#POOL</pre>", "a torn value"),
        ("<p>see {ref}`stores`</p>", "markup"),
        ('<a href="gone.html">there</a>', "a link to a file that is not there"),
        ('<a href="#gone">there</a>', "a link to an anchor that is not there"),
        ('<a href="page.html#gone">there</a>', "a link to an anchor that is not there"),
        ('<img src="gone.svg">', "a link to a file that is not there"),
    ],
)
def test_a_fault_of_a_page_is_found(body: str, what: str, tmp_path: Path) -> None:
    assert what in whats(written(tmp_path, body))


@pytest.mark.parametrize(
    "body",
    [
        "<pre>print('%(default)s') `x` Image(id=1)</pre>",
        "<p>the code <code>Image(id=1)</code> and <code>%(default)s</code></p>",
        "<dl><dt>class Image(id=None)</dt><dd>An image.</dd></dl>",
        '<p id="here"><a href="#here">here</a> <a href="page.html#here">here</a> <a href="https://x.example/#y">y</a></p>',
        "<p>--host HOST@BACKEND#POOL (#1 of mail@example.org)</p>",
    ],
)
def test_a_page_without_a_fault_has_none(body: str, tmp_path: Path) -> None:
    assert whats(written(tmp_path, body)) == []


def test_a_page_needs_a_title_and_a_description(tmp_path: Path) -> None:
    assert whats(written(tmp_path, "<svg><title>Not of the page</title></svg>", head="")) == [
        "no title",
        "no description",
    ]


@pytest.fixture
def program() -> str:
    found = browser.browser()
    if not found:
        pytest.skip(f"no browser is installed: apt-get install {browser.PACKAGE}")
    return found


def test_the_browser_finds_what_is_too_wide_and_what_cannot_be_read(tmp_path: Path, program: str) -> None:
    written(tmp_path, '<div style="width:600px">wide</div>', name="wide.html")
    written(tmp_path, '<p style="color:#888;background:#999">grey on grey</p>', name="grey.html")
    written(tmp_path, "<p>black on white</p>", name="good.html")
    found = list(browser.faults(tmp_path, ["wide.html", "grey.html", "good.html"], program))
    assert [(fault.page, fault.what) for fault in found] == [
        ("wide.html", "wider than 380 px"),
        ("grey.html", "not enough contrast (light)"),
        ("grey.html", "not enough contrast (dark)"),
    ]


def test_a_browser_that_fails_is_a_fault(tmp_path: Path) -> None:
    written(tmp_path, "<p>text</p>")
    (fault,) = browser.faults(tmp_path, ["page.html"], "/bin/false")
    assert fault.what == "the browser failed"

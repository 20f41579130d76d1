"""The page of a report in a real browser: no request leaves it, no script fails, hostile names are texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.browser import LEAST_CONTRAST, PACKAGE, PROGRAM, WIDTHS, browser
from tests.pages.devtools import Browser, opened
from tests.pages.report_pages import COMMENT, IMG, SCRIPT, contents, images
from tests.pages.report_pictures import pictures, shown

pytest.importorskip("jinja2")
PICTURES = Path(__file__).parents[2] / "docs/_static"
HOSTILE = (SCRIPT, IMG, COMMENT, f"</script>{SCRIPT}", "{{7*7}}", "\u202eabc")
LIBRARY = re.search(r"const channel = .*?(?=async function look)", PROGRAM, re.DOTALL)
LARGEST_PICTURE = 100_000  # bytes, for the pages


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    """A tab; what it requested and what failed in it is empty before each test."""
    program = browser()
    if program is None:
        pytest.skip(f"no browser is installed: apt-get install {PACKAGE}")
    with opened(program) as found:
        yield found


@pytest.fixture
def page(tab: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The page of a cloud with hostile names, in a file; nothing is requested but the file, and nothing fails."""
    with shown(tab, tmp_path, contents(130, names=HOSTILE, findings=120)) as seen:
        yield seen


def choose(tab: Browser, name: str, value: object) -> None:
    change = f"e => {{ e.value = {json.dumps(str(value))}; e.dispatchEvent(new Event('input')); }}"
    tab.run(f"({change})(document.getElementById({name!r}))")


def column(tab: Browser, table: str, label: str) -> list[str]:
    return list(
        tab.run(f"[...document.querySelectorAll('#{table} tbody td[data-label=\"{label}\"]')].map(e => e.innerText)")
    )


def press(tab: Browser, where: str, text: str) -> None:
    tab.run(f"[...document.querySelectorAll('{where} button')].find(e => e.textContent === {text!r}).click()")


def test_a_planted_script_is_a_text(page: Browser) -> None:
    assert page.run("window.planted") is None
    assert page.run("document.title") == "Images and volumes of example"
    assert page.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert page.run("document.scripts.length") == 2
    seen = set(column(page, "image-table", "Name"))
    for text in (*HOSTILE[:5], "\\u202eabc"):
        choose(page, "image-search", text)
        seen.update(column(page, "image-table", "Name"))
    assert seen >= {*HOSTILE[:5], "\\u202eabc"}


def test_nothing_can_be_asked_for_over_the_network(tab: Browser, tmp_path: Path) -> None:
    with shown(tab, tmp_path, contents(3)):
        said = tab.run("fetch('http://127.0.0.1:9/x').then(() => 'asked', () => 'refused')")
        assert said == "refused"
        assert [error for error in tab.errors if "Content Security Policy" in error]
        tab.errors.clear()
        tab.requests[:] = [url for url in tab.requests if url.startswith("file:")]


def test_images_are_searched_by_name_id_and_volume(page: Browser) -> None:
    wanted = next(image for image in images(130, HOSTILE)[77:] if image.volume_ids)
    for text in (wanted.id, wanted.volume_ids[0], wanted.id[:13].upper()):
        choose(page, "image-search", text)
        assert column(page, "image-table", "ID") == [wanted.id]
    choose(page, "image-search", SCRIPT.upper())
    assert sorted(column(page, "image-table", "Name")) == sorted([SCRIPT, f"</script>{SCRIPT}"])
    choose(page, "image-search", "no image is called so")
    assert column(page, "image-table", "ID") == []
    assert page.run("document.getElementById('image-count').textContent") == "0 of 130 images"


def test_images_are_filtered_by_place_way_and_rule(page: Browser) -> None:
    expected = images(130, HOSTILE)

    def ids(place: int, way: str) -> list[str]:
        return [image.id for image in expected if image.answers[place].way == way][:50]

    choose(page, "image-place", 1)
    choose(page, "image-way", "clone-image-volume")
    assert column(page, "image-table", "ID") == ids(1, "clone-image-volume")
    choose(page, "image-way", "create-template")
    assert column(page, "image-table", "ID") == ids(1, "create-template")
    choose(page, "image-way", "")
    choose(page, "image-rule", "has-cinder-location")
    assert column(page, "image-table", "ID") == ids(1, "create-template")
    choose(page, "image-rule", "")
    choose(page, "image-place", "")
    assert page.run("document.getElementById('image-count').textContent") == "130 images"


def test_images_are_sorted_both_ways_and_shown_in_pages(page: Browser) -> None:
    by_size = [image.id for image in sorted(images(130, HOSTILE), key=lambda image: image.size_bytes or 0)]
    press(page, "#image-table", "Size")
    assert column(page, "image-table", "ID") == by_size[:50]
    press(page, "#image-pager", "Next")
    press(page, "#image-pager", "Next")
    assert column(page, "image-table", "ID") == by_size[100:]
    assert page.run("document.querySelector('#image-pager span').textContent") == "Page 3 of 3"
    press(page, "#image-table", "Size")
    assert column(page, "image-table", "ID") == by_size[::-1][:50]
    assert page.run("document.querySelector('#image-table th[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_an_image_says_for_each_place_why_it_is_not_cloned(page: Browser) -> None:
    wanted = next(image for image in images(130, HOSTILE) if image.volume_ids)
    choose(page, "image-search", wanted.id)
    page.run("document.querySelector('#image-table details summary').click()")
    page.run("new Promise(done => setTimeout(done, 50))")
    (told,) = column(page, "image-table", "Volume of it")
    assert "cloned in 1 of 3 places" in told
    for answer in wanted.answers:
        assert answer.way in told
        assert answer.reason in told
    choose(page, "image-place", 0)
    (told,) = column(page, "image-table", "Volume of it")
    assert all(rule in told for rule, _ in wanted.answers[0].against)


def test_findings_are_filtered_by_rule_and_certainty_and_have_their_command(page: Browser) -> None:
    choose(page, "finding-certainty", "likely")
    choose(page, "finding-rule", "volume-without-image")
    assert set(column(page, "finding-table", "Certainty")) == {"likely"}
    assert set(column(page, "finding-table", "Rule")) == {"volume-without-image"}
    assert page.run("document.getElementById('finding-count').textContent") == "20 of 120 findings"
    choose(page, "finding-search", "000000000009")
    (command,) = column(page, "finding-table", "Repair")
    assert command == (
        "imagevol audit --trusted-project 7c9e6679 --repair --repair-journal repair-000000000009 --only 000000000009"
    )


def test_the_theme_follows_the_system_until_it_is_chosen(page: Browser) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.run(back)
    page.media(scheme="dark")
    dark = page.run(back)
    assert light != dark
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "light"
    assert page.run(back) == light
    page.run("document.getElementById('theme').click()")
    page.media(scheme="light")
    assert page.run(back) == dark
    page.run("document.getElementById('theme').click()")
    assert page.run(back) == light


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_no_wider_than_the_screen(page: Browser, width: int) -> None:
    page.width(width)
    page.run("[...document.querySelectorAll('#image-table details')].slice(0, 5).forEach(e => e.open = true)")
    assert page.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(page: Browser, scheme: str) -> None:
    assert LIBRARY is not None
    page.media(scheme=scheme)
    look = (
        f"(() => {{ const least = {LEAST_CONTRAST}; {LIBRARY[0]}; return unreadable({{contentWindow: window}}); }})()"
    )
    assert page.run(look) == []


def test_what_is_printed_has_all_rows_and_no_controls(page: Browser) -> None:
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.media(kind="print")
    assert len(column(page, "image-table", "ID")) == 130
    assert page.run("document.getElementById('image-controls').checkVisibility()") is False
    page.media()
    page.run("dispatchEvent(new Event('afterprint'))")
    assert len(column(page, "image-table", "ID")) == 50
    assert page.paper().startswith(b"%PDF")


def test_a_page_of_ten_thousand_images_is_usable(tab: Browser, tmp_path: Path) -> None:
    with shown(tab, tmp_path, contents(10_000)):
        wanted = images(10_000)[9_999]
        choose(tab, "image-search", wanted.id)
        assert column(tab, "image-table", "Name") == [wanted.name]


def test_a_cloud_with_nothing_in_it_has_a_page(tab: Browser, tmp_path: Path) -> None:
    with shown(tab, tmp_path, contents(0, findings=None, places=(), stores=None, pools=None)):
        assert tab.run("document.getElementById('image-count').textContent") == "0 images"


@pytest.mark.parametrize("name", ["report-light.png", "report-dark.png"])
def test_the_pictures_in_the_documentation_are_small(name: str) -> None:
    assert 5_000 < (PICTURES / name).stat().st_size < LARGEST_PICTURE


def test_the_pictures_of_the_documentation_can_be_taken_again(tab: Browser, tmp_path: Path) -> None:
    pictures(tab, tmp_path)
    for taken in tmp_path.iterdir():
        assert taken.read_bytes()[:8] == (PICTURES / taken.name).read_bytes()[:8]
        assert 5_000 < taken.stat().st_size < LARGEST_PICTURE

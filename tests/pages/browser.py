"""What a browser sees of the pages: whether they fit narrow and wide screens, and whether their text can be read.

Chromium runs headless, without a driver: one page of ours loads each page in a frame, looks at it, and is printed.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.pages.markup import Fault

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium"
WIDTHS = (380, 1400)  # a telephone, and a screen
HEIGHT = 900
LEAST_CONTRAST = 4.5  # of text, as WCAG 2.1 AA asks; of large text 3
CHECKER = "__check.html"
SECONDS = 240

# Looks at each page at each width and in each theme, and leaves what it found as JSON in the document.
PROGRAM = """<!doctype html><meta charset="utf-8"><body><pre id="found">running</pre><script>
const pages = PAGES, widths = WIDTHS, least = LEAST;
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const color = text => (text.match(/[\\d.]+/g) || []).map(Number);
function behind(node, view) {
  for (let at = node; at; at = at.parentElement) {
    const found = color(view.getComputedStyle(at).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
    if (found[3] > 0) return null;  // of a mixture nothing is said
  }
  return [255, 255, 255];
}
function unreadable(frame) {
  const view = frame.contentWindow, found = new Map();
  const walker = view.document.createTreeWalker(view.document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("svg, script, style, .headerlink")) continue;
    if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const style = view.getComputedStyle(element), under = behind(element, view);
    if (!under) continue;
    const lights = [light(color(style.color)), light(under)].sort((a, b) => b - a);
    const contrast = (lights[0] + 0.05) / (lights[1] + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const text = node.data.trim().slice(0, 60);
    if (contrast < (large ? 3 : least) - 0.005)
      found.set(`${style.color} on rgb(${under.slice(0, 3)})`, `${contrast.toFixed(2)}: ${text}`);
  }
  return [...found].map(([colors, text]) => `${colors}, ${text}`);
}
function wide(frame) {
  const view = frame.contentWindow, root = view.document.documentElement, edge = root.clientWidth;
  if (root.scrollWidth <= edge) return null;
  const all = [...view.document.querySelectorAll("body *")];
  const beyond = all.filter(each => each.getBoundingClientRect().right > edge + 1);
  return `${root.scrollWidth} px; ` + beyond.slice(0, 4).map(each => `${each.tagName}.${each.className}`).join(" > ");
}
async function look() {
  const found = [];
  for (const width of widths) {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width:${width}px;height:900px;border:0`;
    document.body.append(frame);
    for (const page of pages) {
      await new Promise(done => { frame.onload = done; frame.src = page; });
      const over = wide(frame);
      if (over) found.push([page, `wider than ${width} px`, over]);
      for (const theme of width > 1000 ? ["light", "dark"] : []) {
        frame.contentDocument.body.dataset.theme = theme;
        for (const text of unreadable(frame)) found.push([page, `not enough contrast (${theme})`, text]);
      }
    }
    frame.remove();
  }
  return found;
}
look().then(found => JSON.stringify(found), error => JSON.stringify([["", "the check failed", String(error)]]))
  .then(text => { document.getElementById("found").textContent = "done" + text; });
</script>"""


def browser() -> str | None:
    """Find a browser."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def faults(directory: Path, names: Sequence[str], program: str) -> Iterator[Fault]:
    """Look at pages with the browser.

    Args:
        directory: where the pages are.
        names: which of them.
        program: the browser.
    """
    with served(directory, names) as address:
        command = ("--dump-dom", f"--virtual-time-budget={SECONDS * 1000}", f"{address}/{CHECKER}")
        try:
            printed = run(program, *command).stdout
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            yield Fault("", "the browser failed", f"{error}; {str(error.stderr)[-200:]}")
            return
    found = re.search(r'<pre id="found">done(.*?)</pre>', printed, re.DOTALL)
    if not found:
        yield Fault("", f"the browser did not end within {SECONDS} s", printed[-200:])
        return
    rows: list[list[str]] = json.loads(html.unescape(found[1]))
    yield from (Fault(*row) for row in rows)


def screenshots(directory: Path, names: Sequence[str], program: str, to: Path) -> None:
    """Show pages to a person, at each width."""
    to.mkdir(parents=True, exist_ok=True)
    with served(directory, names) as address:
        for name in names:
            for width in WIDTHS:
                file = to / f"{name.removesuffix('.html').replace('/', '-')}-{width}.png"
                # The window of the browser is never narrower than 500 pixels: a frame is.
                frame = f"{address}/__frame.html?{width},{HEIGHT * 3},{name}"
                size = f"--window-size={max(width, 500)},{HEIGHT * 3}"
                run(program, size, "--hide-scrollbars", f"--screenshot={file}", frame)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the browser once, with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=SECONDS + 30)


class _Handler(SimpleHTTPRequestHandler):
    """Gives the pages, and the two of ours."""

    def __init__(self, *args: Any, own: dict[str, str], **kwargs: Any) -> None:
        self._own = own
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """Answer."""
        text = self._own.get(self.path.partition("?")[0])
        if text is None:
            super().do_GET()
            return
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


FRAME = """<!doctype html><body style="margin:0"><script>
const [width, height, page] = location.search.slice(1).split(",");
document.body.innerHTML = `<iframe src="${page}" style="width:${width}px;height:${height}px;border:0"></iframe>`;
</script>"""


@contextmanager
def served(directory: Path, names: Sequence[str]) -> Iterator[str]:
    """Serve pages on this host only, and give the address."""
    program = PROGRAM.replace("PAGES", json.dumps(list(names))).replace("WIDTHS", json.dumps(WIDTHS))
    own = {f"/{CHECKER}": program.replace("LEAST", str(LEAST_CONTRAST)), "/__frame.html": FRAME}
    handler = partial(_Handler, own=own, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

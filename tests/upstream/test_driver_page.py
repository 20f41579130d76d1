"""What the page for authors of drivers has them write passes what it has them run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.upstream.asking import ROOT, Worker

PAGE = ROOT / "docs/howto/add-the-mixin-to-a-driver.md"
ENDINGS = ("passed", "Skipped: qemu-img is not installed")
ACME = ROOT / "docs/_examples/acme.py"  # which the page includes

COUNTING = """
import json, threading
from pathlib import Path

import acme, cloning_acme

from imagevol_adapters.driver.by_template import ByTemplate
from imagevol_adapters.testing.conformance.driver.backend import Content

lock, there = threading.Lock(), {}
counted = dict.fromkeys(("made", "opened", "most", "most_gib", "read_gib", "cleared_gib"), 0)


def count(kind, name, note):
    real = getattr(kind, name)

    def method(self, *given, **named):
        result = real(self, *given, **named)
        with lock:
            note(*given)
            counted["most"] = max(counted["most"], len(there))
            counted["most_gib"] = max(counted["most_gib"], sum(there.values()))
        return result

    setattr(kind, name, method)


def made(volume, *source):
    there[volume.id] = volume.size
    counted["made"] += 1


def opened(*_):
    counted["opened"] += 1


def filled(templates, attempt, lock):
    counted["cleared_gib"] += attempt.template.size


count(acme.AcmeDriver, "create_volume", made)
count(acme.AcmeDriver, "create_cloned_volume", made)
count(acme.AcmeDriver, "delete_volume", lambda volume: there.pop(volume.id, None))
read_whole = Content.on.__func__


def on(cls, device, length):
    counted["read_gib"] += device.size_bytes >> 30
    return read_whole(cls, device, length)


Content.on = classmethod(on)
count(ByTemplate, "_fill", filled)
count(cloning_acme.LocalCloningAcmeDriver, "imagevol_open_volume", opened)


def pytest_runtest_setup():
    there.clear()  # what the test before has broken is gone with its directory


def pytest_sessionfinish():
    Path(__file__).with_name("counted.json").write_text(json.dumps(counted))
"""


def test_the_driver_of_the_page_passes_the_suite_of_the_page(driver_suite: Worker, tmp_path: Path) -> None:
    assert "literalinclude} ../_examples/acme.py" in PAGE.read_text()
    written = {"acme.py": ACME.read_text()}
    for block in re.findall(r"```python\n(# .*?)```", PAGE.read_text(), re.DOTALL):
        name = block.split()[1].rstrip(",")
        written[name] = written.get(name, "") + block
    assert written.keys() == {"acme.py", "cloning_acme.py", "test_cloning_acme.py"}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conftest.py").write_text(COUNTING)
    outcomes = driver_suite.ask("run", suite=f"{tmp_path}/test_cloning_acme.py", names=[])
    assert {name: ended for name, ended in outcomes.items() if ended not in ENDINGS} == {}
    counted = json.loads((tmp_path / "counted.json").read_text())
    assert len(outcomes) == pytest.approx(said("tests"), rel=0.1)
    assert counted["made"] == pytest.approx(said("volumes made and deleted"), rel=0.1)
    assert counted["opened"] == pytest.approx(said("volumes opened and closed"), rel=0.1)
    assert counted["most"] == said("volumes at the same time")
    assert counted["most_gib"] == said("space that they need at the same time")
    assert counted["read_gib"] == pytest.approx(said("data read"), rel=0.1)
    assert counted["cleared_gib"] == pytest.approx(said("space cleared"), rel=0.1)


CONNECTING = """
import pytest
from os_brick.initiator.connectors import base
from os_brick.privileged import rootwrap

from imagevol_adapters.testing.conformance.driver.backend import WithDriver


class TestBrick(WithDriver):
    @pytest.mark.parametrize("run", [1, 2])
    def test_connects(self, cinder, tmp_path, run):
        @base.synchronized("connect_volume", external=True)
        def connect():
            return rootwrap.execute_root("id", "-u")

        assert connect()[0] == "0\\n"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root connects volumes without sudo")
def test_in_the_suite_os_brick_does_what_needs_root_without_sudo_and_rootwrap(
    driver_suite: Worker, tmp_path: Path
) -> None:
    (tmp_path / "test_brick.py").write_text(CONNECTING)
    outcomes = driver_suite.ask("run", suite=f"{tmp_path}/test_brick.py", names=[])
    assert list(outcomes.values()) == ["passed"] * 2


def said(what: str) -> int:
    """The first number in a row of the page's table about the whole suite."""
    (row,) = re.findall(rf"^\| {what} \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    (number, *_) = re.findall(r"\d+", row)
    return int(number)

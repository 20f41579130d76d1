"""What the page for authors of drivers has them write passes what it has them run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.upstream.asking import ROOT, Worker

PAGE = ROOT / "docs/howto/add-the-mixin-to-a-driver.md"
ENDINGS = ("passed", "Skipped: qemu-img is not installed")
ACME = ROOT / "docs/_examples/acme.py"  # which the page includes


def test_the_driver_of_the_page_passes_the_suite_of_the_page(driver_suite: Worker, tmp_path: Path) -> None:
    assert "literalinclude} ../_examples/acme.py" in PAGE.read_text()
    written = {"acme.py": ACME.read_text()}
    for block in re.findall(r"```python\n(# .*?)```", PAGE.read_text(), re.DOTALL):
        name = block.split()[1].rstrip(",")
        written[name] = written.get(name, "") + block
    assert written.keys() == {"acme.py", "cloning_acme.py", "test_cloning_acme.py"}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    outcomes = driver_suite.ask("run", suite=f"{tmp_path}/test_cloning_acme.py", names=[])
    assert len(outcomes) > 70
    assert {name: ended for name, ended in outcomes.items() if ended not in ENDINGS} == {}

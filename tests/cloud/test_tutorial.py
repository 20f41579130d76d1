"""The tutorial does what it says, on the real services: its blocks that need a cloud are run here, in their order."""

from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

from tests.cloud.record import Cloud
from tests.docs.test_snippets import ROOT, run_console

MINE = '<!--- skip: next "tests/cloud/test_tutorial.py runs it" -->\n'


@pytest.mark.smoke
def test_every_command_of_the_tutorial_prints_what_the_tutorial_says(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    monkeypatch.setenv("OS_CLOUD", "service")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    page = Document.parse(str(ROOT / "docs/tutorial/index.md"), CodeBlockParser("console", run_console))
    run = 0
    for example in page:
        if page.text[: example.start].endswith(MINE):
            example.evaluate()
            run += 1
    assert run == page.text.count(MINE) > 0

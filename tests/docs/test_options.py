"""The page of options and the sample of `oslo-config-generator` say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_ext"))
option_entries = pytest.importorskip("option_entries")

_SECTION = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"#([a-z]\w*) =(.*)")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of the sample."""
    written = tmp_path_factory.mktemp("sample") / "imagevol.conf.sample"
    command = [str(Path(sys.executable).parent / "oslo-config-generator"), "--namespace=imagevol"]
    subprocess.run([*command, f"--output-file={written}"], check=True, capture_output=True)
    return written.read_text().splitlines()


def test_the_page_and_the_sample_have_the_same_sections_options_and_defaults(sample: list[str]) -> None:
    in_sample: list[tuple[str, str, str]] = []
    section = ""
    for line in sample:
        if match := _SECTION.fullmatch(line):
            section = match[1]
        elif match := _OPTION.fullmatch(line):
            in_sample.append((section, match[1], match[2].strip()))
    on_page = [(part.name, entry.name, entry.default) for part in option_entries.sections() for entry in part.entries]
    assert {name for name, _, _ in in_sample} == {"backend_defaults", "store", "filter:imagevol"}
    assert sorted(on_page) == sorted(in_sample)


def test_every_option_of_the_page_says_what_it_does() -> None:
    entries = [entry for part in option_entries.sections() for entry in part.entries]
    assert [entry.name for entry in entries if not entry.text] == []


def test_without_cinder_the_mixin_is_reported_missing_and_its_options_are_there() -> None:
    driver = pytest.importorskip("imagevol_adapters.driver")
    if find_spec("cinder"):
        pytest.skip("Cinder is installed here")
    assert driver.OPTIONS
    with pytest.raises(ModuleNotFoundError, match="needs Cinder"):
        _ = driver.ImageCloneMixin

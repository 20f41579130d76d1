"""The page of the command line names the options that all commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

services = pytest.importorskip("imagevol_adapters.cli.services")

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()


def test_each_option_that_stands_before_a_command_has_a_row() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    services.add_attaching_options(parser)
    options = [name for action in parser._actions for name in action.option_strings]
    assert "--stall-seconds" in options
    assert [name for name in options if f"\n| `{name}" not in PAGE] == []

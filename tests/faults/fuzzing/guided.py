"""One target under atheris: `python -m tests.faults.fuzzing.guided TARGET [OPTION OF LIBFUZZER]...`."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["imagevol_core", "imagevol_adapters"]):
        targets = importlib.import_module("tests.faults.fuzzing.targets")
    run = targets.TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

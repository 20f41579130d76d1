"""What every test of the adapters takes for granted."""

import pytest

# What the libraries' own dependencies say when they are imported. It is not ours to mend.
IGNORED_WARNINGS = ("ignore:'cgi' is deprecated:DeprecationWarning",)


def pytest_configure(config: pytest.Config) -> None:
    for warning in IGNORED_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)

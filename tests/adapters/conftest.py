"""What every test of the adapters takes for granted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest

from imagevol_adapters import error_text
from imagevol_core.resuming import pauses
from tests.adapters.commands import Run, ran

# What the libraries' own dependencies say when they are imported. It is not ours to mend.
IGNORED_WARNINGS = ("ignore:'cgi' is deprecated:DeprecationWarning",)


def pytest_configure(config: pytest.Config) -> None:
    for warning in IGNORED_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in place of the real one, so that no test really waits."""
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs the tests may have clouds."""
    empty = tmp_path_factory.mktemp("no-cloud")
    monkeypatch.setenv("HOME", str(empty))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(empty / "clouds.yaml"))
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def short_pauses(request: pytest.FixtureRequest) -> Iterator[None]:
    """What fails is tried again as often as ever, but no test waits for it; with `clock`, none does anyway."""
    with pytest.MonkeyPatch.context() as patch:  # the test's own is undone before what its other fixtures have set
        if "clock" not in request.fixturenames:
            patch.setattr(pauses, "_FIRST_PAUSE_SECONDS", 0.005)
        yield


@pytest.fixture(autouse=True)
def no_known_secrets() -> Iterator[None]:
    """What one test gives as a password may be a word in the next."""
    yield
    error_text._known.clear()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return partial(ran, capsys)

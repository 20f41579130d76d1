"""The fixture `cloud`: real services, started once for all tests of a run and ended with it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cloud import prerequisites
from tests.cloud.bringup import running
from tests.cloud.record import Cloud
from tests.cloud.settings import Settings, with_filter, with_mixin

# What the clients' own dependencies say when they are imported. It is not ours to mend.
IGNORED_WARNINGS = ("ignore:'cgi' is deprecated:DeprecationWarning",)


def pytest_configure(config: pytest.Config) -> None:
    for warning in IGNORED_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cloud",
        metavar="DIR",
        help="use the cloud that `python -m tests.cloud up` started in DIR, and leave it running",
    )


@pytest.fixture(scope="session")
def able_machine() -> None:
    """A machine on which a cloud can be started; on another one the test is skipped."""
    if problems := prerequisites.problems():
        pytest.skip("; ".join(problems))


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud."""
    directory = request.config.getoption("--cloud", default=None)
    if directory is not None:
        yield Cloud.load(Path(directory))
        return
    request.getfixturevalue("able_machine")
    with running(tmp_path_factory.mktemp("cloud"), keep_logs=True) as cloud:
        yield cloud


def shares_clouds(request: pytest.FixtureRequest) -> bool:
    """Whether `template_cloud`, which has all that is ours, serves also where a part of it would: in `smoke`."""
    return bool(request.config.option.markexpr == "smoke")


@pytest.fixture(scope="session")
def imagevol_cloud(
    request: pytest.FixtureRequest, able_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """A running cloud whose Glance has our driver in place of upstream's, and nothing else changed."""
    if shares_clouds(request):
        yield request.getfixturevalue("template_cloud")
        return
    with running(tmp_path_factory.mktemp("cloud"), Settings(store_driver="imagevol"), keep_logs=True) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def driver_cloud(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running cloud whose backends inherit our mixin, with the settings that the how-to recommends."""
    with running(tmp_path_factory.mktemp("cloud"), with_mixin(), keep_logs=True) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def template_cloud(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The same with templates; those of `slow` are few and small. Volumes can be encrypted, as far as Cinder sees.

    Its Glance also has our middleware, and reads no GiB to digest what is registered by the Location API.
    """
    few = {"image_template_max_count": "2", "image_template_max_size_gb": "4"}
    keys = {"backend": "cinder.keymgr.conf_key_mgr.ConfKeyManager", "fixed_key": "0" * 64}
    glance = {
        # So that Glance takes images whose partition table the driver refuses.
        "image_format": {"gpt_safety_checks_nonfatal": "mbr,gptmbr"},
        "DEFAULT": {"do_secure_hash": "false"},
    }
    settings = with_mixin({"image_template_enabled": "true"}, glance=glance, slow=few, key_manager=keys)
    paste = {"glance/glance-api-paste.ini": with_filter({"explain_header": "true"})}
    settings = replace(settings, overrides={**settings.overrides, **paste})
    with running(tmp_path_factory.mktemp("cloud"), settings, keep_logs=True) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def cluster(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The same with two cinder-volume processes that serve both backends."""
    if problems := prerequisites.problems(broker=True):
        pytest.skip("; ".join(problems))
    settings = with_mixin({"image_template_enabled": "true"}, volume_hosts=("one", "two"))
    with running(tmp_path_factory.mktemp("cloud"), settings, keep_logs=True) as cloud:
        yield cloud

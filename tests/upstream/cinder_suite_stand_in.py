"""A driver with our mixin, where Cinder's unit tests of volumes from images have theirs.

Importing this module puts it there: in place of the fake driver of Cinder's tests, and before each mock of a driver
that a test hands to the code that calls `clone_image`.  What our `clone_image` leaves undone, the test's own does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from unittest import mock

from cinder.volume import configuration

from imagevol_adapters.driver import ImageCloneMixin

# By name: where types are checked there is no Cinder.
conf_fixture: Any = import_module("cinder.tests.unit.conf_fixture")
create_volume: Any = import_module("cinder.volume.flows.manager.create_volume")
fake_driver: Any = import_module("cinder.tests.fake_driver")

_set_defaults = conf_fixture.set_defaults
_create_from_image = create_volume.CreateVolumeFromSpecTask._create_from_image


class FakeDriver(ImageCloneMixin, fake_driver.FakeLoggingVolumeDriver):  # type: ignore[misc]  # whose class is Any here
    """The fake driver of Cinder's tests."""


class Mocked:
    """What a test expects of a driver."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.configuration = configuration.Configuration([])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def clone_image(self, *request: Any) -> Any:
        return self._driver.clone_image(*request)


class MockedDriver(ImageCloneMixin, Mocked):
    """The same, with the mixin before it."""


def set_defaults(conf: Any) -> None:
    _set_defaults(conf)
    conf.set_default("volume_driver", f"{__name__}.FakeDriver", group=configuration.SHARED_CONF_GROUP)


def create_from_image(self: Any, *request: Any, **named: Any) -> Any:
    if not isinstance(self.driver, mock.NonCallableMock):
        return _create_from_image(self, *request, **named)
    with mock.patch.object(self, "driver", MockedDriver(self.driver)):
        return _create_from_image(self, *request, **named)


conf_fixture.set_defaults = set_defaults
create_volume.CreateVolumeFromSpecTask._create_from_image = create_from_image

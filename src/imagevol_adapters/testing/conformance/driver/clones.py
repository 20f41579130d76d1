"""What a driver with `ImageCloneMixin` must do about image volumes, a sentence each ([clone])."""
# ruff: noqa: D102, S101

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cinder import exception
from oslo_config import cfg

from imagevol_adapters.driver import OPTIONS
from imagevol_adapters.metrics import recorder
from imagevol_adapters.testing.conformance.driver.backend import DATA, FELL_THROUGH, Backend, Content, WithDriver
from imagevol_adapters.testing.conformance.driver.offline import SECTION, USER, OfflineCinder
from imagevol_adapters.testing.conformance.fixtures import NOBODY, write

__all__ = ["CloningConformance"]

LOGGER = "imagevol_adapters.driver"
ERRORS = (
    exception.VolumeBackendAPIException(data="the storage says no"),
    NotImplementedError(),
    RuntimeError("a defect of the driver"),
)
REFUSED: tuple[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]], ...] = (
    ("image-active", {"status": "deactivated"}, {}, {}),
    ("image-raw", {"disk_format": "qcow2"}, {}, {}),
    ("image-bare", {"container_format": "ova"}, {}, {}),
    ("target-not-encrypted", {}, {}, {"encryption_key_id": NOBODY}),
    ("volume-available", {}, {"status": "error"}, {}),
    ("volume-same-backend", {}, {"host": "conformance@another#pool"}, {}),
    ("volume-owner", {}, {"metadata": {}}, {}),
    ("volume-owner", {"owner": "forged"}, {"project_id": USER, "metadata": {"image_owner": "forged"}}, {}),
    ("volume-is-this-image", {"id": NOBODY}, {}, {}),
    ("volume-not-encrypted", {}, {"encryption_key_id": NOBODY}, {}),
    ("volume-settled", {}, {"migration_status": "target:" + NOBODY}, {}),
    ("volume-holds-image", {"size": len(DATA) - 1}, {}, {}),
)
"""A rule, and how the image, the image volume or the new volume is that fails it."""


def at(*volumes: Any) -> tuple[None, list[dict[str, Any]]]:
    """Give the locations of an image that is in these volumes, as Cinder hands them to a driver."""
    return None, [{"url": f"cinder://store/{volume.id}", "metadata": {"store": "store"}} for volume in volumes]


class CloningConformance(WithDriver):
    """A driver, and the image volumes of its backend."""

    def test_the_options_of_the_mixin_are_in_the_section_of_the_backend(self, driver: Any) -> None:
        published = [option.name for option in driver.get_driver_options()]
        assert [option.name for option in OPTIONS if published.count(option.name) != 1] == []
        for option in OPTIONS:
            assert option.name in cfg.CONF[SECTION]
            assert driver.configuration.safe_get(option.name) == option.default

    def test_with_the_default_options_every_volume_is_left_to_cinder(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloned: list[Any] = []
        image = backend.images.add(DATA, visibility="public")
        source = backend.image_volume(image)
        monkeypatch.setattr(backend.driver, "create_cloned_volume", lambda *volumes: cloned.append(volumes))
        backend.falls_through(backend.cinder.volume(), image, at(source))
        assert (cloned, backend.images.downloads) == ([], [])

    def test_the_driver_warns_if_cinder_would_clone_what_it_refuses(
        self, driver: Any, cinder: OfflineCinder, caplog: pytest.LogCaptureFixture
    ) -> None:
        driver.set_initialized()
        assert caplog.messages == []
        cinder.set("allowed_direct_url_schemes", ["cinder"], section=None)
        driver.set_initialized()
        (warning,) = caplog.messages
        assert warning.startswith(f"Backend {SECTION}: `cinder` is in allowed_direct_url_schemes")

    @pytest.mark.parametrize("size_gib", [1, 2])
    def test_a_clone_holds_the_image_and_has_the_size_of_the_new_volume(self, backend: Backend, size_gib: int) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        volume = backend.made(image, at(backend.image_volume(image)), size_gib=size_gib)
        assert backend.content(volume) == Content.of(DATA, size_gib=size_gib)
        assert backend.images.downloads == []

    def test_a_direct_url_without_locations_is_enough(self, backend: Backend) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        source = backend.image_volume(image)
        volume = backend.made(image, (f"cinder://{source.id}", None))
        assert backend.content(volume) == Content.of(DATA)

    def test_the_update_that_the_driver_returns_for_a_clone_is_handed_on(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        source, volume = backend.image_volume(image), backend.cinder.volume()
        real = backend.driver.create_cloned_volume

        def clone(volume: Any, source: Any) -> dict[str, Any]:
            return {**(real(volume, source) or {}), "provider_location": "here"}

        monkeypatch.setattr(backend.driver, "create_cloned_volume", clone)
        update, cloned = backend.clone_image(volume, image, at(source))
        assert (cloned, (update or {})["provider_location"]) == (True, "here")

    def test_an_image_volume_and_its_clone_do_not_share_what_is_written(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        source = backend.image_volume(image)
        opened: list[str] = []
        real = backend.driver.imagevol_open_volume

        def open_volume(context: Any, volume: Any, *, writable: bool) -> Any:
            opened.append(volume.id)
            return real(context, volume, writable=writable)

        monkeypatch.setattr(backend.driver, "imagevol_open_volume", open_volume)
        volume = backend.made(image, at(source))
        assert opened == []
        with backend.driver.imagevol_open_volume(backend.cinder.admin, volume, writable=True) as device:
            write(device, 0, b"x" * 4096)
            device.flush()
        assert backend.content(source) == Content.of(DATA)
        assert backend.content(volume) == Content.of(b"x" * 4096 + DATA[4096:])

    def test_each_volume_is_counted_by_the_way_in_which_it_was_created(
        self, templating: Backend, tmp_path: Path
    ) -> None:
        file = tmp_path / "driver.prom"
        templating.cinder.set("image_clone_metrics_file", str(file))
        templating.allow_clones()
        image = templating.images.add(DATA)
        templating.made(image, at(templating.image_volume(image)))
        public = templating.images.add(DATA[::-1], visibility="public")
        for _ in range(3):
            templating.made(public)
        templating.falls_through(templating.cinder.volume(encryption_key_id=NOBODY), public)
        templating.cinder.set("image_template_max_count", 1)
        templating.made(templating.images.add(DATA, visibility="public"))
        assert recorder(str(file)).flush(seconds=60)
        lines = (tmp_path / "driver-0.prom").read_text().splitlines()
        recorder(str(file)).close()
        counted = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
        name, labels = "imagevol_driver_volumes_total", f'backend="{SECTION}",way="{{}}",worker="0"'
        assert {key: value for key, value in counted.items() if key.startswith(name)} == {
            f"{name}{{{labels.format(way)}}}": count
            for way, count in (
                ("clone-image-volume", 1),
                ("clone-template", 2),
                ("create-template", 2),
                ("left-to-cinder", 1),
            )
        }
        of_backend = f'{{backend="{SECTION}",worker="0"}}'
        assert counted[f"imagevol_driver_template_hits_total{of_backend}"] == 2
        assert counted[f"imagevol_driver_template_evictions_total{of_backend}"] == 1
        assert counted[f"imagevol_driver_transfer_bytes_total{of_backend}"] == 2 * len(DATA)
        assert len(counted) <= 10

    def test_an_image_volume_is_not_changed_by_a_clone(self, backend: Backend) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        source = backend.image_volume(image)
        before = backend.cinder.again(source)
        backend.made(image, at(source))
        after = backend.cinder.again(source)
        assert (after.status, after.metadata, after.size) == (before.status, before.metadata, before.size)
        assert after.admin_metadata == before.admin_metadata

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_if_a_clone_fails_the_next_image_volume_is_tried(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        sources = [backend.image_volume(image), backend.image_volume(image)]
        tried = failing_clones(backend, monkeypatch, error, of=sources[0])
        volume = backend.made(image, at(*sources), size_gib=2)
        assert tried == [source.id for source in sources]
        assert backend.content(volume) == Content.of(DATA, size_gib=2)

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_if_every_clone_fails_nothing_is_left(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        backend.allow_clones()
        image = backend.images.add(DATA)
        sources = [backend.image_volume(image), backend.image_volume(image)]
        tried = failing_clones(backend, monkeypatch, error)
        backend.falls_through(backend.cinder.volume(), image, at(*sources))
        assert tried == [source.id for source in sources]

    @pytest.mark.parametrize("rule, image, source, target", REFUSED, ids=[row[0] for row in REFUSED])
    def test_an_image_volume_that_a_rule_forbids_is_not_cloned_and_the_log_names_the_rule(
        self,
        backend: Backend,
        caplog: pytest.LogCaptureFixture,
        rule: str,
        image: Mapping[str, Any],
        source: Mapping[str, Any],
        target: Mapping[str, Any],
    ) -> None:
        caplog.set_level(logging.INFO, logger=LOGGER)
        backend.allow_clones()
        sound = backend.images.add(DATA)
        location = at(backend.image_volume(sound, **source))
        volume = backend.cinder.volume(**target)
        assert backend.clone_image(volume, {**sound, **image}, location) == FELL_THROUGH
        assert f"fails {rule}" in caplog.text

    @pytest.mark.parametrize(
        "location",
        [
            None,
            (None, None),
            (None, []),
            ("cinder://", None),
            ("cinder://no-id", [{"url": "\x00"}]),
            ("rbd://a/b/c/d", [{"url": "cinder://store/" + NOBODY, "metadata": None}]),
            (None, [{"metadata": {}}]),
            ("no tuple", "either"),
        ],
        ids=str,
    )
    def test_any_location_is_answered_without_an_error(self, backend: Backend, location: Any) -> None:
        backend.allow_clones()
        backend.falls_through(backend.cinder.volume(), backend.images.add(DATA), location)

    @pytest.mark.parametrize(
        "lacks", ["id", "status", "owner", "visibility", "size", "updated_at", "virtual_size", "properties"]
    )
    def test_any_image_is_answered_without_an_error(self, backend: Backend, lacks: str) -> None:
        backend.allow_clones()
        backend.cinder.set("image_template_enabled", True)
        image = backend.images.add(DATA, owner="another-project")
        backend.falls_through(backend.cinder.volume(), {**image, lacks: None}, (None, None))
        del image[lacks]
        backend.falls_through(backend.cinder.volume(), image, (None, None))


def failing_clones(backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception, *, of: Any = None) -> list[str]:
    """Let clones fail once they are half made: those of one volume, or all.  Give the volumes that were tried."""
    tried: list[str] = []
    real = backend.driver.create_cloned_volume

    def clone(volume: Any, source: Any) -> Any:
        tried.append(source.id)
        update = real(volume, source)
        if of is None or source.id == of.id:
            raise error
        return update

    monkeypatch.setattr(backend.driver, "create_cloned_volume", clone)
    return tried

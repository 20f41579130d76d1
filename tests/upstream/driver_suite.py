"""Drivers under the conformance suite; `driver_suite_worker.py` runs these, and pytest alone does not find them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from cinder import context as cinder_context
from cinder import exception
from cinder.volume import rpcapi

from imagevol_adapters.driver import OPTIONS, ImageCloneMixin
from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.testing.conformance.driver import ImageCloneConformance
from imagevol_adapters.testing.conformance.driver.backend import DATA, Backend, Content
from imagevol_adapters.testing.conformance.driver.offline import INTERNAL
from imagevol_adapters.testing.conformance.fixtures import NOBODY, read
from imagevol_core import TEMPLATE_KEY, Digest, TemplateMetadata, is_template
from tests.upstream import sparse_file_driver as drivers
from tests.upstream.cloning_manager import Manager, migrated_record


def migrate(backend: Backend, volume: Any) -> Any:
    """Migrate a volume as Cinder does where no driver helps: by a copy into a new volume, whose record it swaps."""
    new = migrated_record(backend.cinder.admin, volume)
    with backend.driver.imagevol_open_volume(backend.cinder.admin, volume, writable=False) as old:
        backend.put(new, read(old, 0, len(DATA)))
    new.update({"status": "available"})
    new.save()
    volume, new = backend.cinder.again(volume), backend.cinder.again(new)
    volume.update({"_name_id": new.id})
    source = volume.finish_volume_migration(new)
    volume.update({"status": "available", "migration_status": "success"})
    volume.save()
    backend.driver.delete_volume(source)
    source.destroy()
    return backend.cinder.again(volume)


class OnSparseFiles(ImageCloneConformance):
    @pytest.fixture
    def backend_options(self, tmp_path: Path) -> dict[str, object]:
        return {"sparsefile_directory": tmp_path}

    @pytest.fixture
    def stored(self, tmp_path: Path) -> Callable[[], Collection[str]]:
        return lambda: [file.name for file in tmp_path.iterdir()]


class TestTemplatingFileDriver(OnSparseFiles):
    driver_class = drivers.TemplatingFileDriver

    @pytest.mark.parametrize(
        "after", [(Templates, "touch"), (rpcapi.VolumeAPI, "delete_volume")], ids=["touch", "delete"]
    )
    def test_a_volume_that_is_made_stays_whatever_fails_then(
        self, templating: Backend, monkeypatch: pytest.MonkeyPatch, after: tuple[Any, str]
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise exception.ServiceUnavailable

        image = templating.images.add(DATA)
        templating.made(image)
        monkeypatch.setattr(*after, fail)
        assert templating.content(templating.made(image)) == Content.of(DATA)
        changed = {**templating.images.add(DATA[1:]), "id": image["id"]}
        templating.images.data[image["id"]] = DATA[1:]
        assert templating.content(templating.made(changed), len(DATA) - 1) == Content.of(DATA[1:])

    @pytest.mark.parametrize("migrated", [False, True])
    def test_what_cinder_clones_of_a_users_volume_is_no_template(self, templating: Backend, migrated: bool) -> None:
        image = templating.images.add(DATA)
        digest = Digest(image["os_hash_algo"], image["os_hash_value"])
        forged = TemplateMetadata(image_id=image["id"], digest=digest, image_updated_at=image["updated_at"]).to_volume()
        users = templating.cinder.volume(metadata={**forged, "readonly": "True"})
        templating.put(users, DATA[::-1])
        internal = cinder_context.get_internal_tenant_context()
        planted = Manager(templating.driver)._clone_image_volume(internal, users, {"id": NOBODY})
        assert (planted.project_id, planted.metadata[TEMPLATE_KEY]) == (INTERNAL, image["id"])
        if migrated:
            planted = migrate(templating, planted)
            assert planted.source_volid is None
        assert not is_template(volume_facts(templating.cinder.again(planted)))
        for _ in range(2):
            assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.cinder.again(planted).status == "available"

    def test_a_template_proves_itself_after_a_migration_and_its_clone_in_the_internal_tenant_does_not(
        self, templating: Backend
    ) -> None:
        image = templating.images.add(DATA)
        templating.made(image)
        (template,) = Templates(templating.cinder.volume()).of(image["id"])
        migrated = migrate(templating, template)
        assert is_template(volume_facts(migrated))
        internal = cinder_context.get_internal_tenant_context()
        clone = Manager(templating.driver)._clone_image_volume(internal, migrated, {"id": NOBODY})
        clone = migrate(templating, templating.cinder.again(clone))
        assert clone.metadata[TEMPLATE_KEY] == image["id"]
        assert not is_template(volume_facts(clone))
        assert [each.id for each in Templates(templating.cinder.volume()).of(image["id"])] == [template.id]
        assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.images.downloads == [image["id"]]

    def test_the_options_of_the_driver_are_published_too(self) -> None:
        class Own(drivers.SparseFileDriver):
            get_driver_options = drivers.OptionsOfItsOwn.get_driver_options

        class Cloning(ImageCloneMixin, Own):
            pass

        assert Cloning.get_driver_options() == [*drivers.OPTIONS, *OPTIONS]
        assert ImageCloneMixin.get_driver_options() == list(OPTIONS)


class TestUsedStorage(OnSparseFiles):
    driver_class = drivers.UsedStorage


class TestDeviceOfItsOwn(OnSparseFiles):
    driver_class = drivers.DeviceOfItsOwn


class TestBehindTheBase(OnSparseFiles):
    driver_class = drivers.BehindTheBase


class TestOptionsOfItsOwn(OnSparseFiles):
    driver_class = drivers.OptionsOfItsOwn


class TestRaising(OnSparseFiles):
    driver_class = drivers.Raising


class TestOldStyle(OnSparseFiles):
    driver_class = drivers.OldStyle


class TestNeverExtends(OnSparseFiles):
    driver_class = drivers.NeverExtends


class TestSharedStorage(OnSparseFiles):
    driver_class = drivers.SharedStorage


class TestKeepsHalfClones(OnSparseFiles):
    driver_class = drivers.KeepsHalfClones


class TestLosesWrites(OnSparseFiles):
    driver_class = drivers.LosesWrites

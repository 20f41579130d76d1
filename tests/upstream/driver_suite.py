"""Drivers under the conformance suite; `driver_suite_worker.py` runs these, and pytest alone does not find them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from cinder import context as cinder_context
from cinder import exception
from cinder.volume import rpcapi

from imagevol_adapters.driver.templates import Templates
from imagevol_adapters.testing.conformance.driver import ImageCloneConformance
from imagevol_adapters.testing.conformance.driver.backend import DATA, Backend, Content
from imagevol_adapters.testing.conformance.driver.offline import INTERNAL
from imagevol_adapters.testing.conformance.fixtures import NOBODY
from imagevol_core import TEMPLATE_KEY, Digest, TemplateMetadata
from tests.upstream import sparse_file_driver as drivers
from tests.upstream.cloning_manager import Manager


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

    def test_what_cinder_clones_of_a_users_volume_is_no_template(self, templating: Backend) -> None:
        image = templating.images.add(DATA)
        digest = Digest(image["os_hash_algo"], image["os_hash_value"])
        forged = TemplateMetadata(image_id=image["id"], digest=digest).to_volume()
        users = templating.cinder.volume(metadata={**forged, "readonly": "True"})
        templating.put(users, DATA[::-1])
        internal = cinder_context.get_internal_tenant_context()
        planted = Manager(templating.driver)._clone_image_volume(internal, users, {"id": NOBODY})
        assert (planted.project_id, planted.metadata[TEMPLATE_KEY]) == (INTERNAL, image["id"])
        for _ in range(2):
            assert templating.content(templating.made(image)) == Content.of(DATA)
        assert templating.cinder.again(planted).status == "available"


class TestUsedStorage(OnSparseFiles):
    driver_class = drivers.UsedStorage


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

"""The facts that decisions are made from, collected in one place for every program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.gathering import CinderSettings, Cloud, CreationFacts, gather_creation, unknown_facts
from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration
from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
from imagevol_core import (
    Backend,
    CacheEntry,
    CacheLimits,
    CloneSettings,
    Image,
    ImageCache,
    ImageLocation,
    ImageVolumeMetadata,
    InvalidConfiguration,
    InvalidFact,
    Policy,
    TemplateMetadata,
    TemplateSettings,
    UploadSettings,
    Volume,
    Way,
    template_name,
)

HERE, ELSEWHERE = "node@fast#one", "node@slow#one"
INTERNAL = "internal"
IMAGE_VOLUME = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
IMAGE = Image(
    id="i",
    status="active",
    owner="p",
    visibility="private",
    disk_format="raw",
    container_format="bare",
    size_bytes=5,
    min_disk_gib=0,
    locations=(ImageLocation(f"cinder://fast/{IMAGE_VOLUME}", {"store": "fast"}),),
)
TARGET = Volume(id="t", project_id="p", host=HERE, size_gib=1, encrypted=False)


def conf(directory: Path, text: str) -> Path:
    file = directory / "cinder.conf"
    file.write_text(text)
    return file


class TestCinderSettings:
    def test_a_file_says_of_a_backend_what_its_section_the_shared_one_and_cinders_own_do(self, tmp_path: Path) -> None:
        file = conf(
            tmp_path,
            "[DEFAULT]\nenabled_backends = fast\nallowed_direct_url_schemes = file\nimage_conversion_disable = true\n"
            "cinder_internal_tenant_project_id = internal\ncinder_internal_tenant_user_id = cinder\n"
            "[backend_defaults]\nimage_volume_cache_enabled = true\nimage_volume_cache_max_count = 7\n"
            "image_upload_use_internal_tenant = true\n"
            "[fast]\nimage_clone_direct_url_schemes = cinder\nimage_volume_cache_max_count = 3\n"
            "image_volume_cache_max_size_gb = 9\nimage_template_enabled = true\n"
            "image_upload_use_cinder_backend = true\n",
        )
        settings = CinderConfiguration.read(file).settings(HERE)
        assert settings.clones == CloneSettings(
            allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({INTERNAL}), enforce_signatures=True
        )
        assert settings.cinders_clones == CloneSettings(allowed_direct_url_schemes=("file",), enforce_signatures=True)
        assert settings.templates == TemplateSettings(
            enabled=True, internal_tenant=True, trusted_projects=frozenset({INTERNAL}), enforce_signatures=True
        )
        assert settings.cache == ImageCache(
            enabled=True, internal_tenant=True, limits=CacheLimits(max_gib=9, max_count=3)
        )
        assert settings.uploads == UploadSettings(
            use_cinder_backend=True, use_internal_tenant=True, internal_tenant=INTERNAL
        )
        assert not settings.conversion.allowed

    def test_cinders_internal_tenant_is_a_project_and_a_user(self, tmp_path: Path) -> None:
        file = conf(
            tmp_path, "[DEFAULT]\nenabled_backends = fast\ncinder_internal_tenant_project_id = internal\n[fast]\n"
        )
        settings = CinderConfiguration.read(file).settings(HERE)
        assert (settings.cache.internal_tenant, settings.uploads.internal_tenant) == (False, None)
        assert settings.templates.internal_tenant is False

    def test_an_internal_tenant_that_is_known_better_counts_for_every_backend(self, tmp_path: Path) -> None:
        file = conf(tmp_path, "[DEFAULT]\nenabled_backends = fast\n[fast]\nimage_template_enabled = true\n")
        known = CinderConfiguration.read(file, internal_tenant="given")
        assert known.internal_tenant == "given"
        for settings in (known.settings(HERE), known.assumed_settings()):
            assert settings.templates.trusted_projects == {"given"}
            assert settings.templates.internal_tenant is not False

    @pytest.mark.parametrize(
        "text, said",
        [(None, "No such file or directory"), ("", "is a directory|not a file"), ("secret", "as a configuration")],
    )
    @pytest.mark.parametrize("optional", [False, True])
    def test_a_file_that_cannot_be_read_is_an_error_that_names_it_and_none_of_its_lines(
        self, tmp_path: Path, text: str | None, said: str, optional: bool
    ) -> None:
        file = tmp_path / "cinder.conf"
        if text == "":
            file.mkdir()
        elif text:
            file.write_text(text)
        elif optional:
            pytest.skip("an optional file can be missing")
        with pytest.raises(InvalidConfiguration) as refused:
            CinderConfiguration.read(file, optional=optional)
        told = str(refused.value)
        assert told.startswith(f"{file}: it cannot be read")
        assert re.search(said, told, re.IGNORECASE), told
        assert "secret" not in told
        assert "\n" not in told

    def test_an_optional_file_that_is_missing_configures_nothing(self, tmp_path: Path) -> None:
        for file in (tmp_path / "none", Path(__file__) / "none"):
            nothing = CinderConfiguration.read(file, optional=True)
            assert (nothing.file, nothing.internal_tenant, nothing.describes(HERE)) == (None, None, False)

    def test_a_backend_that_the_file_does_not_describe_has_assumed_settings_only(self, tmp_path: Path) -> None:
        file = conf(tmp_path, "[DEFAULT]\nenabled_backends = fast\n[fast]\n")
        configuration = CinderConfiguration.read(file)
        with pytest.raises(InvalidConfiguration, match="it does not describe backend slow: read the file of"):
            configuration.settings(ELSEWHERE)
        assert configuration.settings(HERE).assumed == frozenset()
        assert configuration.assumed_settings().assumed == {"clones", "templates", "cache"}
        assert configuration.pool(ELSEWHERE).template_settings.enabled
        assert not configuration.pool(HERE).template_settings.enabled

    def test_a_setting_that_cannot_be_assumed_is_refused(self) -> None:
        with pytest.raises(InvalidFact, match="assumed: it names image-cache, and can only name clones, templates"):
            CinderSettings(assumed={"image-cache"})


def image_volume(**facts: Any) -> Volume:
    record = ImageVolumeMetadata(image_id=IMAGE.id, image_owner=IMAGE.owner, size_bytes=5)
    known: dict[str, Any] = {
        "id": IMAGE_VOLUME,
        "project_id": "p",
        "host": HERE,
        "size_gib": 1,
        "status": "available",
        "encrypted": False,
        "readonly": True,
        "metadata": record.to_volume(),
    }
    return Volume(**{**known, **facts})


def template(volume_id: str, *, image_id: str = IMAGE.id, host: str = HERE) -> Volume:
    metadata = TemplateMetadata(image_id=image_id).to_volume()
    return image_volume(id=volume_id, name=template_name(image_id), project_id=INTERNAL, host=host, metadata=metadata)


class Cinder(MemoryVolumes):
    """A Cinder that lists the volumes of any project."""

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        assert metadata is None
        yield from [volume for volume in self.volumes.values() if volume.project_id == project_id]


class Glance(MemoryImages):
    """A Glance that gives everybody the data of every image, and counts."""

    asked = 0

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        assert (image_id, offset, length) == (IMAGE.id, 0, 1)
        self.asked += 1
        return iter([b"x"])


@pytest.fixture
def cinder() -> Cinder:
    return Cinder(project_id="p")


@pytest.fixture
def glance(cinder: Cinder) -> Glance:
    return Glance(volumes=cinder)


def gathered(cinder: Cinder, glance: Glance, settings: CinderSettings, **facts: Any) -> CreationFacts:
    for volume in facts.pop("there", ()):
        cinder.volumes[volume.id] = volume
    tenant = facts.pop("internal_tenant", INTERNAL)
    return gather_creation(
        facts.pop("image", IMAGE),
        target=replace(TARGET, **facts),
        backend=Backend(),
        settings=settings,
        source=Cloud(volumes=cinder, images=glance, project_id="p", internal_tenant=tenant),
    )


TEMPLATES = CinderSettings(templates=TemplateSettings(enabled=True, trusted_projects=frozenset({INTERNAL})))


class TestCreation:
    def test_what_the_driver_may_clone_is_no_leave_for_cinder_itself(self, cinder: Cinder, glance: Glance) -> None:
        settings = CinderSettings(clones=CloneSettings(allowed_direct_url_schemes=("cinder",)))
        facts = gathered(cinder, glance, settings, there=[image_volume()])
        assert [step.way for step in facts.plan().steps] == [Way.CLONE_IMAGE_VOLUME, Way.COPY]
        assert [step.way for step in facts.plan(Policy.UPSTREAM).steps] == [Way.COPY]

    def test_the_templates_of_the_backend_are_in_the_plan(self, cinder: Cinder, glance: Glance) -> None:
        there = [template("ours"), template("other", image_id="j"), template("far", host=ELSEWHERE)]
        facts = gathered(cinder, glance, TEMPLATES, there=there)
        assert facts.template
        assert facts.template.entry.volume_id == "ours"
        assert [entry.volume_id for entry in facts.others] == ["other"]
        elsewhere = gathered(cinder, glance, TEMPLATES, host="node@third#one")
        assert (elsewhere.template, elsewhere.others) == (None, ())

    def test_templates_that_are_not_enabled_are_not_looked_for(self, cinder: Cinder, glance: Glance) -> None:
        facts = gathered(cinder, glance, CinderSettings(), there=[template("ours")])
        assert facts.template is None

    @pytest.mark.parametrize(
        "facts, asked",
        [
            ({"image": replace(IMAGE, owner="another", visibility="shared")}, True),
            ({"image": replace(IMAGE, owner="another", visibility="shared"), "project_id": "third"}, None),
            ({"image": replace(IMAGE, owner="another", visibility="shared"), "encrypted": True}, None),
            ({}, None),
        ],
        ids=["another's", "for a third project", "encrypted", "its own"],
    )
    def test_glance_is_asked_for_the_data_only_where_it_matters_and_for_the_requester_only(
        self, cinder: Cinder, glance: Glance, facts: dict[str, Any], asked: bool | None
    ) -> None:
        assert gathered(cinder, glance, TEMPLATES, **facts).requester_reads is asked
        assert glance.asked == (1 if asked else 0)

    def test_the_strict_plan_counts_cached_volumes_on_the_backend_only(self, cinder: Cinder, glance: Glance) -> None:
        limits = CacheLimits(max_count=1)
        facts = attrs.evolve(
            gathered(
                cinder, glance, CinderSettings(cache=ImageCache(enabled=True, internal_tenant=True, limits=limits))
            ),
            entries=(CacheEntry(volume_id="far", image_id="j", size_gib=1, host=ELSEWHERE),),
        )
        (created, _) = facts.plan().steps
        assert (created.way, created.remove_first) == (Way.CREATE_CACHED, ())


def unknown(facts: CreationFacts, policy: Policy = Policy.STRICT) -> list[str]:
    """What is not known, without what no API ever tells."""
    never = {
        "whether the driver of the backend has ImageCloneMixin",
        "whether the image's data is in the format that the image declares",
    }
    return [each.fact for each in unknown_facts(facts, policy=policy) if each.fact not in never]


class TestUnknown:
    def test_with_all_settings_known_nothing_is_left_for_the_own_image(self, cinder: Cinder, glance: Glance) -> None:
        assert unknown(gathered(cinder, glance, TEMPLATES)) == []

    def test_settings_that_are_assumed_are_not_known(self, cinder: Cinder, glance: Glance) -> None:
        theirs = image_volume(project_id="service")
        clones = CloneSettings(allowed_direct_url_schemes=("cinder",))
        settings = CinderSettings(clones=clones, assumed={"clones", "templates", "cache"})
        facts = gathered(cinder, glance, settings, there=[theirs])
        assert {"trusted-projects", "templates", "image-cache"} <= {each.id for each in unknown_facts(facts)}
        assert unknown(facts) == [
            "which projects are trusted",
            "whether the backend makes templates",
            "whether the backend has Cinder's image cache",
        ]
        assert unknown(facts, Policy.UPSTREAM) == ["whether the backend has Cinder's image cache"]
        known = attrs.evolve(facts, settings=attrs.evolve(settings, assumed=frozenset()))
        assert unknown(known) == []

    def test_without_the_internal_tenant_it_is_not_known_which_templates_there_are(
        self, cinder: Cinder, glance: Glance
    ) -> None:
        dated = replace(IMAGE, updated_at=datetime(2026, 1, 1, tzinfo=UTC))
        assert unknown(gathered(cinder, glance, TEMPLATES, image=dated)) == []
        facts = gathered(cinder, glance, TEMPLATES, image=dated, internal_tenant=None)
        assert unknown(facts) == ["which templates there are"]

    @pytest.mark.parametrize("policy", Policy)
    def test_what_glance_gives_another_project_is_not_known(
        self, cinder: Cinder, glance: Glance, policy: Policy
    ) -> None:
        shared = replace(IMAGE, visibility="shared")
        facts = gathered(cinder, glance, CinderSettings(), image=shared, project_id="third")
        assert unknown(facts, policy) == ["whether Glance gives the requester the image's data"]
        assert unknown(gathered(cinder, glance, CinderSettings(), image=shared), policy) == []
        assert glance.asked == 0

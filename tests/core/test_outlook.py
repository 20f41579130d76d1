"""What the driver and Cinder come to together, and what each step costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from imagevol_adapters.testing.way_strategies import CreationCase, creation_cases
from imagevol_core import (
    GIB,
    CacheLimits,
    Carrier,
    CloneSettings,
    CreationOutlook,
    CreationStep,
    Effort,
    Image,
    ImageCache,
    Policy,
    Rates,
    StepCost,
    TemplateSettings,
    Volume,
    Way,
    expected_seconds,
    foresee,
    step_cost,
)
from tests.core import cases
from tests.core.test_creation import BARE, CACHED, GOOD, OF_NOVA, STALE, UNCLONED, cache, image, templated


def foreseen(case: CreationCase, *, without: bool = False, schemes: tuple[str, ...] = ()) -> CreationOutlook:
    """What the driver and Cinder do; Cinder has no templates, and its own schemes."""
    theirs = replace(
        case,
        template=None,
        template_settings=TemplateSettings(),
        clone=replace(case.clone, settings=CloneSettings(allowed_direct_url_schemes=schemes)),
    )
    cinder = theirs.decide(Policy.UPSTREAM)
    return foresee(cinder if without else case.decide(), cinder)


def tried(outlook: CreationOutlook) -> list[tuple[str, str]]:
    return [(way.way.value, way.by.value) for way in outlook.ways if way.steps]


def told(outlook: CreationOutlook) -> list[str]:
    """Each way in a line: what carries it out, and what it clones or which rules stand against it."""
    return [
        " ".join(
            [
                way.by.value,
                way.way.value,
                *(f"tries {step.source or 'the image'}" for step in way.steps),
                *(f"{verdict.result.value} {verdict.rule}" for verdict in way.against),
            ]
        )
        for way in outlook.ways
    ]


def test_every_way_is_told_in_order_with_all_that_stands_against_it() -> None:
    assert told(foreseen(BARE)) == [
        "cinder from-snapshot does-not-apply from-snapshot",
        "driver clone-image-volume fails volume-found",
        "driver clone-template fails templates-enabled",
        "driver create-template fails templates-enabled",
        "driver await-template fails templates-enabled",
        "cinder clone-image-volume fails cinder-urls-allowed fails volume-found",
        "cinder clone-cached fails cache-enabled fails internal-tenant-known",
        "cinder create-cached fails cache-enabled fails internal-tenant-known",
        "cinder copy tries the image",
    ]
    assert told(foreseen(templated(None, cache(entries=(STALE,))))) == [
        "cinder from-snapshot does-not-apply from-snapshot",
        "driver clone-image-volume fails volume-found",
        "driver clone-template does-not-apply clone-template",
        "driver create-template tries the image",
        "driver await-template does-not-apply await-template",
        "cinder clone-image-volume fails cinder-urls-allowed fails volume-found",
        "cinder clone-cached fails cached-fresh",
        "cinder create-cached tries the image",
        "cinder copy does-not-apply copy",
    ]
    assert told(foreseen(templated(None, cache(entries=(CACHED,))))) == [
        "cinder from-snapshot does-not-apply from-snapshot",
        "driver clone-image-volume fails volume-found",
        "driver clone-template does-not-apply clone-template",
        "driver create-template does-not-apply create-template",
        "driver await-template does-not-apply await-template",
        "cinder clone-image-volume fails cinder-urls-allowed fails volume-found",
        "cinder clone-cached tries cached",
        "cinder create-cached does-not-apply create-cached",
        "cinder copy tries the image",
    ]


def test_what_stands_against_an_entry_of_the_cache_does_not_stand_against_another_one_being_made() -> None:
    full = cache(entries=(STALE,), limits=CacheLimits(max_gib=1))
    outlook = foreseen(image(full, virtual_size_bytes=2 * GIB))
    assert "cinder create-cached fails fits-max-gib" in told(outlook)


def test_the_driver_comes_first_and_what_it_leaves_is_cinders() -> None:
    assert tried(foreseen(replace(GOOD, cache=ImageCache()))) == [
        ("clone-image-volume", "driver"),
        ("clone-template", "driver"),
        ("copy", "cinder"),
    ]
    assert tried(foreseen(BARE)) == [("copy", "cinder")]


def test_a_template_is_not_made_if_cinder_clones_a_cached_volume() -> None:
    outlook = foreseen(templated(None, cache(entries=(CACHED,))))
    assert tried(outlook) == [("clone-cached", "cinder"), ("copy", "cinder")]
    (against,) = (way.against for way in outlook.ways if way.way is Way.CREATE_TEMPLATE)
    assert [verdict.text for verdict in against] == ["clone-cached comes first, and the driver leaves that to Cinder"]


def test_a_cached_volume_that_cinder_would_not_clone_keeps_no_template_from_being_made() -> None:
    case = templated(None, cache(entries=(CACHED,)))
    theirs = replace(case, cache=replace(case.cache, entries=())).decide(Policy.UPSTREAM)
    outlook = foresee(case.decide(), theirs)
    assert ("create-template", "driver") in tried(outlook)


def test_cinders_own_clone_of_a_volume_that_the_driver_tried_is_not_told_again() -> None:
    outlook = foreseen(replace(GOOD, cache=ImageCache()), schemes=("cinder",))
    own = [way for way in outlook.ways if way.way is Way.CLONE_IMAGE_VOLUME and way.by is Carrier.CINDER]
    assert [(way.steps, [verdict.text for verdict in way.against]) for way in own] == [
        ((), ["the driver has tried the same volume before"])
    ]


def test_cinder_clones_what_the_strict_rules_refuse_if_its_own_option_allows_it() -> None:
    untrusted = replace(
        BARE, clone=replace(GOOD.clone, settings=replace(GOOD.clone.settings, trusted_projects=frozenset()))
    )
    assert ("clone-image-volume", "cinder") in tried(foreseen(untrusted, schemes=("cinder",)))
    assert ("clone-image-volume", "cinder") not in tried(foreseen(untrusted))


def test_a_request_that_cinder_refuses_has_no_ways() -> None:
    outlook = foreseen(image(status="queued"))
    assert (outlook.ways, outlook.steps, outlook.refused) == ((), (), "the image's status is queued")
    assert [verdict.rule for verdict in outlook.refused_by] == ["image-active"]


def test_a_request_that_only_the_strict_rules_refuse_is_left_to_cinder() -> None:
    outlook = foreseen(image(UNCLONED, virtual_size_bytes=None, properties={"virtual_size": str(99 * GIB)}))
    assert outlook.left is not None
    assert {by for _, by in tried(outlook)} == {"cinder"}
    assert [line for line in told(outlook) if line.startswith("driver")] == [
        "driver clone-image-volume fails image-fits",
        "driver clone-template fails image-fits",
        "driver create-template fails image-fits",
        "driver await-template fails image-fits",
    ]


def test_the_volume_of_a_snapshot_image_has_one_way() -> None:
    outlook = foreseen(image(properties={"block_device_mapping": OF_NOVA}))
    assert [way.way for way in outlook.ways] == [Way.FROM_SNAPSHOT]
    assert (outlook.fails, outlook.refused) == (None, None)


def test_a_request_without_a_copy_at_the_end_can_fail() -> None:
    convert = replace(GOOD.conversion, allowed=False)
    outlook = foreseen(image(replace(BARE, conversion=convert), disk_format="qcow2"))
    assert "ImageConversionNotAllowed" in str(outlook.refused)
    assert (outlook.fails, outlook.left) == (None, None)
    assert [(verdict.rule, verdict.text) for verdict in outlook.refused_by] == [("copy", outlook.refused)]
    outlook = foreseen(image(replace(GOOD, conversion=convert, cache=ImageCache()), disk_format="qcow2"))
    assert [step.way for step in outlook.steps] == [Way.CLONE_TEMPLATE]
    assert "ImageConversionNotAllowed" in str(outlook.fails)
    assert outlook.refused is None


def test_without_the_mixin_all_steps_are_those_of_cinder() -> None:
    outlook = foreseen(GOOD, without=True, schemes=("cinder",))
    assert {by for _, by in tried(outlook)} == {"cinder"}
    assert outlook.left is None
    assert told(outlook) == [  # a Cinder without the driver has no templates, and no rule about them
        "cinder from-snapshot does-not-apply from-snapshot",
        f"cinder clone-image-volume tries {cases.VOLUME_ID}",
        "cinder clone-cached tries cached",
        "cinder create-cached does-not-apply create-cached",
        "cinder copy tries the image",
    ]


@given(creation_cases())
def test_a_way_is_tried_or_something_stands_against_it(case: CreationCase) -> None:
    for without in (True, False):
        outlook = foreseen(case, without=without, schemes=("cinder",))
        assert all(bool(way.steps) != bool(way.against) for way in outlook.ways)
        assert bool(outlook.steps) == (outlook.refused is None)
        assert bool(outlook.steps) == (not outlook.refused_by)


class TestCosts:
    IMAGE = Image(id="i", disk_format="qcow2", size_bytes=700, virtual_size_bytes=5 * GIB)
    TARGET = Volume(id="t", host="node@fast#one", size_gib=9)

    def cost(self, way: Way, source: Volume | None = None) -> StepCost:
        step = CreationStep(way=way, source=source.id if source else None, extend_to_gib=9)
        return step_cost(step, image=self.IMAGE, target=self.TARGET, sources=[source] if source else [])

    @pytest.mark.parametrize(
        "way", [Way.FROM_SNAPSHOT, Way.CLONE_IMAGE_VOLUME, Way.CLONE_TEMPLATE, Way.CLONE_CACHED, Way.AWAIT_TEMPLATE]
    )
    def test_a_clone_in_its_pool_moves_nothing(self, way: Way) -> None:
        assert self.cost(way, replace(self.TARGET, id="v")) == StepCost(effort=Effort.INSTANT)
        assert self.cost(way) == StepCost(effort=Effort.INSTANT)

    def test_a_clone_from_another_pool_is_a_copy_in_the_array(self) -> None:
        there = replace(self.TARGET, id="v", host="node@fast#two", size_gib=3)
        assert self.cost(Way.CLONE_IMAGE_VOLUME, there) == StepCost(effort=Effort.ARRAY, array_bytes=3 * GIB)

    def test_in_a_cluster_the_cluster_decides(self) -> None:
        here = replace(self.TARGET, cluster_name="c@fast#one")
        step = CreationStep(way=Way.CLONE_IMAGE_VOLUME, source="v", extend_to_gib=9)
        other_host = replace(here, id="v", host="other@fast#one")
        assert step_cost(step, image=self.IMAGE, target=here, sources=[other_host]).effort is Effort.INSTANT

    @pytest.mark.parametrize("way", [Way.COPY, Way.CREATE_TEMPLATE, Way.CREATE_CACHED])
    def test_a_copy_reads_the_file_and_writes_the_disk(self, way: Way) -> None:
        assert self.cost(way) == StepCost(
            effort=Effort.HOST, read_bytes=700, written_bytes=5 * GIB, makes_another=way is not Way.COPY
        )

    @pytest.mark.parametrize(
        "disk_format, container_format, virtual_size, written",
        [
            ("qcow2", "bare", None, None),
            ("qcow2", "bare", 0, None),
            ("vmdk", "bare", None, None),
            (None, None, None, None),
            ("raw", "ova", None, None),
            ("qcow2", "bare", 500, 700),
            ("raw", "bare", None, 700),
            ("iso", "bare", None, 700),
        ],
    )
    def test_what_is_written_is_known_only_where_the_size_of_the_disk_is(
        self, disk_format: str | None, container_format: str | None, virtual_size: int | None, written: int | None
    ) -> None:
        image = Image(
            id="i",
            disk_format=disk_format,
            container_format=container_format,
            size_bytes=700,
            virtual_size_bytes=virtual_size,
        )
        copied = step_cost(CreationStep(way=Way.COPY, extend_to_gib=9), image=image, target=self.TARGET, sources=())
        assert (copied.read_bytes, copied.written_bytes) == (700, written)

    def test_the_time_is_known_if_all_of_it_was_measured(self) -> None:
        rates = Rates(host="h", write_bytes_per_second=10.0, attach_seconds=1.0, detach_seconds=2.0, clone_seconds=4.0)
        copied = StepCost(effort=Effort.HOST, written_bytes=50)
        assert expected_seconds(copied, rates) == 8.0
        assert expected_seconds(replace(copied, makes_another=True), rates) == 12.0
        assert expected_seconds(StepCost(effort=Effort.INSTANT), rates) == 4.0
        assert expected_seconds(StepCost(effort=Effort.ARRAY, array_bytes=1), rates) is None
        assert expected_seconds(replace(copied, written_bytes=None), rates) is None
        assert expected_seconds(copied, replace(rates, detach_seconds=None)) is None
        assert expected_seconds(copied, replace(rates, write_bytes_per_second=None)) is None

    @pytest.mark.parametrize("size, speed", [(2**1100, 1e9), (10**300, 1e-300)], ids=["no float", "infinite"])
    def test_a_time_that_no_float_holds_is_not_told(self, size: int, speed: float) -> None:
        rates = Rates(host="node", write_bytes_per_second=speed, attach_seconds=2.0, detach_seconds=1.0)
        assert expected_seconds(StepCost(effort=Effort.HOST, written_bytes=size), rates) is None

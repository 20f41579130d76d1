"""Which image volumes a new volume may be cloned from: the laws of the decision as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from imagevol_adapters.testing.strategies import CloneCase, clone_cases
from imagevol_core import (
    Backend,
    CloneSettings,
    Dialect,
    ImageLocation,
    InvalidFact,
    InvalidLocation,
    Policy,
    Volume,
    failed,
    parse_location,
)
from tests.core import cases
from tests.core.cases import BOTH_POLICIES, GOOD

policies = st.sampled_from(BOTH_POLICIES)
DIALECTS = {Policy.STRICT: Dialect.STRICT, Policy.UPSTREAM: Dialect.CINDER}


def named(case: CloneCase, policy: Policy) -> list[str]:
    """The volumes that the image's locations name, each once and in order."""
    volume_ids = []
    for location in case.image.locations:
        try:
            volume_ids.append(parse_location(location.url, dialect=DIALECTS[policy]).volume_id)
        except InvalidLocation:
            continue
    return list(dict.fromkeys(volume_ids))


def in_the_way(case: CloneCase, policy: Policy) -> set[str | None]:
    """What a failed verdict is about: volumes, and None for the request."""
    return {verdict.subject for verdict in failed(case.decide(policy).verdicts)}


UNREAD = (ImageLocation("http://["),)


@pytest.mark.parametrize(
    "settings, name, text",
    [
        (
            lambda: CloneSettings(allowed_direct_url_schemes="cinder"),  # type: ignore[arg-type]
            *("CloneSettings.allowed_direct_url_schemes", "cinder"),
        ),
        (
            lambda: CloneSettings(trusted_projects="service"),  # type: ignore[arg-type]
            *("CloneSettings.trusted_projects", "service"),
        ),
    ],
)
def test_a_text_is_refused_in_place_of_several_texts(settings: Callable[[], object], name: str, text: str) -> None:
    with pytest.raises(InvalidFact) as refused:
        settings()
    assert str(refused.value) == f"{name}: it is the text '{text}'; give a collection of texts"


class TestRaises:
    """Cinder fails over a location that is no URL, and only if it comes so far."""

    @pytest.mark.parametrize(
        "case, policy, text",
        [
            (
                cases.image(locations=UNREAD),
                Policy.UPSTREAM,
                "Cinder fails with a ValueError: location http://[: it is not a URL",
            ),
            (cases.image(locations=UNREAD), Policy.STRICT, None),
            (cases.image(locations=UNREAD, disk_format="qcow2"), Policy.UPSTREAM, None),
            (cases.image(locations=()), Policy.UPSTREAM, None),
            (GOOD, Policy.UPSTREAM, None),
            (GOOD, Policy.STRICT, None),
        ],
    )
    def test_a_fault_of_cinder_is_told_only_if_no_rule_fails_before_it(
        self, case: CloneCase, policy: Policy, text: str | None
    ) -> None:
        assert case.decide(policy).raises == text


class TestEligibility:
    """Eligible if and only if no verdict failed: neither one of the request nor one of that volume."""

    @given(clone_cases())
    def test_the_sources_are_the_volumes_that_nothing_stands_in_the_way_of(self, case: CloneCase) -> None:
        refused = in_the_way(case, Policy.STRICT)
        eligible = set() if None in refused else set(named(case, Policy.STRICT)) - refused
        assert {volume.id for volume in case.decide().sources} == eligible

    @given(clone_cases())
    def test_cinder_takes_the_newest_of_them_and_no_other(self, case: CloneCase) -> None:
        refused = in_the_way(case, Policy.UPSTREAM)
        eligible = set() if None in refused else set(named(case, Policy.UPSTREAM)) - refused
        rows = [volume for volume in case.volumes if volume.id in eligible]
        dated = [volume for volume in rows if volume.created_at is not None] or rows
        newest = sorted(dated, key=lambda volume: (volume.created_at, volume.id))[-1:]
        assert case.decide(Policy.UPSTREAM).sources == tuple(newest)

    @given(clone_cases(), policies)
    def test_a_decision_is_eligible_if_it_has_a_source_which_then_is_extended(
        self, case: CloneCase, policy: Policy
    ) -> None:
        decision = case.decide(policy)
        assert decision.policy is policy
        assert decision.eligible is bool(decision.sources)
        assert decision.extend_to_gib == (case.target.size_gib if decision.sources else None)

    @given(clone_cases())
    def test_a_source_is_never_larger_than_the_volume_to_be_made(self, case: CloneCase) -> None:
        assert all(source.size_gib <= case.target.size_gib for source in case.decide().sources)

    @pytest.mark.parametrize("sources", [0, 1, 2])
    def test_the_laws_are_tried_on_cases_of_every_kind(self, sources: int) -> None:
        unshrunk = settings(max_examples=2_000, phases=[Phase.generate])
        case = find(clone_cases(), lambda case: len(case.decide().sources) == sources, settings=unshrunk)
        assert len(case.decide().sources) == sources


class TestOrderOfVolumes:
    """Independent of the order in which volumes were listed."""

    @given(clone_cases(), policies, st.randoms(use_true_random=False))
    def test_a_decision_does_not_depend_on_the_order_of_the_volumes(
        self, case: CloneCase, policy: Policy, random: Random
    ) -> None:
        volumes = list(case.volumes)
        random.shuffle(volumes)
        assert replace(case, volumes=tuple(volumes)).decide(policy) == case.decide(policy)

    @given(clone_cases(), policies)
    def test_a_volume_that_is_listed_twice_is_one(self, case: CloneCase, policy: Policy) -> None:
        assert replace(case, volumes=case.volumes * 2).decide(policy) == case.decide(policy)

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_volume_that_is_listed_twice_and_differs_is_refused(self, policy: Policy) -> None:
        other = replace(GOOD.volumes[0], status="error")
        with pytest.raises(InvalidFact) as caught:
            replace(GOOD, volumes=(*GOOD.volumes, other)).decide(policy)
        assert caught.value.fact == "volumes"
        assert caught.value.reason == f"volume {other.id} is given twice and differs; give each volume once"


class TestTakingAway:
    """Taking away a permission, a location or a capability never turns no into yes."""

    @given(clone_cases(), policies, st.data())
    def test_a_scheme_less_never_makes_a_source(self, case: CloneCase, policy: Policy, data: st.DataObject) -> None:
        schemes = case.settings.allowed_direct_url_schemes
        assume(schemes)
        at = data.draw(st.integers(0, len(schemes) - 1))
        less = replace(case.settings, allowed_direct_url_schemes=schemes[:at] + schemes[at + 1 :])
        assert sources(replace(case, settings=less), policy) <= sources(case, policy)

    @given(clone_cases(), st.data())
    def test_a_location_less_never_makes_a_source(self, case: CloneCase, data: st.DataObject) -> None:
        fewer = without_one_location(case, data)
        assert sources(fewer, Policy.STRICT) <= sources(case, Policy.STRICT)

    @given(clone_cases(), st.data())
    def test_a_location_less_makes_cinder_clone_only_where_the_location_broke_it(
        self, case: CloneCase, data: st.DataObject
    ) -> None:
        """One that is no URL makes the whole request fail: the single exception to the law, and only upstream."""
        assume(not broken(case))
        fewer = without_one_location(case, data)
        assert case.decide(Policy.UPSTREAM).eligible or not fewer.decide(Policy.UPSTREAM).eligible

    @given(clone_cases(), policies)
    def test_a_backend_that_cannot_clone_across_pools_never_makes_a_source(
        self, case: CloneCase, policy: Policy
    ) -> None:
        able = replace(case, backend=Backend(clone_across_pools=True))
        unable = replace(case, backend=Backend(clone_across_pools=False))
        assert able.decide(policy).eligible or not unable.decide(policy).eligible
        assert sources(unable, Policy.STRICT) <= sources(able, Policy.STRICT)

    @given(clone_cases())
    def test_unenforced_signatures_are_the_wider_permission(self, case: CloneCase) -> None:
        enforced, not_enforced = (
            replace(case, settings=replace(case.settings, enforce_signatures=enforce)) for enforce in (True, False)
        )
        assert sources(enforced, Policy.STRICT) <= sources(not_enforced, Policy.STRICT)


def sources(case: CloneCase, policy: Policy) -> set[str]:
    """The ids of the volumes that may be cloned."""
    return {volume.id for volume in case.decide(policy).sources}


def without_one_location(case: CloneCase, data: st.DataObject) -> CloneCase:
    """The case with one location of the image less."""
    locations = case.image.locations
    assume(locations)
    at = data.draw(st.integers(0, len(locations) - 1))
    return replace(case, image=replace(case.image, locations=locations[:at] + locations[at + 1 :]))


def broken(case: CloneCase) -> bool:
    """Whether a location makes Cinder fail."""
    return any(
        verdict.rule == "locations-are-urls" and verdict.faults for verdict in case.decide(Policy.UPSTREAM).verdicts
    )


class TestTrust:
    """A trusted project is one whose word about owners counts; a user's own word never does."""

    @given(clone_cases(), st.text())
    def test_a_forged_image_owner_never_makes_a_source(self, case: CloneCase, forged: str) -> None:
        """Whatever the users of a project write on their volume, it is no source for anybody else's image."""

        def forge(volume: Volume) -> Volume:
            return replace(volume, metadata={**volume.metadata, "image_owner": case.image.owner or forged})

        volumes = tuple(map(forge, case.volumes))
        for source in replace(case, volumes=volumes).decide().sources:
            assert source.project_id == case.image.owner or source.project_id in case.settings.trusted_projects

    @given(clone_cases())
    def test_trust_taken_away_never_makes_a_source_for_an_image_of_somebody_else(self, case: CloneCase) -> None:
        """Trust is no permission: it says that a volume has the owner it names, not the project it lives in.

        Without it a volume of the project that was trusted belongs to that project.  It may so become a source for an
        image that this very project owns, and for no other image; volumes of other projects are not concerned.
        """
        assume(case.settings.trusted_projects)
        distrusted = replace(case, settings=replace(case.settings, trusted_projects=frozenset()))
        before = sources(case, Policy.STRICT)
        for source in distrusted.decide().sources:
            assert source.id in before or source.project_id == case.image.owner

    @given(clone_cases())
    def test_a_clone_of_a_users_volume_never_serves_another_owner(self, case: CloneCase) -> None:
        """Cinder copies a user's metadata onto the clone that it makes in its internal tenant."""
        volumes = tuple(replace(volume, source_volume_id="a user's") for volume in case.volumes)
        for source in replace(case, volumes=volumes).decide().sources:
            trusted = source.project_id in case.settings.trusted_projects
            assert case.image.owner == (source.metadata.get("image_owner") if trusted else source.project_id)

    def test_trust_taken_away_can_make_a_source_for_an_image_of_the_project_itself(self) -> None:
        case = replace(GOOD, image=replace(GOOD.image, owner="stores"))
        distrusted = replace(case, settings=replace(case.settings, trusted_projects=frozenset()))
        assert (case.decide().eligible, distrusted.decide().eligible) == (False, True)

    @given(clone_cases())
    def test_cinder_trusts_everybody_and_so_does_not_ask_who_is_trusted(self, case: CloneCase) -> None:
        distrusted = replace(case, settings=replace(case.settings, trusted_projects=frozenset()))
        assert distrusted.decide(Policy.UPSTREAM) == case.decide(Policy.UPSTREAM)


class TestNaming:
    """A decision never names a volume that no location named."""

    @given(clone_cases(), policies)
    def test_the_verdicts_are_of_the_request_and_of_each_named_volume_in_order(
        self, case: CloneCase, policy: Policy
    ) -> None:
        decision = case.decide(policy)
        subjects = list(dict.fromkeys(verdict.subject for verdict in decision.verdicts))
        assert subjects == [None, *named(case, policy)]
        # Cinder's database may find a volume by an id in the other case.
        assert sources(case, policy) <= {each.lower() for each in named(case, policy)}


class TestBestFirst:
    """Same pool, then same backend; then least to extend; then the order of the locations.  All are kept."""

    @given(clone_cases())
    def test_each_source_is_as_good_as_the_next(self, case: CloneCase) -> None:
        places = named(case, Policy.STRICT)
        keys = [
            (source.host != case.target.host, case.target.size_gib - source.size_gib, places.index(source.id))
            for source in case.decide().sources
        ]
        assert keys == sorted(keys)

    def test_pool_then_size_then_location_decide(self) -> None:
        ids = [f"{at:08x}-93e4-4a3c-a2a5-3d5bd2d3b6a1" for at in range(5)]
        host_and_size = [("two", 2), ("one", 1), ("one", 2), ("two", 1), ("one", 2)]
        locations = tuple(ImageLocation(f"cinder://{volume_id}") for volume_id in ids)
        volumes = tuple(
            replace(GOOD.volumes[0], id=volume_id, host=f"node@fast#{pool}", size_gib=size_gib)
            for volume_id, (pool, size_gib) in zip(ids, host_and_size, strict=True)
        )
        case = replace(
            GOOD,
            image=replace(GOOD.image, locations=locations),
            volumes=volumes,
            backend=Backend(clone_across_pools=True),
        )
        assert case.decide().sources == tuple(volumes[at] for at in (2, 4, 1, 0, 3))

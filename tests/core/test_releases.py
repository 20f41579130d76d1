"""What an earlier release of the services does: what the newest one does, except where a table says otherwise."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.copy_strategies import copy_cases, safety_cases
from imagevol_adapters.testing.strategies import clone_cases
from imagevol_adapters.testing.way_strategies import (
    CreationCase,
    admission_cases,
    creation_cases,
    freshness_cases,
    template_cases,
    upload_cases,
)
from imagevol_core import CacheEntry, CacheKey, Policy, UnknownRelease, Volume, Way, cache_key
from tests.core.test_creation import CACHED, cache

HERE, BESIDE = "node@fast#one", "node@fast#two"


def as_newest(value: Any) -> Any:
    """The same decision, made by the rules of the newest release."""
    if value is Policy.CINDER_28:
        return Policy.UPSTREAM
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: as_newest(getattr(value, each.name)) for each in fields(value)})
    return value


class TestPolicy:
    """A release of Cinder has the policy that answers as it."""

    @pytest.mark.parametrize("release, policy", [(28, Policy.CINDER_28), (29, Policy.UPSTREAM)])
    def test_a_known_release_has_a_policy(self, release: int, policy: Policy) -> None:
        assert Policy.upstream(cinder=release) is policy

    @pytest.mark.parametrize("release", [27, 30, 0, -1])
    def test_an_unknown_release_has_no_policy(self, release: int) -> None:
        with pytest.raises(UnknownRelease, match="28, 29"):
            Policy.upstream(cinder=release)


class TestOtherDecisions:
    """What Cinder decides as it did in release 28 has one answer."""

    @given(
        st.one_of(
            clone_cases(),
            freshness_cases(),
            admission_cases(),
            template_cases(),
            upload_cases(),
            copy_cases(),
            safety_cases(),
        )
    )
    def test_the_answer_is_that_of_the_newest_release(self, case: Any) -> None:
        assert as_newest(case.decide(Policy.CINDER_28)) == case.decide(Policy.UPSTREAM)

    @given(creation_cases())
    def test_without_clones_across_pools_a_volume_is_created_as_in_the_newest_release(self, case: CreationCase) -> None:
        backend = replace(case.clone.backend, clone_across_pools=False)
        case = replace(case, clone=replace(case.clone, backend=backend))
        assert as_newest(case.decide(Policy.CINDER_28)) == case.decide(Policy.UPSTREAM)


class TestCache:
    """The image cache of Cinder 28 looks in the pool of the new volume only."""

    @given(
        st.booleans(),
        st.none() | st.sampled_from([HERE, BESIDE, "node@fast"]),
        st.sampled_from([None, "", "cluster@fast#one"]),
    )
    def test_whether_the_driver_clones_across_pools_does_not_matter(
        self, across: bool, host: str | None, cluster_name: str | None
    ) -> None:
        target = Volume(id="t", size_gib=1, host=host, cluster_name=cluster_name)
        of_28 = cache_key(target, clone_across_pools=across, policy=Policy.CINDER_28)
        assert of_28 == cache_key(target, policy=Policy.UPSTREAM)

    def test_a_volume_of_another_pool_is_not_found(self) -> None:
        target = Volume(id="t", size_gib=1, host=HERE)
        beside = CacheEntry(volume_id="v", image_id="i", size_gib=1, host=BESIDE)
        assert cache_key(target, clone_across_pools=True, policy=Policy.UPSTREAM).matches(beside)
        key = cache_key(target, clone_across_pools=True, policy=Policy.CINDER_28)
        assert key == CacheKey(host=HERE, scope="pool", by_database=True)
        assert not key.matches(beside)

    def test_cinder_28_copies_an_image_that_the_newest_release_clones(self) -> None:
        case = cache(entries=(replace(CACHED, host=BESIDE),))
        case = replace(case, clone=replace(case.clone, backend=replace(case.clone.backend, clone_across_pools=True)))
        first = {policy: case.decide(policy).steps[0].way for policy in (Policy.UPSTREAM, Policy.CINDER_28)}
        assert first == {Policy.UPSTREAM: Way.CLONE_CACHED, Policy.CINDER_28: Way.CREATE_CACHED}

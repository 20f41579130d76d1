"""Freshness, eviction and lookup under UPSTREAM are those of Cinder's image-volume cache, its database included."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import (
    AdmissionCase,
    FreshnessCase,
    admission_cases,
    cache_entries,
    freshness_cases,
)
from imagevol_core import CacheEntry, Policy, Volume, cache_key
from tests.upstream.asking import Worker
from tests.upstream.cinder_words import entry_for_cinder
from tests.upstream.examples import EXAMPLES, FEWER

PLACES = ["node@fast#one", "node@fast#two", "node@fast", "NODE@fast#one", "node@slow#one"]


class TestFreshness:
    """The same entries are fresh; of the others Cinder deletes the volume, or raises what the rule says."""

    def test_the_entries_that_are_fresh_to_cinder_are_fresh_under_upstream(self, cinder_ways: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(freshness_cases())
        def the_answers_agree(case: FreshnessCase) -> None:
            freshness = case.decide(Policy.UPSTREAM)
            updated_at = case.image.updated_at
            theirs = cinder_ways.ask(
                "fresh",
                image_updated_at=updated_at.isoformat() if updated_at else None,
                entry=entry_for_cinder(case.entry),
            )
            kinds[freshness.rule] += 1
            if freshness.rule == "undated":
                assert freshness.verdicts[-1].text == f"Cinder fails with an {theirs['raises']}"
            else:
                deleted = [] if freshness.fresh else [["delete", case.entry.volume_id]]
                assert theirs == {"fresh": freshness.fresh, "notes": deleted}

        the_answers_agree()
        assert set(kinds) == {"undated", "same-instant", "other-instant"}
        assert min(kinds.values()) > EXAMPLES.max_examples // 20


class TestAdmission:
    """The same volumes are evicted, in the same order, and the same newcomers are refused."""

    def test_the_volumes_that_cinder_evicts_are_evicted_under_upstream(self, cinder_ways: Worker) -> None:
        kinds = Counter[str]()

        @FEWER
        @given(admission_cases())
        def the_answers_agree(case: AdmissionCase) -> None:
            admission = case.decide(Policy.UPSTREAM)
            assert cinder_ways.ask(
                "evict",
                entries=[entry_for_cinder(entry) for entry in case.entries],
                newcomer_gib=case.newcomer_gib,
                max_gib=case.limits.max_gib,
                max_count=case.limits.max_count,
            ) == {
                "admitted": admission.admitted,
                "notes": [["delete", entry.volume_id] for entry in admission.evict],
            }
            kinds["refused" if not admission.admitted else "evicts" if admission.evict else "fits"] += 1

        the_answers_agree()
        assert set(kinds) == {"refused", "evicts", "fits"}
        assert min(kinds.values()) > FEWER.max_examples // 20


class TestLookup:
    """The key matches the entries that Cinder's filters find, in each release that we know."""

    @pytest.mark.parametrize(
        "policy, worker", [(Policy.UPSTREAM, "cinder_cache"), (Policy.CINDER_28, "cinder_cache_of_28")]
    )
    def test_the_entries_that_cinder_finds_are_found_under_the_policy_of_its_release(
        self, policy: Policy, worker: str, request: pytest.FixtureRequest
    ) -> None:
        cinder: Worker = request.getfixturevalue(worker)
        found = Counter[int]()

        @FEWER
        @given(
            host=st.none() | st.sampled_from(PLACES),
            cluster_name=st.sampled_from([None, None, "", *PLACES]),
            across=st.booleans(),
            entries=st.lists(cache_entries(), max_size=4, unique_by=lambda entry: entry.volume_id),
        )
        def the_answers_agree(
            host: str | None, cluster_name: str | None, across: bool, entries: list[CacheEntry]
        ) -> None:
            target = Volume(id="t", size_gib=1, host=host, cluster_name=cluster_name)
            key = cache_key(target, clone_across_pools=across, policy=policy)
            ours = [entry.volume_id for entry in entries if key.matches(entry)]
            assert ours == cinder.ask(
                "find",
                target={"id": "t", "host": host, "cluster_name": cluster_name, "encrypted": False},
                clone_across_pools=across,
                entries=[entry_for_cinder(entry) for entry in entries],
            )
            found[len(ours)] += 1

        the_answers_agree()
        assert min(found[0], found[1], found[4]) > FEWER.max_examples // 100

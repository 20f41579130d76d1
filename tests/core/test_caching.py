"""Whether a cached volume still is the image, where it must be, and what goes for another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from random import Random

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
from imagevol_core import (
    CacheEntry,
    CacheKey,
    CacheLimits,
    Digest,
    Image,
    InvalidFact,
    InvalidSize,
    Policy,
    Result,
    Verdict,
    Volume,
    cache_key,
    decide_freshness,
    failed,
    plan_admission,
)
from imagevol_core.caching import ADMISSION_RULES, FRESHNESS_RULES
from tests.core.cases import BOTH_POLICIES

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(microseconds=1)
ONE, OTHER = Digest("sha512", "0a"), Digest("sha512", "0b")
policies = st.sampled_from(BOTH_POLICIES)


def about(
    digest: Digest | None, recorded: Digest | None, *, now: datetime | None = None, then: datetime | None = None
) -> FreshnessCase:
    """An image with this multihash and time, cached when it had those."""
    entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, digest=recorded, image_updated_at=then)
    return FreshnessCase(image=Image(id="i", digest=digest, updated_at=now), entry=entry)


# For each rule, facts in which it is the one that decides.  A new rule is a new row here.
DECIDES = {
    Policy.STRICT: {
        "other-image": replace(about(ONE, ONE), image=Image(id="j", digest=ONE)),
        "same-multihash": about(ONE, ONE, now=NOON, then=LATER),
        "other-multihash": about(ONE, OTHER, now=NOON, then=NOON),
        "same-instant": about(ONE, None, now=NOON, then=NOON),
        "not-known-same": about(None, ONE, now=NOON, then=LATER),
    },
    Policy.UPSTREAM: {
        "same-instant": about(ONE, OTHER, now=NOON, then=NOON),
        "undated": about(ONE, ONE, now=NOON),
        "other-instant": about(ONE, ONE, now=LATER, then=NOON),
    },
}
FRESH = {"same-multihash", "same-instant"}


class TestFreshnessRules:
    """Each rule decides somewhere, and says why."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_of_freshness_decides_its_example(self, policy: Policy) -> None:
        assert list(DECIDES[policy]) == [rule.id for rule in FRESHNESS_RULES[policy]]
        for rule, case in DECIDES[policy].items():
            freshness = case.decide(policy)
            assert (freshness.rule, freshness.fresh) == (rule, rule in FRESH)
            assert [verdict.applies for verdict in freshness.verdicts] == [False] * (len(freshness.verdicts) - 1) + [
                True
            ]
            assert freshness.verdicts[-1].rule == rule

    @pytest.mark.parametrize(
        "policy, rule, text",
        [
            (Policy.STRICT, "other-image", "it was made from image i; this is image j"),
            (Policy.STRICT, "same-multihash", "the image's multihash is still sha512:0a"),
            (Policy.STRICT, "other-multihash", "the image's multihash is sha512:0a, and was sha512:0b"),
            (
                Policy.STRICT,
                "same-instant",
                "the image's updated_at is 2025-06-01 12:00:00+00:00, as it was",
            ),
            (
                Policy.STRICT,
                "not-known-same",
                "the image's updated_at is 2025-06-01 12:00:00+00:00, and was 2025-06-01 12:00:00.000001+00:00",
            ),
            (Policy.UPSTREAM, "undated", "Cinder fails with an AttributeError"),
            (
                Policy.UPSTREAM,
                "other-instant",
                "the image's updated_at is 2025-06-01 12:00:00.000001+00:00, and was 2025-06-01 12:00:00+00:00",
            ),
        ],
    )
    def test_the_verdict_on_freshness_says_why(self, policy: Policy, rule: str, text: str) -> None:
        assert DECIDES[policy][rule].decide(policy).verdicts[-1].text == text

    def test_long_multihashes_are_shortened_unless_they_then_look_the_same(self) -> None:
        one, other, alike = "0a" * 64, "0b" * 64, "0a" * 63 + "0b"

        def text(now: str, then: str) -> str:
            entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, digest=Digest("sha512", then))
            return decide_freshness(Image(id="i", digest=Digest("sha512", now)), entry=entry).verdicts[-1].text

        assert text(one, one) == "the image's multihash is still sha512:0a0a0a0a0a0a..."
        assert text(one, other) == "the image's multihash is sha512:0a0a0a0a0a0a..., and was sha512:0b0b0b0b0b0b..."
        assert text(one, alike) == f"the image's multihash is sha512:{one}, and was sha512:{alike}"

    def test_the_verdict_says_what_is_not_known(self) -> None:
        texts = [verdict.text for verdict in about(None, None).decide().verdicts]
        assert texts[1] == "the image's multihash is not known, and was not known"
        assert texts[-1] == "the image's updated_at is not known, and was not known"
        dated = DECIDES[Policy.UPSTREAM]["other-instant"].decide(Policy.UPSTREAM).verdicts
        assert dated[1].text == "both times are known"


def multihashes_known(case: FreshnessCase) -> bool:
    return case.image.digest is not None and case.entry.digest is not None


class TestMultihash:
    """Same multihash (algorithm and value): fresh, whatever the dates.  Different: stale."""

    @given(freshness_cases())
    def test_the_multihash_decides_if_it_is_known_on_both_sides(self, case: FreshnessCase) -> None:
        same = case.image.digest == case.entry.digest
        fresh = same and case.image.id == case.entry.image_id
        assert not multihashes_known(case) or case.decide().fresh is fresh

    @given(freshness_cases(), st.none() | st.sampled_from([NOON, LATER]))
    def test_a_date_changes_nothing_if_the_multihash_decides(
        self, case: FreshnessCase, updated_at: datetime | None
    ) -> None:
        edited = replace(case, image=replace(case.image, updated_at=updated_at))
        assert not multihashes_known(case) or edited.decide() == case.decide()


class TestDates:
    """Not both multihashes known: fresh only if `updated_at` is the same instant."""

    @given(freshness_cases())
    def test_a_cached_volume_is_fresh_if_the_image_has_the_same_instant(self, case: FreshnessCase) -> None:
        now, then = case.image.updated_at, case.entry.image_updated_at
        same = now is not None and then is not None and now == then  # in fixed zones `==` is the instant
        fresh = same and case.image.id == case.entry.image_id
        assert multihashes_known(case) or case.decide().fresh is fresh

    @given(freshness_cases(), st.integers(-14 * 60, 14 * 60))
    def test_the_same_instant_in_another_zone_is_the_same(self, case: FreshnessCase, minutes: int) -> None:
        zone = timezone(timedelta(minutes=minutes))
        now = case.image.updated_at
        moved = replace(case, image=replace(case.image, updated_at=now.astimezone(zone) if now else None))
        for policy in BOTH_POLICIES:
            assert moved.decide(policy).rule == case.decide(policy).rule

    def test_the_two_hours_of_a_clock_that_is_set_back_differ(self) -> None:
        first, second = (datetime(2025, 10, 26, 2, 30, fold=fold, tzinfo=Repeating()) for fold in (0, 1))
        in_utc = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
        assert about(None, None, now=first, then=in_utc).decide().fresh
        assert about(None, None, now=in_utc, then=first).decide().fresh
        assert about(None, None, now=second, then=in_utc + timedelta(hours=1)).decide().fresh
        assert not about(None, None, now=first, then=second).decide().fresh

    def test_the_first_and_the_last_instant_of_a_calendar_are_compared(self) -> None:
        east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
        first, last = datetime(1, 1, 1, tzinfo=east), datetime(9999, 12, 31, 23, tzinfo=west)
        assert about(None, None, now=first, then=first).decide().fresh
        assert about(None, None, now=last, then=last).decide().fresh
        assert not about(None, None, now=first, then=last).decide().fresh

    @pytest.mark.parametrize("fact", ["image_updated_at", "last_used"])
    def test_a_time_without_a_zone_is_refused(self, fact: str) -> None:
        naive = {fact: datetime(2025, 6, 1)}  # noqa: DTZ001 - that is the point
        with pytest.raises(InvalidFact) as raised:
            CacheEntry(volume_id="v", image_id="i", size_gib=1, **naive)  # type: ignore[arg-type]
        assert str(raised.value) == f"CacheEntry.{fact}: 2025-06-01T00:00:00 has no time zone; give one"


class Repeating(tzinfo):
    """A zone in the night in which its clocks go back from two hours to one."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=1 if at is not None and at.fold else 2)

    def dst(self, at: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, at: datetime | None) -> str:
        return "repeating"


def uses(entry: CacheEntry) -> tuple[bool, datetime, str]:
    """What entries are ordered by."""
    return entry.last_used is not None, entry.last_used or NOON, entry.volume_id


def total(entries: Iterable[CacheEntry]) -> int:
    return sum(entry.size_gib for entry in entries)


class TestNeverMoreThanNeeded:
    """Never more evicted than needed: the least recently used, of which one fewer would not do."""

    @given(admission_cases())
    def test_the_least_recently_used_go_first(self, case: AdmissionCase) -> None:
        evict = case.decide().evict
        free = sorted((entry for entry in case.entries if not entry.in_use), key=uses)
        assert list(evict) == free[: len(evict)]

    @given(admission_cases())
    def test_no_volume_is_evicted_that_need_not_be(self, case: AdmissionCase) -> None:
        evict = case.decide().evict
        kept = set(case.entries) - set(evict[:-1])
        assert not evict or not case.limits.hold(size_gib=case.newcomer_gib + total(kept), count=1 + len(kept))

    @given(admission_cases())
    def test_a_refusal_evicts_nothing(self, case: AdmissionCase) -> None:
        for policy in BOTH_POLICIES:
            admission = case.decide(policy)
            assert admission.admitted is (not failed(admission.verdicts))
            assert admission.admitted or admission.evict == ()

    @given(admission_cases())
    def test_a_volume_is_refused_only_if_no_eviction_makes_room_for_it(self, case: AdmissionCase) -> None:
        busy = [entry for entry in case.entries if entry.in_use]
        helps = case.limits.hold(size_gib=case.newcomer_gib + total(busy), count=1 + len(busy))
        assert case.decide().admitted is helps

    @given(admission_cases())
    def test_a_volume_in_use_is_never_evicted(self, case: AdmissionCase) -> None:
        assert not any(entry.in_use for entry in case.decide().evict)

    @given(admission_cases(), st.randoms(use_true_random=False))
    def test_the_order_in_which_entries_are_listed_changes_nothing(self, case: AdmissionCase, random: Random) -> None:
        entries = list(case.entries * 2)
        random.shuffle(entries)
        assert replace(case, entries=tuple(entries)).decide() == case.decide()

    @given(admission_cases())
    def test_cinder_evicts_what_its_database_lists_last(self, case: AdmissionCase) -> None:
        evict = case.decide(Policy.UPSTREAM).evict
        assert evict == case.entries[::-1][: len(evict)]

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_volume_that_is_listed_twice_and_differs_is_refused(self, policy: Policy) -> None:
        entry = CacheEntry(volume_id="v", image_id="i", size_gib=1)
        with pytest.raises(InvalidFact) as raised:
            AdmissionCase(entries=(entry, replace(entry, size_gib=2)), newcomer_gib=1, limits=CacheLimits()).decide(
                policy
            )
        assert str(raised.value) == "entries: volume v is listed twice and differs; list each once"


class TestLimits:
    """Limits hold afterwards; 0 means unlimited; monotone in the limits."""

    @given(admission_cases(), policies)
    def test_after_the_evictions_the_limits_hold(self, case: AdmissionCase, policy: Policy) -> None:
        admission = case.decide(policy)
        kept = set(case.entries) - set(admission.evict)
        size_gib, count = case.newcomer_gib + total(kept), 1 + len(kept)
        gib_hold = case.limits.max_gib == 0 or size_gib <= case.limits.max_gib
        count_holds = case.limits.max_count == 0 or count <= case.limits.max_count
        assert not admission.admitted or (gib_hold and count_holds)

    @given(admission_cases(), policies)
    def test_a_limit_of_0_is_no_limit(self, case: AdmissionCase, policy: Policy) -> None:
        admission = replace(case, limits=CacheLimits()).decide(policy)
        assert (admission.admitted, admission.evict) == (True, ())

    @given(admission_cases(), policies, st.sampled_from(["max_gib", "max_count"]), st.integers(0, 9))
    def test_a_wider_limit_never_refuses_and_never_evicts_more(
        self, case: AdmissionCase, policy: Policy, limit: str, more: int
    ) -> None:
        value = getattr(case.limits, limit)
        wider = replace(case.limits, **{limit: value + more if value and more else 0})
        narrow, wide = case.decide(policy), replace(case, limits=wider).decide(policy)
        assert wide.admitted or not narrow.admitted
        assert not narrow.admitted or narrow.evict[: len(wide.evict)] == wide.evict

    def test_a_limit_that_is_just_reached_holds(self) -> None:
        limits = CacheLimits(max_gib=3, max_count=2)
        assert limits.hold(size_gib=3, count=2)
        assert not limits.hold(size_gib=4, count=2)
        assert not limits.hold(size_gib=3, count=3)

    @pytest.mark.parametrize("limit", ["max_gib", "max_count"])
    def test_a_negative_limit_is_refused(self, limit: str) -> None:
        with pytest.raises(InvalidSize) as raised:
            CacheLimits(**{limit: -1})
        assert str(raised.value) == f"CacheLimits.{limit} is -1: give 0 for no limit, or more"

    def test_negative_sizes_are_refused(self) -> None:
        with pytest.raises(InvalidSize) as raised:
            CacheEntry(volume_id="v", image_id="i", size_gib=-1)
        assert str(raised.value) == "CacheEntry.size_gib is -1: give a size of 0 or more"
        with pytest.raises(InvalidSize) as raised:
            plan_admission([], newcomer_gib=-1, limits=CacheLimits())
        assert str(raised.value) == "newcomer_gib is -1: give a size of 0 or more"
        assert plan_admission([], newcomer_gib=0, limits=CacheLimits(max_gib=1)).admitted


BUSY = CacheEntry(volume_id="v", image_id="i", size_gib=2, in_use=True)
STANDS_IN_THE_WAY = {
    Policy.STRICT: {
        "fits-max-gib": AdmissionCase(entries=(BUSY,), newcomer_gib=2, limits=CacheLimits(max_gib=3, max_count=2)),
        "fits-max-count": AdmissionCase(entries=(BUSY,), newcomer_gib=2, limits=CacheLimits(max_gib=4, max_count=1)),
    },
    Policy.UPSTREAM: {
        "fits-max-gib": AdmissionCase(entries=(BUSY,), newcomer_gib=4, limits=CacheLimits(max_gib=3, max_count=1)),
    },
}


class TestAdmissionRules:
    """Each rule fails alone somewhere, and says why."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_fails_alone(self, policy: Policy) -> None:
        assert list(STANDS_IN_THE_WAY[policy]) == [rule.id for rule in ADMISSION_RULES[policy]]
        for rule, case in STANDS_IN_THE_WAY[policy].items():
            assert [verdict.rule for verdict in failed(case.decide(policy).verdicts)] == [rule]

    def test_the_verdict_on_admission_says_why(self) -> None:
        verdicts = STANDS_IN_THE_WAY[Policy.STRICT]["fits-max-gib"].decide().verdicts
        assert verdicts == (
            Verdict("fits-max-gib", Result.FAILS, None, "it and what is in use have 4 GiB and the limit is 3"),
            Verdict("fits-max-count", Result.HOLDS, None, "it and what is in use are 2 and the limit is 2"),
        )
        assert plan_admission([], newcomer_gib=1, limits=CacheLimits()).verdicts == (
            Verdict("fits-max-gib", Result.HOLDS, None, "it and what is in use have 1 GiB and there is no limit"),
            Verdict("fits-max-count", Result.HOLDS, None, "it and what is in use are 1 and there is no limit"),
        )


def at(host: str | None = None, cluster_name: str | None = None) -> CacheEntry:
    return CacheEntry(volume_id="v", image_id="i", size_gib=1, host=host, cluster_name=cluster_name)


class TestKey:
    """A cached volume serves in its pool, or in its backend where that clones across pools; never in another."""

    @pytest.mark.parametrize(
        "here, there, across, passed",
        [
            (at("n@a#1"), at("n@a#1"), False, True),
            (at("n@a#1"), at("n@a#2"), False, False),
            (at("n@a#1"), at("n@a#2"), True, True),
            (at("n@a#1"), at("n@b#1"), True, False),
            (at("n@a#1"), at("n@a2#1"), True, False),
            (at("n@a#1"), at(None), True, False),
            (at(None), at(None), False, False),
            (at(None), at(None), True, False),
            (at(""), at(""), False, False),
            (at(""), at(""), True, False),
            (at("#1"), at("#1"), True, False),
            (at("n@a#1#2"), at("n@a#1"), True, True),  # all behind the first `#` is the pool
            (at("n@a#1"), at("n@a#1#2"), True, True),
            (at("n@a#1", "c@a#1"), at("m@a#1", "c@a#1"), False, True),
            (at("n@a#1", "c@a#1"), at("n@a#1", "c@a#2"), False, False),
            (at("n@a#1", "c@a#1"), at("n@a#1", "c@a#2"), True, True),
            (at("n@a#1", "c@a#1"), at("n@a#1", None), False, False),
            (at("n@a#1", ""), at("n@a#1", "c@a#1"), False, True),
        ],
    )
    def test_a_cached_volume_is_found_by_its_place(
        self, here: CacheEntry, there: CacheEntry, across: bool, passed: bool
    ) -> None:
        target = Volume(id="t", size_gib=1, host=here.host, cluster_name=here.cluster_name)
        assert cache_key(target, clone_across_pools=across).matches(there) is passed

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_backend_of_which_nothing_is_said_does_not_clone_across_pools(self, policy: Policy) -> None:
        target = Volume(id="t", size_gib=1, host="n@a#1")
        assert not cache_key(target, policy=policy).matches(at("n@a#2"))

    @given(cache_entries(), cache_entries())
    def test_a_backend_that_clones_across_pools_finds_all_that_one_finds_that_does_not(
        self, here: CacheEntry, there: CacheEntry
    ) -> None:
        target = Volume(id="t", size_gib=1, host=here.host, cluster_name=here.cluster_name)
        for policy in BOTH_POLICIES:
            narrow = cache_key(target, policy=policy)
            wide = cache_key(target, clone_across_pools=True, policy=policy)
            assert wide.matches(there) or not narrow.matches(there)

    def test_cinder_finds_a_cached_volume_also_if_the_place_differs_in_case(self) -> None:
        target = Volume(id="t", size_gib=1, host="NODE@fast#one")
        there = CacheEntry(volume_id="v", image_id="i", size_gib=1, host="node@fast#one")
        assert [cache_key(target, policy=policy).matches(there) for policy in BOTH_POLICIES] == [False, True]

    @pytest.mark.parametrize(
        "host, cluster_name, across, key",
        [
            ("n@a#1", None, False, CacheKey(host="n@a#1", by_database=True)),
            ("n@a#1", None, True, CacheKey(scope="anywhere", by_database=True)),
            (None, None, False, CacheKey(scope="anywhere", by_database=True)),
            ("n@a#1", "c@a#1", True, CacheKey(cluster_name="c@a#1", by_database=True)),
        ],
    )
    def test_cinder_looks_for_a_cached_volume_anywhere_if_the_place_is_not_known(
        self, host: str | None, cluster_name: str | None, across: bool, key: CacheKey
    ) -> None:
        target = Volume(id="t", size_gib=1, host=host, cluster_name=cluster_name)
        assert cache_key(target, clone_across_pools=across, policy=Policy.UPSTREAM) == key
        assert CacheKey(scope="anywhere").matches(at(None))

"""Whether a template may serve a request, and whether it is used, created, replaced or awaited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import TemplateCase, template_cases
from imagevol_core import (
    GIB,
    CacheEntry,
    CacheLimits,
    Digest,
    Image,
    InvalidFact,
    Policy,
    Template,
    TemplateAction,
    TemplateDecision,
    TemplateSettings,
    Volume,
    decide_freshness,
    failed,
    image_fits,
)
from imagevol_core.templates import REQUEST_TEMPLATE_RULES, TEMPLATE_STATE_RULES, least_gib
from tests.core.cases import BOTH_POLICIES

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
GOOD = TemplateCase(
    image=Image(
        id="i",
        status="active",
        owner="ours",
        visibility="private",
        container_format="bare",
        size_bytes=700,
        virtual_size_bytes=2 * GIB,
        updated_at=NOON,
    ),
    target=Volume(id="t", project_id="ours", host="node@fast#one", size_gib=4, encrypted=False),
    template=Template(
        entry=CacheEntry(volume_id="v", image_id="i", size_gib=2, image_updated_at=NOON),
        status="available",
        project_id="templates",
        readonly=True,
        encrypted=False,
    ),
    settings=TemplateSettings(enabled=True, internal_tenant=True, trusted_projects=frozenset({"templates"})),
)
NONE = replace(GOOD, template=None)


def image(case: TemplateCase = GOOD, **changes: object) -> TemplateCase:
    """The case with another image."""
    return replace(case, image=replace(case.image, **changes))  # type: ignore[arg-type]


def target(**changes: object) -> TemplateCase:
    """The good case with another new volume."""
    return replace(GOOD, target=replace(GOOD.target, **changes))  # type: ignore[arg-type]


def template(**changes: object) -> TemplateCase:
    """The good case with another template."""
    assert GOOD.template
    return replace(GOOD, template=replace(GOOD.template, **changes))  # type: ignore[arg-type]


def entry(**changes: object) -> TemplateCase:
    """The good case with another volume as template."""
    assert GOOD.template
    return template(entry=replace(GOOD.template.entry, **changes))  # type: ignore[arg-type]


SHARED = image(visibility="shared", owner="theirs")


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


# For each rule about the request, what it alone stands in the way of.  A new rule is a new row here.
BREAKS = {
    Policy.STRICT: {
        "templates-enabled": replace(GOOD, settings=TemplateSettings(enabled=False)),
        "internal-tenant-known": replace(GOOD, settings=replace(GOOD.settings, internal_tenant=False)),
        "image-active": image(status=None),
        "image-shared": image(visibility="community", owner="theirs"),
        "virtual-size-known": image(virtual_size_bytes=None),
        "image-fits": image(virtual_size_bytes=4 * GIB + 1),
        "target-not-encrypted": target(encrypted=None),
        "image-bare": image(container_format="compressed"),
        "signature-unneeded": replace(
            image(properties={"img_signature": "c2ln"}), settings=replace(GOOD.settings, enforce_signatures=True)
        ),
    },
    Policy.UPSTREAM: {
        "templates-enabled": replace(GOOD, settings=TemplateSettings(enabled=False)),
        "image-shared": image(visibility="shared", owner="theirs"),
    },
}

# For each state, a template that is in it, and what is done about it.
STATES = {
    Policy.STRICT: {
        "no-template": (NONE, TemplateAction.CREATE),
        "maker-dead": (template(being_made_for=minutes(99), maker_alive=False), TemplateAction.CREATE),
        "device-hangs": (
            template(being_made_for=minutes(1), maker_alive=True, stalled=True),
            TemplateAction.COPY,
        ),
        "making-overdue": (template(being_made_for=minutes(30), maker_alive=True), TemplateAction.COPY),
        "being-made": (template(being_made_for=minutes(29), maker_alive=None), TemplateAction.WAIT),
        "broken": (template(status="error"), TemplateAction.REPLACE),
        "exhausted": (template(exhausted=True), TemplateAction.REPLACE),
        "stale": (entry(image_updated_at=NOON + timedelta(microseconds=1)), TemplateAction.REPLACE),
        "ready": (GOOD, TemplateAction.USE),
    },
    Policy.UPSTREAM: {
        "template-unrecorded": (entry(image_updated_at=None), TemplateAction.FAIL),
        "image-undated": (image(NONE, updated_at=None), TemplateAction.FAIL),
        "no-template": (NONE, TemplateAction.CREATE),
        "other-date": (entry(image_updated_at=NOON + minutes(1)), TemplateAction.REPLACE),
        "same-date": (GOOD, TemplateAction.USE),
    },
}


class TestRequest:
    """May a template serve: enabled, active, public or the requester's own, of known size, fitting, not encrypted."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_fails_alone_and_then_no_template_serves(self, policy: Policy) -> None:
        assert list(BREAKS[policy]) == [rule.id for rule in REQUEST_TEMPLATE_RULES[policy]]
        for rule, case in BREAKS[policy].items():
            decision = case.decide(policy)
            assert [verdict.rule for verdict in failed(decision.verdicts)] == [rule]
            assert decision == TemplateDecision(
                policy=policy,
                action=TemplateAction.COPY,
                because=failed(decision.verdicts)[0].text,
                needs_read=policy is Policy.STRICT and rule == "image-shared",
                verdicts=decision.verdicts,
            )

    @pytest.mark.parametrize(
        "case, because",
        [
            (
                BREAKS[Policy.STRICT]["templates-enabled"],
                "templates are not enabled: set image_template_enabled in the backend's section of cinder.conf",
            ),
            (
                BREAKS[Policy.STRICT]["internal-tenant-known"],
                (
                    "Cinder's internal tenant is not configured: set cinder_internal_tenant_project_id and "
                    "cinder_internal_tenant_user_id"
                ),
            ),
            (image(status=None), "the image's status is not known"),
            (image(status="\x1b[2J"), "the image's status is \\x1b[2J"),
            (
                image(visibility=None, owner=None),
                (
                    "the image's visibility is not known; it belongs to not known and the request comes from ours; "
                    "Glance was not asked for the image's data with the requester's token"
                ),
            ),
            (
                replace(SHARED, requester_reads=False),
                (
                    "the image's visibility is shared; it belongs to theirs and the request comes from ours; "
                    "Glance does not give the requester the image's data"
                ),
            ),
            (
                replace(SHARED, requester_reads=True, settings=replace(GOOD.settings, shared=False)),
                (
                    "the image's visibility is shared; it belongs to theirs and the request comes from ours; "
                    "templates of shared images are not enabled: set image_template_shared in the backend's section of "
                    "cinder.conf"
                ),
            ),
            (image(virtual_size_bytes=None), "the image's virtual size is not known"),
            (
                image(virtual_size_bytes=None, properties={"virtual_size": "\x1blots"}),
                "the image's property virtual_size is '\\x1blots', which is not a number of bytes above 0",
            ),
            (
                image(virtual_size_bytes=4 * GIB + 1),
                "the image needs 5 GiB (virtual size 4294967297 bytes) and the volume has 4 GiB",
            ),
            (target(encrypted=True), "the new volume is encrypted"),
            (
                image(BREAKS[Policy.STRICT]["image-active"], visibility="shared", owner="theirs"),
                (
                    "the image's status is not known; the image's visibility is shared; "
                    "it belongs to theirs and the request comes from ours; "
                    "Glance was not asked for the image's data with the requester's token"
                ),
            ),
        ],
    )
    def test_a_rule_about_the_request_says_why_it_fails(self, case: TemplateCase, because: str) -> None:
        assert case.decide().because == because

    def test_an_internal_tenant_that_is_not_known_stands_in_the_way_of_nothing(self) -> None:
        unknown = replace(GOOD, settings=replace(GOOD.settings, internal_tenant=None)).decide()
        assert unknown.action is TemplateAction.USE
        assert unknown.verdicts[1].text.endswith("internal tenant is configured; it is taken to be")

    @pytest.mark.parametrize("policy, superseded", [(Policy.STRICT, ("old", "older")), (Policy.UPSTREAM, ())])
    @pytest.mark.parametrize("case", [GOOD, NONE], ids=["used", "made"])
    def test_older_templates_of_the_image_go_unless_they_are_in_use(
        self, case: TemplateCase, policy: Policy, superseded: tuple[str, ...]
    ) -> None:
        assert GOOD.template
        of_image = GOOD.template.entry
        others = (
            replace(of_image, volume_id="old"),
            replace(of_image, volume_id="cloned", in_use=True),
            replace(of_image, volume_id="another", image_id="j"),
            replace(of_image, volume_id="older"),
        )
        assert replace(case, others=others).decide(policy).superseded == superseded

    def test_what_makes_room_is_not_superseded_too(self) -> None:
        assert GOOD.template
        older = replace(GOOD.template.entry, volume_id="old")
        limited = replace(NONE.settings, limits=CacheLimits(max_count=1))
        decision = replace(NONE, others=(older,), settings=limited).decide()
        assert (decision.remove_first, decision.superseded) == (("old",), ())

    def test_a_template_that_is_awaited_supersedes_nothing(self) -> None:
        case = STATES[Policy.STRICT]["being-made"][0]
        assert case.template
        older = replace(case.template.entry, volume_id="old")
        assert replace(case, others=(older,)).decide().superseded == ()

    def test_an_image_without_a_signature_needs_no_verification(self) -> None:
        enforced = replace(GOOD, settings=replace(GOOD.settings, enforce_signatures=True))
        texts = {verdict.rule: verdict.text for verdict in enforced.decide().verdicts}
        assert texts["signature-unneeded"] == "signatures are enforced, and of theirs the image has none"

    def test_a_rule_about_the_request_that_holds_says_what_it_saw(self) -> None:
        assert [verdict.text for verdict in GOOD.decide().verdicts] == [
            "templates are enabled",
            "Cinder's internal tenant is configured",
            "the image's status is active",
            "the image's visibility is private; it belongs to ours and the request comes from ours",
            "the image's virtual size is 2147483648 bytes",
            "the image needs 2 GiB (virtual size 2147483648 bytes) and the volume has 4 GiB",
            "the new volume is not encrypted",
            "the image's container_format is bare",
            "signatures are not enforced",
            "volume v is its template",
            "no request is creating it",
            "no request is creating it; its device has not stalled",
            "no request is creating it; the limit is 30 minutes",
            "no request is creating it",
            "it is whole, read-only, not encrypted and in a trusted project",
            "the storage allows more clones of it",
            "the image's updated_at is 2025-06-01 12:00:00+00:00, as it was",
            "volume v is the image",
        ]

    @pytest.mark.parametrize(
        "visibility, owner, project_id, strict, upstream",
        [
            ("public", "theirs", "ours", True, True),
            ("private", "ours", "ours", True, True),
            ("community", "theirs", "ours", False, False),
            ("private", None, None, False, True),
            (None, None, "ours", False, False),
        ],
    )
    def test_a_template_serves_the_owner_and_public_images_and_those_to_whom_glance_gives_the_data(
        self, visibility: str | None, owner: str | None, project_id: str | None, strict: bool, upstream: bool
    ) -> None:
        case = image(target(project_id=project_id), visibility=visibility, owner=owner)
        used = [case.decide(policy).action is TemplateAction.USE for policy in BOTH_POLICIES]
        assert used == [strict, upstream]

    @pytest.mark.parametrize("visibility", ["private", "shared", "community", None])
    @pytest.mark.parametrize("shared", [True, False])
    @pytest.mark.parametrize("requester_reads", [True, False, None])
    def test_a_template_of_another_project_serves_a_requester_to_whom_glance_gave_the_data_if_the_operator_allows_that(
        self, visibility: str | None, shared: bool, requester_reads: bool | None
    ) -> None:
        case = replace(
            image(visibility=visibility, owner="theirs"),
            settings=replace(GOOD.settings, shared=shared),
            requester_reads=requester_reads,
        )
        decision = case.decide()
        assert (decision.action is TemplateAction.USE) == (shared and requester_reads is True)
        assert decision.needs_read == (shared and requester_reads is None)
        assert not case.decide(Policy.UPSTREAM).needs_read

    def test_glance_is_asked_only_where_its_answer_makes_a_difference(self) -> None:
        assert SHARED.decide().needs_read
        assert not GOOD.decide().needs_read
        for rule, case in BREAKS[Policy.STRICT].items():
            both = image(case, visibility="shared", owner="theirs")
            assert both.decide().needs_read == (rule == "image-shared")

    @given(template_cases())
    def test_glance_is_asked_where_the_state_of_the_template_would_be_looked_at_then(self, case: TemplateCase) -> None:
        unasked, no, yes = (replace(case, requester_reads=answer).decide() for answer in (None, False, True))
        assert (no.action, no.needs_read, yes.needs_read) == (unasked.action, False, False)
        assert unasked.needs_read == (len(yes.verdicts) > len(unasked.verdicts))


class TestVirtualSize:
    """What `virtual_size_bytes` gives; of a raw image the size as it is stored."""

    def test_a_raw_image_needs_nothing_that_says_its_virtual_size(self) -> None:
        raw = image(NONE, disk_format="raw", virtual_size_bytes=None, size_bytes=GIB + 1)
        decision = raw.decide()
        assert (decision.action, decision.size_gib) == (TemplateAction.CREATE, 2)
        assert image(raw, disk_format="qcow2").decide().because == "the image's virtual size is not known"
        assert image(raw, container_format="ovf").decide().action is TemplateAction.COPY

    def test_a_claim_that_is_cut_short_is_said(self) -> None:
        case = image(virtual_size_bytes=None, properties={"virtual_size": "9" * 99})
        assert case.decide().because.startswith(f"the image's property virtual_size is '{'9' * 40}', which")

    def test_the_least_size_holds_the_disk_and_the_file(self) -> None:
        known = Image(id="i", virtual_size_bytes=GIB, size_bytes=GIB + 1)
        assert [least_gib(each) for each in (known, replace(known, size_bytes=None), Image(id="i"))] == [2, 1, None]

    def test_a_claim_must_fit_too(self) -> None:
        case = image(virtual_size_bytes=None, properties={"virtual_size": str(4 * GIB + 1)})
        assert [verdict.rule for verdict in failed(case.decide().verdicts)] == ["image-fits"]


class TestStates:
    """None yet, create; fresh, use; stale or broken, replace; being created by somebody else, wait, then copy."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_state_of_a_template_decides_what_is_done(self, policy: Policy) -> None:
        assert list(STATES[policy]) == [rule.id for rule in TEMPLATE_STATE_RULES[policy]]
        for rule, (case, action) in STATES[policy].items():
            decision = case.decide(policy)
            (applied,) = (verdict for verdict in decision.verdicts if verdict.rule == rule)
            assert applied.applies
            assert (decision.action, decision.because, decision.policy) == (action, applied.text, policy)

    @pytest.mark.parametrize(
        "case, expected",
        [
            (GOOD, {"action": TemplateAction.USE, "source": "v"}),
            (NONE, {"action": TemplateAction.CREATE, "size_gib": 2}),
            (
                STATES[Policy.STRICT]["maker-dead"][0],
                {"action": TemplateAction.CREATE, "size_gib": 2, "remove_first": ("v",)},
            ),
            (STATES[Policy.STRICT]["making-overdue"][0], {"action": TemplateAction.COPY}),
            (STATES[Policy.STRICT]["being-made"][0], {"action": TemplateAction.WAIT, "wait": minutes(1)}),
            (template(being_made_for=minutes(0)), {"action": TemplateAction.WAIT, "wait": minutes(30)}),
            (
                STATES[Policy.STRICT]["stale"][0],
                {"action": TemplateAction.REPLACE, "size_gib": 2, "remove_after": "v"},
            ),
        ],
    )
    def test_each_action_has_the_volumes_and_sizes_that_it_needs(
        self, case: TemplateCase, expected: dict[str, object]
    ) -> None:
        decision = case.decide()
        nothing = TemplateDecision(policy=Policy.STRICT, action=TemplateAction.USE, because="", verdicts=())
        assert decision == replace(nothing, because=decision.because, verdicts=decision.verdicts, **expected)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "case, going",
        [
            (NONE, ("left",)),
            (STATES[Policy.STRICT]["maker-dead"][0], ("left", "v")),
            (STATES[Policy.STRICT]["stale"][0], ("left",)),
            (GOOD, ()),
            (STATES[Policy.STRICT]["being-made"][0], ()),
            (STATES[Policy.STRICT]["making-overdue"][0], ()),
        ],
    )
    def test_what_was_left_half_made_of_other_images_goes_before_a_template_is_made(
        self, case: TemplateCase, going: tuple[str, ...]
    ) -> None:
        left = CacheEntry(volume_id="left", image_id="j", size_gib=1)
        assert replace(case, abandoned=(left, left)).decide().remove_first == going
        assert "left" not in replace(case, abandoned=(left,)).decide(Policy.UPSTREAM).remove_first

    def test_what_was_left_half_made_counts_towards_no_limit(self) -> None:
        left, other = (CacheEntry(volume_id=each, image_id=each, size_gib=1) for each in ("left", "other"))
        limited = replace(NONE, settings=replace(NONE.settings, limits=CacheLimits(max_count=2)), others=(other,))
        assert replace(limited, abandoned=(left,)).decide().remove_first == ("left",)
        assert replace(limited, others=(other, left)).decide().remove_first != ("left", "other")

    def test_the_template_itself_is_not_among_what_was_left_half_made(self) -> None:
        assert GOOD.template
        with pytest.raises(InvalidFact, match="volume v is the template itself"):
            replace(GOOD, abandoned=(GOOD.template.entry,)).decide()

    @pytest.mark.parametrize(
        "made_for, alive, abandoned",
        [
            (minutes(1), False, True),
            (minutes(1), None, False),
            (minutes(1), True, False),
            (None, False, False),
        ],
    )
    def test_a_template_was_left_half_made_only_if_its_maker_is_known_to_have_ended(
        self, made_for: timedelta | None, alive: bool | None, abandoned: bool
    ) -> None:
        found = template(being_made_for=made_for, maker_alive=alive).template
        assert found is not None
        assert found.abandoned is abandoned

    def test_the_verdict_says_that_there_is_no_template(self) -> None:
        assert NONE.decide().because == "there is no template of the image on this backend"

    def test_solidfire_deletes_the_old_one_first(self) -> None:
        decision = STATES[Policy.UPSTREAM]["other-date"][0].decide(Policy.UPSTREAM)
        assert (decision.remove_first, decision.remove_after, decision.size_gib) == (("v",), None, 2)

    def test_solidfire_compares_how_dates_are_spelled(self) -> None:
        decision = entry(image_updated_at=datetime.fromisoformat("2025-06-01T14:00:00+02:00")).decide(Policy.UPSTREAM)
        assert decision.because == (
            "the image's updated_at is 2025-06-01T12:00:00+00:00, and was 2025-06-01T14:00:00+02:00"
        )

    @pytest.mark.parametrize(
        "rule, because",
        [
            ("template-unrecorded", "the driver fails with a KeyError"),
            ("image-undated", "the driver fails with an AttributeError"),
        ],
    )
    def test_solidfire_fails_over_what_is_not_dated(self, rule: str, because: str) -> None:
        assert STATES[Policy.UPSTREAM][rule][0].decide(Policy.UPSTREAM).because == because
        texts = [verdict.text for verdict in GOOD.decide(Policy.UPSTREAM).verdicts[2:4]]
        assert texts == ["what there is records the image's date", "the image's date is known"]

    def test_the_size_of_a_template_of_solidfire_is_not_always_known_beforehand(self) -> None:
        assert image(NONE, virtual_size_bytes=None).decide(Policy.UPSTREAM).size_gib is None
        assert image(NONE, virtual_size_bytes=0).decide(Policy.UPSTREAM).size_gib == 0

    @pytest.mark.parametrize(
        "case, because",
        [
            (template(status="error"), "its status is error"),
            (template(status=None), "its status is not known"),
            (template(readonly=None), "it is not known whether it is read-only"),
            (template(encrypted=True), "it is encrypted"),
            (template(encrypted=None), "it is not known whether it is encrypted"),
            (template(project_id="ours"), "it is in project ours, which is not trusted"),
            (template(project_id=None), "it is in project not known, which is not trusted"),
            (entry(size_gib=1), "it has 1 GiB, and the image needs 2 GiB"),
            (entry(size_gib=5), "it has 5 GiB, and the new volume 4 GiB"),
            (template(status="error", readonly=False), "its status is error; it is not read-only"),
        ],
    )
    def test_a_template_is_broken_if_it_cannot_be_cloned_or_could_have_been_altered(
        self, case: TemplateCase, because: str
    ) -> None:
        decision = case.decide()
        assert (decision.action, decision.because) == (TemplateAction.REPLACE, because)

    def test_a_template_that_the_storage_clones_no_more_is_replaced_and_says_so(self) -> None:
        assert template(exhausted=True).decide().because == "the storage allows no more clones of it"

    @pytest.mark.parametrize("case", [template(status="in-use"), entry(size_gib=4), entry(size_gib=3)])
    def test_a_template_that_is_none_of_that_is_not_broken(self, case: TemplateCase) -> None:
        assert case.decide().action is TemplateAction.USE

    def test_the_multihash_decides_before_the_date(self) -> None:
        edited = image(entry(digest=Digest("md5", "0a")), digest=Digest("md5", "0a"), updated_at=None)
        assert edited.decide().action is TemplateAction.USE

    def test_the_verdict_on_a_template_in_the_making_says_for_how_long(self) -> None:
        (dead, overdue, made) = (
            STATES[Policy.STRICT][rule][0] for rule in ("maker-dead", "making-overdue", "being-made")
        )
        assert dead.decide().because == "it has been in the making for 99 minutes; its creator has ended"
        assert overdue.decide().because == (
            "it has been in the making for 30 minutes; its creator runs; the limit is 30 minutes"
        )
        assert (
            made.decide().because
            == "it has been in the making for 29 minutes; it is not known whether its creator runs"
        )

    def test_a_template_whose_device_hangs_is_deleted_only_after_its_creator_has_ended(self) -> None:
        hanging = template(being_made_for=minutes(1), maker_alive=None, stalled=True)
        assert hanging.decide().action is TemplateAction.COPY
        assert hanging.decide().because == (
            "it has been in the making for 1 minute; it is not known whether its creator runs; a call of its device "
            "had not returned when it was given up"
        )
        assert hanging.decide().remove_first == ()
        dead = template(being_made_for=minutes(1), maker_alive=False, stalled=True).decide()
        assert (dead.action, len(dead.remove_first)) == (TemplateAction.CREATE, 1)
        assert template(stalled=True).decide().action is TemplateAction.USE

    def test_a_dead_creator_of_a_finished_template_does_not_matter(self) -> None:
        assert template(maker_alive=False).decide().action is TemplateAction.USE

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_template_of_another_image_is_refused_as_input(self, policy: Policy) -> None:
        with pytest.raises(InvalidFact) as raised:
            entry(image_id="j").decide(policy)
        assert str(raised.value) == "template: it is of image j; give the one of image i"

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_template_among_the_others_is_refused_as_input(self, policy: Policy) -> None:
        case = entry()
        assert case.template
        with pytest.raises(InvalidFact) as raised:
            replace(case, others=(replace(case.template.entry, image_id="j"),)).decide(policy)
        assert str(raised.value) == (
            f"others: volume {case.template.entry.volume_id} is the template itself; give all but that one"
        )

    def test_a_clock_that_runs_backwards_is_refused_as_input(self) -> None:
        with pytest.raises(InvalidFact) as raised:
            template(being_made_for=-minutes(1))
        assert str(raised.value) == "Template.being_made_for: -1 day, 23:59:00 is negative; compare with a later time"


def test_one_text_is_not_taken_for_the_trusted_projects() -> None:
    with pytest.raises(InvalidFact) as refused:
        TemplateSettings(trusted_projects="service")  # type: ignore[arg-type]
    assert str(refused.value) == (
        "TemplateSettings.trusted_projects: it is the text 'service'; give a collection of texts"
    )


class TestLimits:
    """Limits by `plan_admission`."""

    FULL = CacheLimits(max_gib=3)
    OTHER = CacheEntry(volume_id="w", image_id="j", size_gib=2)

    def full(self, case: TemplateCase, **changes: object) -> TemplateDecision:
        limited = replace(case.settings, limits=self.FULL)
        other = replace(self.OTHER, **changes)  # type: ignore[arg-type]
        return replace(case, settings=limited, others=(other,)).decide()

    @pytest.mark.parametrize("rule", ["no-template", "maker-dead", "broken", "stale"])
    def test_other_templates_make_room_for_a_new_one(self, rule: str) -> None:
        case, action = STATES[Policy.STRICT][rule]
        decision = self.full(case)
        assert decision.action is action
        assert decision.remove_first == (*case.decide().remove_first, "w")
        assert [verdict.rule for verdict in decision.verdicts[-2:]] == ["fits-max-gib", "fits-max-count"]

    def test_no_template_is_made_if_the_others_cannot_make_room(self) -> None:
        decision = self.full(NONE, in_use=True)
        assert decision == TemplateDecision(
            policy=Policy.STRICT,
            action=TemplateAction.COPY,
            because="it and what is in use have 4 GiB and the limit is 3",
            verdicts=decision.verdicts,
        )
        assert [verdict.rule for verdict in failed(decision.verdicts)] == ["fits-max-gib"]

    @pytest.mark.parametrize("rule", ["making-overdue", "being-made", "ready"])
    def test_no_template_goes_for_one_that_is_there(self, rule: str) -> None:
        case, _ = STATES[Policy.STRICT][rule]
        assert self.full(case) == case.decide()

    def test_solidfire_had_no_limits(self) -> None:
        limited = replace(NONE, settings=replace(NONE.settings, limits=self.FULL), others=(self.OTHER,) * 2)
        assert limited.decide(Policy.UPSTREAM) == NONE.decide(Policy.UPSTREAM)


class TestLaws:
    """What holds of every template."""

    @given(template_cases())
    def test_a_template_that_is_used_is_whole_and_fresh_and_of_a_size_that_serves(self, case: TemplateCase) -> None:
        decision, found = case.decide(), case.template
        serves = (
            found is not None
            and found.readonly is True
            and found.encrypted is False
            and found.project_id in case.settings.trusted_projects
            and found.being_made_for is None
            and found.entry.size_gib <= case.target.size_gib
            and decide_freshness(case.image, entry=found.entry).fresh
        )
        assert decision.action is not TemplateAction.USE or serves
        assert decision.source == (found.entry.volume_id if decision.action is TemplateAction.USE and found else None)

    @given(template_cases())
    def test_a_template_that_is_made_holds_the_image_and_fits_the_volume(self, case: TemplateCase) -> None:
        size_gib = case.decide().size_gib
        if size_gib is None:
            return
        known = replace(case.image, min_disk_gib=None)
        assert image_fits(known, size_gib=size_gib).ok
        assert size_gib == 1 or not image_fits(known, size_gib=size_gib - 1).ok
        assert 1 <= size_gib <= case.target.size_gib

    @given(template_cases())
    def test_an_encrypted_volume_has_nothing_to_do_with_templates(self, case: TemplateCase) -> None:
        for encrypted in (True, None):
            hidden = replace(case, target=replace(case.target, encrypted=encrypted))
            assert hidden.decide().action is TemplateAction.COPY

    @given(template_cases())
    def test_the_old_one_goes_only_when_the_new_one_is_ready(self, case: TemplateCase) -> None:
        decision = case.decide()
        if decision.action is TemplateAction.REPLACE:
            assert case.template
            assert decision.remove_after == case.template.entry.volume_id
            assert decision.remove_after not in decision.remove_first
        else:
            assert decision.remove_after is None

    @given(template_cases())
    def test_a_template_that_can_still_be_in_the_making_is_not_touched(self, case: TemplateCase) -> None:
        decision, found = case.decide(), case.template
        made = found is not None and found.being_made_for is not None and found.maker_alive is not False
        assert not made or decision.action in (TemplateAction.WAIT, TemplateAction.COPY)
        assert not made or decision.remove_first == ()

    @given(template_cases())
    def test_every_wait_for_a_template_ends(self, case: TemplateCase) -> None:
        decision = case.decide()
        if decision.wait is None or case.template is None or case.template.being_made_for is None:
            assert decision.action is not TemplateAction.WAIT
            return
        assert timedelta(0) < decision.wait <= case.settings.longest_making
        later = replace(case.template, being_made_for=case.template.being_made_for + decision.wait)
        assert replace(case, template=later).decide().action is TemplateAction.COPY

    @given(template_cases(), st.sampled_from(BOTH_POLICIES))
    def test_no_template_serves_if_templates_are_disabled(self, case: TemplateCase, policy: Policy) -> None:
        disabled = replace(case, settings=replace(case.settings, enabled=False))
        assert disabled.decide(policy).action is TemplateAction.COPY

    @pytest.mark.parametrize("action", [action for action in TemplateAction if action is not TemplateAction.FAIL])
    def test_the_laws_are_tried_on_every_outcome(self, action: TemplateAction) -> None:
        unshrunk = settings(max_examples=2_000, phases=[Phase.generate])
        case = find(template_cases(), lambda case: case.decide().action is action, settings=unshrunk)
        assert case.decide().action is action

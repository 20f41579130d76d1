"""`plan_upload` and `upload_headers` under UPSTREAM are what Cinder does and sends, whatever goes wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import UploadCase, upload_cases
from imagevol_core import Policy, Requester, UploadAction, UploadFailure, UploadPlan, UploadStep
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES

# Where in a registration each failure strikes; that Glance registers nothing in the end, Cinder does not see.
STRIKES = {
    UploadFailure.OVER_QUOTA: (UploadAction.CLONE, False),
    UploadFailure.CLONE_FAILED: (UploadAction.CLONE, True),
    UploadFailure.LOCATION_INVALID: (UploadAction.REGISTER, True),
    UploadFailure.IMAGE_NOT_FOUND: (UploadAction.REGISTER, True),
    UploadFailure.NOT_ALLOWED: (UploadAction.REGISTER, True),
    UploadFailure.CONFLICT: (UploadAction.REGISTER, True),
    UploadFailure.SERVICE_FAILED: (UploadAction.REGISTER, True),
}


class TestCinder:
    """The same steps, tenant, location and headers; the same fall-back, the same clones left behind."""

    def test_the_way_of_an_upload_is_cinders_under_upstream(self, cinder_ways: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(upload_cases(), st.none() | st.sampled_from(sorted(STRIKES, key=lambda failure: failure.value)))
        def the_answers_agree(case: UploadCase, failure: UploadFailure | None) -> None:
            case = replace(case, requester=Requester(project_id=case.requester.project_id or "ours"))
            plan = case.decide(Policy.UPSTREAM)
            theirs = cinder_ways.ask("upload", **upload_for_cinder(case, failure))
            expected, fails = walk(plan, failure)
            assert theirs["notes"] == expected
            assert (theirs["raises"] is not None) is fails
            if plan.refused and not failure:
                assert f" {theirs['raises']} " in plan.refused
            kinds["refused" if plan.refused else "registers" if plan.registers else "copies"] += 1
            kinds[f"{failure and failure.value} {plan.registers}"] += 1

        the_answers_agree()
        assert {"refused", "registers", "copies", *(f"{failure.value} True" for failure in STRIKES)} <= set(kinds)


def upload_for_cinder(case: UploadCase, failure: UploadFailure | None) -> dict[str, Any]:
    """What the worker's `upload` takes."""
    image = case.image
    return {
        "image": {"id": image.id, "disk_format": image.disk_format, "container_format": image.container_format},
        "store": dict(case.volume_type.extra_specs) if case.volume_type else None,
        "base_image_id": case.base_image_id,
        "project_id": case.requester.project_id,
        "use_cinder_backend": case.settings.use_cinder_backend,
        "use_internal_tenant": case.settings.use_internal_tenant,
        "internal_tenant": case.settings.internal_tenant is not None,
        "failure": failure.value if failure else None,
    }


def walk(plan: UploadPlan, failure: UploadFailure | None) -> tuple[list[list[Any]], bool]:
    """What Cinder is seen to do, and whether the upload fails."""
    said: list[list[Any]] = []
    at, noted = STRIKES[failure] if failure else (None, False)
    for step in plan.steps:
        if step.action is UploadAction.FAIL:
            return said, True
        if step.action is not at or noted:
            said.append(note(plan, step))
        if failure and step.action is at:
            gone = [["delete"]] if noted and failure not in plan.leaves_clone_on else []
            copied = [["copy", dict(plan.headers)]] if failure in plan.falls_back_on else []
            return said + gone + copied, not copied
    return said, False


def note(plan: UploadPlan, step: UploadStep) -> list[Any]:
    """What the worker notes of a step."""
    details: dict[UploadAction, list[Any]] = {
        UploadAction.CLONE: [plan.project_id],
        UploadAction.MARK: [dict(step.metadata)],
        UploadAction.REGISTER: [plan.location("clone"), dict(plan.location_metadata)],
        UploadAction.COPY: [dict(plan.headers)],
    }
    return [step.action.value, *details.get(step.action, [])]

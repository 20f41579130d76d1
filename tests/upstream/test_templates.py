"""`decide_template` under UPSTREAM does what SolidFire's driver of cinder 13.0.9 does to its array."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import example, given

from imagevol_adapters.testing.way_strategies import TemplateCase, template_cases
from imagevol_core import Policy, TemplateAction, TemplateDecision
from tests.core.test_templates import entry, image
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES

MADE = "7"  # what the worker's array calls the volume that it makes


class TestSolidFire:
    """The same template is cloned, made or replaced; the same images are left aside; the same errors escape."""

    def test_the_template_decisions_of_solidfire_are_those_under_upstream(self, solidfire: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @example(entry(image_updated_at=None))  # this and the next are seldom drawn
        @example(image(updated_at=None))
        @given(template_cases())
        def the_answers_agree(case: TemplateCase) -> None:
            case = numbered(case)
            decision = case.decide(Policy.UPSTREAM)
            theirs = solidfire.ask("clone_image", **template_for_solidfire(case))
            assert theirs["notes"] == notes(decision)
            assert theirs["cloned"] is (decision.action not in (TemplateAction.COPY, TemplateAction.FAIL))
            assert (theirs["raises"] is not None) is (decision.action is TemplateAction.FAIL)
            assert decision.action is not TemplateAction.FAIL or f" {theirs['raises']}" in decision.because
            kinds[theirs["raises"] or decision.action.value] += 1

        the_answers_agree()
        assert set(kinds) == {"use", "create", "replace", "copy", "KeyError", "AttributeError"}


def numbered(case: TemplateCase) -> TemplateCase:
    """The case with a volume id as the array has them, and a file whose size the driver can see."""
    virtual_size_bytes = case.image.virtual_size_bytes or 0
    image = replace(case.image, virtual_size_bytes=virtual_size_bytes)
    template = case.template and replace(case.template, entry=replace(case.template.entry, volume_id="5"))
    return replace(case, image=image, template=template)


def template_for_solidfire(case: TemplateCase) -> dict[str, Any]:
    """What the worker's `clone_image` takes."""
    image, entry = case.image, case.template.entry if case.template else None
    recorded = entry.image_updated_at.isoformat() if entry and entry.image_updated_at else None
    return {
        "image": {
            "id": image.id,
            "name": "an image",
            "owner": image.owner,
            "visibility": image.visibility,
            "updated_at": image.updated_at.isoformat() if image.updated_at else None,
            "created_at": "2025-01-01T00:00:00+00:00",
        },
        "project_id": case.target.project_id,
        "enabled": case.settings.enabled,
        "template": {"id": entry.volume_id, "updated_at": recorded} if entry else None,
        "virtual_size": image.virtual_size_bytes,
    }


def notes(decision: TemplateDecision) -> list[list[Any]]:
    """What the array is seen to be told."""
    said: list[list[Any]] = [["delete", volume_id] for volume_id in decision.remove_first]
    if decision.action in (TemplateAction.CREATE, TemplateAction.REPLACE):
        said += [["create", decision.size_gib], ["clone", MADE]]
    if decision.action is TemplateAction.USE:
        said.append(["clone", decision.source])
    return said

"""`imagevol explain`: whether a volume would be cloned from an image's volumes or a template, and why not."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from cliff.columns import FormattableColumn
from cliff.formatters.base import SingleFormatter
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_core import (
    Backend,
    CloneDecision,
    CloneSettings,
    CreationPlan,
    Dialect,
    Image,
    InvalidLocation,
    Policy,
    RequestRefused,
    TemplateSettings,
    Verdict,
    Volume,
    Way,
    failed,
    parse_location,
    plan_creation,
)

__all__ = ["Explain", "Explaining", "SentencesFormatter"]

_COPIED = "The volume is not cloned; the image's data are copied into it."


class Explaining(ShowOne):
    """A command that says why, in sentences."""

    app: Imagevol

    @property
    def formatter_namespace(self) -> str:
        """The usual formats, and sentences."""
        return "imagevol.formatter.explanation"

    @property
    def formatter_default(self) -> str:
        """Sentences, unless a program asks."""
        return "sentences"


class Explain(Explaining):
    """Say whether a new volume would be cloned from the image, from which volume, and every rule that says no."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the image, the volume that is to be, and what the operator has configured."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", help="its id or name")
        parser.add_argument("--size", type=int, required=True, metavar="GIB", help="of the new volume")
        parser.add_argument(
            "--host", required=True, metavar="HOST@BACKEND#POOL", help="where it will be; see `cinder get-pools`"
        )
        parser.add_argument("--cluster-name", metavar="CLUSTER@BACKEND#POOL", help="its cluster, where Cinder has any")
        parser.add_argument("--project", metavar="PROJECT_ID", help="whose it will be; your project if not given")
        parser.add_argument("--encrypted", action="store_true", help="its type is encrypted")
        parser.add_argument("--clone-across-pools", action="store_true", help="the backend has this capability")
        parser.add_argument(
            "--allowed-direct-url-scheme",
            action="append",
            metavar="SCHEME",
            help="an entry of Cinder's allowed_direct_url_schemes; may be repeated (default: cinder)",
        )
        parser.add_argument(
            "--trusted-project",
            action="append",
            default=[],
            metavar="PROJECT_ID",
            help="a project in which no user can write a volume's metadata: the one of Glance's cinder stores, and "
            "Cinder's internal tenant; may be repeated (default: none)",
        )
        parser.add_argument(
            "--templates", action="store_true", help="the backend makes templates: image_template_enabled is set"
        )
        parser.add_argument("--enforce-signatures", action="store_true", help="as verify_glance_signatures")
        parser.add_argument(
            "--policy",
            choices=[policy.value for policy in Policy],
            default=Policy.STRICT.value,
            help="strict: what the specifications say, made safe; upstream: what Cinder 29.0.0 does (default: strict)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Collect the facts and ask the core."""
        if parsed_args.templates and Policy(parsed_args.policy) is not Policy.STRICT:
            raise RequestRefused("--templates: a backend makes them by the strict rules; leave --policy out")
        image = self.app.images.find(parsed_args.image)
        trusted_projects = frozenset(parsed_args.trusted_project)
        plan = plan_creation(
            image,
            target=Volume(
                id="the new volume",
                project_id=parsed_args.project or self.app.project_id,
                host=parsed_args.host,
                cluster_name=parsed_args.cluster_name,
                size_gib=parsed_args.size,
                encrypted=parsed_args.encrypted,
            ),
            volumes=self.app.volumes.find(_volume_ids(image)),
            backend=Backend(clone_across_pools=parsed_args.clone_across_pools),
            clone_settings=CloneSettings(
                allowed_direct_url_schemes=tuple(parsed_args.allowed_direct_url_scheme or ["cinder"]),
                trusted_projects=trusted_projects,
                enforce_signatures=parsed_args.enforce_signatures,
            ),
            template_settings=TemplateSettings(
                enabled=parsed_args.templates,
                trusted_projects=trusted_projects,
                enforce_signatures=parsed_args.enforce_signatures,
            ),
            policy=Policy(parsed_args.policy),
        )
        decision = plan.clone
        return ("image_id", "policy", "eligible", "sources", "extend_to_gib", "verdicts", "template"), (
            image.id,
            decision.policy.value,
            decision.eligible,
            [source.id for source in decision.sources],
            decision.extend_to_gib,
            CloneExplanation(decision) if parsed_args.templates else Explanation(decision),
            TemplateExplanation(plan) if parsed_args.templates else None,
        )


class Explanation(FormattableColumn[Any]):  # a decision in, a list of verdicts out
    """A decision: sentences for a person, every verdict for a program."""

    def human_readable(self) -> str:
        """What would happen, and each rule that stands in the way."""
        return "\n".join(_sentences(self._value))

    def machine_readable(self) -> list[dict[str, Any]]:
        """Every rule that was asked, of the request and of each volume."""
        return [verdict._asdict() for verdict in self._value.verdicts]


class CloneExplanation(Explanation):
    """The same, where it is not the end of it."""

    def human_readable(self) -> str:
        """Which image volume is cloned, and each rule that stands in the way."""
        return "\n".join(_sentences(self._value, otherwise="No image volume is cloned."))


class TemplateExplanation(FormattableColumn[Any]):  # a plan in
    """Whether the backend makes a template: sentences for a person, every verdict for a program."""

    def human_readable(self) -> str:
        """What would happen, and each rule that stands in the way."""
        return "\n".join(_template_sentences(self._value))

    def machine_readable(self) -> dict[str, Any]:
        """Whether it makes one, of which size, and every rule that was asked."""
        decision = self._value.template
        return {
            "made": any(step.way is Way.CREATE_TEMPLATE for step in self._value.steps),
            "size_gib": decision.size_gib,
            "verdicts": [verdict._asdict() for verdict in decision.verdicts],
        }


class SentencesFormatter(SingleFormatter):
    """What explains itself, and nothing else."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """There is nothing to choose."""

    def emit_one(
        self, column_names: Sequence[str], data: Sequence[Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Print it."""
        for explanation in (value for value in data if isinstance(value, FormattableColumn)):
            print(explanation.human_readable(), file=stdout)


def _sentences(decision: CloneDecision, otherwise: str = _COPIED) -> list[str]:
    if decision.eligible:
        lines = [f"The volume is cloned, and brought to {decision.extend_to_gib} GiB."]
    else:
        lines = [otherwise]
    lines += _against(verdict for verdict in decision.verdicts if verdict.subject is None)
    tried = {source.id: place for place, source in enumerate(decision.sources, 1)}
    volume_ids = dict.fromkeys(verdict.subject for verdict in decision.verdicts if verdict.subject)
    for volume_id in volume_ids:
        against = _against(verdict for verdict in decision.verdicts if verdict.subject == volume_id)
        outcome = "cannot be cloned" if against else "has nothing against it"
        if volume_id in tried:
            outcome = f"is tried {'first' if tried[volume_id] == 1 else f'as number {tried[volume_id]}'}"
        lines += [f"Volume {volume_id} {outcome}{':' if against else '.'}", *against]
    return lines


def _template_sentences(plan: CreationPlan) -> list[str]:
    ways = [step.way for step in plan.steps]
    if Way.CREATE_TEMPLATE in ways:
        when = "If that fails, the" if plan.clone.eligible else "The"
        size = plan.template.size_gib
        return [f"{when} backend makes a template of {size} GiB, unless it has one, and the volume is a clone of that."]
    copied = "; the image's data are copied into the volume" if ways == [Way.COPY] else ""
    return [f"The backend makes no template{copied}:", *_against(plan.template.verdicts)]


def _against(verdicts: Iterable[Verdict]) -> list[str]:
    return [f"  {verdict.rule}: {verdict.text}." for verdict in failed(verdicts)]


def _volume_ids(image: Image) -> list[str]:
    """Every volume that any reading of the locations names; which reading counts is for the decision."""
    volume_ids: dict[str, None] = {}
    for location in image.locations:
        for dialect in Dialect:
            try:
                volume_ids[parse_location(location.url, dialect=dialect).volume_id] = None
            except InvalidLocation:
                continue
    return list(volume_ids)

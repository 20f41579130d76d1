"""`imagevol explain`: how a volume would be created from an image, and which rules stand against the other ways."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TextIO

import attrs
from cliff.columns import FormattableColumn
from cliff.formatters.base import SingleFormatter
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.gathering import CinderSettings, Cloud, gather_creation
from imagevol_core import (
    Backend,
    CloneSettings,
    ConversionSettings,
    Image,
    ImageCache,
    Policy,
    RequestRefused,
    TemplateSettings,
    Volume,
    Way,
    named_volume_ids,
)

__all__ = ["Explain", "Explaining", "SentencesFormatter"]


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
    """Say how a new volume would be created from the image, and every rule that stands against the other ways."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the image, the volume that is to be, and what the operator has configured."""
        parser = super().get_parser(prog_name)
        parser.add_argument("image", help="its id or name")
        parser.add_argument("--size", type=_size_gib, required=True, metavar="GIB", help="of the new volume")
        parser.add_argument(
            "--host",
            type=_host,
            required=True,
            metavar="HOST@BACKEND#POOL",
            help="where it will be; see `cinder get-pools`",
        )
        parser.add_argument("--cluster-name", metavar="CLUSTER@BACKEND#POOL", help="its cluster, where Cinder has any")
        parser.add_argument("--project", metavar="PROJECT_ID", help="whose it will be; your project if not given")
        parser.add_argument("--encrypted", action="store_true", help="its type is encrypted")
        parser.add_argument("--clone-across-pools", action="store_true", help="the backend has this capability")
        parser.add_argument(
            "--allowed-direct-url-scheme",
            action="append",
            metavar="SCHEME",
            help="an entry of Cinder's allowed_direct_url_schemes; may be repeated (default: cinder; with the strict "
            "rules for the driver only, as image_clone_direct_url_schemes)",
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
        parser.add_argument(
            "--internal-tenant",
            metavar="PROJECT_ID",
            help="look for templates among the volumes of PROJECT_ID, which is Cinder's "
            "cinder_internal_tenant_project_id, and trust it; needs the admin role (default: look for none)",
        )
        parser.add_argument(
            "--image-cache",
            action="store_true",
            help="the backend has Cinder's image cache: image_volume_cache_enabled",
        )
        parser.add_argument(
            "--no-conversion", action="store_true", help="Cinder converts no images: image_conversion_disable is set"
        )
        parser.add_argument("--enforce-signatures", action="store_true", help="as verify_glance_signatures")
        parser.add_argument(
            "--policy",
            choices=[policy.value for policy in Policy],
            default=Policy.STRICT.value,
            help="strict: what the specifications say, made safe; upstream: what Cinder 29.0.0 does; "
            "cinder-28: what Cinder 28.0.0 does (default: strict)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Collect the facts and ask the core."""
        if parsed_args.templates and Policy(parsed_args.policy) is not Policy.STRICT:
            raise RequestRefused("--templates: a backend makes them by the strict rules; leave --policy out")
        policy = Policy(parsed_args.policy)
        settings = _settings(parsed_args, policy)
        facts = gather_creation(
            self.app.images.find(parsed_args.image),
            target=Volume(
                id="the new volume",
                project_id=parsed_args.project or self.app.project_id,
                host=parsed_args.host,
                cluster_name=parsed_args.cluster_name,
                size_gib=parsed_args.size,
                encrypted=parsed_args.encrypted,
            ),
            backend=Backend(clone_across_pools=parsed_args.clone_across_pools),
            settings=settings,
            source=Cloud(
                volumes=self.app.volumes,
                images=self.app.images,
                project_id=self.app.project_id,
                internal_tenant=parsed_args.internal_tenant,
            ),
        )
        image = facts.image
        theirs = frozenset(volume.project_id for volume in facts.volumes if volume.project_id)
        trusting = attrs.evolve(
            facts, settings=attrs.evolve(settings, clones=replace(settings.clones, trusted_projects=theirs))
        ).plan()
        outcome = Outcome(
            facts=facts,
            policy=policy,
            unseen=_unseen(image, facts.volumes),
            looked_at={
                "--trusted-project": bool(settings.clones.trusted_projects)
                or facts.plan(policy).clone.eligible == trusting.clone.eligible,
                "--templates": parsed_args.templates,
                "--image-cache": parsed_args.image_cache,
            },
            sees_templates=parsed_args.internal_tenant is not None,
        )
        sources = {source.id for source in outcome.plan.clone.sources}
        cloned = [step for step in outcome.steps if step.way is Way.CLONE_IMAGE_VOLUME and step.source in sources]
        columns = {
            "image_id": image.id,
            "policy": policy.value,
            "outcome": outcome.way,
            "refused": outcome.refused,
            "ways": [{"way": step.way.value, "source": step.source} for step in outcome.steps],
            "unseen": list(outcome.unseen),
            "not_looked_at": list(outcome.passed_over),
            "eligible": bool(cloned),
            "sources": [step.source for step in cloned],
            "extend_to_gib": cloned[0].extend_to_gib if cloned else None,
            "verdicts": Explanation(outcome),
            "plan": outcome.whole_plan(),
            "unknown": outcome.unknown_values(),
            "template": _template(outcome) if parsed_args.templates else None,
        }
        return tuple(columns), tuple(columns.values())


def _settings(asked: argparse.Namespace, policy: Policy) -> CinderSettings:
    """What the operator has configured, as the options say."""
    given, strict = asked.allowed_direct_url_scheme, policy is Policy.STRICT
    internal = frozenset([asked.internal_tenant] if asked.internal_tenant else [])
    clones = CloneSettings(
        allowed_direct_url_schemes=tuple(given or ["cinder"]),
        trusted_projects=internal | frozenset(asked.trusted_project),
        enforce_signatures=asked.enforce_signatures,
    )
    return CinderSettings(
        clones=clones,
        cinders_clones=replace(clones, allowed_direct_url_schemes=()) if strict and given is None else clones,
        templates=TemplateSettings(
            enabled=asked.templates,
            internal_tenant=bool(internal) or None,
            trusted_projects=internal,
            enforce_signatures=asked.enforce_signatures,
        ),
        cache=ImageCache(enabled=asked.image_cache, internal_tenant=asked.image_cache or None),
        conversion=ConversionSettings(allowed=not asked.no_conversion),
    )


class Explanation(FormattableColumn[Any]):  # an outcome in, a list of verdicts out
    """An outcome: sentences for a person, every verdict about a clone for a program."""

    def human_readable(self) -> str:
        """What would happen, and each rule that stands against the other ways."""
        return "\n".join(self._value.sentences())

    def machine_readable(self) -> list[dict[str, Any]]:
        """Every rule that was asked, of the request and of each volume."""
        return [verdict.as_dict() for verdict in self._value.plan.clone.verdicts]


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


def _size_gib(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a volume: give a whole number of GiB, 1 or more")
    return int(text)


def _host(text: str) -> str:
    if not all(text.partition("@")):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST@BACKEND#POOL: see `cinder get-pools`")
    return text


def _template(outcome: Outcome) -> dict[str, Any]:
    """Whether the backend makes a template, of which size, and every rule that was asked."""
    decision = outcome.plan.template
    return {
        "made": any(step.way is Way.CREATE_TEMPLATE for step in outcome.steps),
        "size_gib": decision.size_gib,
        "verdicts": [verdict.as_dict() for verdict in decision.verdicts],
    }


def _unseen(image: Image, volumes: Iterable[Volume]) -> tuple[str, ...]:
    """What these credentials are not shown, and Cinder's own may be."""
    seen = {volume.id for volume in volumes}
    hidden = tuple(volume_id for volume_id in named_volume_ids(image) if volume_id not in seen)
    return hidden if image.locations else ("the locations of the image",)

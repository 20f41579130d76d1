"""`imagevol explain`: how a volume would be created from an image, and which rules stand against the other ways."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import attrs
from cliff.columns import FormattableColumn
from cliff.formatters.base import SingleFormatter
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.explain_places import Place, Places
from imagevol_adapters.cli.matrix import differences, row, side_by_side, table
from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.cli.rates import measured_elsewhere, read_rates
from imagevol_adapters.gathering import Cloud, CreationFacts, gather_creation
from imagevol_core import (
    AccessDenied,
    Image,
    Policy,
    Rates,
    RequestRefused,
    Volume,
    Way,
    named_volume_ids,
)
from imagevol_core.sentences import said

__all__ = ["Explain", "Explaining", "SentencesFormatter"]

_BOTH = "both"
_PAGE = 100
_DIGITS, _SHOWN = 9, 40  # of a number; characters of what is none


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
        parser.add_argument("image", nargs="*", help="its id or name; several make a table")
        parser.add_argument("--all", action="store_true", help="all images that the credentials see, in pages")
        parser.add_argument(
            "--limit",
            type=_count,
            metavar="COUNT",
            help=f"with --all, give COUNT images (default: {_PAGE})",
        )
        parser.add_argument("--marker", metavar="IMAGE_ID", help="with --all, start after image IMAGE_ID")
        parser.add_argument("--size", type=_size_gib, required=True, metavar="GIB", help="of the new volume")
        parser.add_argument(
            "--host",
            type=_host,
            metavar="HOST@BACKEND#POOL",
            help="where it will be; see `cinder get-pools` (default: the pools for --volume-type)",
        )
        parser.add_argument(
            "--volume-type",
            action="append",
            metavar="TYPE",
            help="take the encryption of volume type TYPE and, without --host, each pool that its volumes can be in; "
            "needs the admin role; can be repeated",
        )
        parser.add_argument(
            "--config-file",
            type=Path,
            metavar="FILE",
            help="read the options of Cinder and of the backend from FILE, a cinder.conf; the options here count first",
        )
        parser.add_argument(
            "--backend", metavar="NAME", help="take section NAME of --config-file (default: the backend of the pool)"
        )
        parser.add_argument(
            "--rates",
            type=Path,
            metavar="FILE",
            help="give the seconds that each step takes at least, from a FILE of `imagevol doctor --rates`",
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
            choices=[*(policy.value for policy in Policy), _BOTH],
            default=Policy.STRICT.value,
            help="strict: what the specifications say, made safe; upstream: what Cinder 29.0.0 does; "
            "cinder-28: what Cinder 28.0.0 does; both: strict and upstream side by side (default: strict)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Collect the facts and ask the core."""
        self._asked = asked = parsed_args
        if asked.templates and asked.policy not in (Policy.STRICT.value, _BOTH):
            raise RequestRefused("--templates: a backend makes them by the strict rules; leave --policy out")
        if asked.all == bool(asked.image):
            told = (
                "--all takes all images, and some are named: leave one out" if asked.all else "name some, or pass --all"
            )
            raise RequestRefused(f"which images to explain is not known: {told}")
        _refuse_unused(asked)
        rates = read_rates(asked.rates) if asked.rates else None
        places, (images, marker) = list(Places(asked, self.app)), self._images(asked)
        policies = [Policy.STRICT, Policy.UPSTREAM] if asked.policy == _BOTH else [Policy(asked.policy)]
        found = (
            [self._outcome(image, place, policy, rates) for policy in policies] for image in images for place in places
        )
        if asked.all or len(asked.image) > 1 or len(places) > 1:
            return ("matrix", "marker"), (Matrix(([row(each) for each in found], marker)), marker)
        (outcomes,) = found
        if len(outcomes) > 1:
            strict, upstream = outcomes
            answer = {
                "image_id": strict.facts.image.id,
                "policy": _BOTH,
                "differs": differences(strict, upstream),
                "both": Both(outcomes),
                **{outcome.policy.value: _machine(columns(outcome)) for outcome in outcomes},
            }
        else:
            answer = columns(outcomes[0])
        return tuple(answer), tuple(answer.values())

    def _images(self, asked: argparse.Namespace) -> tuple[Iterable[Image], str | None]:
        """Give the images, and the id of the last one if a page ends there and is not the last."""
        if not asked.all:
            found = map(self.app.images.find, dict.fromkeys(asked.image))
            return {image.id: image for image in found}.values(), None  # one may be named by its id and its name
        listed = iter(self.app.images.listed(locations_needed=False))
        if asked.marker is not None and all(image.id != asked.marker for image in listed):
            raise RequestRefused(f"--marker: Glance lists no image {said(asked.marker)}: leave --marker out")
        limit = asked.limit or _PAGE
        images = list(islice(listed, limit + 1))
        return images[:limit], images[limit - 1].id if len(images) > limit else None

    def _outcome(self, image: Image, place: Place, policy: Policy, rates: Rates | None) -> Outcome:
        settings, sees = place.settings[policy], place.internal_tenant is not None
        gather = partial(
            gather_creation,
            image,
            target=Volume(
                id="the new volume",
                project_id=self._asked.project or self.app.project_id,
                host=place.host,
                cluster_name=self._asked.cluster_name,
                size_gib=self._asked.size,
                volume_type=place.volume_type,
                encrypted=place.encrypted,
            ),
            backend=place.backend,
            settings=settings,
        )
        cloud = Cloud(
            volumes=self.app.volumes,
            images=self.app.images,
            project_id=self.app.project_id,
            internal_tenant=place.internal_tenant,
        )
        try:
            facts = gather(source=cloud)
        except AccessDenied:
            if self._asked.internal_tenant or not sees:
                raise
            facts, sees = (
                gather(source=attrs.evolve(cloud, internal_tenant=None)),
                False,
            )  # these are no administrator's
        facts = _in_its_cluster(facts)
        theirs = frozenset(volume.project_id for volume in facts.volumes if volume.project_id)
        trusting = attrs.evolve(
            facts, settings=attrs.evolve(settings, clones=replace(settings.clones, trusted_projects=theirs))
        )
        matters = facts.plan(policy).clone.eligible != trusting.plan().clone.eligible
        return Outcome(
            facts=facts,
            policy=policy,
            unseen=_unseen(image, facts.volumes),
            looked_at={
                "--trusted-project": "--trusted-project" in place.known or not matters,
                "--templates": "--templates" in place.known,
                "--image-cache": "--image-cache" in place.known,
            },
            sees_templates=sees,
            rates=rates,
            origins=(
                *place.origins,
                *self._not_measured(facts, rates),
            ),
        )

    def _not_measured(self, facts: CreationFacts, rates: Rates | None) -> Iterator[tuple[str, Any, str]]:
        elsewhere = rates and measured_elsewhere(rates, facts.target)
        if elsewhere:
            yield "the seconds", elsewhere, f"{said(self._asked.rates)}"


def columns(outcome: Outcome) -> dict[str, Any]:
    """What is shown of one volume, by column."""
    sources = {source.id for source in outcome.plan.clone.sources}
    cloned = [step for step in outcome.steps if step.way is Way.CLONE_IMAGE_VOLUME and step.source in sources]
    return {
        "image_id": outcome.facts.image.id,
        "policy": outcome.policy.value,
        "host": outcome.facts.target.host,
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
        "facts": [{"fact": fact, "value": value, "from": origin} for fact, value, origin in outcome.origins],
        "template": _template(outcome) if outcome.facts.settings.templates.enabled else None,
    }


class Explanation(FormattableColumn[Any]):  # an outcome in, a list of verdicts out
    """An outcome: sentences for a person, every verdict about a clone for a program."""

    def human_readable(self) -> str:
        """What would happen, and each rule that stands against the other ways."""
        return "\n".join(self._value.sentences())

    def machine_readable(self) -> list[dict[str, Any]]:
        """Every rule that was asked, of the request and of each volume."""
        return [verdict.as_dict() for verdict in self._value.plan.clone.verdicts]


class Both(FormattableColumn[Any]):
    """The answers of the two policies, side by side."""

    def human_readable(self) -> str:
        """What each says, and where they differ."""
        return side_by_side(*self._value)

    def machine_readable(self) -> None:
        """A program has an answer for each policy."""


class Matrix(FormattableColumn[Any]):
    """Images and places: a table for a person, a row each for a program."""

    def human_readable(self) -> str:
        """A line for each image and place."""
        rows, marker = self._value
        more = () if marker is None else (f"There are more images: pass --marker {said(marker)}.",)
        return "\n".join((table(rows), *more))

    def machine_readable(self) -> list[dict[str, Any]]:
        """All rows."""
        return list(self._value[0])


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


def _refuse_unused(asked: argparse.Namespace) -> None:
    """Refuse an option that nothing would look at."""
    if asked.backend is not None and asked.config_file is None:
        raise RequestRefused("--backend names a section of a file: give the file in --config-file")
    if not asked.all and (asked.marker is not None or asked.limit is not None):
        raise RequestRefused("--limit and --marker page through all images: pass --all, or leave them out")


def _machine(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.machine_readable() if isinstance(value, FormattableColumn) else value
        for name, value in answer.items()
    }


def _count(text: str) -> int:
    return _whole(text, "count: give a whole number")


def _size_gib(text: str) -> int:
    return _whole(text, "size of a volume: give a whole number of GiB")


def _whole(text: str, expected: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text)):
        raise argparse.ArgumentTypeError(
            f"{said(text)[:_SHOWN]!r} is no {expected}, 1 or more, of {_DIGITS} digits at most"
        )
    return int(text)


def _host(text: str) -> str:
    if not all(text.partition("@")) or not all(text.partition("#")):
        raise argparse.ArgumentTypeError(f"{said(text)!r} is no HOST@BACKEND#POOL: see `cinder get-pools`")
    return text


def _in_its_cluster(facts: CreationFacts) -> CreationFacts:
    """Where Cinder runs active-active, the pool that it names is one of a cluster, as the volumes in it say."""
    target, templates = facts.target, (*facts.others, *([facts.template.entry] if facts.template else []))
    clusters = {volume.cluster_name for volume in facts.volumes} | {each.cluster_name for each in templates}
    if target.cluster_name or target.host not in clusters:
        return facts
    return attrs.evolve(facts, target=replace(target, cluster_name=target.host))


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

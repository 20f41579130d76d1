"""How a new volume would be created from each image in each place: the facts are gathered, and the core is asked."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import attrs

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.explain_places import Place
from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.cli.rates import measured_elsewhere
from imagevol_adapters.gathering import Cloud, CreationFacts, CreationSource, gather_creation
from imagevol_core import AccessDenied, Image, Policy, Rates, Volume, named_volume_ids
from imagevol_core.sentences import said

__all__ = ["Outcomes"]


def _as_it_is(cloud: Cloud) -> CreationSource:
    return cloud


@attrs.define(slots=False, kw_only=True)
class Outcomes:
    """Says how a volume is created.

    Args:
        asked: the options.
        app: the services.
        rates: what was measured on a host; None if nothing was.
        source: what is asked in place of the services' APIs, made of them.
    """

    asked: argparse.Namespace
    app: Imagevol
    rates: Rates | None = None
    source: Callable[[Cloud], CreationSource] = _as_it_is
    _hidden: bool = attrs.field(default=False, init=False)

    def of(self, image: Image, place: Place, policy: Policy) -> Outcome:
        """Say how a volume of the size that was asked for is created, and what is not known of it.

        Args:
            image: with its locations.
            place: where.
            policy: whose rules.

        Raises:
            ImagevolError: a service fails, or does not answer these credentials.
        """
        facts = self._gathered(image, place, policy, self.asked.size)
        theirs = frozenset(volume.project_id for volume in facts.volumes if volume.project_id)
        clones = replace(facts.settings.clones, trusted_projects=theirs)
        trusting = attrs.evolve(facts, settings=attrs.evolve(facts.settings, clones=clones))
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
            rates=self.rates,
            origins=(*place.origins, *self._not_measured(facts)),
        )

    def brief(self, image: Image, place: Place, policy: Policy, *, size_gib: int) -> Outcome:
        """Say how a volume is created, without what is not known: a fifth of the work, for a row among many.

        Args:
            image: with its locations.
            place: where.
            policy: whose rules.
            size_gib: of the new volume.

        Raises:
            ImagevolError: as `of`.
        """
        facts = self._gathered(image, place, policy, size_gib)
        measured_here = self.rates is None or measured_elsewhere(self.rates, facts.target) is None
        return Outcome(
            facts=facts,
            policy=policy,
            unseen=(),
            looked_at={},
            rates=self.rates if measured_here else None,
        )

    def _gathered(self, image: Image, place: Place, policy: Policy, size_gib: int) -> CreationFacts:
        gather = partial(
            gather_creation,
            image,
            target=Volume(
                id="the new volume",
                project_id=self.asked.project or self.app.project_id,
                host=place.host,
                cluster_name=self.asked.cluster_name,
                size_gib=size_gib,
                volume_type=place.volume_type,
                encrypted=place.encrypted,
            ),
            backend=place.backend,
            settings=place.settings[policy],
        )
        cloud = Cloud(
            volumes=self.app.volumes,
            images=self.app.images,
            project_id=self.app.project_id,
            internal_tenant=None if self._hidden else place.internal_tenant,
        )
        try:
            facts = gather(source=self.source(cloud))
        except AccessDenied:
            if self.asked.internal_tenant or cloud.internal_tenant is None:
                raise
            self._hidden = True  # these credentials are not an administrator's
            cloud = attrs.evolve(cloud, internal_tenant=None)
            facts = gather(source=self.source(cloud))
        return _in_its_cluster(facts)

    def _not_measured(self, facts: CreationFacts) -> Iterator[tuple[str, Any, str]]:
        elsewhere = self.rates and measured_elsewhere(self.rates, facts.target)
        if elsewhere:
            yield "the seconds", elsewhere, f"{said(self.asked.rates)}"


def _in_its_cluster(facts: CreationFacts) -> CreationFacts:
    """Where Cinder runs active-active, the pool that it names is one of a cluster, as the volumes in it say."""
    target, templates = facts.target, (*facts.others, *([facts.template.entry] if facts.template else []))
    clusters = {volume.cluster_name for volume in facts.volumes} | {each.cluster_name for each in templates}
    if target.cluster_name or target.host not in clusters:
        return facts
    return attrs.evolve(facts, target=replace(target, cluster_name=target.host))


def _unseen(image: Image, volumes: Iterable[Volume]) -> tuple[str, ...]:
    """What these credentials are not shown, and Cinder's own may be."""
    seen = {volume.id for volume in volumes}
    hidden = tuple(volume_id for volume_id in named_volume_ids(image) if volume_id not in seen)
    return hidden if image.locations else ("the locations of the image",)

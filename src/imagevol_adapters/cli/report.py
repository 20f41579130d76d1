"""`imagevol report`: one HTML page of the whole cloud."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.columns import COUNT, TEXT, Column, Shown
from imagevol_adapters.cli.explain_options import add_volume_options, policies_of, refuse_unused
from imagevol_adapters.cli.html_option import add_html_option, check_html, write_html
from imagevol_adapters.cli.only_glance_option import add_only_glance_option
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.schemas import json_list
from imagevol_core import Image, ImagevolError, Volume, least_volume_gib, named_volume_ids
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cli.explain_places import Place
    from imagevol_adapters.gathering import Cloud, Remembering
    from imagevol_adapters.reporting import ShownImage, ShownStore
    from imagevol_core import Rates

__all__ = ["Report"]

_PAGE = 500  # images whose volumes are asked for together
_LOCATIONS_HIDDEN = (
    "Glance shows the locations of no image to these credentials, so no image volume is seen. Use an endpoint with "
    "show_multiple_locations = true that only operators reach."
)


class Report(Named, Shown, ShowOne):
    """Write one HTML page of the cloud: which images can be cloned where and why not, stores and backends.

    Without --host and --volume-type, it looks at each pool that Cinder names, which needs the admin role.
    """

    app: Imagevol
    columns: ClassVar[tuple[Column, ...]] = (
        Column("file", TEXT, "The file that was written."),
        Column("images", COUNT, "How many images the page has."),
        Column("places", COUNT, "For how many pools each image was explained."),
        Column(
            "notes", json_list(TEXT), "What could not be looked at, and why; the page says the same. It can change."
        ),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the file, and what `explain` takes of the new volumes."""
        parser = super().get_parser(prog_name)
        add_html_option(parser, required=True)
        add_volume_options(parser, size_required=False)
        parser.add_argument(
            "--no-audit", action="store_true", help="leave out the findings of an audit, which lists the cloud again"
        )
        add_only_glance_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Ask for what there is, a page of images at a time, and write the page."""
        from imagevol_adapters.cli.explain_places import Places
        from imagevol_adapters.cli.rates import read_rates
        from imagevol_adapters.cli.report_contents import page_contents, shown_places
        from imagevol_adapters.reporting import ShownPool

        asked = parsed_args
        refuse_unused(asked)
        check_html(asked.html)
        rates = read_rates(asked.rates) if asked.rates else None
        notes: list[str] = []
        looked_at = Places(asked, self.app, passed_over=notes)
        places = list(looked_at)
        stores = self._stores(notes)
        images = _Images(asked, self.app, places, rates, notes)
        found = None
        trusted = {*asked.trusted_project, *(place.internal_tenant for place in places if place.internal_tenant)}
        if not asked.no_audit:
            from imagevol_adapters.cli.report_audit import audit_findings

            found = audit_findings(self.app, trusted_projects=trusted, only_glance=asked.only_glance, notes=notes)
        contents = page_contents(
            self.app.typed,
            title=f"Images and volumes{self._of_cloud()}",
            places=shown_places(places, policies_of(asked)),
            images=images,
            stores=stores,
            pools=[
                ShownPool(
                    name=pool.name,
                    backend_name=pool.backend_name,
                    protocols=pool.protocols,
                    clone_across_pools=pool.clone_across_pools,
                )
                for pool in looked_at.pools
            ]
            if asked.host is None
            else None,
            findings=None if found is None else found[0],
            audit_options=[
                *(word for each in sorted(trusted) for word in ("--trusted-project", each)),
                *(["--only-glance"] if asked.only_glance else []),
            ],
            reclaimable_bytes=0 if found is None else found[1],
            notes=notes,
        )
        write_html(asked.html, contents)
        return self.names(), (str(asked.html), images.count, len(places), notes)

    def _stores(self, notes: list[str]) -> list[ShownStore] | None:
        """Give the stores, or only their names if Glance tells these credentials no more."""
        from imagevol_adapters.reporting import ShownStore

        try:
            catalogue = self.app.images.catalogue()
        except ImagevolError as error:
            notes.append(f"The kinds of the stores are not known: {error}")
            try:
                return [ShownStore(name=name) for name in self.app.images.store_names()]
            except ImagevolError as failure:
                notes.append(f"The stores are not known: {failure}")
                return None
        return [
            ShownStore(
                name=store.name,
                kind=store.kind,
                volume_type=store.volume_type,
                default=store.name == catalogue.default,
                readonly=store.readonly,
            )
            for store in catalogue.stores
        ]

    def _of_cloud(self) -> str:
        """Name the cloud if the credentials do."""
        name = getattr(self.app.options, "cloud", None) or getattr(self.app.options, "os_cloud", None)
        return f" of {said(name)}" if name else ""


class _Images:
    """Each image of the cloud with its answers, made while the page is; a page of images is in memory at a time."""

    def __init__(
        self,
        asked: argparse.Namespace,
        app: Imagevol,
        places: Sequence[Place],
        rates: Rates | None,
        notes: list[str],
    ) -> None:
        from imagevol_adapters.cli.outcomes import Outcomes

        self._asked = asked
        self._app = app
        self._places = places
        self._policies = policies_of(asked)
        self._notes = notes
        self._volumes: Mapping[str, Volume] = {}
        self._sources: dict[str | None, Remembering] = {}
        self._outcomes = Outcomes(asked=asked, app=app, rates=rates, source=self._source)
        self.count = 0

    def __iter__(self) -> Iterator[ShownImage]:
        from imagevol_adapters.cli.report_contents import shown_answer, shown_image

        listed = self._app.images.listed(locations_needed=False)
        located = False
        while page := list(islice(listed, _PAGE)):
            located = located or any(image.locations for image in page)
            self._look(page)
            for image in page:
                size_gib = self._asked.size or least_volume_gib(image) or 1
                self.count += 1
                yield shown_image(
                    image,
                    (
                        shown_answer(self._outcomes.brief(image, place, policy, size_gib=size_gib))
                        for place in self._places
                        for policy in self._policies
                    ),
                )
        if self.count and not located:
            self._notes.append(_LOCATIONS_HIDDEN)

    def _look(self, page: Sequence[Image]) -> None:
        """Ask for the volumes of a page of images together."""
        wanted = dict.fromkeys(volume_id for image in page for volume_id in named_volume_ids(image))
        self._volumes = {volume.id: volume for volume in self._app.volumes.find(wanted)} if wanted else {}
        for source in self._sources.values():
            source.volumes = self._volumes

    def _source(self, cloud: Cloud) -> Remembering:
        from imagevol_adapters.gathering import Remembering

        known = self._sources.get(cloud.internal_tenant)
        if known is None:
            known = Remembering(source=cloud, volumes=self._volumes)
            self._sources[cloud.internal_tenant] = known
        return known

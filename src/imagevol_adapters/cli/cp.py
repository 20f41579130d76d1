"""`imagevol cp`: images copied or moved to another store of Glance, one or all of a store."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import agreed, tell
from imagevol_adapters.cli.board_option import add_board_options
from imagevol_adapters.cli.columns import COUNT_OR_NULL, TEXT, TEXT_OR_NULL, Column, Shown, one_of, or_null
from imagevol_adapters.cli.counts import count_of
from imagevol_adapters.cli.cp_board import copied, copies_taken_back
from imagevol_adapters.cli.cp_facts import copy_catalogue, copy_reader
from imagevol_adapters.cli.cp_metrics import Copied, copied_of, copy_samples, settled
from imagevol_adapters.cli.cp_options import refuse_together
from imagevol_adapters.cli.metrics_option import add_metrics_option, check_metrics, write_metrics
from imagevol_adapters.cli.output import Named
from imagevol_adapters.cli.progress import counted
from imagevol_adapters.cli.schemas import Schema, json_enum
from imagevol_adapters.cli.trust_option import add_trust_option
from imagevol_core import (
    ImagevolError,
    RequestRefused,
    ServiceError,
    StoreCatalogue,
)
from imagevol_core.sentences import amount, listed, said
from imagevol_core.store_copies import (
    StoreCopyPlan,
    StoreCopyStep,
    StoreCopyWay,
    Verification,
    VerifyWish,
    stores_on_backend,
)

if TYPE_CHECKING:
    from imagevol_adapters.gathering.store_copies import StoreCopyGathering
    from imagevol_adapters.glance.store_copies import GlanceStoreCopies
    from imagevol_adapters.relocating import Outcome
    from imagevol_adapters.store_copies import CopyEntry, CopyJournal, StoreCopies
    from imagevol_adapters.store_ports import PlacedImage

__all__ = ["Cp"]

_FOUND = 3
_JOBS = 1
_MOST_JOBS = 64
_REFUSED = "refused"
_TASKS = {
    StoreCopyStep.CLONE: "Cinder clones volume {source}",
    StoreCopyStep.IMPORT: "Glance copies {size} bytes to store {to}",
    StoreCopyStep.READ: "this host reads the copy and compares it",
    StoreCopyStep.COMPARE: "Glance compares the copy",
    StoreCopyStep.REMOVE: "Glance deletes the data in store {leaves}",
}


def _states() -> Schema:
    from imagevol_adapters.relocating import State

    return one_of(*(state.value for state in State), _REFUSED)


_IMAGES = (
    Column("image_id", TEXT, "The id of the image."),
    Column("image_name", TEXT_OR_NULL, "Its name."),
    Column("state", _states, "How far the copy of the image has come."),
    Column("way", or_null(json_enum(StoreCopyWay)), "How the copy is made; null if the journal has not begun it."),
    Column("to_store", TEXT, "The store that the copy is in."),
    Column("leaves", TEXT_OR_NULL, "The store whose data is deleted; null if none is."),
    Column("verification", or_null(json_enum(Verification)), "How the copy is verified; null if nothing is deleted."),
    Column("glance_bytes", COUNT_OR_NULL, "How many bytes Glance copies; null if that is not known."),
    Column("host_bytes", COUNT_OR_NULL, "How many bytes this host reads; null if that is not known."),
    Column("reason", TEXT_OR_NULL, "Why, as a sentence; it can change."),
)

Row = tuple[object, ...]
Answer = tuple[tuple[str, ...], list[Row]]


class Cp(Named, Shown, Lister):
    """Copy or move images to another store of Glance.

    An image is cloned in the storage where that is possible. Otherwise Glance copies it by its import method
    copy-image. With --move, its data in the other store is deleted after the copy was verified. Name images, or all
    images of a store with --from-store.
    """

    app: Imagevol
    columns: ClassVar[tuple[Column, ...]] = _IMAGES
    matters_less = ("host_bytes", "glance_bytes", "image_name", "verification", "way")
    _config_files: Sequence[Path] | None = None
    _found = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the images, the stores, and the journal."""
        parser = super().get_parser(prog_name)
        parser.add_argument("images", nargs="*", metavar="IMAGE", help="copy this image, by name or ID")
        target = parser.add_mutually_exclusive_group()
        target.add_argument("--to-store", metavar="STORE", help="copy to STORE")
        target.add_argument(
            "--to-backend", metavar="HOST@BACKEND", help="copy to the store whose volumes are on this backend of Cinder"
        )
        parser.add_argument(
            "--from-store",
            metavar="STORE",
            help="copy all images in STORE, if no image is named; with --move, delete the data in STORE (default: the "
            "only other store of the image)",
        )
        parser.add_argument(
            "--move", action="store_true", help="delete the data in the other store after the copy was verified"
        )
        parser.add_argument(
            "--verify",
            choices=[wish.value for wish in VerifyWish],
            help="with --move: auto reads on this host what Glance has not compared itself in this run; read reads "
            "every copy, which must be in a volume; glance reads none, and with --resume or --undo relies on what was "
            "good before (default: auto; with --resume and --undo as it was planned)",
        )
        add_trust_option(parser, when="--move, --resume or --undo")
        parser.add_argument(
            "--journal",
            type=Path,
            metavar="FILE",
            help="write each step to FILE, which must not exist, before it is done; needed with --move, --from-store "
            "and several images",
        )
        going_on = parser.add_mutually_exclusive_group()
        going_on.add_argument(
            "--resume", action="store_true", help="continue with the journal, and try again what failed"
        )
        going_on.add_argument("--undo", action="store_true", help="take back what the journal says was done")
        parser.add_argument(
            "--jobs",
            type=count_of("images", most=_MOST_JOBS),
            metavar="COUNT",
            help="copy COUNT images at the same time; the staging area of Glance needs room for as many (default: "
            f"{_JOBS}; with --board, the workers decide)",
        )
        add_board_options(
            parser,
            required=False,
            does="let the workers of `imagevol fleet work` copy the images of --from-store, or with --undo first wait "
            "for them, by the board",
        )
        add_metrics_option(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")
        parser.add_argument(
            "--config-file",
            action="append",
            type=Path,
            metavar="FILE",
            help="read the stores from the configuration of Glance in FILE (default: ask Glance); may be repeated",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 when an image was not copied."""
        self._config_files = parsed_args.config_file
        status = int(super().run(parsed_args))
        return status or (_FOUND if self._found else 0)

    def take_action(self, parsed_args: argparse.Namespace) -> Answer:
        """Plan, show, ask, and copy one image after the other; or go on with a journal."""
        refuse_together(parsed_args)
        check_metrics(parsed_args.metrics)
        if parsed_args.resume or parsed_args.undo:
            return self._go_on(parsed_args)
        return self._begin(parsed_args)

    def _begin(self, parsed_args: argparse.Namespace) -> Answer:
        from imagevol_adapters.store_copies import CopyEntry, CopyJournal

        wish = VerifyWish(parsed_args.verify or VerifyWish.AUTO)
        rows: list[Row] = []
        entries: dict[str, CopyEntry] = {}  # by image: one that was listed twice is copied once
        plan: list[tuple[str, str]] = []
        staged_bytes = read_bytes = 0
        for placed, planned in self._plans(parsed_args, wish):
            image_id = planned.image.id
            if image_id in entries:
                continue
            if not planned.possible:
                self._found = True
                rows.append(_row(planned, self._shown(image_id), _REFUSED))
            elif not planned.steps:
                rows.append(_row(planned, self._shown(image_id), "done"))
            else:
                entries[image_id] = CopyEntry.of(
                    planned, stores=placed.stores, wish=wish, source=parsed_args.from_store
                )
                plan.append((image_id, _told(planned)))
                rows.append(_row(planned, self._shown(image_id), "planned"))
                staged_bytes += planned.glance_bytes or 0
                read_bytes += planned.host_bytes or 0
        self._tell_plan(
            len(entries), staged_bytes, read_bytes, "the workers read" if parsed_args.board else "this host reads"
        )
        for row in rows:
            if row[2] == _REFUSED:
                tell(f"image {row[0]} ({said(self._names.get(str(row[0])))}): {row[-1]}")
        if not entries:
            tell("There is nothing to copy.")
            self._count(parsed_args, settled(rows))
            return self.names(), rows
        verb = "Move" if parsed_args.move else "Copy"
        if not self._agreed(f"{verb} {amount(len(entries), 'image')}?", plan, parsed_args):
            self._found = True
            return self.names(), rows
        created = CopyJournal.create(parsed_args.journal, cloud=self.app.cloud_id(), entries=entries.values())
        with created as journal:
            copies = self._copies(journal, parsed_args)
            with nullcontext() if parsed_args.journal else copies.without_successor():
                outcomes = self._copied(copies, len(entries), verb.lower(), parsed_args)
            tried = copied_of(outcomes, journal)
        self._count(parsed_args, [*settled(rows), *tried])
        return self.names(), self._rows(rows, outcomes)

    def _plans(self, parsed_args: argparse.Namespace, wish: VerifyWish) -> Iterator[tuple[PlacedImage, StoreCopyPlan]]:
        from imagevol_adapters.store_copies import chosen_images, plan_copies

        to_store = parsed_args.to_store or self._store_on(parsed_args.to_backend)
        image_ids = [self._id_of(name) for name in parsed_args.images]
        chosen = chosen_images(self._glance, image_ids, from_store=parsed_args.from_store)
        with closing(counted(chosen, phase="plan", unit="images")) as shown:
            plans = plan_copies(
                shown,
                gathering=self._gathering,
                to_store=to_store,
                from_store=parsed_args.from_store,
                move=parsed_args.move,
                wish=wish,
            )
            for placed, plan in plans:
                self._names[placed.image.id] = placed.image.name
                yield placed, plan

    def _go_on(self, parsed_args: argparse.Namespace) -> Answer:
        from imagevol_adapters.store_copies import CopyJournal

        with CopyJournal.open(parsed_args.journal, cloud=self.app.cloud_id()) as journal:
            if parsed_args.board is None:
                journal.check_not_offered()
            copies = self._copies(journal, parsed_args)
            copies.wish = VerifyWish(parsed_args.verify) if parsed_args.verify else None
            left = copies.to_undo() if parsed_args.undo else copies.to_apply()
            self._name([entry.image_id for entry in left])
            what = "undo" if parsed_args.undo else "resume"
            if not left:
                tell(f"There is nothing to {what}.")
                if parsed_args.dry_run or parsed_args.board is None:
                    return self.names(), []
            plan = [(entry.image_id, _becomes(entry, undo=parsed_args.undo)) for entry in left]
            question = f"{'Take back' if parsed_args.undo else 'Go on with'} {amount(len(left), 'image')}?"
            if left and not self._agreed(question, plan, parsed_args):
                self._found = True
                return self.names(), [self._entry_row(entry, entry.state.value, entry.reason) for entry in left]
            if parsed_args.undo:
                copies_taken_back(journal, parsed_args)
                outcomes = self._carry_out(copies.undo(), len(left), what, parsed_args.journal)
            else:
                outcomes = self._copied(copies, len(left), what, parsed_args)
            self._count(parsed_args, copied_of(outcomes, journal))
            return self.names(), [
                self._entry_row(journal.entries[each.image_id], each.state.value, each.reason) for each in outcomes
            ]

    def _copied(self, copies: StoreCopies, total: int, label: str, parsed_args: argparse.Namespace) -> list[Outcome]:
        with copied(copies, parsed_args, cloud=self.app.cloud_id()) as outcomes:
            return self._carry_out(outcomes, total, label, parsed_args.journal)

    def _carry_out(self, outcomes: Iterator[Outcome], total: int, label: str, journal: Path | None) -> list[Outcome]:
        from imagevol_adapters.relocating import State

        done: list[Outcome] = []
        with closing(counted(outcomes, phase=label, total=total, unit="images")) as carried_out:
            try:
                done.extend(carried_out)
            except (ServiceError, KeyboardInterrupt):
                left = f"--journal {said(journal)}"
                tell(
                    f"Stopped early. Continue with `imagevol cp --resume {left}`, or revert with `imagevol cp --undo "
                    f"{left}`."
                    if journal
                    else "Stopped early. Run the command again."
                )
                raise
        self._found |= any(outcome.state is State.FAILED for outcome in done)
        return done

    def _count(self, parsed_args: argparse.Namespace, copied: Sequence[Copied]) -> None:
        """Write the metrics; of the store that was named also if no image should be copied to it."""
        stores = [parsed_args.to_store] if parsed_args.to_store else [each.store for each in copied]
        if not parsed_args.dry_run:
            write_metrics(parsed_args.metrics, copy_samples(copied, stores))

    def _rows(self, planned: list[Row], outcomes: Sequence[Outcome]) -> list[Row]:
        came = {outcome.image_id: outcome for outcome in outcomes}
        rows = []
        for row in planned:
            outcome = came.get(str(row[0])) if row[2] == "planned" else None
            rows.append((*row[:2], outcome.state.value, *row[3:-1], outcome.reason or row[-1]) if outcome else row)
        return rows

    def _entry_row(self, entry: CopyEntry, state: str, reason: str | None) -> Row:
        way = entry.made and entry.made.value
        return (
            *(entry.image_id, self._shown(entry.image_id), state, way, entry.to_store, entry.from_store),
            *(None, None, None, reason),
        )

    def _tell_plan(self, images: int, staged_bytes: int, read_bytes: int, who_reads: str) -> None:
        tell(
            f"{amount(images, 'image')} to copy: Glance copies {amount(staged_bytes, 'byte')} through its staging "
            f"area, {who_reads} {amount(read_bytes, 'byte')}"
        )

    def _agreed(self, question: str, plan: Sequence[tuple[str, str]], parsed_args: argparse.Namespace) -> bool:
        if not (parsed_args.yes or parsed_args.dry_run):
            for image_id, what in plan:
                tell(f"image {image_id} ({said(self._names.get(image_id))}): {what}")
        return not parsed_args.dry_run and agreed(question, yes=parsed_args.yes)

    @cached_property
    def _names(self) -> dict[str, str | None]:
        """The names of the images, as far as images were listed."""
        return {}

    def _shown(self, image_id: str) -> str | None:
        name = self._names.get(image_id)
        return None if name is None else said(name)

    def _name(self, image_ids: Sequence[str]) -> None:
        for start in range(0, len(image_ids), 50):
            for placed in self._glance.placed(image_ids[start : start + 50]):
                self._names[placed.image.id] = placed.image.name

    def _id_of(self, name: str) -> str:
        """The ID of an image; Glance is asked for a name only."""
        from imagevol_adapters.cinder.volume_pages import is_volume_id

        return name if is_volume_id(name) else self.app.images.find(name).id

    @cached_property
    def _catalogue(self) -> StoreCatalogue:
        return copy_catalogue(self.app, self._config_files)

    @cached_property
    def _glance(self) -> GlanceStoreCopies:
        from imagevol_adapters.glance.store_copies import GlanceStoreCopies

        return GlanceStoreCopies(self.app.images)

    @cached_property
    def _gathering(self) -> StoreCopyGathering:
        from imagevol_adapters.gathering.store_copies import StoreCopyGathering

        return StoreCopyGathering(images=self._glance, volumes=self.app.volumes, catalogue=self._catalogue)

    def _copies(self, journal: CopyJournal, asked: argparse.Namespace) -> StoreCopies:
        from imagevol_adapters.store_copies import StoreCopies

        app, jobs = self.app, asked.jobs or _JOBS
        if jobs > 1:
            with suppress(ImagevolError, ImportError):  # it is raised where a volume is read
                app.attacher  # noqa: B018 - os-brick imports eventlet: of a thread that does, Python never sees the end
        return StoreCopies(
            journal=journal,
            images=self._glance,
            volumes=app.volumes,
            gathering=self._gathering,
            read=copy_reader(app, trust_recorded=asked.trust_recorded),
            settle_seconds=app.options.wait_seconds,
            jobs=jobs,
        )

    def _store_on(self, backend: str) -> str:
        """The store whose volumes Cinder creates on a backend."""
        known = {pool.name.partition("#")[0]: pool.backend_name for pool in self.app.volumes.pools()}
        if backend not in known:
            raise RequestRefused(f"Cinder has no backend {said(backend)}: give one of {listed(sorted(known))}")
        names = {store.volume_type or self._catalogue.default_volume_type for store in self._catalogue.stores}
        found = {name: self.app.volumes.volume_type(name) for name in names if name}
        types = {name: volume_type for name, volume_type in found.items() if volume_type}
        stores = stores_on_backend(known[backend], catalogue=self._catalogue, volume_types=types)
        if len(stores) != 1:
            raise RequestRefused(
                f"backend {said(backend)} has the volumes of {amount(len(stores), 'store')} ({listed(stores)}): name "
                "one with --to-store"
            )
        return stores[0]


def _told(plan: StoreCopyPlan) -> str:
    """What is done with one image."""
    words = {"source": plan.source, "size": plan.image.size_bytes, "to": plan.to_store, "leaves": plan.from_store}
    return "; ".join(_TASKS[step].format(**words) for step in plan.steps)


def _becomes(entry: CopyEntry, *, undo: bool) -> str:
    if undo:
        back = f"it is in store {entry.source} again" if entry.from_store else f"it is in store {entry.source}"
        return f"{back}, and no longer in store {entry.to_store}" if entry.made else back
    return f"to store {entry.to_store}" + (f", out of store {entry.from_store}" if entry.from_store else "")


def _row(plan: StoreCopyPlan, name: str | None, state: str) -> Row:
    verification: Any = plan.verification and plan.verification.value
    return (
        *(plan.image.id, name, state, plan.way.value, plan.to_store, plan.from_store),
        *(verification, plan.glance_bytes, plan.host_bytes, plan.reason),
    )

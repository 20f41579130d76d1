"""`imagevol audit --repair`: what was found is repaired, by a journal, one step after the other."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from os import W_OK, X_OK, access
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.cli.asking import agreed, tell
from imagevol_adapters.cli.progress import counted
from imagevol_adapters.file_deadline import is_there, written_in_time
from imagevol_core import (
    GIB,
    DeepCheck,
    Finding,
    Image,
    ImagevolError,
    PlannedRepair,
    RepairAction,
    RepairStep,
    RequestRefused,
    ServiceError,
    Volume,
    plan_repairs,
    total_reclaimable_bytes,
)
from imagevol_core.sentences import amount, said

if TYPE_CHECKING:
    from imagevol_adapters.cli.app import Imagevol
    from imagevol_adapters.gathering import CloudAudit
    from imagevol_adapters.ports import Attacher
    from imagevol_adapters.repairing import RepairJournal, Repairs

__all__ = ["AuditRepair", "add_repair_options", "check_repair_options"]

_COLUMNS = ("id", "rule", "certainty", "subjects", "outcome", "done", "reason")
_MORE = ("since", "reclaimable_bytes", "text", "repair")  # which a program gets too
_FAILED, _FOUND = 1, 3
_ON_HOST = (RepairAction.DISCONNECT, RepairAction.DELETE_ATTACHMENT, RepairAction.ZERO_TAIL)


def add_repair_options(parser: argparse.ArgumentParser) -> None:
    """Take how what was found is repaired."""
    group = parser.add_argument_group(
        "Repairing",
        "Each step is written to a journal, and looked at again right before it is taken. The exit status is 0 if "
        "everything was repaired, 1 if a repair failed, and 3 if a finding is left.",
    )
    group.add_argument("--repair", action="store_true", help="show what can be repaired, ask, and repair it")
    group.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="with --repair, repair finding ID and leave the others as they are; can be repeated (default: all)",
    )
    group.add_argument(
        "--include-likely",
        action="store_true",
        help="with --repair, repair also what is only likely, if a step deletes something",
    )
    group.add_argument(
        "--repair-journal",
        type=Path,
        metavar="FILE",
        help="with --repair, write each step to FILE, a new file; keep it",
    )
    group.add_argument(
        "--resume-repair",
        type=Path,
        metavar="FILE",
        help="go on with the repair of the journal FILE, and try again what failed; no volumes are listed",
    )
    group.add_argument("--yes", action="store_true", help="with a repair, do not ask for confirmation")
    group.add_argument(
        "--dry-run", action="store_true", help="with a repair, show what would be done, and change nothing"
    )


def check_repair_options(parser: argparse.ArgumentParser, parsed_args: argparse.Namespace) -> None:
    """End with a usage error if options do not fit together."""
    given, resumes = vars(parsed_args), parsed_args.resume_repair is not None
    for name in ("only", "include_likely", "repair_journal"):
        if given[name] and (resumes or not parsed_args.repair):
            parser.error(f"--{name.replace('_', '-')} is for --repair, and --resume-repair takes it from its journal")
    for name in ("yes", "dry_run"):
        if given[name] and not (resumes or parsed_args.repair):
            parser.error(f"--{name.replace('_', '-')} is for --repair and --resume-repair")
    if (parsed_args.repair or resumes) and parsed_args.diff:
        parser.error("--diff says what an audit found: run it without a repair")
    if resumes and (parsed_args.deep or parsed_args.baseline):
        parser.error(
            "--resume-repair lists and reads nothing but what its journal names: leave out --deep and --baseline"
        )
    if parsed_args.repair and not (resumes or parsed_args.repair_journal or parsed_args.dry_run):
        parser.error("--repair writes a journal: pass --repair-journal, or --dry-run")


@attrs.define(kw_only=True)
class AuditRepair:
    """Repairs what an audit found, for a command.

    Args:
        app: the services and this host.
        structured: whether a program reads the answer.
        status: the exit status so far.
    """

    app: Imagevol
    structured: bool
    status: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """What is shown of each finding."""
        return (*_COLUMNS, *_MORE) if self.structured else _COLUMNS

    def planned(
        self, audit: CloudAudit, accepted: Iterable[str], parsed_args: argparse.Namespace
    ) -> list[tuple[object, ...]]:
        """Audit, plan, show, ask and repair; give what came of each finding.

        Args:
            audit: of the cloud.
            accepted: the ids of findings that stay as they are.
            parsed_args: the options.
        """
        journal = parsed_args.repair_journal
        if journal is not None:
            _refuse_journal(journal)
        found, only = list(audit.findings()), set(parsed_args.only)
        if missing := only - {each.id for each in found}:
            raise RequestRefused(f"no finding has the id {said(min(missing))}: run the audit without --repair")
        kept = {*accepted, *({each.id for each in found} - only if only else ())}
        # What stays as it is is planned too, without a repair: another repair could destroy what it is about.
        found = [replace(each, repair=()) if each.id in kept else each for each in found]
        plan = plan_repairs(found, include_likely=parsed_args.include_likely)
        left = [repair for repair in plan.left if repair.finding.id not in kept]
        self._tell_plan(plan.planned, left, parsed_args)
        if left:
            self.status = _FOUND
        if not plan.planned:
            tell("Nothing is repaired.")
            return [self._row(repair.finding, repair.outcome.value, (), repair.reason) for repair in left]
        question = f"Repair {amount(len(plan.planned), 'finding')}?"
        if parsed_args.dry_run:
            total = len(plan.planned) + len(left)
            tell(f"{len(plan.planned)} of {amount(total, 'finding')} would be repaired. Nothing was changed.")
        if parsed_args.dry_run or not agreed(question, yes=parsed_args.yes):
            self.status = _FOUND
            unchanged = [self._row(repair.finding, "planned", (), repair.reason) for repair in plan.planned]
        else:
            unchanged = self._repair(audit, plan.planned, parsed_args)
        return unchanged + [self._row(repair.finding, repair.outcome.value, (), repair.reason) for repair in left]

    def resumed(self, audit: CloudAudit, parsed_args: argparse.Namespace) -> list[tuple[object, ...]]:
        """Go on with a journal; give what came of each finding that was not repaired yet.

        Args:
            audit: of the cloud, which is only asked about the findings of the journal.
            parsed_args: the options.
        """
        from imagevol_adapters.repairing import RepairJournal

        with RepairJournal.open(parsed_args.resume_repair, cloud=self.app.cloud_id()) as journal:
            _refuse_part(audit, journal)
            repairs = self._repairs(audit, journal)
            left = repairs.to_repair()
            if not left:
                tell("There is nothing left to repair.")
                return []
            if not (parsed_args.yes or parsed_args.dry_run):
                for entry in left:
                    tell(f"{entry.finding.id} ({entry.state.value}): {_steps(entry.finding)}")
            if parsed_args.dry_run or not agreed(f"Repair {amount(len(left), 'finding')}?", yes=parsed_args.yes):
                self.status = _FOUND
                return [self._row(entry.finding, entry.state.value, (), entry.reason) for entry in left]
            return self._results(repairs, len(left))

    def _repair(
        self, audit: CloudAudit, planned: Sequence[PlannedRepair], parsed_args: argparse.Namespace
    ) -> list[tuple[object, ...]]:
        from imagevol_adapters.repairing import RepairJournal

        with RepairJournal.create(
            parsed_args.repair_journal,
            cloud=self.app.cloud_id(),
            settings=audit.settings,
            repairs=planned,
            include_likely=parsed_args.include_likely,
        ) as journal:
            return self._results(self._repairs(audit, journal), len(planned))

    def _repairs(self, audit: CloudAudit, journal: RepairJournal) -> Repairs:
        from imagevol_adapters.gathering.repair import RepairSource
        from imagevol_adapters.repairing import Actions, Repairs, TemplateMaker

        settings = replace(
            journal.settings,
            delayed_delete=audit.settings.delayed_delete,
            images_complete=audit.settings.images_complete,
            volumes_complete=audit.settings.volumes_complete,
        )
        attacher, host = self._host(journal)
        source = RepairSource(
            audit=attrs.evolve(audit, settings=settings, checks=()),  # what is read is read again
            volumes=self.app.volumes,
            began=journal.settings.now,
            include_likely=journal.include_likely,
            host=host,
            holder=journal.id,
            read=partial(self._read, settings.trusted_projects),
        )
        actions = Actions(
            images=self.app.images,
            volumes=self.app.volumes,
            attacher=attacher,
            holder=journal.id,
            catalogue=audit.catalogue,
            delayed_delete=settings.delayed_delete,
            make_template=TemplateMaker(volumes=self.app.volumes, holder=journal.id),
            stall_seconds=self.app.options.stall_seconds,
        )
        return Repairs(journal=journal, source=source, actions=actions)

    def _read(self, trusted_projects: Collection[str], volume: Volume, image: Image | None) -> DeepCheck | None:
        """Read an image volume from end to end, on this host."""
        from imagevol_adapters.transfers import check_image_volume

        if image is None or image.size_bytes is None:
            return None
        return check_image_volume(
            volume.id,
            size_bytes=image.size_bytes,
            algorithm=image.digest.algorithm if image.digest else None,
            image=image,
            trusted_projects=trusted_projects,
            volumes=self.app.volumes,
            attacher=self.app.attacher,
            limits=self.app.limits(),
        )

    def _host(self, journal: RepairJournal) -> tuple[Attacher | None, str | None]:
        """This host, if a repair needs it; it may be one that can attach no volume."""
        steps = [step for entry in journal.entries.values() if not entry.ended for step in entry.finding.repair]
        if not any(step.action in _ON_HOST for step in steps):
            return None, None
        try:
            attacher = self.app.attacher
            return attacher, str(attacher.connector().get("host"))
        except (ImagevolError, ImportError) as error:
            tell(f"This host cannot attach volumes: {error}")
            return None, None

    def _results(self, repairs: Repairs, total: int) -> list[tuple[object, ...]]:
        from imagevol_adapters.repairing import RepairResult, RepairState

        results = list[RepairResult]()
        with closing(counted(repairs.apply(), phase="repair", total=total, unit="findings")) as applied:
            try:
                results.extend(applied)
            except (ServiceError, KeyboardInterrupt):
                journal = said(repairs.journal.path)
                tell(f"Stopped early. Continue with `imagevol audit --resume-repair {journal}`.")
                raise
        states = [result.state for result in results]
        if RepairState.FAILED in states:
            self.status = _FAILED
        elif RepairState.LEFT in states:
            self.status = self.status or _FOUND
        done = [result.finding for result in results if result.state is RepairState.DONE]
        reclaimed = total_reclaimable_bytes(done)
        tell(
            f"Repaired {len(done)} of {total}; the storage gives back {amount(reclaimed, 'byte')} "
            f"({reclaimed / GIB:g} GiB)."
        )
        return [self._row(each.finding, each.state.value, each.done, each.reason) for each in results]

    def _tell_plan(
        self, planned: Sequence[PlannedRepair], left: Sequence[PlannedRepair], parsed_args: argparse.Namespace
    ) -> None:
        """Show the plan before the question; nothing if the answer was given."""
        if parsed_args.yes or parsed_args.dry_run:
            return
        for number, repair in enumerate(planned, 1):
            tell(f"{number}. {_about(repair.finding)}: {_steps(repair.finding)}")
        for repair in left:
            tell(f"not repaired: {_about(repair.finding)}: {repair.reason}")

    def _row(
        self, finding: Finding, outcome: str, done: Sequence[RepairStep], reason: str | None
    ) -> tuple[object, ...]:
        if self.structured:
            steps: object = [step.as_dict() for step in done]
            values: dict[str, object] = {**finding.as_dict(), "done": steps, "reason": reason}
        else:
            steps = "; ".join(said(step) for step in done)
            values = {"id": finding.id, "rule": finding.kind, "certainty": finding.certainty.value, "done": steps}
            values |= {"subjects": ", ".join(map(said, finding.subjects)), "reason": reason and said(reason)}
        values["outcome"] = outcome
        return tuple(values[name] for name in self.columns)


def _refuse_journal(path: Path) -> None:
    """Refuse a journal that cannot be made, before the cloud is listed and the operator is asked."""
    directory = path.parent
    if is_there(path):
        raise RequestRefused(f"journal {said(path)} exists: give another name, or go on by --resume-repair")
    if not written_in_time(directory.is_dir, path):
        raise RequestRefused(
            f"journal {said(path)} cannot be written: there is no directory {said(directory)}: run "
            f"`install -d -m 0700 {said(directory)}`"
        )
    if not written_in_time(lambda: access(directory, W_OK | X_OK), path):
        raise RequestRefused(
            f"journal {said(path)} cannot be written: directory {said(directory)} is not writable: name another"
        )


def _refuse_part(audit: CloudAudit, journal: RepairJournal) -> None:
    """Refuse credentials that do not see all: what they do not see would look as if it were gone."""
    sees = {"images": audit.settings.images_complete, "volumes": audit.settings.volumes_complete}
    for what, complete in sees.items():
        if not complete:
            raise RequestRefused(
                f"journal {said(journal.path)} is not resumed: these credentials do not see all {what}, and what is "
                "not shown would look as if it were gone: use credentials with the admin role"
            )


def _about(finding: Finding) -> str:
    return f"{finding.id} {finding.kind} ({', '.join(map(said, finding.subjects))}), {finding.certainty.value}"


def _steps(finding: Finding) -> str:
    return "; ".join(said(step) for step in finding.repair)

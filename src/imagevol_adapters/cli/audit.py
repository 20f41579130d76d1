"""`imagevol audit`: what is wrong between the images, volumes, attachments and stores of a whole cloud."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.audit_deep import Deep, add_deep_options, refuse_unused_deep, watched
from imagevol_adapters.cli.audit_files import Accepted, read_baseline, read_earlier
from imagevol_adapters.cli.audit_repair import AuditRepair, add_repair_options, check_repair_options
from imagevol_adapters.cli.audit_results import Results, add_result_options, check_results
from imagevol_adapters.cli.deep_reader import check_projects
from imagevol_adapters.cli.fitted import Fitted
from imagevol_adapters.cli.only_glance_option import add_only_glance_option
from imagevol_adapters.cli.trust_option import add_trusted_projects
from imagevol_core import (
    GIB,
    AuditSettings,
    Finding,
    ImagevolError,
    StoreCatalogue,
    total_reclaimable_bytes,
)
from imagevol_core.sentences import amount, said

if TYPE_CHECKING:
    from imagevol_adapters.gathering import CloudAudit

__all__ = ["Audit"]

_FOUND = 3  # the exit status when something is found
_GLANCE_API_CONF = Path("/etc/glance/glance-api.conf")
_CINDER_CONF = Path("/etc/cinder/cinder.conf")
_COLUMNS = ("id", "rule", "certainty", "subjects", "since", "reclaimable_bytes", "text", "repair")
_STRUCTURED = ("json", "yaml")
_DELAYS = (
    "The option delayed_delete of Glance is not known: orphaned volumes are only likely. Pass --config-file with "
    "glance-api.conf."
)
_OTHER_DATA = ("content-differs", "record-differs")
_DEEP = (*_OTHER_DATA, "tail-not-zero")
_LONGEST_HOURS = 1000 * 366 * 24


class Audit(Fitted, Lister):
    """List what is wrong between images, volumes, attachments and stores; with --repair, repair it.

    Without --repair this changes nothing. It needs the admin role, and a Glance that shows locations. What is found is
    looked at a second time before it is shown. The exit status is 3 if there is a finding that is not accepted, and 1
    if there is none but the credentials do not show all images.
    """

    app: Imagevol
    matters_less = ("reclaimable_bytes", "since", "repair")
    _parser: argparse.ArgumentParser
    _repair: AuditRepair
    _found = False
    _partial = False
    _deep: Deep | None = None
    _unread: frozenset[str] = frozenset()
    _structured = False
    _accepted: Mapping[str, Accepted] = {}
    _earlier: Mapping[str, Mapping[str, Any]] | None = None
    _notes: tuple[str, ...] = ()
    _results: Results

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take what the operator knows of the cloud, and what was found before."""
        parser = super().get_parser(prog_name)
        add_trusted_projects(parser)
        add_only_glance_option(parser)
        parser.add_argument(
            "--stuck-after",
            type=_hours,
            default=24.0,
            metavar="HOURS",
            help="report an image or volume that has been in the making for more than HOURS hours (default: 24)",
        )
        parser.add_argument(
            "--config-file",
            action="append",
            type=Path,
            metavar="FILE",
            help="read the stores from FILE, Glance's configuration; can be repeated, and a later one overrules an "
            f"earlier one (default: {_GLANCE_API_CONF} if it exists, otherwise Glance is asked)",
        )
        parser.add_argument(
            "--diff",
            type=Path,
            metavar="FILE",
            help="say which findings are new, gone or still there since the audit whose JSON is in FILE",
        )
        parser.add_argument(
            "--baseline",
            type=Path,
            metavar="FILE",
            help="leave out the findings that FILE accepts: a line each, with the id, a blank and the reason",
        )
        parser.add_argument(
            "--temporary-directory",
            action="append",
            type=Path,
            metavar="DIRECTORY",
            help="look for temporary files that killed processes of this host left in DIRECTORY; can be repeated "
            f"(default: image_conversion_dir of {_CINDER_CONF}, if that exists)",
        )
        add_deep_options(parser)
        add_repair_options(parser)
        self._parser = parser
        add_result_options(parser)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 if something was found or left, and 1 if a repair failed, or not all could be seen or read."""
        check_repair_options(self._parser, parsed_args)
        self._repair = AuditRepair(app=self.app, structured=parsed_args.formatter in _STRUCTURED)
        status = int(super().run(parsed_args)) or self._repair.status
        return status or (_FOUND if self._found else int(self._partial or bool(self._unread)))

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterable[tuple[object, ...]]]:
        """Read the files, and list the cloud."""
        self._structured = parsed_args.formatter in _STRUCTURED
        self._accepted = read_baseline(parsed_args.baseline) if parsed_args.baseline else {}
        self._earlier = read_earlier(parsed_args.diff) if parsed_args.diff else None
        refuse_unused_deep(parsed_args)
        check_results(parsed_args)
        self._results = Results(parsed_args, self.app.typed)
        audit = self._audit(parsed_args)
        if parsed_args.resume_repair:
            return self._repair.columns, self._repair.resumed(audit, parsed_args)
        if parsed_args.repair:
            return self._repair.columns, self._repair.planned(audit, self._accepted, parsed_args)
        columns = _COLUMNS if self._earlier is None else ("change", *_COLUMNS)
        return columns, self._rows(audit)

    def _audit(self, parsed_args: argparse.Namespace) -> CloudAudit:
        from imagevol_adapters.cinder.whole_cloud import WholeCinder
        from imagevol_adapters.gathering import gather_audit

        check_projects(self.app, parsed_args.trusted_project)
        catalogue, delayed_delete = self._configuration(parsed_args.config_file)
        deep = Deep(self.app, parsed_args)
        volumes = WholeCinder(self.app.volumes)
        checks = deep.checks(volumes.all_volumes) if parsed_args.deep else []
        self._deep = deep if parsed_args.deep else None
        self._unread = frozenset(deep.unread)
        audit = gather_audit(
            images=self.app.images,
            volumes=volumes,
            settings=AuditSettings(
                now=datetime.now(UTC),
                stuck_after=timedelta(hours=parsed_args.stuck_after),
                trusted_projects=frozenset(parsed_args.trusted_project),
                delayed_delete=delayed_delete is not False,
                only_glance=parsed_args.only_glance,
            ),
            catalogue=catalogue,
            checks=checks,
            directories=parsed_args.temporary_directory or _conversion_directories(),
            watch=watched,
        )
        self._partial = not audit.settings.images_complete
        unseen = () if parsed_args.resume_repair else audit.unseen  # what a journal names is looked at
        self._notes = (*unseen, *([_DELAYS] if delayed_delete is None else []))
        for sentence in self._notes:
            tell(sentence)
        return audit

    def _configuration(self, files: list[Path] | None) -> tuple[StoreCatalogue | None, bool | None]:
        """The stores, and whether Glance delays deletions, as far as they are known."""
        from imagevol_adapters.gathering import gather_catalogue
        from imagevol_adapters.gathering.configured_stores import ConfiguredStores

        def default_type() -> str | None:
            return self.app.volumes.default_volume_type()

        if files or _GLANCE_API_CONF.exists():
            from oslo_config import cfg

            from imagevol_adapters.configuration.stores import load

            configuration = load(files or [_GLANCE_API_CONF])
            configuration.register_opt(cfg.BoolOpt("delayed_delete", default=False))
            catalogue = gather_catalogue(ConfiguredStores(configuration), default_type=default_type)
            return catalogue, bool(configuration.delayed_delete)
        try:
            return gather_catalogue(self.app.images, default_type=default_type), None
        except ImagevolError as error:
            self.app.LOG.debug("The stores of Glance are not known: %s", error)
            return None, None

    def _rows(self, audit: CloudAudit) -> Iterator[tuple[object, ...]]:
        counted, accepted = Counter[str](), set[str]()
        reclaimed = list[Finding]()
        current, differ = set[str](), 0
        for finding in audit.findings():
            current.add(finding.id)
            differ += finding.kind in _OTHER_DATA
            if finding.id in self._accepted:
                accepted.add(finding.id)
                continue
            self._found = True
            counted[finding.certainty.value] += 1
            self._results.add(finding)
            if finding.reclaimable_bytes:
                reclaimed.append(finding)
            yield self._row(finding.as_dict())
        missing = [row for finding_id, row in (self._earlier or {}).items() if finding_id not in current]
        gone = [row for row in missing if not self._is_unseen(row, audit)]
        for row in gone:
            yield self._row(row, gone=True)
        reclaimable = total_reclaimable_bytes(reclaimed)
        self._tell_totals(audit, counted, reclaimable)
        if self._deep is not None:
            tell(self._deep.said(differ))
        if self._earlier is not None:
            new = len(current - accepted - self._earlier.keys())
            tell(f"{new} new, {len(gone)} gone, {sum(counted.values()) - new} still there.")
        if len(missing) > len(gone):
            tell(f"Not looked for: {amount(len(missing) - len(gone), 'finding')} of the earlier audit.")
        if accepted:
            tell(f"{amount(len(accepted), 'finding')} accepted by the baseline.")
        for finding_id in self._accepted.keys() - accepted:
            reason = self._accepted[finding_id].reason
            tell(
                f"The baseline accepts {finding_id} ({reason}), which is not found: remove its line if it was repaired."
            )
        self._results.write(reclaimable_bytes=reclaimable, seen=audit.seen, notes=self._notes)

    def _is_unseen(self, row: Mapping[str, Any], audit: CloudAudit) -> bool:
        """Whether nothing is known of an earlier finding: its rule was not looked at, or its volume was not read."""
        unread = row["rule"] in _DEEP and any(each["id"] in self._unread for each in row["subjects"])
        return unread or row["rule"] in audit.unseen_rules

    def _row(self, finding: Mapping[str, Any], *, gone: bool = False) -> tuple[object, ...]:
        values = [finding.get(name) if self._structured else _shown(name, finding.get(name)) for name in _COLUMNS]
        if self._earlier is None:
            return tuple(values)
        change = "gone" if gone else "still-there" if finding["id"] in self._earlier else "new"
        return (change, *values)

    def _tell_totals(self, audit: CloudAudit, counted: Mapping[str, int], reclaimable: int) -> None:
        seen = audit.seen
        images, volumes, attachments = (amount(seen[f"{kind}s"], kind) for kind in ("image", "volume", "attachment"))
        total = sum(counted.values())
        kinds = ", ".join(f"{count} {certainty}" for certainty, count in counted.items())
        tell(
            f"{images}, {volumes} and {attachments}: {amount(total, 'finding')}{f' ({kinds})' if kinds else ''}; "
            f"the repairs give back {amount(reclaimable, 'byte')} ({reclaimable / GIB:g} GiB)."
        )


def _conversion_directories() -> list[Path]:
    """Where Cinder's driver keeps images that it converts, if this is a host of Cinder."""
    if not _CINDER_CONF.exists():
        return []
    from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration

    return [CinderConfiguration.read(_CINDER_CONF).conversion_directory]


def _shown(name: str, value: Any) -> object:
    """A value as a person or a spreadsheet reads it."""
    if name == "subjects":
        return ", ".join(f"{each['kind']} {each['id']}" for each in value)
    if name == "repair":
        return "; ".join(_step(step) for step in value or ())
    return said(value) if isinstance(value, str) else value


def _step(step: Mapping[str, Any]) -> str:
    arguments = [f"{key}={said(value)}" for key, value in step["arguments"].items()]
    return " ".join([step["action"], step["subject"]["kind"], step["subject"]["id"], *arguments])


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1
    if not 0 <= hours <= _LONGEST_HOURS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours: give 0 or more")
    return hours

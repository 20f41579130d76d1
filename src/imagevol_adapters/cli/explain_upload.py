"""`imagevol explain-upload`: whether a volume becomes an image by a clone or a copy, whose, where, and why."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from cliff.columns import FormattableColumn

from imagevol_adapters.cli.columns import TEXT, TEXT_OR_NULL, Column, Shown, one_of, or_null, verdict
from imagevol_adapters.cli.explain import Explaining
from imagevol_adapters.cli.schemas import json_enum, json_list
from imagevol_adapters.gathering import gather_upload
from imagevol_core import (
    Image,
    Policy,
    Requester,
    UploadAction,
    UploadFailure,
    UploadLanding,
    UploadPlan,
    UploadSettings,
)

__all__ = ["ExplainUpload"]

_OUTCOMES = (UploadAction.REGISTER.value, UploadAction.COPY.value, UploadAction.FAIL.value)
_CLONE = "CLONE"  # stands for the id of the clone, which there is not yet


class ExplainUpload(Shown, Explaining):
    """Say whether a volume would be uploaded by registering a clone or by a copy, to which stores, and why."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("volume_id", TEXT, "The id of the volume."),
        Column("policy", json_enum(Policy), "Whose rules."),
        Column("outcome", one_of(*_OUTCOMES), "What becomes of the volume's data."),
        Column("project_id", TEXT_OR_NULL, "The project that the clone would belong to."),
        Column("location", TEXT_OR_NULL, f"The location that Cinder would register; {_CLONE} stands for the clone."),
        Column(
            "headers",
            {"type": "object", "additionalProperties": TEXT},
            "The headers that Cinder would send to Glance with a copy.",
        ),
        Column("stores", or_null(json_list(TEXT)), "The stores that the image would be in; null if that is not known."),
        Column("verdicts", lambda: json_list(verdict()), "Every rule that was asked."),
    )

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the volume, the new image, and what the operator has configured."""
        parser = super().get_parser(prog_name)
        parser.add_argument("volume", help="explain the upload of this volume, given by its id")
        parser.add_argument(
            "--disk-format", default="raw", help="take this disk format of the image (default: %(default)s)"
        )
        parser.add_argument("--container-format", default="bare", help="take this format (default: %(default)s)")
        parser.add_argument(
            "--project", metavar="PROJECT_ID", help="take PROJECT_ID as the uploader (default: your project)"
        )
        parser.add_argument(
            "--no-cinder-backend",
            action="store_true",
            help="take image_upload_use_cinder_backend to be off, as it is by default in Cinder",
        )
        parser.add_argument(
            "--use-internal-tenant", action="store_true", help="take image_upload_use_internal_tenant to be on"
        )
        parser.add_argument(
            "--internal-tenant", metavar="PROJECT_ID", help="take PROJECT_ID as cinder_internal_tenant_project_id"
        )
        parser.add_argument(
            "--policy",
            choices=[policy.value for policy in Policy],
            default=Policy.STRICT.value,
            help="strict: what the specifications say, made safe; upstream: what Cinder 29.0.0 and Glance 33.0.0 do; "
            "cinder-28: what Cinder 28.0.0 does (default: strict)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Collect the facts and ask the core."""
        volumes = self.app.volumes
        upload = gather_upload(
            parsed_args.volume,
            image=Image(
                id="the new image",
                disk_format=parsed_args.disk_format,
                container_format=parsed_args.container_format,
            ),
            volumes=volumes,
            requester=Requester(project_id=parsed_args.project or self.app.project_id),
            settings=UploadSettings(
                use_cinder_backend=not parsed_args.no_cinder_backend,
                use_internal_tenant=parsed_args.use_internal_tenant,
                internal_tenant=parsed_args.internal_tenant,
            ),
            stores=self.app.images,
            default_type=volumes.default_volume_type,
        ).landing(Policy(parsed_args.policy))
        plan = upload.plan
        return self.names(), (
            parsed_args.volume,
            plan.policy.value,
            upload.outcome.value,
            plan.project_id,
            plan.location(_CLONE) if plan.registers else None,
            dict(plan.headers),
            None if upload.stores is None else list(upload.stores),
            Explanation(upload),
        )


class Explanation(FormattableColumn[Any]):  # an upload in, a list of verdicts out
    """An upload: sentences for a person, every verdict for a program."""

    def human_readable(self) -> str:
        """What would happen, where, and what each rule says."""
        return "\n".join(_sentences(self._value))

    def machine_readable(self) -> list[dict[str, Any]]:
        """Every rule that was asked, of the upload and of the stores."""
        return [verdict.as_dict() for verdict in self._value.verdicts]


def _sentences(upload: UploadLanding) -> Iterator[str]:
    plan, outcome = upload.plan, upload.outcome
    if outcome is UploadAction.FAIL:
        yield f"The upload fails: {plan.refused}."
    elif outcome is UploadAction.REGISTER:
        yield f"The volume is cloned, for project {plan.project_id}, and {plan.location(_CLONE)} registered."
        yield f"The image is then in {_named(upload.stores)}."
    elif plan.registers:
        yield f"The volume is cloned, for project {plan.project_id}, and Glance does not take {plan.location(_CLONE)}."
        yield "The clone is deleted, and the volume's data is copied."
    else:
        yield "The volume's data is copied."
    if plan.registers and plan.location_metadata:
        yield "  Cinder sends the store beside the location, and Glance refuses that."
    asked = (*plan.verdicts, *([upload.location] if plan.registers and upload.location else []))
    yield from (f"  {verdict}." for verdict in asked)
    if outcome is UploadAction.FAIL:
        return
    if outcome is UploadAction.REGISTER:
        yield from _failing(plan)
    sent = ", ".join(f"{name}: {value}" for name, value in plan.headers.items()) or "none"
    copied = "It goes"
    if outcome is UploadAction.REGISTER:
        copied = "If that fails, the data is copied" if _always_copied(plan) else "The data is then copied"
    yield f"{copied} to {_named(upload.copied)}; the headers are {sent}."
    if upload.selection:
        decisive = upload.selection.verdicts[-1]
        yield f"  {decisive.rule}: {decisive.text}."
        if upload.selection.refused:
            yield f"  refused: {upload.selection.refused}."


def _always_copied(plan: UploadPlan) -> bool:
    return plan.falls_back_on == frozenset(UploadFailure)


def _failing(plan: UploadPlan) -> Iterator[str]:
    """What follows from each failure, where it is not always a copy."""
    if _always_copied(plan):
        return
    fatal = frozenset(UploadFailure) - plan.falls_back_on
    yield f"The upload fails in these cases: {_listed(fatal)}."
    if plan.leaves_clone_on:
        yield f"The clone is left behind in these cases: {_listed(plan.leaves_clone_on)}."
    yield f"The clone is deleted in these cases, and the data is copied: {_listed(plan.falls_back_on)}."


def _listed(failures: Iterable[UploadFailure]) -> str:
    return ", ".join(sorted(failure.value for failure in failures))


def _named(stores: tuple[str, ...] | None) -> str:
    if stores is None:
        return "a store that is not known"
    return f"store {', '.join(stores)}" if stores else "no store that Glance names"

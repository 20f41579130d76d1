"""What credentials, settings and measurements must be like for a host to do its job."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.checks import Check
from imagevol_core.doctor.facts import DoctorAccess, DoctorBackend, DoctorGlance, DoctorTrial
from imagevol_core.sentences import duration, listed, said
from imagevol_core.verdicts import Policy

__all__ = ["DOCTOR_ACCESS_RULES", "DOCTOR_BACKEND_RULES", "DOCTOR_GLANCE_RULES", "DOCTOR_TRIAL_RULES"]

_FASTER = 1.2  # less is not worth another digest
_PATIENCE_SECONDS = 30.0
_TENANT_PROJECT, _TENANT_USER = "cinder_internal_tenant_project_id", "cinder_internal_tenant_user_id"


# The credentials


def _signs_in(access: DoctorAccess) -> tuple[bool, str]:
    if access.error is not None:
        return False, said(access.error).removesuffix(".")
    return True, "Keystone accepts them"


def _in_a_project(access: DoctorAccess) -> tuple[bool, str]:
    if access.project_id is None:
        return False, "they are for no project, and a volume needs one"
    return True, f"they are for project {said(access.project_id)}"


def _service_role(access: DoctorAccess) -> tuple[bool, str]:
    return _has_role(access, "service", "Glance lets only services register a location in the Location API")


def _admin_role(access: DoctorAccess) -> tuple[bool, str]:
    return _has_role(access, "admin", "Cinder hides where volumes are, and Glance hides the images of other projects")


def _has_role(access: DoctorAccess, role: str, otherwise: str) -> tuple[bool, str]:
    if access.roles is None:
        return False, "their roles are not known"
    has = role in access.roles
    return has, f"their roles are {listed(sorted(map(said, access.roles)))}{'' if has else f': {otherwise}'}"


# The settings


def _locations_hidden(glance: DoctorGlance) -> tuple[bool, str]:
    if glance.shows_locations:
        return False, "show_multiple_locations is true: the owner of an image can exchange its data (OSSN-0065)"
    return True, f"show_multiple_locations is {said(glance.shows_locations).lower()}"


def _certificates_verified(glance: DoctorGlance) -> tuple[bool, str]:
    if glance.insecure:
        return (
            False,
            "cinder_api_insecure is true: a host that pretends to be Cinder gets the store's password",
        )
    return True, f"cinder_api_insecure is {said(glance.insecure).lower()}"


def _described(backend: DoctorBackend) -> tuple[bool, str]:
    if not backend.described:
        return False, f"enabled_backends of cinder.conf does not name {said(backend.name)}"
    return True, "cinder.conf describes it"


def _tenant_known(backend: DoctorBackend) -> tuple[bool, str]:
    known = {_TENANT_PROJECT: backend.tenant, _TENANT_USER: backend.tenant_user}
    missing = [option for option, value in known.items() if not value]  # Cinder asks for both
    if not missing:
        return True, f"the internal tenant is project {said(backend.tenant)}, user {said(backend.tenant_user)}"
    if not backend.needs_tenant:
        return True, "no option needs the internal tenant"
    needs = ", ".join(map(said, backend.needs_tenant))
    return False, f"{needs} need the internal tenant, and cinder.conf does not set {' and '.join(missing)}"


def _no_file_urls(backend: DoctorBackend) -> tuple[bool, str]:
    about = f"allowed_direct_url_schemes lists {listed(map(said, backend.schemes))}"
    if "file" in backend.schemes:
        return False, f"{about}: a location can name any file of the cinder-volume host"
    return True, about


def _signatures_verified(backend: DoctorBackend) -> tuple[bool, str]:
    if not backend.verifies_signatures:
        return False, "verify_glance_signatures is disabled: signed images are used unverified"
    return True, "verify_glance_signatures is enabled"


def _has_mixin(backend: DoctorBackend) -> tuple[bool, str]:
    about = f"volume_driver is {said(backend.driver)}"
    if backend.mixin is None:
        return True, f"{about}, which cannot be loaded on this host by the Python of this command"
    if not backend.mixin:
        return False, f"{about}, without ImageCloneMixin: the options of clones and templates do nothing"
    return True, f"{about}, with ImageCloneMixin"


def _knows_mixin(backend: DoctorBackend) -> bool:
    return backend.mixin is not None


def _clones(backend: DoctorBackend) -> tuple[bool, str]:
    option, schemes = ("image_clone_direct_url_schemes", backend.clone_schemes)
    if backend.mixin is False:
        option, schemes = ("allowed_direct_url_schemes", backend.schemes)
    about = f"{option} lists {listed(map(said, schemes))}"
    if "cinder" not in schemes:
        return False, f"{about}: no volume is cloned from an image volume"
    if backend.mixin is not False and not backend.trusted:
        return False, f"{about}, and image_clone_trusted_projects names no project, so no image volume is trusted"
    return True, about


def _strict_only(backend: DoctorBackend) -> tuple[bool, str]:
    about = f"allowed_direct_url_schemes lists {listed(map(said, backend.schemes))}"
    if "cinder" in backend.schemes:
        return False, f"{about}: Cinder clones also what the strict rules refuse"
    return True, about


def _tells_locations(glance: DoctorGlance) -> bool:
    return glance.shows_locations is not None


def _tells_certificates(glance: DoctorGlance) -> bool:
    return glance.insecure is not None


# What was measured


def _tried(trial: DoctorTrial) -> bool:
    return trial.volume


def _measured_digests(trial: DoctorTrial) -> bool:
    return {trial.hashing_algorithm, "sha256"} <= trial.rates.digests.keys()


def _measured_both(trial: DoctorTrial) -> bool:
    rates = trial.rates
    return trial.hashing_algorithm in rates.digests and bool(
        rates.write_bytes_per_second or rates.read_bytes_per_second
    )


def _measured_attaching(trial: DoctorTrial) -> bool:
    return trial.rates.attach_seconds is not None and trial.rates.detach_seconds is not None


def _volume_usable(trial: DoctorTrial) -> tuple[bool, str]:
    if not trial.volume:
        return True, "no volume was tried"
    if trial.error is not None:
        return False, said(trial.error).removesuffix(".")
    if not trial.same:
        return False, "what was read from the volume is not what had been written to it"
    return True, "a volume was created, attached, written, read back, cloned and deleted"


def _digest_fastest(trial: DoctorTrial) -> tuple[bool, str]:
    used, digests = trial.hashing_algorithm, trial.rates.digests
    if used not in digests or "sha256" not in digests:
        return True, f"the speed of {said(used)} was not measured"
    about = f"{said(used)} takes in {_speed(digests[used])}"
    if digests["sha256"] < _FASTER * digests[used]:
        return True, about
    return False, f"{about} on one core, and sha256 {_speed(digests['sha256'])}"


def _digest_keeps_up(trial: DoctorTrial) -> tuple[bool, str]:
    rates, speed = trial.rates, trial.rates.digests.get(trial.hashing_algorithm)
    device = max(rates.write_bytes_per_second or 0, rates.read_bytes_per_second or 0)
    if speed is None or not device:
        return True, "the digest and the device were not measured together"
    return speed >= device, f"{said(trial.hashing_algorithm)} takes in {_speed(speed)}, and the device {_speed(device)}"


def _attaches_promptly(trial: DoctorTrial) -> tuple[bool, str]:
    times = [trial.rates.attach_seconds, trial.rates.detach_seconds]
    if None in times:
        return True, "no volume was attached"
    attach, detach = (float(each or 0) for each in times)
    about = f"attaching takes {duration(attach)}, and detaching {duration(detach)}"
    return max(attach, detach) <= _PATIENCE_SECONDS, about


def _speed(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e6:.0f} MB/s"


_OURS = "imagevol"

DOCTOR_ACCESS_RULES: Mapping[Policy, tuple[Check[DoctorAccess], ...]] = {
    Policy.STRICT: (
        Check(
            id="access-signs-in",
            text="Keystone accepts the credentials",
            source=_OURS,
            holds=_signs_in,
            gate=True,
            next="Correct the credentials: clouds.yaml, OS_* or the store's section.",
        ),
        Check(
            id="access-project",
            text="the credentials are for a project",
            source=_OURS,
            holds=_in_a_project,
            next="Name a project: OS_PROJECT_NAME, or project_name in clouds.yaml.",
        ),
        Check(
            id="access-service-role",
            text="the credentials have the role service",
            source="glance.policies.image.add_image_location",
            holds=_service_role,
            warning=True,
            next="Add it if images are registered: `openstack role add --user USER --project PROJECT service`.",
        ),
        Check(
            id="access-admin-role",
            text="the credentials have the role admin",
            source=_OURS,
            holds=_admin_role,
            warning=True,
            next="Use the credentials of an administrator to explain, audit and migrate.",
        ),
    )
}


DOCTOR_GLANCE_RULES: Mapping[Policy, tuple[Check[DoctorGlance], ...]] = {
    Policy.STRICT: (
        Check(
            id="glance-locations",
            text="users cannot change the locations of images",
            source="OSSN-0065",
            holds=_locations_hidden,
            warning=True,
            looked=_tells_locations,
            look="Use credentials that see an image, or give the name of a store with --store.",
            next="Set show_multiple_locations = false on every glance-api that users reach.",
        ),
        Check(
            id="glance-certificates",
            text="the stores verify Cinder's certificate",
            source="glance_store._drivers.cinder",
            holds=_certificates_verified,
            warning=True,
            looked=_tells_certificates,
            look="Give the name of a store with --store.",
            next="Set cinder_api_insecure = false, and cinder_ca_certificates_file.",
        ),
    )
}


DOCTOR_BACKEND_RULES: Mapping[Policy, tuple[Check[DoctorBackend], ...]] = {
    Policy.STRICT: (
        Check(
            id="backend-described",
            text="cinder.conf describes the backend",
            source=_OURS,
            holds=_described,
            gate=True,
            next="Give the cinder.conf of the backend's host with --config-file, and the name of its section.",
        ),
        Check(
            id="backend-tenant",
            text="the internal tenant is configured if an option needs it",
            source="cinder.context.get_internal_tenant_context",
            holds=_tenant_known,
            next=f"Set {_TENANT_PROJECT} and {_TENANT_USER}.",
        ),
        Check(
            id="backend-mixin",
            text="the driver of the backend has ImageCloneMixin",
            source="[clone]",
            holds=_has_mixin,
            looked=_knows_mixin,
            warning=True,
            next="Name a class with ImageCloneMixin in volume_driver.",
            look="Run the command with the Python of cinder-volume, or look at the class.",
        ),
        Check(
            id="backend-clones",
            text="volumes are cloned from image volumes",
            source="[clone]",
            holds=_clones,
            warning=True,
            next="Set image_clone_direct_url_schemes = cinder, and image_clone_trusted_projects to the project of the "
            "stores.",
        ),
        Check(
            id="backend-strict",
            text="no volume is cloned without the strict rules",
            source="[clone]",
            holds=_strict_only,
            warning=True,
            next="Remove cinder from allowed_direct_url_schemes once image_clone_direct_url_schemes lists it.",
        ),
        Check(
            id="backend-file-urls",
            text="Cinder opens no files that locations name",
            source="cinder.image.glance.GlanceImageService.download",
            holds=_no_file_urls,
            warning=True,
            next="Remove file from allowed_direct_url_schemes.",
        ),
        Check(
            id="backend-signatures",
            text="Cinder verifies the signatures of images",
            source="cinder.image.image_utils",
            holds=_signatures_verified,
            warning=True,
            next="Set verify_glance_signatures = enabled.",
        ),
    )
}


DOCTOR_TRIAL_RULES: Mapping[Policy, tuple[Check[DoctorTrial], ...]] = {
    Policy.STRICT: (
        Check(
            id="volume-usable",
            text="a volume can be created, attached, written, read back, cloned and deleted",
            source=_OURS,
            holds=_volume_usable,
            looked=_tried,
            look="Try a volume with --measure.",
            next="Repair what the line says, and delete what it names as left.",
        ),
        Check(
            id="digest-fastest",
            text="no faster digest would do for Glance",
            source="glance.common.config.hashing_algorithm",
            holds=_digest_fastest,
            warning=True,
            looked=_measured_digests,
            next="Set hashing_algorithm = sha256 in glance-api.conf.",
        ),
        Check(
            id="digest-keeps-up",
            text="one core makes the digest as fast as the device moves data",
            source=_OURS,
            holds=_digest_keeps_up,
            warning=True,
            looked=_measured_both,
            look="Try a volume with --measure.",
            next="Expect transfers at the speed of the digest.",
        ),
        Check(
            id="attach-prompt",
            text=f"attaching and detaching take at most {_PATIENCE_SECONDS:g} seconds each",
            source=_OURS,
            holds=_attaches_promptly,
            warning=True,
            looked=_measured_attaching,
            look="Try a volume with --measure.",
            next="Look into the log of cinder-volume for what takes so long.",
        ),
    )
}

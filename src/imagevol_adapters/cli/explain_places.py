"""Where `imagevol explain` takes a new volume to be: what the cloud, a `cinder.conf` and the options say of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.gathering import CinderSettings
from imagevol_core import (
    Backend,
    CloneSettings,
    ConversionSettings,
    ImageCache,
    Policy,
    RequestRefused,
    TemplateSettings,
    may_serve,
)
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cinder.pools import Pool
    from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration

__all__ = ["Place", "Places"]

_DEFAULT = "default"
_OPTIONS = ("--trusted-project", "--templates", "--image-cache")


@attrs.frozen(kw_only=True)
class Place:
    """A pool in which the new volume may be.

    Attributes:
        host: the name of the pool.
        volume_type: the name of its type; None if none was given.
        encrypted: whether the new volume is encrypted.
        backend: what the backend can do.
        settings: what the operator has configured for it, under each policy.
        internal_tenant: the project of the templates; None if it is not known.
        known: which of `--trusted-project`, `--templates` and `--image-cache` need not be given.
        origins: for each fact, its value and where it is from.
    """

    host: str
    volume_type: str | None
    encrypted: bool
    backend: Backend
    settings: dict[Policy, CinderSettings]
    internal_tenant: str | None
    known: frozenset[str]
    origins: tuple[tuple[str, Any, str], ...]


@attrs.define(slots=False)
class Places:
    """The pools that the options name, or in which volumes of a type can be.

    Args:
        asked: the options.
        app: the services.
        passed_over: if it is given, takes why a pool is left out; it is an error otherwise.
    """

    asked: argparse.Namespace
    app: Imagevol
    passed_over: list[str] | None = None

    def __iter__(self) -> Iterator[Place]:
        """Give each place, by volume type and then in the order of Cinder's pools."""
        types = list(dict.fromkeys(self.asked.volume_type or [None]))
        for name in types:
            yield from self._of_type(name)

    def _of_type(self, name: str | None) -> Iterator[Place]:
        encrypted, origin = self.asked.encrypted, "--encrypted" if self.asked.encrypted else _DEFAULT
        if name is not None and not encrypted:
            encrypted, origin = self.app.volumes.is_encrypted(name), f"volume type {said(name)}"
        told = (("encrypted", encrypted, origin),)
        if self.asked.host is not None:
            yield self._place(self.asked.host, name, encrypted, None, (("host", self.asked.host, "--host"), *told))
            return
        if name is None and self.passed_over is None:
            raise RequestRefused("where the volume will be is not known: pass --host or --volume-type")
        pools, origin = self.pools, "the pools"
        if name is not None:
            facts = self.app.volumes.volume_type(name)
            pools = tuple(pool for pool in pools if may_serve(facts, backend_name=pool.backend_name))
            origin = f"the pools for volume type {said(name)}"
        if not pools and name is not None:
            raise RequestRefused(f"no pool serves volume type {said(name)}: compare its extra specs with get-pools")
        for pool in pools:
            try:
                place = self._place(pool.name, name, encrypted, pool, (("host", pool.name, origin), *told))
            except RequestRefused as error:
                if self.passed_over is None:
                    raise
                self.passed_over.append(str(error))
                continue
            yield place

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The pools that Cinder's scheduler knows."""
        return tuple(self.app.volumes.pools())

    @cached_property
    def _configuration(self) -> CinderConfiguration | None:
        if self.asked.config_file is None:
            return None
        from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration

        return CinderConfiguration.read(self.asked.config_file, internal_tenant=self.asked.internal_tenant)

    def _place(
        self, host: str, name: str | None, encrypted: bool, pool: Pool | None, told: tuple[tuple[str, Any, str], ...]
    ) -> Place:
        across = self.asked.clone_across_pools or (pool is not None and pool.clone_across_pools)
        origin = "--clone-across-pools" if self.asked.clone_across_pools else "the pools" if pool else _DEFAULT
        configured = self._configured(host)
        settings = {policy: _settings(self.asked, policy, configured) for policy in Policy}
        tenant = self.asked.internal_tenant or (self._configuration.internal_tenant if self._configuration else None)
        given = {
            "--trusted-project": bool(settings[Policy.STRICT].clones.trusted_projects),
            "--templates": self.asked.templates,
            "--image-cache": self.asked.image_cache,
        }
        return Place(
            host=host,
            volume_type=name,
            encrypted=encrypted,
            backend=Backend(clone_across_pools=across),
            settings=settings,
            internal_tenant=tenant,
            known=frozenset(option for option in _OPTIONS if configured is not None or given[option]),
            origins=(
                *told,
                ("clone_across_pools", across, origin),
                *self._origins(settings[Policy.STRICT], tenant, configured),
                ("the image", None, "Glance"),
                ("the image volumes", None, "Cinder"),
                ("the entries of Cinder's image cache", None, "not known: no API gives them"),
                ("the space in image_conversion_dir", None, "not known: only that host can tell"),
            ),
        )

    def _configured(self, host: str) -> CinderSettings | None:
        configuration = self._configuration
        if configuration is None:
            return None
        pool = f"host@{self.asked.backend}" if self.asked.backend else host
        if not configuration.describes(pool):
            name = pool.partition("#")[0].rpartition("@")[2]
            raise RequestRefused(
                f"{configuration.file} does not describe backend {said(name)}: name a section of its enabled_backends "
                "in --backend, or give the file of that host in --config-file"
            )
        return configuration.settings(pool)

    def _origins(
        self, settings: CinderSettings, tenant: str | None, configured: CinderSettings | None
    ) -> Iterator[tuple[str, Any, str]]:
        asked, otherwise = self.asked, _DEFAULT if self.asked.config_file is None else str(self.asked.config_file)
        facts = (
            (
                "image_clone_direct_url_schemes",
                list(settings.clones.allowed_direct_url_schemes),
                "allowed_direct_url_scheme",
            ),
            (
                "allowed_direct_url_schemes",
                list(settings.cinders_clones.allowed_direct_url_schemes),
                "allowed_direct_url_scheme",
            ),
            ("trusted_projects", sorted(settings.clones.trusted_projects), "trusted_project"),
            ("cinder_internal_tenant_project_id", tenant, "internal_tenant"),
            ("image_template_enabled", settings.templates.enabled, "templates"),
            ("image_volume_cache_enabled", settings.cache.enabled, "image_cache"),
            ("image_conversion_disable", not settings.conversion.allowed, "no_conversion"),
            (
                "verify_glance_signatures",
                "enabled" if settings.clones.enforce_signatures else "disabled",
                "enforce_signatures",
            ),
        )
        for fact, value, option in facts:
            told = [f"--{option.replace('_', '-')}"] if getattr(asked, option) else []
            if fact == "trusted_projects":  # what the options say is added to what the file says
                theirs = frozenset([*asked.trusted_project, asked.internal_tenant])
                told += ["--internal-tenant"] if asked.internal_tenant else []
                told += [otherwise] if configured and configured.clones.trusted_projects - theirs else []
            yield fact, value, " and ".join(told) or otherwise


def _settings(asked: argparse.Namespace, policy: Policy, configured: CinderSettings | None) -> CinderSettings:
    """What the operator has configured; what an option says counts before what the file says."""
    internal = frozenset([asked.internal_tenant] if asked.internal_tenant else [])
    given = asked.allowed_direct_url_scheme
    if configured is None:
        configured = _assumed(policy)
    schemes: dict[str, Any] = {} if given is None else {"allowed_direct_url_schemes": tuple(given)}
    enforced: dict[str, Any] = {"enforce_signatures": True} if asked.enforce_signatures else {}
    trusted = configured.clones.trusted_projects | internal | frozenset(asked.trusted_project)
    templates, cache = configured.templates, configured.cache
    return attrs.evolve(
        configured,
        clones=replace(configured.clones, trusted_projects=trusted, **schemes, **enforced),
        cinders_clones=replace(configured.cinders_clones, **schemes, **enforced),
        templates=replace(
            templates,
            enabled=templates.enabled or asked.templates,
            internal_tenant=bool(internal) or templates.internal_tenant,
            trusted_projects=templates.trusted_projects | internal,
            **enforced,
        ),
        cache=replace(
            cache,
            enabled=cache.enabled or asked.image_cache,
            internal_tenant=True if asked.image_cache else cache.internal_tenant,
        ),
        conversion=ConversionSettings(allowed=configured.conversion.allowed and not asked.no_conversion),
    )


def _assumed(policy: Policy) -> CinderSettings:
    """What is taken to be configured where nothing says."""
    cinders = () if policy is Policy.STRICT else ("cinder",)
    return CinderSettings(
        clones=CloneSettings(allowed_direct_url_schemes=("cinder",)),
        cinders_clones=CloneSettings(allowed_direct_url_schemes=cinders),
        templates=TemplateSettings(),
        cache=ImageCache(),
    )

"""The application around the commands: options, credentials, services, the last line of an error."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any

from cliff import command as cliff_command
from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

from imagevol_adapters.cli.credentials import add_credential_options
from imagevol_adapters.cli.imports import put_off_services
from imagevol_adapters.cli.progress import begin
from imagevol_adapters.cli.services import Services, add_attaching_options, silence_libraries, tell_end
from imagevol_adapters.error_text import keep_secret, keep_token_secret, one_line, secrets_of, without_known
from imagevol_adapters.file_deadline import set_file_deadline
from imagevol_core import AccessDenied, is_secret_name, without_userinfo

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion


# The libraries of the services are imported where they are first needed: help and a wrong option need none of them.

__all__ = ["Imagevol"]

_DISTRIBUTION = "imagevol"


class Imagevol(Services, App):
    """The application: the services that its commands use, made when they are first asked for."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Find the commands by their entry points.

        Args:
            arguments: of the command line.
        """
        self._arguments = arguments
        self.typed: tuple[str, ...] = ()
        # For the name of the distribution that a command comes from, cliff would read the files of all distributions,
        # which takes as long as everything else that help does.
        cached: Any = cliff_command
        cached._dists_by_mods = {"cliff": "cliff", __name__.partition(".")[0]: _DISTRIBUTION}
        super().__init__(
            description="Moves data between Glance images and Cinder volumes, and explains how it decides.",
            version=distribution(_DISTRIBUTION).version,
            command_manager=_Commands("imagevol.commands"),
            deferred_help=True,
        )

    def build_option_parser(self, description: str | None, version: str | None) -> argparse.ArgumentParser:  # type: ignore[override]
        """Take the credentials' options of every OpenStack client."""
        parser = super().build_option_parser(description, version)
        add_credential_options(parser, self._arguments)
        add_attaching_options(parser)
        return parser

    def print_help_if_requested(self) -> None:
        """Print the help with the commands in groups, if it is asked for, and end."""
        if self.options.deferred_help:
            from imagevol_adapters.cli.grouped_help import GroupedHelp

            GroupedHelp([], argparse.SUPPRESS, default=self)(self.parser, self.options, None)

    def interact(self) -> None:
        """Take commands from a person; where no person types them, it is an error that none is given."""
        if not sys.stdin.isatty():
            self.LOG.error("no command is given: `imagevol --help` lists the commands")
            raise SystemExit(2)
        super().interact()

    def run_subcommand(self, argv: list[str]) -> int:
        """Note what was typed, as a page may show it: without the options before the command, which have passwords."""
        self.typed = tuple(argv)
        begin(self.options.progress)
        set_file_deadline(self.options.stall_seconds)
        return super().run_subcommand(argv)

    def configure_logging(self) -> None:
        """Keep the libraries silent unless more is asked for: an error is one line, and it is ours."""
        keep_secret(secrets_of(vars(self.options)))
        others = set(logging.getLogger("").handlers)
        super().configure_logging()
        silence_libraries(self.options.verbose_level, "openstack")
        for handler in set(logging.getLogger("").handlers) - others:
            handler.setFormatter(_WithoutUserinfo(handler.formatter))

    def clean_up(self, cmd: Command, result: int, err: BaseException | None) -> None:
        """Say what cliff does not: that it was interrupted, and what is left after an error that is not ours."""
        tell_end(self.LOG, err)

    @functools.cached_property
    def cloud(self) -> CloudRegion:
        """The cloud that the options, the environment and `clouds.yaml` name."""
        from keystoneauth1.exceptions import ClientException

        put_off_services()
        from openstack.config import OpenStackConfig
        from openstack.exceptions import SDKException

        skipped = _Heard()  # openstacksdk warns of a file that it cannot read, and goes on without its clouds
        try:
            with skipped.listening("openstack.config"):
                chosen = OpenStackConfig().get_one(argparse=self.options, auth=self._given_auth())
        except (SDKException, ClientException) as error:
            said = "".join(f"{line}. " for line in skipped.lines)
            raise AccessDenied(
                f"{said}{one_line(error).rstrip('.')}. Name a cloud of clouds.yaml with OS_CLOUD or --os-cloud"
            ) from error
        except Exception as error:
            raise AccessDenied(
                f"clouds.yaml cannot be used: {type(error).__name__}: {one_line(error)}. "
                "Compare it with the example in the openstacksdk documentation."
            ) from error
        _hand_on_no_secret()
        return chosen

    def _given_auth(self) -> dict[str, str]:
        """The credentials' options that were typed: openstacksdk would prefer what `clouds.yaml` says."""
        from keystoneauth1.loading import BaseLoader, get_plugin_loader

        loader: BaseLoader[Any] = get_plugin_loader(self.options.os_auth_type or "password")
        names = (option.dest for option in loader.get_options())
        given = {name: getattr(self.options, f"os_{name}", None) for name in names}
        return {
            name: value
            for name, value in given.items()
            if value is not None and value != self.parser.get_default(f"os_{name}")
        }

    @functools.cached_property
    def session(self) -> Session:
        """The session of those credentials."""
        from imagevol_adapters.keystone import KEYSTONE, checked_url
        from imagevol_adapters.repeating import repeating
        from imagevol_adapters.translation import translated

        keep_secret(secrets_of(self.cloud.config.get("auth", {})))
        if auth_url := self.cloud.config.get("auth", {}).get("auth_url"):
            checked_url(auth_url, where="auth_url (clouds.yaml, OS_AUTH_URL or --os-auth-url)")
        with translated(KEYSTONE, doing="the credentials"):
            session = self.cloud.get_session()
        keep_token_secret(session.auth)
        # openstacksdk takes --timeout only from a parser that it has made itself.
        default = self.parser.get_default("timeout")
        typed = self.options.timeout if self.options.timeout != default else None
        session.timeout = typed or session.timeout or default
        return repeating(session)


def _hand_on_no_secret() -> None:
    """Take the passwords and tokens out of the environment: each program that os-brick runs would find them there."""
    for name in [name for name in os.environ if name.startswith("OS_") and is_secret_name(name)]:
        del os.environ[name]


class _Commands(CommandManager):
    """The commands of this distribution; the module of each is imported when the command is used."""

    def load_commands(self, namespace: str) -> None:
        """Find the commands; cliff would import all of them, and read the files of all distributions."""
        self.group_list.append(namespace)
        for entry_point in distribution(_DISTRIBUTION).entry_points.select(group=namespace):
            self.commands[entry_point.name.replace("_", " ")] = entry_point


class _WithoutUserinfo(logging.Formatter):
    """Formats as another formatter does, and hides users and passwords of URLs, and the secrets of this command.

    With `--debug`, libraries log URLs, and what a service answers.
    """

    def __init__(self, whole: logging.Formatter | None) -> None:
        super().__init__()
        self._whole = whole or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return without_known(without_userinfo(self._whole.format(record)))


class _Heard(logging.Handler):
    """Keeps what a library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))

    @contextmanager
    def listening(self, logger_name: str) -> Iterator[None]:
        """Listen to a logger, in place of those that would print it, while the context lasts."""
        logger = logging.getLogger(logger_name)
        level, propagates = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)
            logger.propagate = propagates

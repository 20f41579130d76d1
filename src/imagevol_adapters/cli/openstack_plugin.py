"""The commands as a plug-in of python-openstackclient: `openstack imagevol …`; each when it runs.

The commands are the same classes.  What differs is the application around them: credentials, session and options come
from `openstack`, and the options for attaching volumes stand after the command.
"""

from __future__ import annotations

import argparse
import functools
import signal
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any

from imagevol_adapters.cli import no_timers_left
from imagevol_adapters.cli.progress import begin
from imagevol_adapters.cli.services import ATTACHING, Services, add_attaching_options, silence_libraries, tell_end
from imagevol_adapters.error_text import keep_secret, keep_token_secret, one_line, secrets_of
from imagevol_core import AccessDenied

if TYPE_CHECKING:
    from cliff.command import Command
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

__all__ = ["OpenStackServices"]

_GROUP = "imagevol.commands"


class _SigningIn:
    """What `openstack` asks of a command before it runs it."""

    auth_required = True
    cmd_name = "imagevol"


class OpenStackServices(Services):
    """The services of the cloud that `openstack` was called for; all else is as in its application.

    Args:
        application: that of `openstack`.
        typed: the command, as a page may show it.
    """

    def __init__(self, application: Any, typed: tuple[str, ...]) -> None:
        """Keep the application."""
        self._application = application
        self.typed = typed
        self.options = application.options
        self._signed_in = False

    @functools.cached_property
    def cloud(self) -> CloudRegion:
        """The cloud that `openstack` has chosen."""
        self._sign_in()
        cloud: CloudRegion = self._application.cloud
        return cloud

    @functools.cached_property
    def session(self) -> Session:
        """The session of `openstack`."""
        self._sign_in()
        from imagevol_adapters.repeating import repeating

        session: Session = self._application.client_manager.session
        return repeating(session)

    def _sign_in(self) -> None:
        """Let `openstack` sign in, as it does for its own commands; it asks for a password if there is none."""
        if self._signed_in:
            return
        try:
            self._application.prepare_to_run_command(_SigningIn)
        except Exception as error:
            raise AccessDenied(
                f"{one_line(error).rstrip('.')}. Name a cloud of clouds.yaml with OS_CLOUD or --os-cloud"
            ) from error
        self._keep_secrets()
        self._signed_in = True

    def _keep_secrets(self) -> None:
        """Let no error show the credentials with which `openstack` signed in."""
        config = getattr(self._application.cloud, "config", {})
        keep_secret(secrets_of(config.get("auth", {})))
        keep_token_secret(getattr(self._application.client_manager.session, "auth", None))

    def __getattr__(self, name: str) -> Any:
        """Give what only the application has, such as its output and its log."""
        return getattr(self._application, name)


def _plugged_in(command: type[Command]) -> type[Command]:
    """Give the same command for `openstack`."""

    class PluggedIn(command):  # type: ignore[misc, valid-type]
        __doc__ = command.__doc__
        auth_required = False  # it signs in when it needs the cloud, and not every command does

        def __init__(self, app: Any, app_args: Any, cmd_name: str | None = None) -> None:
            typed = tuple((cmd_name or "").split())[1:]
            super().__init__(OpenStackServices(app, typed), app_args, cmd_name)

        def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
            parser: argparse.ArgumentParser = super().get_parser(prog_name)
            add_attaching_options(parser)
            return parser

        def run(self, parsed_args: argparse.Namespace) -> int:
            chosen = {name: getattr(parsed_args, name) for name in ATTACHING}
            self.app.options = argparse.Namespace(**vars(self.app.options) | chosen)
            begin(self.app.options.progress)
            silence_libraries(self.app.options.verbose_level)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                with no_timers_left():
                    return int(super().run(parsed_args))
            except BaseException as error:
                tell_end(self.app.LOG, error)
                raise

    PluggedIn.__name__ = PluggedIn.__qualname__ = command.__name__
    PluggedIn.__module__ = command.__module__
    return PluggedIn


def __getattr__(name: str) -> Any:
    """Give a command by the name of its entry point, with underscores for hyphens."""
    for entry_point in distribution("imagevol").entry_points.select(group=_GROUP):
        if entry_point.name.replace("-", "_") == name:
            return _plugged_in(entry_point.load())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

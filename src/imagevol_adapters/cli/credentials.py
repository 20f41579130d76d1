"""The options for credentials that every OpenStack client has, without importing the libraries that define them.

openstacksdk and keystoneauth can add these options themselves, but importing them takes more time than all the rest of
`imagevol --help`.  A test compares this table with what they add.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["add_credential_options"]

_Option = tuple[tuple[str, ...], tuple[str, ...], Mapping[str, Any]]

_PASSWORD = "password"  # noqa: S105 - the name of an authentication type


def _auth(name: str, help_text: str, *others: str) -> _Option:
    """An option of the password plugin: each of its names is also one of the environment."""
    names = (name, *others)
    flags = tuple(f"--os-{each}" for each in names)
    return flags, tuple(f"OS_{each.replace('-', '_').upper()}" for each in names), {"help": help_text}


def _other(flag: str, metavar: str, help_text: str, *environment: str, **more: Any) -> _Option:
    return (flag,), environment, {"metavar": metavar, "help": help_text, **more}


_CLOUD = _other("--os-cloud", "<name>", "Named cloud to connect to", "OS_CLOUD")

_PASSWORD_PLUGIN = (
    _auth("auth-url", "Authentication URL"),
    _auth("system-scope", "Scope for system operations"),
    _auth("domain-id", "Domain ID to scope to"),
    _auth("domain-name", "Domain name to scope to"),
    _auth("project-id", "Project ID to scope to", "tenant-id"),
    _auth("project-name", "Project name to scope to", "tenant-name"),
    _auth("project-domain-id", "Domain ID containing project"),
    _auth("project-domain-name", "Domain name containing project"),
    _auth("trust-id", "ID of the trust to use as a trustee use"),
    _auth("default-domain-id", "Optional domain ID, used for both the user and the project domain"),
    _auth("default-domain-name", "Optional domain name, used for both the user and the project domain"),
    _auth("user-id", "User id"),
    _auth("username", "Username", "user-name"),
    _auth("user-domain-id", "User's domain id"),
    _auth("user-domain-name", "User's domain name"),
    _auth("password", "User's password"),
)


def _seconds(text: str) -> float:
    """Read a time-out: a number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} must be a float.") from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text} must be greater than 0.")
    return seconds


_OLD_CLIENTS = ("--http-timeout", "--os-endpoint-type", "--endpoint-type")
_CONNECTION = (
    (("--insecure",), (), {"action": "store_true", "help": "Do not verify the certificates of the services"}),
    _other("--os-cacert", "<ca-certificate>", "CA bundle file that verifies the services", "OS_CACERT"),
    _other("--os-cert", "<certificate>", "File with the certificate (PEM) of this client", "OS_CERT"),
    _other("--os-key", "<key>", "File with the private key (PEM) of this client", "OS_KEY"),
    _other("--timeout", "<seconds>", "Give up on a request after SECONDS (default: 600)", default=600, type=_seconds),
    (("--collect-timing",), (), {"action": "store_true", "help": "Collect per-API call timing information"}),
    _other("--tls-ciphers", "<ciphers>", "OpenSSL cipher string for TLS connections", "OS_TLS_CIPHERS"),
    (
        ("--tls-min-version",),
        ("OS_TLS_MIN_VERSION",),
        {"choices": [None, "1.2", "1.3"], "help": "Minimum TLS version to require"},
    ),
    _other("--os-service-type", "<name>", "Service type to request from the catalog"),
    _other("--os-service-name", "<name>", "Service name to request from the catalog"),
    _other("--os-interface", "<name>", "API interface to use: public, internal or admin", default="public"),
    _other("--os-region-name", "<name>", "Region of the cloud to use"),
    _other("--os-endpoint-override", "<name>", "Endpoint to use instead of the endpoint in the catalog"),
    _other("--os-api-version", "<name>", "Which version of the service API to use"),
    # The names of old clients.
    *(
        ((flag,), (), {"help": argparse.SUPPRESS})
        for flag in ("--http-timeout", "--os-endpoint-type", "--endpoint-type")
    ),
)


def add_credential_options(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Add the credentials' options of every OpenStack client.

    The options of an authentication type other than `password` come from keystoneauth, which is imported only then.

    Args:
        parser: takes the options.
        arguments: of the command line: they may name an authentication type.
    """
    peeking = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # Without a default: a value here would go before the type that the cloud has in `clouds.yaml`.
    default = os.environ.get("OS_AUTH_TYPE", os.environ.get("OS_AUTH_PLUGIN"))
    flags = ("--os-auth-type", "--os-auth-plugin")
    peeking.add_argument(*flags, default=default, nargs="?")
    _add(parser, _CLOUD)
    if peeking.parse_known_args(list(arguments))[0].os_auth_type in (None, "", _PASSWORD):
        parser.add_argument(
            *flags, metavar="<name>", default=default, help="Authentication type to use (default: password)"
        )
        for option in _PASSWORD_PLUGIN:
            _add(parser, option)
    else:
        from keystoneauth1.exceptions import NoMatchingPlugin
        from keystoneauth1.loading import register_auth_argparse_arguments

        try:
            register_auth_argparse_arguments(parser, list(arguments), default=_PASSWORD)
        except NoMatchingPlugin as error:
            parser.error(f"unknown authentication type {error.name}: give another --os-auth-type or OS_AUTH_TYPE")
    for option in _CONNECTION:
        _add(parser, option)


def _add(parser: argparse.ArgumentParser, option: _Option) -> None:
    flags, environment, more = option
    if environment:
        found = next(filter(None, map(os.environ.get, environment)), None)
        more = {"default": found, **more}
    parser.add_argument(*flags, **more)

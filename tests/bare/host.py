"""How this host reaches the Internet, for a machine that has to reach it in the same way.

That is: proxies, certificates, where packages come from, and name resolution; each is taken as it is found here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

SUITE = "bookworm"
KEYRING = "debian-archive-keyring"
COPIED = ("/etc/hosts", "/etc/resolv.conf", "/etc/pip.conf", "/etc/xdg/pip/pip.conf")
HOME_COPIED = (".config/pip/pip.conf", ".pip/pip.conf", ".netrc")
CERTIFICATES = Path("/usr/local/share/ca-certificates")
OF_PIP = "CERT|CLIENT_CERT|CONFIG_FILE|EXTRA_INDEX_URL|FIND_LINKS|INDEX_URL|NO_INDEX|PROXY|RETRIES|TIMEOUT|TRUSTED_HOST"
VARIABLES = re.compile(
    rf"(http|https|ftp|all|no)_proxy|PIP_(DEFAULT_)?({OF_PIP})|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|GIT_SSL_CAINFO",
    re.IGNORECASE,
)
OF_APT = re.compile(r"Acquire::(https?::|ForceIPv|Retries)", re.IGNORECASE)


def variables() -> dict[str, str]:
    """Give the environment variables that say how to reach the Internet."""
    return {name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)}


def sources() -> list[str]:
    """Give the lines of apt's sources for the suites of Debian 12; none if this host has no such sources."""
    directory = Path("/etc/apt")
    found = [entry for file in (directory, directory / "sources.list.d") for entry in _entries(file)]
    wanted = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    return [f"deb {uri} {suite} main" for uri, suite, components in found if suite in wanted and "main" in components]


def _entries(directory: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Give URI, suite and components of each source that is signed by Debian's keys, in both of apt's formats."""
    for file in sorted(directory.glob("*.list")):
        for line in file.read_text().splitlines():
            match = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)", line)
            if match and ("signed-by" not in (match[1] or "").lower() or KEYRING in match[1]):
                yield match[2], match[3], match[4].split()
    for file in sorted(directory.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            lines = [line for line in stanza.splitlines() if ":" in line and line[0] not in " \t#"]
            fields = {name.strip().lower(): value.split() for name, _, value in (line.partition(":") for line in lines)}
            signed = fields.get("signed-by", [KEYRING])
            if "deb" in fields.get("types", ()) and "no" not in fields.get("enabled", ()) and KEYRING in signed[0]:
                for uri in fields.get("uris", ()):
                    for suite in fields.get("suites", ()):
                        yield uri, suite, fields.get("components", [])


def apt_settings() -> list[str]:
    """Give the lines of apt's configuration that say how to reach the Internet."""
    if not shutil.which("apt-config"):
        return []
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    return [line for line in dumped.stdout.splitlines() if OF_APT.match(line) and not line.endswith(' "";')]


def proxy() -> dict[str, str]:
    """Give the variables by which debootstrap takes apt's proxies: it does not read apt's configuration."""
    set_by_apt = re.compile(r'Acquire::(https?)::Proxy "(\S+)";', re.IGNORECASE)
    found = filter(None, map(set_by_apt.fullmatch, apt_settings()))
    return {f"{match[1].lower()}_proxy": match[2] for match in found}


def give(root: Path) -> list[Path]:
    """Put the host's settings into a machine's root directory.

    Returns:
        Directories to mount at the same place: those that the settings name and the machine does not have, each with
        the parents that it does not have either, since an index on disk may refer to what is beside it.
    """
    home = Path.home()
    places = {Path(path): path for path in COPIED} | {home / path: f"/root/{path}" for path in HOME_COPIED}
    for path, place in places.items():
        _copy(path, root, place)
    if lines := sources():
        (root / "etc/apt/sources.list").write_text("\n".join([*lines, ""]))
    (root / "etc/apt/apt.conf.d/00host").write_text("\n".join([*apt_settings(), ""]))
    for certificate in CERTIFICATES.glob("**/*.crt"):
        _copy(certificate, root, str(certificate))
    texts = [*variables().values(), *apt_settings(), *(path.read_text() for path in places if path.is_file())]
    return sorted(_give_named(_paths(texts), root))


def _copy(path: Path, root: Path, place: str) -> None:
    if path.is_file():
        target = root / place.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(path, target)


def _paths(texts: Iterable[str]) -> set[Path]:
    """Give the absolute paths and `file:` URLs in texts."""
    words = (word for text in texts for word in re.split(r'[\s"\';=]+', text))
    plain = (word.removeprefix("file://") for word in words)
    return {Path(os.path.normpath(word)) for word in plain if re.match(r"/[^/]", word)}


def _give_named(paths: set[Path], root: Path) -> set[Path]:
    """Copy the files that the machine does not have, and give the directories."""
    directories = set()
    for path in paths:
        if not (root / path.relative_to("/")).exists():
            if path.is_file():
                _copy(path, root, str(path))
            elif path.is_dir():
                missing = (
                    each for each in reversed((path, *path.parents)) if not (root / each.relative_to("/")).exists()
                )
                directories.add(next(missing))
    return directories

"""What is secret in a text, and how it is hidden: the one definition, for plans, errors, logs and differences.

A secret is a user or password in a URL, a value under a name that says so, and what looks like a token.  A password can
have any character in it, so the last `@` of a URL counts and not the first, and what is in doubt is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

__all__ = [
    "HIDDEN",
    "is_plain_url",
    "is_secret_name",
    "shown_url",
    "shown_value",
    "without_secrets",
    "without_userinfo",
]

HIDDEN = "***"
"""What is shown in place of a secret."""

_SHOWN = 120  # characters of a URL: a location in Glance's database has no limit worth printing
_ANY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_QUERY = re.compile(r"[?#]")

# Names.  These parts of a name say that the value is secret, or has a secret in it:
_ANYWHERE = r"passw|passphrase|secret(?!_(?:type|uuid))|token|keyring|credentials|apikey|transport_url"
# These say so as a word of the name:
_AS_A_WORD = frozenset({"connection", "cred", "creds", "key", "keys", "pass", "proxy", "pw", "pwd"})
# And these whole names, because the program that has such an option calls it secret:
_WHOLE = frozenset({"backend_argument", "swift_store_application_credential_id", "swift_store_user"})
_SECRET_NAME = re.compile(_ANYWHERE, re.IGNORECASE)
_WORDS = re.compile(r"[^A-Za-z0-9]+")

# The value of an option is shown if the option is one of Glance's, or one of a store's whose last word says what it is.
_OF_STORES = re.compile(r"(?:cinder|filesystem|http|https|rados|rbd|s3|swift|vmware)_\w+")
_OF_GLANCE = """
    auth_type auth_url backlog bind_host bind_port cafile container_formats conversion_format default_backend
    default_store default_swift_reference disk_formats enabled_backends enabled_import_methods flavor
    gpt_safety_checks_nonfatal hashing_algorithm image_cache_dir image_cache_max_size image_location_quota
    image_member_quota image_property_quota image_size_cap image_tag_quota lock_path log_dir log_file
    max_overflow max_pool_size max_retries memcached_servers node_staging_uri os_region_name policy_file
    project_domain_id project_domain_name project_name public_endpoint region_name rootwrap_config service_type
    store_description stores user_domain_id user_domain_name user_storage_quota username weight work_dir
    worker_self_reference_url workers www_authenticate_uri
"""
_HARMLESS_LAST = """
    address attached attempts backend backends base bucket cacert calculation compression conf config container
    count datadir datadirs datastores dir endpoint file format host id info insecure interval multipath name
    perm pool pools protection provisioning put reference region retries seed size store stores template tenant
    tenants threshold timeout trusts type upload user username validation version
"""
_YES_NO = frozenset({"true", "false", "yes", "no", "on", "off"})

# Free text.
_NAMED = re.compile(
    rf"""
    (?P<before>
        (?<! / )  # of the path of a URL, as /v3/auth/tokens
        (?: {_ANYWHERE} | (?: [_.-] | access | api | auth | encrypt(?:ed|ion) | private ) key | \bpwd? )
        [\w.-]{{0,40}} ['"]? \s{{0,9}} [:=>]+ \s{{0,9}} (?: [bu]? (?=['"]) )?
    )
    (?: '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^'",;&<)}}\]\n]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_GIVEN = re.compile(rf"(?P<before>--[\w-]{{0,40}}(?:{_ANYWHERE})[\w-]{{0,40}}\s|\bBearer\s)\S+", re.IGNORECASE)
_TOKEN = re.compile(r"\bgAAAA[\w=-]{16,}")  # of Keystone
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_AROUND = " \t'\"()[{}<>.,;:!"  # what a sentence puts after a URL
_BETWEEN = re.compile(r"[:/?#@\\\[\]\s]+")  # where programs end what they take for a user, a password or a host
_SHORTEST = 3  # characters of a piece of a password that is looked for
_PLAIN = re.compile(
    r"""
    [A-Za-z][A-Za-z0-9+.-]*://
    (?: [^\s@/?#\\\[\]]* @ )?
    (?: \[ [\w:.%]+ \] | [^\s@/?#\\\[\]:]+ ) (?: : \d* )?
    (?: [/?#] [^\s@\\]* )?
    """,
    re.VERBOSE | re.ASCII,
)


def is_secret_name(name: str) -> bool:
    """Tell whether what stands under a name is secret, or has a secret in it.

    >>> [name for name in ("cinder_store_password", "s3_store_access_key", "monkey") if is_secret_name(name)]
    ['cinder_store_password', 's3_store_access_key']
    """
    if _SECRET_NAME.search(name) or name.lower() in _WHOLE:
        return True
    return not _AS_A_WORD.isdisjoint(_WORDS.split(name.lower()))


def is_plain_url(url: str) -> bool:
    """Tell whether every program takes the same part of a URL for the user and the password.

    If not, a library can take a part of the password for a host, a port or a path, and say so.

    >>> [is_plain_url(url) for url in ("http://me:pa55@host:5000/v3", "http://me:pa/55@host:5000/v3", "host:5000")]
    [True, False, False]
    """
    return bool(_PLAIN.fullmatch(url))


def shown_value(name: str, value: str | None) -> str | None:
    """Give the value of an option as it may be printed.

    It is shown if the option is known to have no secret, without users and passwords of URLs; and if it is yes or no.

    Args:
        name: of the option.
        value: None if it is not set.

    >>> shown_value("cinder_store_auth_address", "http://me:ho/rs@e@host/v3"), shown_value("cinder_volume_type", "ssd")
    ('http://***@host/v3', 'ssd')
    >>> shown_value("cinder_store_password", "horse"), shown_value("what_is_this", "horse")
    ('***', '***')
    """
    if not value:
        return value
    if is_secret_name(name) or not (_is_harmless(name.lower()) or value.lower() in _YES_NO):
        return HIDDEN
    before, at, after = value.rpartition("@")
    if at and ":" in before:
        scheme = _ANY_SCHEME.match(before)
        value = f"{scheme[0] if scheme else ''}{HIDDEN}@{after}"
    return without_secrets(value)


def _is_harmless(name: str) -> bool:
    if name in _OF_GLANCE.split():
        return True
    return bool(_OF_STORES.fullmatch(name)) and _WORDS.split(name)[-1] in _HARMLESS_LAST.split()


def without_secrets(text: str) -> str:
    """Give a text without what looks like a secret: in URLs, under names that say so, and tokens.

    >>> without_secrets("node.session.auth_password = pa55, redis://:pa/5@5@host:6379 refuses")
    'node.session.auth_password = ***, redis://***@host:6379 refuses'
    """
    text = without_userinfo(text)
    for pattern in (_GIVEN, _NAMED):
        text = pattern.sub(rf"\g<before>{HIDDEN}", text)
    return text


def without_userinfo(text: str) -> str:
    """Give a text in which no URL has a user or password, and without tokens; what names mean is not looked at.

    For a text of ours, which names options and shows no values.

    >>> without_userinfo("http://me:pa55 word@host refuses; so does http://[::1]:5000/v3")
    'http://***@host refuses; so does http://[::1]:5000/v3'
    """
    if "://" in text:
        found: list[str] = []
        text = "\n".join(_of_a_line(line, found) if "://" in line else line for line in text.split("\n"))
        for piece in sorted(_pieces(found), key=len, reverse=True):  # a library says which piece is no host, no port
            text = text.replace(piece, HIDDEN)
    return _TOKEN.sub(HIDDEN, text)


def _pieces(found: Iterable[str]) -> set[str]:
    """What libraries may show of passwords beside the URL that they were in."""
    pieces = set()
    for userinfo in found:
        for piece in _BETWEEN.split(userinfo.partition(":")[2]):
            pieces |= {each for each in (piece, quote(piece)) if len(each) >= _SHORTEST}
    return pieces - {HIDDEN}


def _of_a_line(line: str, found: list[str]) -> str:
    """Each URL to the last `@` of its word; one whose password has a blank in it, to the last `@` of the line."""
    words = re.split(r"(\s+)", line)
    last = max((place for place, word in enumerate(words) if "@" in word), default=-1)
    shown, place = [], 0
    while place < len(words):
        before, mark, rest = words[place].partition("://")
        if mark and "@" not in rest and _has_userinfo(rest):
            rest = "".join([rest, *words[place + 1 : last + 1]])
            place = max(place, last)
            hidden, at, host = rest.rpartition("@") if "@" in rest else (rest, "", "")
        elif mark:
            hidden, at, host = rest.rpartition("@")
        else:
            hidden, at, host = "", "", rest
        found.append(hidden)
        shown.append(f"{before}{mark}{HIDDEN if hidden or at else ''}{at}{host}")
        place += 1
    return "".join(shown)


def _has_userinfo(rest: str) -> bool:
    """Whether what follows `://` begins with a user and a password, and not with hosts and their ports."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].rstrip(_AROUND)
    return not all(_HOST.fullmatch(host) for host in authority.split(","))


def shown_url(url: str) -> str:
    """Give what may be printed of a text that should be a URL, in one line of a length worth reading.

    It may carry a password, also in its query, or a signature.

    >>> shown_url("s3://key:sec/ret@host/bucket?X-Amz-Signature=0f")
    's3://***@host/bucket?...'
    """
    scheme = _ANY_SCHEME.match(url)
    before = scheme[0] if scheme else ""
    mark = _QUERY.search(url)
    plain, hidden = (url[: mark.start()], url[mark.start() :]) if mark else (url, "")
    if "@" in hidden:  # of a query, or a password has the mark in it
        plain = f"{before}{HIDDEN}"
    elif "@" in plain:
        plain = f"{before}{HIDDEN}@{plain.rpartition('@')[2]}"
    elif "://" in plain and not scheme:  # nothing says that what stands there is a scheme
        plain = f"{HIDDEN}://{plain.rpartition('://')[2]}"
    return _cut(f"{plain}{hidden[:1]}..." if hidden else plain)


def _cut(text: str) -> str:
    safe = text if text.isprintable() else ascii(text)[1:-1]
    return safe if len(safe) <= _SHOWN else f"{safe[:_SHOWN]}..."

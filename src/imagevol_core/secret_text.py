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

# Free text.  Each pattern looks at a bounded number of characters from where it begins, so long texts take no time.
_NAME = re.compile(
    rf"""
    (?= [?acekpst_.-] )  # most characters begin no name
    (?: (?P<query> \? ) (?= [\w%.~+;&-]{{1,200}} = )
    | (?<! / )  # of the path of a URL, as /v3/auth/tokens
    (?:
        (?P<header> authorization )
        | (?: {_ANYWHERE} | (?: [_.-] | access | api | auth | encrypt(?:ed|ion) | private ) key | \bpwd? )
          [\w.-]{{0,40}}+
        | (?<! [^\W_] )
          (?: creds? | credential | key_?file | pass (?= \s{{0,9}}= | ['"] ) | sig(?:nature)? (?= \s{{0,9}}= ) )
    )
    (?:
        \\{{0,3}} ['"]? \s{{0,9}} [:=>]+ \s{{0,9}}
        | (?P<pair> ['"] \s{{0,9}} , \s{{0,9}} ) (?= [bu]? ['"] )
        | ['"]? \s{{1,9}} (?= [bu]? ['"] | [\[<{{] | (?P<round> \( ) )
    )
    (?: [bu] (?=['"]) )? )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FIRST_OF_A_PAIR = re.compile(r"\(\s?[bu]?['\"][\w.-]{0,60}\Z")
_LONGEST_NAME = 64
_QUOTED = r"""'(?:[^'\\]|\\[\s\S])*+' | "(?:[^"\\]|\\[\s\S])*+"
"""
_QUOTES = re.compile(_QUOTED, re.VERBOSE)
_IN_BRACKETS = re.compile(rf"\\[\s\S] | {_QUOTED} | [][(){{}}<>]", re.VERBOSE)
_BRACKETS = {"<": ">", "[": "]", "(": ")", "{": "}"}
_AFTER_A_VALUE = re.compile(r"[\s,;)\]}>.:&]|\Z")
_END = re.compile(
    r"""
    (?= [,;]? (?: \n | \Z ) )
    | (?= [,;&] \s{0,9} (?:  # what is clearly another name with its value
        \\? ['"] [\w.\ -]{1,60} \\? ['"] \s{0,9} [:=]
        | [A-Za-z] [\w.-]{2,60}+ (?: \s? = \s{0,3} [^\s=,;&] | :\s | :// )
    ) )
    """,
    re.VERBOSE,
)
_END_OF_QUERY = re.compile(r"[\s\"'<>?]")
_BETWEEN_PARAMETERS = re.compile(r"(&|;(?=[\w.%-]{1,80}=))")
_SIGNATURES = frozenset({"sig", "signature", "credential"})
_BLANK = re.compile(r"\s")
_NEWLINE = re.compile(r"\n")
_AFTER_A_URL = "'\")>]},.;:"
_GIVEN = re.compile(
    rf"(?P<before>(?<![\w-])--[\w-]{{0,40}}(?:{_ANYWHERE}|key\b|key-?file)[\w-]{{0,40}}\s+(?!['\"])|\bBearer\s)\S+",
    re.IGNORECASE,
)
_PLAIN_WORD = r"[A-Za-z]?[a-z]++(?:['-][a-z]++)*+[.,;:!?)\]]*+"
_BARE = re.compile(  # a value after a blank, maybe as a sentence says it, or the next word of a sentence
    rf"""
    (?<! / )
    (?: {_ANYWHERE} | (?: [_.-] | access | api | auth | encrypt(?:ed|ion) | private ) key | \bpwd? ) [\w.-]{{0,40}}+
    ['"]? [^\S\n]{{1,9}}
    (?:
        (?: (?: is | was | has | set [ ] to ) :? | -{{1,2}} >? ) [^\S\n]{{1,9}}
        (?! (?-i: {_PLAIN_WORD} ) (?: \s | \Z ) )
    )?
    (?P<value> [^\s'"\[\](){{}}<>:=,;] \S* )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_OPTION = re.compile(r"\w[_.-]\w")  # a name that is no word of a sentence
_WORD = re.compile(_PLAIN_WORD)
_AFTER_AN_OPTION = re.compile(
    r"(?:a|an|and|are|as|at|be|been|by|can|cannot|could|did|do|does|for|from|given|had|has|have|if|in|into|is"
    r"|may|missing|must|no|nor|not|of|on|or|refers|required|set|should|so|than|that|the|to|was|were|when"
    r"|which|will|with|without|would)[.,;:!?)\]]*",
    re.IGNORECASE,
)
_HEADER = re.compile(  # what it says is in it, without the name of the header; "Basic authentication" is no password
    r"""
    (?P<before> \bBasic [ ]{1,3} ) (?= [A-Za-z+/]{0,99} (?: [0-9=+/] | [a-z][A-Z] ) ) [\w+/=-]+
    | (?P<digest> \bDigest [ ]{1,3} )
      (?= (?: username|realm|nonce|uri|response|qop|algorithm|opaque|cnonce|nc ) \*? = ) [^\n]+
    """,
    re.VERBOSE,
)
_TOKEN = re.compile(
    r"""
    \b gAAAA [\w=-]{16,}  # of Keystone
    | \b DHHC-1: [\w:+/=]+  # of NVMe
    | (?<! [\w+/] ) AQ [A-Za-z0-9+/]{36,38} ==  # of Ceph
    | (?<! [A-Za-z0-9] ) eyJ [\w=-]{8,}+ (?: \. [\w=-]* )*+  # JSON Web Token
    """,
    re.VERBOSE,
)
_MARK = re.compile(r":(?:\\?/){2}|%3A%2F%2F", re.IGNORECASE)  # of a URL, also as JSON and queries write it
_USER = re.compile(r"(?:(?<![\w/.%+-])|(?<=//)|(?<=:/)|(?<=\\/))[\w.%+-]*+:(?![/\\\"'])")  # where no scheme stands
_MOST_PIECES = 200  # more of them would take long to look for, and no message has them
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
    """Give the value of an option as it can be printed.

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

    A value without quotes goes to the end of its line, or to what is clearly another name with its value.

    >>> without_secrets("node.session.auth_password = pa,55, redis://:pa/5@5@host:6379 refuses")
    'node.session.auth_password = ***, redis://***@host:6379 refuses'
    """
    text = _GIVEN.sub(rf"\g<before>{HIDDEN}", without_userinfo(text))
    if "Basic " in text or "Digest " in text:
        text = _HEADER.sub(lambda found: f"{found['before'] or found['digest']}{HIDDEN}", text)
    return _BARE.sub(_bare, _without_values(text))


def _bare(found: re.Match[str]) -> str:
    """A name with what follows it after a blank, which is hidden if no sentence would go on so."""
    value = found["value"]
    before = f"{found.string[max(0, found.start() - _LONGEST_NAME) : found.start()]}{found[0][: -len(value)]}"
    if value.startswith(HIDDEN):
        return found[0]
    if _WORD.fullmatch(value):
        *_, name = before.split()
        if not _OPTION.search(name) or _AFTER_AN_OPTION.fullmatch(value):
            return found[0]
    return f"{found[0][: -len(value)]}{HIDDEN}"


def _without_values(text: str) -> str:
    """A text without the values under names that are secret."""
    shown, done = [], 0
    while found := _NAME.search(text, done):
        start = end = found.end()
        shown.append(text[done:start])
        if found["query"]:
            query, end = _of_a_query(text, start)
            shown.append(query)
        elif not _is_no_value(text, found):
            end = _end_of_value(text, start, header=bool(found["header"]))
            shown.append(HIDDEN if end > start else "")
        done = max(start, end)  # always forward, so that this ends
    return "".join([*shown, text[done:]])


def _is_no_value(text: str, found: re.Match[str]) -> bool:
    """Whether a list, or a sentence with a remark in brackets, names what is secret and does not show it."""
    before = text[max(0, found.start() - _LONGEST_NAME) : found.start()]
    if found["pair"]:
        return not _FIRST_OF_A_PAIR.search(before)
    return found["round"] is not None and not re.search(r"\w[_.]\w*['\"]?\Z", before + found[0].split()[0])


def _of_a_query(text: str, start: int) -> tuple[str, int]:
    """What may be shown of the query of a URL that begins there, and where it ends."""
    end = _next(_END_OF_QUERY, text, start)
    shown, is_secret = [], False
    for part in _BETWEEN_PARAMETERS.split(text[start:end]):
        name, equals, _ = part.partition("=")
        if equals:
            is_secret = is_secret_name(name) or not _SIGNATURES.isdisjoint(_WORDS.split(name.lower()))
        if part in ("&", ";"):
            shown.append(part)
        elif is_secret:
            shown.append(f"{name}={HIDDEN}" if equals else HIDDEN)
        else:
            shown.append(_without_values(part))
    if is_secret:
        whole = text[start : _next(_BLANK, text, end)]
        end = start + len(whole.rstrip(_AFTER_A_URL))
    return "".join(shown), end


def _end_of_value(text: str, start: int, *, header: bool) -> int:
    """Where a value ends: with its quotes or brackets, before another name with its value, or with the line."""
    first = text[start : start + 1]
    if first in ("'", '"'):
        quoted = _QUOTES.match(text, start)
        start = quoted.end() if quoted else len(text)
    elif first in _BRACKETS:
        start = _closed(text, start)
    if first in ("'", '"', *_BRACKETS) and _AFTER_A_VALUE.match(text, start):
        return start
    return _next(_NEWLINE if header else _END, text, start)


def _next(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.search(text, start)
    return found.start() if found else len(text)


def _closed(text: str, start: int) -> int:
    """Where the bracket that stands there is closed."""
    first, depth = text[start], 0
    for found in _IN_BRACKETS.finditer(text, start):
        depth += (found[0] == first) - (found[0] == _BRACKETS[first])
        if not depth and found[0] == _BRACKETS[first]:
            return found.end()
    return len(text)


def without_userinfo(text: str) -> str:
    """Give a text in which no URL has a user or password, and without tokens; what names mean is not looked at.

    For a text of ours, which names options and shows no values.

    >>> without_userinfo("http://me:pa55 word@host refuses; so does http://[::1]:5000/v3")
    'http://***@host refuses; so does http://[::1]:5000/v3'
    """
    if _MARK.search(text) or "@" in text:
        found: set[str] = set()
        text = "\n".join(_of_a_line(line, found) for line in text.split("\n"))
        pieces = _pieces(found)
        if len(pieces) > _MOST_PIECES:
            return HIDDEN
        for piece in sorted(pieces, key=len, reverse=True):  # a library says which piece is no host, no port
            text = text.replace(piece, HIDDEN)
    return _TOKEN.sub(HIDDEN, text)


def _pieces(found: Iterable[str]) -> set[str]:
    """What libraries may show of passwords beside the URL that they were in."""
    pieces: set[str] = set()
    for userinfo in found:
        pieces.update(_BETWEEN.split(userinfo.partition(":")[2]))
        if len(pieces) > _MOST_PIECES:
            return pieces
    return {each for piece in pieces for each in (piece, quote(piece, errors="replace")) if len(each) >= _SHORTEST} - {
        HIDDEN
    }


def _of_a_line(line: str, found: set[str]) -> str:
    """Each URL to the last `@` of its word; one whose password has a blank in it, to the last `@` of the line."""
    words = re.split(r"(\s+)", line)
    last = max((place for place, word in enumerate(words) if "@" in word), default=-1)
    shown, taken = [], 0
    for place, word in enumerate(words):
        if place < taken:  # of a password that has blanks in it
            continue
        if mark := _MARK.search(word):
            rest = word[mark.end() :]
            at_sign = "@" if ":" in mark[0] or "@" in rest else "%40"
            if at_sign not in rest and _has_userinfo(rest):
                taken = last + 1
                rest = "".join([rest, *words[place + 1 : taken]])
                hidden, at, host = rest.rpartition("@") if "@" in rest else (rest, "", "")
            else:
                hidden, at, host = rest.rpartition(at_sign)
            found.add(hidden)
            shown.append(f"{word[: mark.end()]}{HIDDEN if hidden or at else ''}{at}{host}")
        else:
            shown.append(_without_user(word))
    return "".join(shown)


def _without_user(word: str) -> str:
    """A word without a scheme: a user and a password have a colon between them, and `@` after them."""
    before, at, host = word.rpartition("@")
    user = _USER.search(before)
    return f"{before[: user.start()]}{HIDDEN}{at}{host}" if user else word


def _has_userinfo(rest: str) -> bool:
    """Whether what follows `://` begins with a user and a password, and not with hosts and their ports."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].rstrip(_AROUND)
    return not all(_HOST.fullmatch(host) for host in authority.split(","))


def shown_url(url: str) -> str:
    """Give what can be printed of a text that should be a URL, in one line of a length worth reading.

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

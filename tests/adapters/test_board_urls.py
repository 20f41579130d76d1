"""The URL of a board: what is wrong in it is an error before the service is asked."""

from __future__ import annotations

import pytest

from imagevol_adapters.fleet import fleet_from_url
from imagevol_adapters.fleet.board_urls import checked_board_url
from imagevol_core import InvalidConfiguration

HIDDEN = "pa55word"


@pytest.mark.parametrize(
    "url, said",
    [
        ("", "it names no service that keeps shards"),
        ("memcached://host", "it names no service that keeps shards"),
        ("redis://[pa55word", "it is not a URL"),
        ("redis://", "it names no host: give redis://HOST"),
        ("redis://:6379", "it names no host"),
        ("redis://a,b", "it names no host"),
        ("redis://pa55 word", "it names no host"),
        ("etcd3+http://", "it names no host: give etcd3+http://HOST"),
        ("etcd3+http:///run/etcd", "it names no host"),
        ("redis://host/db1", "it has a path after the host"),
        ("redis://host/0", "it has a path after the host"),
        ("redis://host#pa55word", "it has a # in it"),
        ("redis://host?pa55word", "an option in it is not known; it can have db, "),
        ("redis://host?pa55word=1", "an option in it is not known"),
        ("redis://host?namespace=x", "an option in it is not known"),
        ("etcd3+https://host?db=1", "it can have api_version, ca_cert, cert_cert, cert_key, lock_timeout, "),
        *(
            (f"{scheme}://host?{option}={value}", f"{option}: give a whole number of seconds, from 1 to 86400")
            for scheme in ("redis", "etcd3+http")
            for option in ("lock_timeout", "timeout")
            for value in ("0", "-1", "abc", "", "1.5", "9" * 30, "\u0661")
        ),
        ("redis://host?lock_timeout=5&lock_timeout=0", "lock_timeout: give a whole number"),
        ("redis://host?socket_timeout=0", "socket_timeout: give a number of seconds above 0"),
        ("redis://host?socket_timeout=nan", "socket_timeout: give a number of seconds above 0"),
        ("redis://host?socket_timeout=pa55word", "socket_timeout: give a number of seconds above 0"),
        ("redis://host?db=-1", "db: give a number from 0"),
        ("redis://host?ssl=ture", "ssl: give true or false"),
        ("redis://host?ssl_ca_certs=", "ssl_ca_certs: it is empty"),
    ],
)
def test_what_is_wrong_in_the_url_of_a_board_is_said_without_a_word_of_it(url: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        fleet_from_url(url, where="--board")
    assert str(refused.value).startswith(f"--board: {said}") or said in str(refused.value)
    assert "pa55" not in str(refused.value)
    assert "word" not in str(refused.value), "nor an option that the command line refuses as a secret"


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://[::1]:6379/",
        "redis://[fe80::1%eth0]:6379",
        "redis://user:hu@sh@10.0.0.1:6379?ssl=true&ssl_ca_certs=/etc/ca&lock_timeout=60&membership_timeout=2.5",
        "redis://host:26379?sentinel=s&sentinel_fallback=a:1&sentinel_fallback=b:1&sentinel_ssl=False&db=3",
        "redis:///run/redis.sock",
        "etcd3+http://etcd-1.example.com:2379?timeout=3",
        "etcd3+https://host?ca_cert=/a&cert_key=/b&cert_cert=/c&api_version=v3",
    ],
)
def test_what_is_right_is_taken(url: str) -> None:
    assert checked_board_url(url, where="--board") == url.partition(":")[0]

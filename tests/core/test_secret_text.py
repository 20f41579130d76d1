"""What is secret, and that nothing of it is shown, whatever a password has in it."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    HIDDEN,
    InvalidConfiguration,
    is_plain_url,
    is_secret_name,
    shown_url,
    shown_value,
    without_secrets,
    without_userinfo,
)

SECRET = "hunter2"
PASSWORDS = st.lists(
    st.sampled_from([SECRET, "@", "/", ":", "//", "?", "#", "%40", "[", "]", "a", "'"]), min_size=1
).map("".join)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "password",
                "cinder_store_password",
                "admin_pass",
                "PASSWD",
                "node.session.auth.password",
                "key_passphrase",
            ),
            *("secret", "cinder_store_application_credential_secret", "X-Auth-Token", "s3_store_access_key", "key"),
            *(
                "swift_store_key",
                "dhchap-key",
                "keyring",
                "http_proxy_information",
                "connection",
                "transport_url",
                "pwd",
            ),
            *("db_pw", "creds", "credentials", "hmac_keys", "slave_connection", "swift_store_user"),
        ],
    )
    def test_the_names_of_passwords_and_tokens_are_secret(self, name: str) -> None:
        assert is_secret_name(name)
        assert shown_value(name, SECRET) == HIDDEN

    @pytest.mark.parametrize(
        "name", ["cinder_volume_type", "monkey", "bypass_x", "keystone", "tenants", "secret_uuid", "transport_type", ""]
    )
    def test_the_names_of_other_options_are_not_secret(self, name: str) -> None:
        assert not is_secret_name(name)


class TestValues:
    @pytest.mark.parametrize(
        "name",
        [
            *(
                "enabled_backends",
                "default_backend",
                "cinder_volume_type",
                "CINDER_STORE_USER_NAME",
                "cinder_http_retries",
            ),
            *("filesystem_store_datadir", "rbd_store_pool", "s3_store_bucket", "swift_store_container", "weight"),
            *("vmware_server_host", "cinder_store_application_credential_id", "https_ca_certificates_file"),
        ],
    )
    def test_a_value_that_is_known_to_be_no_secret_is_shown(self, name: str) -> None:
        assert shown_value(name, "a:b") == "a:b"

    @pytest.mark.parametrize("name", ["login", "cinder_x", "other_name", "x_cinder_volume_type"])
    def test_a_value_that_is_not_known_is_hidden(self, name: str) -> None:
        assert shown_value(name, SECRET) == HIDDEN

    @pytest.mark.parametrize(
        "value, shown", [("me@host", "me@host"), (f"me:{SECRET}@host", f"{HIDDEN}@host"), ("a:b", "a:b")]
    )
    def test_a_user_is_shown_and_a_user_with_a_password_is_not(self, value: str, shown: str) -> None:
        assert shown_value("cinder_store_auth_address", value) == shown

    @pytest.mark.parametrize("value", ["", None])
    def test_an_empty_value_stays_empty(self, value: str | None) -> None:
        assert shown_value("password", value) == value

    @pytest.mark.parametrize("value", ["true", "False", "yes", "NO", "on", "off"])
    def test_yes_and_no_are_shown_unless_the_name_is_secret(self, value: str) -> None:
        assert shown_value("what_is_this", value) == value
        assert shown_value("password", value) == HIDDEN

    @given(PASSWORDS | st.just(f"correct {SECRET} battery"), st.sampled_from(["http://", "etcd3+http://", ""]))
    def test_no_password_of_a_url_is_shown(self, password: str, scheme: str) -> None:
        shown = shown_value("cinder_store_auth_address", f"{scheme}me:{password}@host:5000/v3") or ""
        assert SECRET not in shown
        assert shown.endswith(f"{HIDDEN}@host:5000/v3")
        assert shown.startswith(scheme)


class TestText:
    @pytest.mark.parametrize(
        "text, shown",
        [
            ("http://me:hunter2@host/v3 refuses", "http://***@host/v3 refuses"),
            ("http://me:hun@ter2/hunter2@host/v3 refuses", "http://***@host/v3 refuses"),
            ("http://me:hunter2 hunter2@host refuses", "http://***@host refuses"),
            ("http://me:hunter2", "http://***"),
            ("http://me:hunter2@a, then http://me:hunter2@b", "http://***@a, then http://***@b"),
            ("x\nredis://:hunter2@host\ny", "x\nredis://***@host\ny"),
            ("(http://hunter2@host)", "(http://***@host)"),
            ("--os-password hunter2 list", "--os-password *** list"),
            ("Bearer hunter2", "Bearer ***"),
            ("password=hunter2&user=me", "password=***&user=me"),
            ("auth_password = hunter2, lun=1", "auth_password = ***, lun=1"),
            ("my password: hunter2 hunter2", "my password: ***"),
            ("{'secret': 'hunter2', 'lun': 1}", "{'secret': ***, 'lun': 1}"),
            ("s3_store_access_key=hunter2", "s3_store_access_key=***"),
            ("pwd=hunter2;", "pwd=***;"),
            (
                "http://me:12/hunter2@host: no answer of me:12 to /hunter2@host",
                "http://***@host: no answer of me:12 to /***@host",
            ),
            ("http://me:hun/ter2@host: 'me:hun' is no host", "http://***@host: 'me:***' is no host"),
            ("http://me:1/h\u00fcnter@host: no /h%C3%BCnter", "http://***@host: no /***"),
            ("it is gAAAAABhunter2hunter2hunter2", "it is ***"),
            ("http://me:hunter2 says a word here", "http://*** says a word here"),
            ("http://me:a b@hunter2 c@host refuses", "http://***@host refuses"),
            ("http://me:hun ter2@host: no host hun", "http://***@host: no host ***"),
            ("http://me:hunter2\nx@y", "http://***\nx@y"),
            ("http://me:hunter2:5@host: no port hunter2", "http://***@host: no port ***"),
            ("http://me:azzz/zzz@host: no azzz", "http://***@host: no ***"),
            ("http%3A%2F%2Fme:hunter2@host, a@b", "http%3A%2F%2F***@host, a@b"),
        ],
    )
    def test_a_secret_is_hidden_and_the_rest_is_not(self, text: str, shown: str) -> None:
        assert without_secrets(text) == shown

    @pytest.mark.parametrize("mark", [*",;&)<>]}'\"= ", ", ", "' ", ",a=", "\\"])
    def test_a_value_without_quotes_goes_on_after_these_characters(self, mark: str) -> None:
        assert without_secrets(f"auth_password=a{mark}{SECRET}\nlun 1") == "auth_password=***\nlun 1"

    @pytest.mark.parametrize(
        "rest",
        [", lun=1", "&user=me", "; lun = 1", ", 'lun': 1", ', "lun": 1', ", lun: 1", ", http://host", "\nlun", ";", ""],
    )
    def test_a_value_without_quotes_ends_at_these_characters(self, rest: str) -> None:
        assert without_secrets(f"auth_password={SECRET}{rest}") == f"auth_password=***{rest}"

    @pytest.mark.parametrize(
        "value",
        [
            *("<hunter2>", "[hunter2]", "['hunter2', 'hunter2']", "('hunter2',)", "{'v': 'hunter2'}", "[[1], hunter2]"),
            *("[']', hunter2]", "'a\\'hunter2'", "'a\\\nhunter2'", "b'hunter2'", "(a\\) hunter2)", '"hunter2"'),
        ],
    )
    @pytest.mark.parametrize("name", ["auth_password = ", "node.session.auth.password ", "'auth_password': "])
    def test_a_value_in_quotes_or_brackets_is_hidden_as_a_whole(self, name: str, value: str) -> None:
        shown = without_secrets(f"{name}{value} is refused")
        assert shown.startswith(name)
        assert shown.endswith("*** is refused")
        assert SECRET not in shown

    @pytest.mark.parametrize(
        "value", ["'a'hunter2", "<a>hunter2", "(a]hunter2", "'hunter2", "[\nhunter2", '"a\nhunter2']
    )
    def test_a_value_that_is_not_closed_is_hidden_to_the_end(self, value: str) -> None:
        assert without_secrets(f"password={value} x") == "password=***"

    @pytest.mark.parametrize(
        "text, shown",
        [
            ("Authorization: Basic hunter2", "Authorization: ***"),
            ("authorization: Digest username=me, response=hunter2\nx", "authorization: ***\nx"),
            ("authorization: Negotiate a, lun=hunter2\nx", "authorization: ***\nx"),
            ("{'Authorization': 'Basic hunter2', 'a': 1}", "{'Authorization': ***, 'a': 1}"),
            ("Invalid header value b'Basic hunter2\\n'", "Invalid header value b'Basic ***\\n'"),
            ("Digest username=me, response=hunter2", "Digest ***"),
            ("('auth_password', 'hunter2')", "('auth_password', ***)"),
            ("[('auth_password', b'hunter2'), 1]", "[('auth_password', b***), 1]"),
            ("invalid password 'hunter2'", "invalid password ***"),
            ("password '", "password ***"),
            ("auth_password (hunter2) is wrong", "auth_password *** is wrong"),
            ("-o user=me,pass=hunter2", "-o user=me,pass=***"),
            ("{'pass': 'hunter2'}", "{'pass': ***}"),
            ("cred=hunter2", "cred=***"),
            ("credential: hunter2", "credential: ***"),
            ("keyfile=hunter2", "keyfile=***"),
            ("--key hunter2 -n", "--key *** -n"),
            ("--os-password 'hunter2 hunter2' -n", "--os-password *** -n"),
            ('{"a": "{\\"password\\": \\"hunter2\\"}"}', '{"a": "{\\"password\\": ***'),
            ("sig=hunter2, lun=1", "sig=***, lun=1"),
            ("url: /v3?temp_url_sig=hunter2 (Caused by X)", "url: /v3?temp_url_sig=*** (Caused by X)"),
            ("(http://h/o?a=1&X-Amz-Signature=hunter2&b=1)", "(http://h/o?a=1&X-Amz-Signature=***&b=1)"),
            ("http://h/?key=hunter2, no", "http://h/?key=***, no"),
            ("http://h/?key=hunter2=hunter2 no", "http://h/?key=*** no"),
            ("http://h/?key=hunter2') no", "http://h/?key=***') no"),
            ("see [docs: password=[hunter2 hunter2] no", "see [docs: password=*** no"),
            ("'http://h/?key=hun'hunter2'", "'http://h/?key=***'"),
            ("http://h/?key=a&hunter2;signature=hunter2;b=1", "http://h/?key=***&***;signature=***;b=1"),
            ("http://h/?a=/http://h/?sig=hunter2", "http://h/?a=/http://h/?sig=***"),
            ("http://h/?sig= no", "http://h/?sig=*** no"),
            ("http://h/?a=b:password:hunter2", "http://h/?a=b:password:***"),
            (r"http:\/\/me:hunter2@host\/v3", r"http:\/\/***@host\/v3"),
            ("http%3A%2F%2Fme%3Ahunter2%40host", "http%3A%2F%2F***%40host"),
            ("http://me:a%40hunter2", "http://***"),
            ("me:hunter2@host:5000 refused", "***@host:5000 refused"),
            ("(me:hunt@er/hunter2@host)", "(***@host)"),
            ("at //me:hunter2@host/", "at //***@host/"),
            ("host=me:hunter2@h", "host=***@h"),
            ("http:/me:hunter2@host", "http:/***@host"),
            ("a eyJhbGciOiJI.hunter2.hunter2 b", "a *** b"),
            ("-S DHHC-1:00:hunter2: x", "-S *** x"),
            (f"key AQ{'hunter2' * 5}aa== is bad", "key *** is bad"),
        ],
    )
    def test_no_secret_is_shown_in_headers_and_options_and_queries(self, text: str, shown: str) -> None:
        assert without_secrets(text) == shown

    @pytest.mark.parametrize(
        "before",
        [
            *("auth_password ", "password ", "node.session.auth.password\t", "OS_PASSWORD ", "s3_store_secret_key  "),
            *("'auth_password' ", "wrong password ", "-p password ", "access_key ", "pwd "),
        ],
    )
    @pytest.mark.parametrize("secret", [SECRET, "S3cr3t", "a.b", "x_y", "a2-", "!hunter"])
    def test_no_secret_is_shown_after_a_blank(self, before: str, secret: str) -> None:
        assert without_secrets(f"x; {before}{secret} y") == f"x; {before}*** y"

    @pytest.mark.parametrize("name", ["password", "admin_password", "the secret"])
    @pytest.mark.parametrize(
        "joint",
        [
            *(" is ", " was ", " has ", " set to ", " is: ", " -> ", " --> ", " - ", "\t is  "),
            *("\u00a0", "\u2003", "\r", "\v", "\u00a0is\u00a0"),
        ],
    )
    @pytest.mark.parametrize("secret", [SECRET, "hunTer", "!hunter"])
    def test_no_secret_is_shown_in_a_sentence(self, name: str, joint: str, secret: str) -> None:
        assert without_secrets(f"x; {name}{joint}{secret} y") == f"x; {name}{joint}*** y"

    def test_a_secret_after_a_word_that_is_none_is_hidden_too(self) -> None:
        assert without_secrets(f"the password is password {SECRET}") == "the password is password ***"

    @pytest.mark.parametrize("word", ["horse", "correct", "secretly"])
    def test_a_word_after_the_name_of_a_secret_option_is_hidden_unless_sentences_have_it(self, word: str) -> None:
        assert without_secrets(f"cinder_store_password {word}. x") == "cinder_store_password *** x"

    @pytest.mark.parametrize("name", ["a-password", "password_file"])
    def test_a_name_is_an_option_wherever_its_mark_is(self, name: str) -> None:
        assert without_secrets(f"{name} horse") == f"{name} ***"

    def test_a_text_with_very_many_passwords_is_hidden_as_a_whole(self) -> None:
        assert without_secrets(" ".join(f"http://me:pa{number}@host" for number in range(1000))) == HIDDEN
        assert without_secrets(" ".join(f"http://me:pa{number:03}@host" for number in range(201))) == HIDDEN
        shown = " ".join(["http://***@host"] * 200)
        assert without_secrets(" ".join(f"http://me:pa{number:03}@host" for number in range(200))) == shown
        words = " ".join(f"w{number}" for number in range(150))
        assert SECRET not in without_secrets(f"http://me:{SECRET} {words}\u00fc@host")

    @pytest.mark.parametrize(
        "text",
        [
            "http://host:5000/v3 does not answer; volume 7 is on node@fast#pool",
            "http://[::1]:5000/v3, http://host:8776: refused",
            "kafka://a:1,b:2/x",
            "Basic authentication is off; Digest mismatch; Authorization failed",
            "http://host/x?limit=1&marker=a%40b (Caused by X)",
            "http%3A%2F%2Fhost%3A5000%2Fv3, or is it so? yes",
            "the password (of the user) or the token, 'auto', is wrong: first pass, second pass: 3",
            "no value for any of ['password', 'user']",
            "mail a@b.c; node@fast#pool; /dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn@x",
            "the token is not valid",
            "the token is Keystone's; the password was refused, and is set to none",
            "the password is\nread from the file",
            "auth_password is not set: set cinder_store_password in [fast], or the user's credentials of Keystone",
            "the password must differ; token expired, keyring missing; a secret's owner",
            "GET /v3/auth/tokens HTTP/1.1",
            "cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
            "file:///var/lib/x:y",
            "http://host/v3/auth/tokens: HTTPConnectionPool(host='host', port=1)",
            "http://h/?flag&a=b",
            *("auth_password=, lun=1", "the password:"),
            *("cinder_store_password missing.", "auth_password Is it", "of log_dir x the password differs"),
        ],
    )
    def test_a_text_without_a_secret_is_not_changed(self, text: str) -> None:
        assert without_secrets(text) == without_userinfo(text) == text

    def test_a_text_of_ours_may_name_what_is_secret(self) -> None:
        assert (
            without_userinfo("[fast] cinder_store_password: it is not set")
            == "[fast] cinder_store_password: it is not set"
        )

    @pytest.mark.parametrize("odd", ["\udcff", "\udfffa\udc80"])
    def test_a_password_that_no_encoding_can_write_is_hidden_too(self, odd: str) -> None:
        text = f"cannot reach http://me:pass{odd}word@host; {odd}"
        assert without_userinfo(text) == f"cannot reach http://{HIDDEN}@host; {odd}"

    @given(PASSWORDS, st.sampled_from(["", "cannot reach ", "x=", "(\n"]), st.sampled_from(["", " refuses", ")"]))
    def test_no_password_of_a_url_is_shown_in_a_sentence(self, password: str, before: str, after: str) -> None:
        text = f"{before}http://me:{password}@host{after}"
        assert SECRET not in without_userinfo(text)
        assert without_userinfo(text) == f"{before}http://{HIDDEN}@host{after}"


class TestErrors:
    @given(PASSWORDS)
    def test_no_error_of_ours_shows_a_password_of_a_url(self, password: str) -> None:
        url = f"http://me:{password}@host/v3"
        error = InvalidConfiguration(url, f"{url} does not answer")
        error.leftovers = (f"a token at {url}",)
        for text in (str(error), error.message, repr(error), repr(error.args), str(copy.copy(error))):
            assert SECRET not in text
        assert f"http://{HIDDEN}@host/v3 does not answer" in str(error)


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            *("http://host", "https://host:5000/v3", "http://[::1]:5000/v3", "http://[fe80::1%25eth0]/", "http://h:/"),
            *("http://me:pa55@host/v3", "http://me:p%2Fa@[::1]:1", "http://tok%40en@host?a=b#c", "http://me:a:b@h"),
        ],
    )
    def test_these_urls_are_read_by_all_programs_in_the_same_way(self, url: str) -> None:
        assert is_plain_url(url)

    @pytest.mark.parametrize("part", [*"/?#@[]\\ \t\n", "12/", "12?", "12#", "//"])
    def test_a_password_with_a_special_character_makes_a_url_that_programs_read_differently(self, part: str) -> None:
        assert not is_plain_url(f"http://me:{part}{SECRET}@host/v3")

    @pytest.mark.parametrize("url", ["", "host", "host:5000", "http://", "http://host:port", "://host", "http:///v3"])
    def test_these_urls_are_read_differently_by_programs(self, url: str) -> None:
        assert not is_plain_url(url)

    @given(PASSWORDS)
    def test_no_password_of_such_a_url_is_shown(self, password: str) -> None:
        assert SECRET not in shown_url(f"s3://me:{password}@host/x?sig={SECRET}")

    @pytest.mark.parametrize(
        "url, shown",
        [
            ("http://host/v3", "http://host/v3"),
            ("://hunter2://host", "***://host"),
            ("http://h?sig=hunter2", "http://h?..."),
            ("s3://key:hunter@2@host/bucket", "s3://***@host/bucket"),
            ("key:hunter2@host", "***@host"),
            ("s3://host/?a@b", "s3://***?..."),
            ("http://host/\x1b", r"http://host/\x1b"),
            ("http://h\u00f6st/v3", "http://h\u00f6st/v3"),
            ("h" * 120, "h" * 120),
            ("h" * 121, "h" * 120 + "..."),
        ],
    )
    def test_a_url_without_a_user_is_shown_without_its_query(self, url: str, shown: str) -> None:
        assert shown_url(url) == shown

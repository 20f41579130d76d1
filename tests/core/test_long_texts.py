"""A text of any length is searched for secrets at once: the time grows with the text, and not with its square."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from imagevol_core import without_secrets


@example(text="a://" * 100_000)
@example(text="token" * 100_000)
@example(text="@ " * 100_000)
@example(text="a://b:c " * 100_000)
@example(text="a:b@c " * 100_000)
@example(text="-" * 500_000)
@example(text="token='" * 100_000)
@example(text="token is " * 50_000)
@example(text="token is" + " " * 500_000 + "x")
@example(text="token is " + "a-" * 250_000)
@example(text="token is " + "a" * 500_000 + "1")
@example(text="token -" * 70_000)
@example(text="token=a,bcd=1," * 50_000)
@example(text="password:[\\'" * 50_000)
@example(text="?a=b&sig=c" * 50_000)
@example(text="".join(f"http://me:{number}@h " for number in range(50_000)))
@given(st.text())
def test_any_text_is_answered_at_once(text: str) -> None:
    assert without_secrets(without_secrets(text)) is not None

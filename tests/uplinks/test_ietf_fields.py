"""Fields of resumable uploads are read as RFC 9651 has them; whatever a stranger writes, nothing is raised.

The examples are those of draft-ietf-httpbis-resumable-upload-12 (sections 4.2 to 4.4), RFC 9651 and RFC 9530.
"""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from agent.uplink.http import Answer
from agent.uplink.ietf.fields import Limits, complete, digest_field, disposition, limits_in, problem

HERE = URL("https://dems.example.org/captures")


def answer(body: bytes = b"", **headers: str) -> Answer:
    return Answer("HEAD", HERE, 200, CIMultiDict((k.replace("_", "-"), v) for k, v in headers.items()), body)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("max-size=1234567890", Limits(max_size=1234567890)),  # the draft, 4.2.3
        ("max-age=3600", Limits(max_age=3600)),  # the draft, 4.3.3
        ("min-size=0", Limits(min_size=0)),  # the draft, 4.1.4: no limits
        ("max-size=10, max-append-size=5 ,min-append-size=2;note=a", Limits(10, None, 5, 2)),
        ('en="Applepie", da=:w4ZibGV0w6ZydGU=:, max-size=7', Limits(7)),  # RFC 9651, 3.2
        ("a=?0, b, c; foo=bar, max-age=1", Limits(max_age=1)),
        ('rating=1.5, feelings=(joy sadness), x=("a" "b";q=1 tok);p, max-size=3', Limits(3)),
        ("max-size=1, max-size=2", Limits(2)),  # the last of equal keys counts
        ("", Limits()),
        ("max-size=1.5", None),  # a known key with a value of another type spoils the field
        ("max-size", None),
        ('max-size="5"', None),
        ("max-size=-1", None),
        ("max-size=1,", None),
        ("max-size=1 max-age=2", None),
        ("Max-Size=1", None),
        ("max-size=9999999999999999", None),
        ("max-size=(1", None),
        ("max-size=1, " * 500 + "max-age=1", None),
    ],
)
def test_limits(text: str, limits: Limits | None) -> None:
    assert limits_in(answer(Upload_Limit=text)) == limits


def test_no_limits_are_not_the_same_as_no_field() -> None:
    assert limits_in(answer()) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("?1", True),
        ("?0", False),
        ("?1;x=y", True),
        ("1", None),
        ("true", None),
        ("?2", None),
        ("", None),
        ("?1?1", None),
    ],
)
def test_whether_it_is_complete(text: str, value: bool | None) -> None:  # noqa: FBT001 - the example
    assert complete(answer(Upload_Complete=text)) is value


def test_a_request_ends_where_limits_and_link_let_it() -> None:
    limits = Limits(max_append_size=10, min_append_size=4)
    assert limits.end(0, 8, 100) == 8
    assert limits.end(0, 20, 100) == 10
    assert limits.end(6, 8, 100) == 10
    assert limits.end(98, 100, 100) == 100
    assert Limits().end(3, 9, 7) == 7


def test_what_an_answer_leaves_out_counts_on() -> None:
    offered = Limits(max_size=100, max_append_size=10)
    assert Limits(max_age=5).over(offered) == Limits(max_size=100, max_append_size=10, max_age=5)
    assert Limits(max_append_size=0, min_size=1).over(offered) == Limits(100, 1, 0)


def test_digests_and_names() -> None:
    # RFC 9530, appendix B.1: {"hello": "world"} with a newline.
    digest = hashlib.sha256(b'{"hello": "world"}\n').digest()
    assert digest_field(digest) == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert base64.b64encode(digest).decode() in digest_field(digest)
    assert disposition('Tür "1".MP4\r\nX: y') == "inline; filename*=UTF-8''T%C3%BCr%20%221%22%2EMP4%0D%0AX%3A%20y"


def test_problems() -> None:
    kind = "application/problem+json"
    body = b'{"type": "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"}'
    assert problem(answer(body, Content_Type=kind)) == "mismatching-upload-offset"
    assert problem(answer(body, Content_Type="text/html")) == ""
    for other in (b"", b"[]", b"7", b"[" * 100_000, b'{"type": {}}', b"\xff"):
        assert isinstance(problem(answer(other, Content_Type=f"{kind}; charset=x")), str)


@given(st.text(), st.binary(max_size=300))
def test_whatever_a_stranger_says_raises_nothing(text: str, body: bytes) -> None:
    said = answer(body, Upload_Limit=text, Upload_Complete=text, Content_Type=text)
    assert isinstance(limits_in(said), Limits | None)
    assert complete(said) in (None, True, False)
    assert isinstance(problem(said), str)


@given(st.from_regex(r"(?:[a-z*][a-z0-9_.*-]{0,5}(?:=[0-9a-z\"():;?@ -]{0,12})?(?:,\s?)?){0,40}", fullmatch=True))
def test_nearly_right_fields_are_read_in_bounded_time(text: str) -> None:
    assert isinstance(limits_in(answer(Upload_Limit=text)), Limits | None)

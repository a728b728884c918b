"""Log-probabilities in the forms that clients know."""

from pratique.core.wire import ScoredToken, TokenScore
from pratique.serve.gateway.scores import chat_scores, text_scores

BROKEN = "\N{REPLACEMENT CHARACTER}"
TOP = (
    TokenScore(token=BROKEN, data="5g==", logprob=-0.5),
    TokenScore(token="a", data="YQ==", logprob=-1.0),
    TokenScore(token=BROKEN, data="8A==", logprob=-7.0),
)
SCORE = ScoredToken(token="a", data="YQ==", logprob=-1.0, offset=4, top=TOP)


def test_of_alternatives_that_read_alike_the_likeliest_is_told():
    scores = text_scores([SCORE])
    assert scores is not None
    assert scores["top_logprobs"] == [{BROKEN: -0.5, "a": -1.0}]
    assert list(scores["top_logprobs"][0]) == [BROKEN, "a"]
    assert scores["text_offset"] == [4]


def test_a_chat_tells_them_apart_by_their_bytes():
    scores = chat_scores([SCORE])
    assert scores is not None
    assert [top["bytes"] for top in scores["content"][0]["top_logprobs"]] == [
        [0xE6],
        [0x61],
        [0xF0],
    ]


def test_no_scores_are_null():
    assert chat_scores([]) is None
    assert text_scores([]) is None

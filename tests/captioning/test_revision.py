"""What is asked for after drafts that a judge finds false; the drafts are the test's own."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from captioning.base_models import load_tokenizer, resolve
from captioning.generation import Generation, GenerationRequest
from captioning.revision import MOST_DRAFTS, Draft, Revision

REQUEST = GenerationRequest([1, 2, 3], adapter="icons", temperature=0.7, seed=5, n=3, stop=("!",))


@pytest.fixture(scope="module", params=["embedded", "llama", "gemma"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """A byte-level vocabulary of captions' words, and ones of pieces of words."""
    name = request.param
    return load_tokenizer(resolve(name if name == "embedded" else str(request.getfixturevalue(name))))


def draft(text: str, *false: str, n_true: int = 0) -> Draft[str]:
    """Judged false at these words."""
    return Draft(Generation(text, "stop", 3, 10), text.upper(), [text.index(word) for word in false], n_true)


def decoded(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def test_a_true_draft_is_the_last(tokenizer: PreTrainedTokenizerBase) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    assert revision.hear(draft("A red circle.", n_true=2)) is None
    assert revision.best == revision.first == draft("A red circle.", n_true=2)


def test_the_words_before_the_first_fault_stay_and_the_next_token_goes(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    revision = Revision[str](tokenizer, REQUEST, index=2)
    text = "A blue rectangle above a red star."
    asked = revision.hear(draft(text, "red", "rectangle"))
    assert asked is not None
    assert (asked.prompt_ids, asked.adapter, asked.stop) == ([1, 2, 3], "icons", ("!",))
    assert (asked.n, asked.temperature, asked.seed) == (1, 0.7, 7)
    begun = decoded(tokenizer, asked.begin)
    assert text.startswith(begun)
    assert begun.strip() == "A blue"
    [gone] = asked.not_next
    assert text.startswith(decoded(tokenizer, (*asked.begin, gone)))
    assert len(decoded(tokenizer, (*asked.begin, gone))) > text.index("rectangle")


def test_what_was_tried_at_a_place_is_not_tried_there_again(tokenizer: PreTrainedTokenizerBase) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    first = revision.hear(draft("A blue rectangle.", "rectangle"))
    second = revision.hear(draft("A blue circle and a fish.", "circle"))
    elsewhere = revision.hear(draft("A blue square and a fish.", "fish"))
    back = revision.hear(draft("A blue star.", "star"))
    assert first is not None
    assert second is not None
    assert elsewhere is not None
    assert back is not None
    assert first.begin == second.begin == back.begin
    assert len(elsewhere.begin) > len(first.begin)
    assert len(elsewhere.not_next) == 1
    assert second.not_next[:1] == first.not_next
    assert back.not_next[:-1] == second.not_next
    assert len(set(back.not_next)) == 3


def test_a_caption_may_go_wrong_at_its_first_word(tokenizer: PreTrainedTokenizerBase) -> None:
    asked = Revision[str](tokenizer, REQUEST).hear(draft("Six stars.", "Six"))
    assert asked is not None
    assert asked.begin == ()
    assert "Six stars.".startswith(decoded(tokenizer, asked.not_next).strip())


def test_the_best_is_the_least_false_then_the_most_told_then_the_first() -> None:
    tokenizer = load_tokenizer(resolve("embedded"))
    revision = Revision[str](tokenizer, REQUEST)
    drafts = [
        draft("Two red stars.", "Two", "red", n_true=1),
        draft("One red star.", "One", n_true=1),
        draft("One old star.", "One", n_true=2),
        draft("One big star.", "One", n_true=2),
    ]
    written, begun = 0, 0
    for one in drafts:
        written += one.text.completion_tokens - begun
        asked = revision.hear(one)
        assert asked is not None
        begun = len(asked.begin)
    assert (revision.best.text.text, revision.best.judged) == ("One old star.", "ONE OLD STAR.")
    assert revision.best.text.completion_tokens == written
    assert revision.first == drafts[0]


def test_drafts_have_an_end(tokenizer: PreTrainedTokenizerBase) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    asked = [revision.hear(draft(f"A fish {word}.", word)) for word in "abcdefghijklm"[:MOST_DRAFTS]]
    assert all(asked[:-1])
    assert asked[-1] is None

"""What is asked for after drafts that a judge finds false; the drafts are the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerBase

from captioning.base_models import load_tokenizer, resolve
from captioning.engine import Engine
from captioning.errors import EngineClosed
from captioning.generation import Generation, GenerationRequest
from captioning.prompt import clean_caption
from captioning.revision import MOST_DRAFTS, Draft, Revision, Work, revise
from captioning.ticket import Ticket
from rendering import load

REQUEST = GenerationRequest([1, 2, 3], adapter="icons", temperature=0.7, seed=5, n=3, stop=("!",))

Write = Callable[..., Draft[str]]


@pytest.fixture(scope="module", params=["embedded", "llama", "gemma"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """A byte-level vocabulary of captions' words, and ones of pieces of words."""
    name = request.param
    return load_tokenizer(resolve(name if name == "embedded" else str(request.getfixturevalue(name))))


@pytest.fixture
def draft(tokenizer: PreTrainedTokenizerBase) -> Write:
    """A text, judged false at these words."""

    def write(text: str, *false: str, n_true: int = 0, tokens: tuple[int, ...] = ()) -> Draft[str]:
        words = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        tokens = tokens or (*words, tokenizer.eos_token_id)
        written = Generation(text, "stop", 3, len(tokens), tokens)
        return Draft(written, text.upper(), [text.index(word) for word in false], n_true)

    return write


def decoded(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def test_a_true_draft_is_the_last(tokenizer: PreTrainedTokenizerBase, draft: Write) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    assert revision.hear(draft("A red circle.", n_true=2)) is None
    assert revision.best == revision.first == draft("A red circle.", n_true=2)


def test_the_words_before_the_first_fault_stay_and_the_next_token_goes(
    tokenizer: PreTrainedTokenizerBase, draft: Write
) -> None:
    revision = Revision[str](tokenizer, REQUEST, index=2)
    text = "A blue rectangle above a red star."
    asked = revision.hear(draft(text, "red", "rectangle"))
    assert asked is not None
    assert (asked.prompt_ids, asked.adapter, asked.stop) == ([1, 2, 3], "icons", ("!",))
    assert (asked.n, asked.temperature, asked.seed) == (1, 0.7, 7)
    begun = decoded(tokenizer, asked.begin)
    assert text.startswith(begun.strip())
    assert begun.strip() == "A blue"
    [gone] = asked.not_next
    longer = decoded(tokenizer, (*asked.begin, gone)).strip()
    assert text.startswith(longer)
    assert len(longer) > text.index("rectangle")


def test_what_was_tried_at_a_place_is_not_tried_there_again(
    tokenizer: PreTrainedTokenizerBase, draft: Write
) -> None:
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


def test_a_caption_may_go_wrong_at_its_first_word(tokenizer: PreTrainedTokenizerBase, draft: Write) -> None:
    asked = Revision[str](tokenizer, REQUEST).hear(draft("Six stars.", "Six"))
    assert asked is not None
    assert asked.begin == ()
    assert asked.not_next == draft("Six stars.").text.tokens[:1]


def test_the_tokens_that_were_written_decide_not_those_that_would_spell_the_same(
    tokenizer: PreTrainedTokenizerBase, draft: Write
) -> None:
    """A text may have been spelled in other tokens, with more white space, and with marks of control."""
    words, end = tokenizer("A  red", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id
    letters = [tokenizer(letter, add_special_tokens=False)["input_ids"][-1] for letter in "boz"]
    written = (*words, end, *letters, end)
    text = clean_caption(str(tokenizer.decode(list(written), skip_special_tokens=True)))
    asked = Revision[str](tokenizer, REQUEST).hear(draft(text, "z", tokens=written))
    assert asked is not None
    assert asked.begin == written[:-2]
    assert asked.not_next == (letters[-1],)


def test_the_best_is_the_least_false_then_the_most_told_then_the_first(
    tokenizer: PreTrainedTokenizerBase, draft: Write
) -> None:
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


@pytest.mark.parametrize("poor", ["", "A red square and a", "Something."])
def test_what_says_nothing_or_breaks_off_or_leaves_too_much_unsaid_is_no_better(
    tokenizer: PreTrainedTokenizerBase, draft: Write, poor: str
) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    first = draft("A red square and a blue circle.", "blue", n_true=3)
    asked = revision.hear(first)
    assert asked is not None
    worse = draft(poor, n_true=2 * poor.startswith("A"))
    if poor.endswith("a"):
        worse = replace(worse, text=replace(worse.text, finish_reason="length"))
    tokens = (*asked.begin, *worse.text.tokens[-1:])
    again = revision.hear(replace(worse, text=replace(worse.text, tokens=tokens)))
    assert again is not None
    assert again.begin == asked.begin
    assert again.not_next == (*asked.not_next, tokens[-1])
    assert revision.best.text.text == first.text.text
    assert revision.hear(draft("A red square and a green circle.", n_true=4)) is None
    assert "green" in revision.best.text.text


def test_drafts_have_an_end(tokenizer: PreTrainedTokenizerBase, draft: Write) -> None:
    revision = Revision[str](tokenizer, REQUEST)
    asked = [revision.hear(draft(f"A fish {word}.", word)) for word in "abcdefghijklm"[:MOST_DRAFTS]]
    assert all(asked[:-1])
    assert asked[-1] is None


BLUE = load(b'<svg viewBox="0 0 100 100"><rect x="20" y="20" width="60" height="60" fill="#00f"/></svg>')


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine.load("embedded", torch_threads=1)
    yield engine
    engine.close()


def works(engine: Engine, number: int) -> list[Work]:
    """Captions that are false from the second word on, in the engine's own tokens."""
    begin = engine.tokenizer("A green", add_special_tokens=False)["input_ids"]
    prompt = engine.prepare(BLUE.svg).prompt_ids
    [text] = engine.generate([GenerationRequest(prompt, begin=tuple(begin))])
    assert text.text.startswith("A green")
    return [Work(BLUE, GenerationRequest(prompt), [text])] * number


def test_drafts_of_all_captions_are_under_way_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = works(engine, 8)
    submit, held = engine.submit, list[Ticket]()

    def answered_when_all_have_asked(request: GenerationRequest) -> Ticket:
        ticket = Ticket(request, stream=False)
        held.append(ticket)
        if len(held) == len(given):
            for each in held:
                each.finish(submit(each.request).result())
            held.clear()
        return ticket

    monkeypatch.setattr(engine, "submit", answered_when_all_have_asked)
    revised = revise(engine, given)
    assert all("blue square" in texts[0].text for texts in revised)


def test_a_draft_that_fails_leaves_the_best_so_far(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    given = works(engine, 1)

    def without_memory(request: GenerationRequest) -> Ticket:
        ticket = Ticket(request, stream=False)
        ticket.finish(MemoryError("no room"))
        return ticket

    monkeypatch.setattr(engine, "submit", without_memory)
    assert revise(engine, given) == [list(given[0].texts)]


def test_an_engine_that_is_closed_is_said_so(engine: Engine) -> None:
    given = works(engine, 1)
    engine.close()
    with pytest.raises(EngineClosed):
        revise(engine, given)

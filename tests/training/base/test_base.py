from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from typer.testing import CliRunner

from captioning.base_models import load_tokenizer, resolve
from captioning.errors import ConfigError
from captioning.prompt import completion_ids, prompt_ids
from tests.training.corpora.packages import make_package, squares
from training.base import cli
from training.base.corpus import Pair, build_pairs, common_concepts
from training.base.examples import Batch, Example, Row, as_batch, batches, encode
from training.base.picture import CHANNELS, SIDE, picture
from training.base.pretrain import keep_recipe, learning_rate, new_model, run, validation_parts
from training.base.recipe import BaseRecipe
from training.base.tokenizer import channel_tokens, markup_tokens, number_tokens, train_tokenizer
from training.corpora import icons
from training.corpora.icon_words import COLOUR_WORDS
from training.corpora.scenes import generate_scene, is_held_out

TINY = BaseRecipe(
    scenes=200, families=(), vocab_size=3_200, hidden_size=32, layers=1, heads=2, feed_forward=64, steps=6,
    batch_tokens=512, warmup_steps=2, decay_steps=(4, 6), first_lengths=(), scene_share=0.999,
    learning_rate=1e-2,
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return build_pairs(60, (), Path("unused"), max_chars=900, processes=1)[0]


@pytest.fixture(scope="module")
def tokenizer(pairs: list[Pair]) -> PreTrainedTokenizerFast:
    return train_tokenizer((text for pair in pairs for text in (pair.canonical, *pair.references)), 3_200)


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """Of text in the middle of a drawing: before all text stands a space, for the sake of captions."""
    space, sign, *rest = tokenizer.tokenize(f"={text}")
    assert (space, sign) == ("Ġ", "=")
    return rest


def test_a_captions_first_word_is_the_word_as_it_stands_further_on(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    first, *others = tokenizer.tokenize("circle by a circle")
    assert first == others[-1]
    assert tokenizer.decode(tokenizer("circle by a circle")["input_ids"]) == "circle by a circle"


@pytest.mark.parametrize("number", [0, 7, 10, 99, 100, 101, 112, 200, 231, 500, 900, 999, 1000])
def test_every_number_of_the_grid_is_one_token(tokenizer: PreTrainedTokenizerFast, number: int) -> None:
    assert tokens(tokenizer, f"M{number}-{number}")[1::2] == [str(number), str(number)]


def test_all_numbers_have_a_token_of_their_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(set(number_tokens(tokenizer).values())) == 1001
    for number in range(1001):
        assert tokens(tokenizer, str(number)) == [str(number)]


def test_the_space_between_numbers_costs_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokens(tokenizer, "12 345 6") == ["12", "345", "6"]


def test_colours_are_read_channel_by_channel(tokenizer: PreTrainedTokenizerFast) -> None:
    channels = channel_tokens(tokenizer)
    for colour, values in (("#d01122", [0xD0, 0x11, 0x22]), ("#09f", [0, 0x99, 0xFF])):
        ids = tokenizer(f'fill="{colour}"')["input_ids"][-3:]
        assert [channel[token] for channel, token in zip(channels, ids, strict=True)] == values
    ids = {token for channel in channels for token in channel}
    assert len(ids) == 3 * (256 + 16)
    assert not ids & set(number_tokens(tokenizer).values())


def test_markup_between_values_is_one_token_where_it_is_common(tokenizer: PreTrainedTokenizerFast) -> None:
    drawing = '<circle cx="1" cy="2" r="3"/><circle cx="4" cy="5" r="6"/></svg>'
    assert '1 "Ġcy=" 2 "Ġr=" 3 "/><circleĠcx=" 4 "Ġcy=" 5 "Ġr=" 6' in " ".join(tokens(tokenizer, drawing))
    text = tokenizer.decode(tokenizer(drawing)["input_ids"])
    assert text == drawing


@pytest.mark.parametrize(
    "text",
    [
        'a="#12',
        'fill="#0f9795" stroke="#fff"/>',
        '"#123456"',
        'd="M<>/>"',
        '" x=" y="#abc"/></g></svg>',
        'say "no" = <b',
    ],
)
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_captions_come_back_as_written(tokenizer: PreTrainedTokenizerFast) -> None:
    for caption in ("A red circle, left of “Ünïcode” 漢字 text.", "Fed, bed & a cafe: 42 things!"):
        assert tokenizer.decode(completion_ids(tokenizer, caption), skip_special_tokens=True) == caption


def test_the_fixed_prompt_is_one_token_at_each_end(tokenizer: PreTrainedTokenizerFast) -> None:
    drawing = '<svg viewBox="0 0 1000 1000"><path d="M1 2H3"/></svg>'
    around = len(prompt_ids(tokenizer, drawing)) - len(tokens(tokenizer, drawing))
    assert around == 4  # user, instruction, fence, assistant


def test_no_held_out_combination_is_learned(pairs: list[Pair]) -> None:
    held_out = [seed for seed in range(60) if is_held_out(generate_scene(seed).truth)]
    assert held_out
    references = {pair.references for pair in pairs}
    assert all(generate_scene(seed).references not in references for seed in held_out)


def test_labels_are_the_caption_and_nothing_else() -> None:
    rows = [Row([1, 2, 3], [7, 8], bytes([0, 255])), Row([1], [9], bytes([51, 0]))]
    ids, labels, starts, pictures = as_batch(rows, pad_id=0)
    assert starts.tolist() == [2, 0]
    assert pictures.tolist() == [[0, 1], [pytest.approx(0.2), 0]]
    assert ids[:, :5].tolist() == [[1, 2, 3, 7, 8], [1, 9, 0, 0, 0]]
    assert labels[:, :5].tolist() == [[-100, -100, 7, 8, -100], [9, -100, -100, -100, -100]]
    assert ids.shape == labels.shape == (2, 16)  # the width is rounded up
    assert (ids[:, 5:] == 0).all()
    assert (labels[:, 5:] == -100).all()


def test_batches_hold_every_drawing_once_within_the_budget(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerFast
) -> None:
    examples = encode([*pairs, dataclasses.replace(pairs[0], source="lucide")], tokenizer, TINY)
    found = list(batches(examples, TINY, epoch=0))
    assert sum(len(rows) for rows in found) == len(examples)
    assert all(len(rows) * max(row.width for row in rows) <= TINY.batch_tokens for rows in found)
    assert found == list(batches(examples, TINY, epoch=0)) != list(batches(examples, TINY, epoch=1))


def test_the_first_epochs_have_short_drawings_only(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerFast
) -> None:
    examples = encode([*pairs, dataclasses.replace(pairs[0], source="lucide")], tokenizer, TINY)
    limit = sorted(len(example.prompt) for example in examples)[len(examples) // 2]
    recipe = dataclasses.replace(TINY, first_lengths=(limit,))
    longest = [
        max(len(row.prompt) for rows in batches(examples, recipe, epoch) for row in rows) for epoch in (0, 1)
    ]
    assert longest[0] == limit < longest[1]


def test_the_first_reference_is_learned_most_and_the_others_too(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerFast
) -> None:
    several = [pair for pair in pairs if len(set(pair.references)) == len(pair.references) == 4]
    examples = encode([*several, dataclasses.replace(several[0], source="lucide")], tokenizer, TINY)
    firsts = {bytes(example.completions[0]) for example in examples}
    for first_share, expected in ((0, 1 / 4), (0.6, 0.7), (1, 1)):
        recipe = dataclasses.replace(TINY, first_share=first_share)
        rows = [row for epoch in range(40) for some in batches(examples, recipe, epoch) for row in some]
        learned = sum(bytes(row.completion) in firsts for row in rows) / len(rows)
        assert learned == pytest.approx(expected, abs=0.07)


def test_a_picture_has_ink_where_the_drawing_has() -> None:
    drawn = picture('<svg viewBox="0 0 1000 500"><rect width="500" height="500" fill="red"/></svg>')
    assert drawn is not None
    pixels = np.frombuffer(drawn, np.uint8).reshape(SIDE, SIDE, CHANNELS)
    expected = np.zeros_like(pixels)
    expected[SIDE // 4 : -SIDE // 4, : SIDE // 2] = (0, 255, 255)
    assert (pixels == expected).all()


def test_an_epoch_has_a_share_of_what_one_family_alone_draws(
    pairs: list[Pair], tokenizer: PreTrainedTokenizerFast
) -> None:
    def drawn_by(source: str, concept: str, some: list[Pair]) -> list[Pair]:
        return [dataclasses.replace(pair, source=source, concept=concept) for pair in some]

    common = [*drawn_by("mdi", "bell", pairs[:8]), *drawn_by("lucide", "bell", pairs[8:16])]
    rare = drawn_by("mdi", "gadget", pairs[16:])
    assert common_concepts([*common, *rare]) == {"bell"}
    examples = encode([*common, *rare], tokenizer, TINY)
    recipe = dataclasses.replace(TINY, rare_share=0.25)
    numbers = [sum(map(len, batches(examples, recipe, epoch))) - len(common) for epoch in range(50)]
    assert min(numbers) < len(rare) / 4 < max(numbers)
    assert sum(numbers) / len(numbers) == pytest.approx(len(rare) / 4, rel=0.2)


def test_icons_come_in_a_second_frame_and_some_in_another_ink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package(tmp_path, squares(*(f"{word}-bell" for word in "a b c d e f g h".split())))
    monkeypatch.setattr(icons, "read_icons", partial(icons.read_icons, packages={"toy": package}))
    found, dropped = build_pairs(0, ("toy",), tmp_path, max_chars=900, processes=1)
    assert len(found) == 16
    assert not dropped
    coloured = [pair for pair in found if "fill=" in pair.canonical]
    assert 0 < len(coloured) < 8
    for pair in coloured:
        assert not COLOUR_WORDS.isdisjoint(pair.references[0].split())
    for first, second in zip(found[:8], found[8:], strict=True):
        assert first.concept == second.concept
        assert first.is_validation == second.is_validation


def test_near_numbers_start_alike(tokenizer: PreTrainedTokenizerFast) -> None:
    weight = new_model(TINY, tokenizer).model.embed_tokens.weight.detach()
    ids = number_tokens(tokenizer)

    def likeness(a: int, b: int) -> float:
        return float(torch.cosine_similarity(weight[ids[a]], weight[ids[b]], dim=0))

    assert likeness(500, 501) > 0.9 > likeness(500, 510)
    _, green, blue = ({value: token for token, value in kind.items()} for kind in channel_tokens(tokenizer))

    def alike(a: int, b: int) -> float:
        return float(torch.cosine_similarity(weight[a], weight[b], dim=0))

    assert alike(blue[200], blue[201]) > 0.5 > alike(blue[200], blue[230])
    assert abs(alike(green[200], blue[200])) < 0.5


def test_what_stands_in_drawings_only_is_never_written() -> None:
    spec = resolve("embedded")
    tokenizer = load_tokenizer(spec)
    markup = markup_tokens(tokenizer)
    assert GenerationConfig.from_pretrained(spec.source).suppress_tokens == markup
    drawing = prompt_ids(tokenizer, '<svg viewBox="0 0 1000 1000"><rect x="7" y="90" fill="#1a2b3c"/></svg>')
    left = tokenizer.decode([id for id in drawing if id not in markup], skip_special_tokens=True)
    assert not set(left) & set("<>=#")
    caption = 'Seven stars and a circle with the words "No 24" in it.'
    assert set(markup).isdisjoint(completion_ids(tokenizer, caption))


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    recipe = BaseRecipe(steps=100, warmup_steps=10, decay_steps=(80, 100), learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[10] == rates[79] == 1.0
    assert [rates[0], rates[90], rates[99]] == pytest.approx([0.1, 0.5, 0.05])


def test_steps_without_a_learning_rate_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"zero from step 100 on, and steps is 101\. Raise decay_steps"):
        BaseRecipe(steps=101, decay_steps=(80, 100))


@pytest.mark.parametrize("steps", [2, 3, 500, 10_000, 40_000])
def test_the_rate_falls_over_the_same_share_of_any_number_of_steps(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("training.base.pretrain.run", lambda recipe, *_, **__: asked.append(recipe))
    arguments = ["--out", str(tmp_path), "--steps", str(steps), "--threads", str(torch.get_num_threads())]
    CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    [recipe], usual = asked, BaseRecipe()
    assert recipe == dataclasses.replace(usual, steps=steps, decay_steps=recipe.decay_steps)
    for step, usual_step in zip(recipe.decay_steps, usual.decay_steps, strict=True):
        assert step / steps == pytest.approx(usual_step / usual.steps, abs=1 / steps)
    assert learning_rate(recipe, steps - 1) > 0


def test_icons_of_all_families_are_validated() -> None:
    families = [Example([family], [[0]], b"", is_scene=False) for family in range(20) for _ in range(150)]
    scenes = [Example([99], [[0]], b"", is_scene=True)] * 900
    parts = validation_parts([*families, *scenes], seed=7)
    assert {name: len(examples) for name, examples in parts.items()} == {"scenes": 800, "icons": 800}
    of_each = Counter(example.prompt[0] for example in parts["icons"])
    assert len(of_each) == 20
    assert max(of_each.values()) < 80
    assert parts == validation_parts([*families, *scenes], seed=7)


def test_a_folder_is_refused_to_another_recipe_before_anything_is_made(tmp_path: Path) -> None:
    other = dataclasses.replace(TINY, scenes=300, families=("lucide",))
    keep_recipe(TINY, tmp_path)
    differing = r"\(scenes: 200 there, 300 asked for; families: \[\] there, \[\"lucide\"\] asked for\)"
    with pytest.raises(ConfigError, match=rf"{differing}\. .* another --work folder"):
        run(other, tmp_path, tmp_path / "never", Path("unused"), processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["work_recipe.json"]
    keep_recipe(TINY, tmp_path)


def test_settings_that_one_recipe_alone_has_are_differences(tmp_path: Path) -> None:
    path = tmp_path / "work_recipe.json"
    settings = dataclasses.asdict(TINY)
    path.write_text(
        json.dumps({"word_noise": 0.1} | {name: settings[name] for name in settings if name != "seed"})
    )
    with pytest.raises(
        ConfigError, match=r"\(seed: null there, 7 asked for; word_noise: 0\.1 there, null asked"
    ):
        keep_recipe(TINY, tmp_path)


def test_a_run_may_last_longer_until_its_rate_begins_to_fall(tmp_path: Path) -> None:
    recipe = BaseRecipe(steps=100, decay_steps=(60, 100))
    keep_recipe(recipe, tmp_path)
    torch.save({"step": 59}, tmp_path / "pretraining.pt")
    longer = recipe.lasting(200)
    keep_recipe(longer, tmp_path)
    assert json.loads((tmp_path / "work_recipe.json").read_text())["decay_steps"] == [120, 200]
    torch.save({"step": 60}, tmp_path / "pretraining.pt")
    with pytest.raises(
        ConfigError, match=r"\(steps: 200 there, 100 asked for; decay_steps: \[120, 200\] there"
    ):
        keep_recipe(recipe, tmp_path)
    keep_recipe(recipe.lasting(300), tmp_path)


def test_a_folder_of_an_older_run_is_taken_as_it_is(tmp_path: Path) -> None:
    torch.save({"step": 5}, tmp_path / "pretraining.pt")
    keep_recipe(TINY, tmp_path)
    assert json.loads((tmp_path / "work_recipe.json").read_text())["scenes"] == TINY.scenes


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples_source = _as_icons(monkeypatch)
    run(TINY, tmp_path / "a", tmp_path / "whole", examples_source, processes=1)
    from training.base import pretrain

    class Cut(Exception):
        pass

    save = pretrain.Trainer.save
    update = pretrain.Trainer._update

    def cut(self: pretrain.Trainer, batch: Batch) -> float:
        if self.step == 3:
            save(self)
            raise Cut
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.Trainer, "_update", cut)
        with pytest.raises(Cut):
            run(TINY, tmp_path / "b", tmp_path / "never", examples_source, processes=1)
    assert not (tmp_path / "never").exists()
    run(TINY, tmp_path / "b", tmp_path / "resumed", examples_source, processes=1)
    assert sys.float_info.min / 2 > 0  # afterwards this process calculates as before
    whole, resumed = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "resumed")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    recipe = json.loads((tmp_path / "whole" / "recipe.json").read_text())
    assert recipe["steps"] == 6
    assert min(recipe["validation_loss"].values()) > 0
    assert AutoTokenizer.from_pretrained(tmp_path / "whole").chat_template


def _as_icons(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Half of the scenes pass as icons: no package is fetched, and an epoch has both kinds."""

    def mixed(*_args: object, **_kwargs: object) -> tuple[list[Pair], Counter[str]]:
        pairs, dropped = build_pairs(200, (), Path("unused"), max_chars=900, processes=1)
        half = [dataclasses.replace(pair, source="lucide") for pair in pairs[::2]]
        return half + pairs[1::2], dropped

    monkeypatch.setattr("training.base.corpus.build_pairs", mixed)
    return Path("unused")

"""What the page shows, as HTML fragments. Everything that came from a file or a model is escaped here."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from services.page_client import Preview, Refused
from services.schemas import CaptionResponse, CaptionText, ClaimVerdict

Picture = Preview | Refused | None
"""A render, the reason why there is none, or not yet known."""

HEADING = """\
<header class="heading">
  <h1>What does this drawing show?</h1>
  <p>Give it an SVG and read what it shows in words. Nothing leaves this server.</p>
</header>"""

FOOTER = """\
<footer class="footer"><a href="docs">HTTP API</a></footer>"""

EMPTY = '<p class="blank">The drawing and its caption appear here.</p>'

_LEGEND = """\
<p class="note legend">Checked in the drawing: <mark class="true">true</mark>,
<mark class="false">false</mark>, <mark class="undecidable">undecidable</mark>.
Only simple claims can be: colours, shapes, counts, places, text.</p>"""

_MOST_RATIO = 6.0  # beyond it, a strip is shown in its square
_HEIGHT_REM = 21
_WORST_FIRST = ("false", "undecidable", "true")

RESULT_JS = """\
element.setAttribute('aria-live', 'polite');
watch('value', () => {
  element.setAttribute('aria-busy', String(props.value.includes('"caption pending"')));  // not yet drawn
});
element.addEventListener('click', async (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const text = button.closest('li').dataset.text;  // what is shown has the verdicts in it
  if ('title' in button.dataset) trigger('title', {text});
  if (!('copy' in button.dataset)) return;
  await navigator.clipboard.writeText(text);
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});"""

PICTURE_JS = """\
watch('value', () => {  // on a phone the result lies below what was tapped
  if (window.innerWidth < 760) element.scrollIntoView({behavior: 'smooth', block: 'start'});
});"""

CHOOSE_JS = """\
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-sample]');
  if (button) trigger('choose', {sample: button.dataset.sample});
});"""

DOWNLOAD_JS = """\
watch('value', () => {
  if (!props.value) return;
  const {name, type, content} = JSON.parse(props.value);
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});"""


@dataclass
class Voice:
    """What one model says of a drawing: its texts while they are written, then its answer."""

    model: str  # "" for the default
    texts: list[str] = field(default_factory=list)
    answer: CaptionResponse | Refused | None = None


def picture(name: str, shown: Picture) -> str:
    """The file's name and the render of its sanitized copy, on squares that show what is transparent."""
    return f'<p class="name">{escape(name)}</p>{_render(shown)}'


def voices(said: Sequence[Voice]) -> str:
    """Captions as far as they are known, model by model, then what was found in the drawing."""
    answers = [voice.answer for voice in said if isinstance(voice.answer, CaptionResponse)]
    found = ""
    if answers:
        found = _list("Removed before reading", answers[0].svg.removed, "removed")
        warnings = dict.fromkeys(warning for answer in answers for warning in answer.svg.warnings)
        found += _list("Good to know", list(warnings), "warnings")
    if any(caption.claims for answer in answers for caption in answer.captions):
        found = _LEGEND + found
    columns = "".join(_voice(voice, alone=len(said) == 1) for voice in said)
    return f'<div class="voices">{columns}</div>{found}'


def gallery(pictures: Sequence[tuple[str, Preview]]) -> str:
    """Samples to choose from: name and picture of each."""
    buttons = [
        f"""<button type="button" data-sample="{escape(name)}" title="{escape(_label(name))}">
        <img src="{_data_url(shown.png)}" alt="{escape(_label(name))}" width="72" height="72"></button>"""
        for name, shown in pictures
    ]
    return (
        f'<p class="label">Or try one of these</p><div class="samples">{"".join(buttons)}</div>'
        if buttons
        else ""
    )


def refusal(title: str, error: Refused) -> str:
    """Why something could not be done."""
    trace = f"<p class='note'>Request {escape(error.request_id)}</p>" if error.request_id else ""
    return (
        f'<div class="refusal" role="alert"><strong>{escape(title)}</strong>'
        f"<p>{_sentence(error)}</p>{trace}</div>"
    )


def _voice(voice: Voice, *, alone: bool) -> str:
    name = "" if alone else f'<h3 class="label">{escape(voice.model)}</h3>'
    return f'<section class="voice">{name}{_said(voice)}</section>'


def _said(voice: Voice) -> str:
    if isinstance(voice.answer, Refused):
        return refusal("No caption", voice.answer)
    if voice.answer is None:
        texts = [text for text in voice.texts if text] or ["Reading the drawing …"]
        lines = "".join(f'<li><p class="caption pending">{escape(text)}</p></li>' for text in texts)
        return f'<ol class="captions">{lines}</ol>'
    lines = "".join(_caption(each) for each in voice.answer.captions)
    return f'<ol class="captions">{lines}</ol>{_facts(voice.answer)}'


def _caption(caption: CaptionText) -> str:
    if not caption.text:
        return '<li><p class="note">The model had nothing to say.</p></li>'
    cut = caption.finish_reason == "length"
    note = "<p class='note'>The caption reached its length limit.</p>" if cut else ""
    if caption.draft is not None:
        note += f"<p class='note'>The model first wrote: {escape(caption.draft)}</p>"
    shown = _marked(caption.text, caption.claims or ())
    return f"""<li data-text="{escape(caption.text)}"><p class="caption">{shown}</p>{note}
    <div class="actions">
    <button type="button" data-copy aria-label="Copy the caption">Copy</button>
    <button type="button" data-title>Download SVG with this title</button></div></li>"""


def _marked(text: str, claims: Sequence[ClaimVerdict]) -> str:
    """The text with its claims; of those that share words the first is shown, at one place the worst."""
    parts, done = [], 0
    for claim in sorted(claims, key=lambda claim: (claim.start, _WORST_FIRST.index(claim.verdict))):
        if claim.start >= done:
            parts += [escape(text[done : claim.start]), _mark(text[claim.start : claim.end], claim)]
            done = claim.end
    return "".join(parts) + escape(text[done:])


def _mark(words: str, claim: ClaimVerdict) -> str:
    """A reader of screens hears the verdict, too."""
    title = f"{claim.kind.capitalize()}: {claim.verdict}"
    return (
        f'<mark class="{claim.verdict}" title="{title}">{escape(words)}'
        f'<span class="unseen"> ({claim.verdict})</span></mark>'
    )


def _render(shown: Picture) -> str:
    if isinstance(shown, Refused):
        return f"<p class='note'>No preview: {_sentence(shown)}</p>"
    if shown is None:
        return '<div class="render"></div>'
    ratio = shown.width / shown.height if shown.height else 1.0
    if not 1 / _MOST_RATIO <= ratio <= _MOST_RATIO:
        ratio = 1.0
    style = f"aspect-ratio:{ratio:.4g};max-width:min(100%,{_HEIGHT_REM * ratio:.4g}rem)"
    return f'<img class="render" style="{style}" src="{_data_url(shown.png)}" alt="Render of the drawing">'


def _sentence(error: Refused) -> str:
    text = str(error)
    return escape(text[:1].upper() + text[1:])


def _list(title: str, items: Sequence[str], name: str) -> str:
    entries = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<div class="{name}"><p class="label">{title}</p><ul>{entries}</ul></div>' if items else ""


def _facts(answer: CaptionResponse) -> str:
    facts = {
        "Model": answer.model,
        "Size": f"{answer.svg.width:g} by {answer.svg.height:g}",
        "Elements": f"{answer.svg.elements:,}",
        "Tokens": f"{answer.usage.prompt_tokens} in, {answer.usage.completion_tokens} out",
        "Time": f"{answer.timings_ms['total'] / 1000:.2f} s",
    }
    entries = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{entries}</dl>'


def _label(name: str) -> str:
    return name.replace("-", " ").replace("_", " ").capitalize()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"

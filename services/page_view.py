"""What the page shows, as HTML fragments. Everything that came from a file or a model is escaped here."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from services.page_client import Refused
from services.schemas import CaptionResponse

Picture = bytes | Refused | None
"""A PNG, the reason why there is none, or not yet known."""

HEADING = """\
<header class="heading">
  <h1>What does this drawing show?</h1>
  <p>Give it an SVG and read what it shows in words. Nothing leaves this server.</p>
</header>"""

FOOTER = """\
<footer class="footer"><a href="/docs">HTTP API</a><a href="/v1/models">Models</a></footer>"""

EMPTY = """\
<div class="card blank"><p>The drawing and its caption appear here.</p></div>"""

RESULT_JS = """\
watch('value', () => {  // on a phone the result lies below what was tapped
  if (window.innerWidth < 760) element.scrollIntoView({behavior: 'smooth', block: 'start'});
});
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  await navigator.clipboard.writeText(element.querySelector('.caption').innerText);
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});"""

CHOOSE_JS = """\
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-sample]');
  if (button) trigger('choose', {sample: button.dataset.sample});
});"""


def working(name: str, picture: Picture = None) -> str:
    """While the caption is being written; with the render once there is one."""
    return _card(
        _name(name),
        _picture(picture, ""),
        '<p class="caption pending" role="status">Reading the drawing …</p>',
    )


def described(name: str, picture: Picture, answer: CaptionResponse) -> str:
    """The caption, and what was found on the way. The picture's alternative text is the caption itself."""
    best = answer.captions[0]
    text = best.text or "(The model had nothing to say.)"
    cut = (
        "<p class='note'>The caption reached its length limit.</p>" if best.finish_reason == "length" else ""
    )
    return _card(
        _name(name),
        _picture(picture, text),
        f"""<div class="said"><p class="caption">{escape(text)}</p>
        <button type="button" class="copy" data-copy>Copy</button></div>{cut}""",
        _list("Removed before reading", answer.svg.removed, "removed"),
        _list("Good to know", answer.svg.warnings, "warnings"),
        _facts(answer),
    )


def refused(name: str, error: Refused, picture: Picture = None) -> str:
    """Why there is no caption."""
    trace = f"<p class='note'>Request {escape(error.request_id)}</p>" if error.request_id else ""
    why = f"<strong>No caption</strong><p>{_sentence(error)}</p>{trace}"
    return _card(
        _name(name),
        _picture(picture, "") if isinstance(picture, bytes) else "",
        f'<div class="refusal" role="alert">{why}</div>',
    )


def gallery(pictures: list[tuple[str, bytes]]) -> str:
    """Samples to choose from: name and PNG of each."""
    buttons = [
        f"""<button type="button" data-sample="{escape(name)}" title="{escape(_label(name))}">
        <img src="{_data_url(png)}" alt="{escape(_label(name))}" width="72" height="72"></button>"""
        for name, png in pictures
    ]
    return (
        f'<p class="label">Or try one of these</p><div class="samples">{"".join(buttons)}</div>'
        if buttons
        else ""
    )


def _card(*parts: str) -> str:
    return f'<div class="card" aria-live="polite">{"".join(parts)}</div>'


def _name(name: str) -> str:
    return f'<p class="name">{escape(name)}</p>'


def _picture(picture: Picture, text: str) -> str:
    if isinstance(picture, bytes):
        return f'<img class="render" src="{_data_url(picture)}" alt="{escape(text)}">'
    return f"<p class='note'>No preview: {_sentence(picture)}</p>" if picture else ""


def _sentence(error: Refused) -> str:
    text = str(error)
    return escape(text[:1].upper() + text[1:])


def _list(title: str, items: list[str], name: str) -> str:
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

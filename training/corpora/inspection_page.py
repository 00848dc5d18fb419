"""The page of an inspection: samples with their pictures, strata, leaks and duplicates, in one HTML file.

Ids, captions and tags are of unknown origin and escaped; pictures are PNG, drawn from the sanitized copy.
The page may load nothing and run nothing, and says so to the browser.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from captioning.corpus import Sample, read_corpus
from captioning.pipeline import as_bytes
from rendering import Rasterizer, RenderError, SvgRejected, canonicalize, load
from training.corpora.inspection import Group, Inspection
from training.corpora.render_hash import METHOD

_SIZE_PX = 192
_MOST_GROUPS = 40
_MOST_OF_A_GROUP = 6

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Corpus</title>
<style>
  body {{ font: 15px/1.5 system-ui, sans-serif; color: #1d2733; }}
  body {{ margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }}
  table {{ border-collapse: collapse; margin: 1rem 0 2rem; }}
  th, td {{ border: 1px solid #d5dbe3; padding: .3rem .6rem; text-align: left; vertical-align: top; }}
  thead th {{ background: #f2f5f8; }}
  .cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }}
  figure {{ margin: 0; border: 1px solid #d5dbe3; padding: .7rem; overflow-wrap: anywhere; }}
  figure img {{ width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff; }}
  .group figure img {{ max-width: 8rem; }}
  ul {{ margin: .4rem 0; padding-left: 1.1rem; }}
  small {{ color: #5c6875; display: block; }}
  .warning {{ color: #a11d1d; }}
</style>
<h1>Corpus</h1>
<p>{summary}</p>
<h2>Strata</h2>
{strata}
<h2>Where captions stand in the files</h2>
<p>Share of samples. In the text that a model reads: {canonical}.</p>
{leaks}
<h2>Samples, drawn with seed {seed}</h2>
<div class="cards">{samples}</div>
<h2>Duplicates</h2>
<p>{duplicates}</p>
{groups}
</html>
"""


def page(inspection: Inspection, files: Mapping[str, Path], seed: int) -> str:
    """The HTML page, complete in itself; reads the corpus again for the samples that it shows."""
    listed = inspection.groups[:_MOST_GROUPS]
    members = {member for group in listed for member in group.samples[:_MOST_OF_A_GROUP]}
    samples = _read(files, members | set(inspection.drawn))
    with Rasterizer() as rasterizer:
        cards = {where: _card(where, sample, rasterizer) for where, sample in samples.items()}
    summaries = inspection.files
    total = sum(found["samples"] for found in summaries.values())
    return _PAGE.format(
        summary=f"{total:,} samples in {escape(', '.join(summaries))}.",
        strata=_strata(summaries),
        canonical=_canonical_leaks(summaries),
        leaks=_leaks(summaries),
        seed=seed,
        samples="\n".join(cards[where] for where in inspection.drawn),
        duplicates=_duplicates(inspection),
        groups="\n".join(_group(group, cards) for group in listed),
    )


def _read(files: Mapping[str, Path], wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Sample]:
    return {
        (name, sample.id): sample
        for name in files
        if any(file == name for file, _ in wanted)
        for sample in read_corpus(files[name])
        if (name, sample.id) in wanted
    }


def _card(where: tuple[str, str], sample: Sample, rasterizer: Rasterizer) -> str:
    references = "".join(f"<li>{escape(reference)}</li>" for reference in sample.references)
    facts = [
        ("file", where[0]),
        ("tags", ", ".join(sample.tags)),
        ("source", sample.source),
        ("licence", sample.license),
        ("captions by", sample.caption_author),
    ]
    lines = "".join(f"<small>{name}: {escape(text)}</small>" for name, text in facts if text)
    head = f"{_picture(sample, rasterizer)}<b>{escape(sample.id)}</b>"
    return f"<figure>{head}<ul>{references}</ul>{lines}</figure>"


def _picture(sample: Sample, rasterizer: Rasterizer) -> str:
    try:
        drawing = load(as_bytes(sample.svg))
        size = f"{drawing.elements:,} elements, {len(canonicalize(drawing)):,} canonical characters"
        png = base64.b64encode(rasterizer.render(drawing, size_px=_SIZE_PX, background="auto")).decode()
    except (SvgRejected, RenderError) as error:
        return f'<p class="warning">{escape(str(error))}</p>'
    return f'<img alt="" src="data:image/png;base64,{png}"><small>{size}</small>'


def _strata(files: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[tuple[str, ...]] = [("samples", *(f"{found['samples']:,}" for found in files.values()))]
    names = list(dict.fromkeys(name for found in files.values() for name in found["quantities"]))
    rows += [
        (name, *(_quantity(found["quantities"].get(name)) for found in files.values())) for name in names
    ]
    for name in ("has text", "source", "license", "caption author", "unusable"):
        rows.append((name, *(_counts(found[name]) for found in files.values())))
    return _table(("", *map(escape, files)), rows)


def _quantity(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    spread = f"median {found['median']:g}, 90 % up to {found['p90']:,}, most {found['max']:,}"
    return f"{spread}<small>{_counts(found['strata'])}</small>"


def _counts(counts: Mapping[str, int]) -> str:
    return "<br>".join(f"{escape(name)}: {count:,}" for name, count in counts.items()) or "none"


def _leaks(files: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (escape(name), escape(place), *(f"{share:.1%}" for share in shares.values()))
        for name, found in files.items()
        for place, shares in found["leaks"].items()
    ]
    return _table(("file", "place", "a whole caption", "all of its words", "some of them"), rows)


def _canonical_leaks(files: Mapping[str, Mapping[str, Any]]) -> str:
    found = [(name, place) for name, file in files.items() for place in file["canonical leaks"]]
    if not found:
        return "none"
    places = ", ".join(f"{place} ({name})" for name, place in found)
    return f'<strong class="warning">{escape(places)}</strong>'


def _duplicates(inspection: Inspection) -> str:
    found = inspection.summary()["duplicates"]
    counts = (
        f"{found[kind]['groups']:,} groups of {text} ({found[kind]['groups across files']:,} across files)"
        for kind, text in (("canonical", "equal canonical texts"), ("render", "pictures alike"))
    )
    return (
        f"{', '.join(counts)}. Pictures are compared by {escape(METHOD)}. At most {_MOST_GROUPS} are shown."
    )


def _group(group: Group, cards: Mapping[tuple[str, str], str]) -> str:
    shown = group.samples[:_MOST_OF_A_GROUP]
    text = "the same canonical text" if group.kind == "canonical" else "pictures alike"
    across = ' <span class="warning">across files</span>' if group.across else ""
    title = f"<h3>{len(group.samples)} samples, {text}{across}</h3>"
    return f'{title}<div class="cards group">{"".join(cards[member] for member in shown)}</div>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"

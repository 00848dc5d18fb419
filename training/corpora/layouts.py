"""Which column of a foreign data set is which field of a sample: the known data sets, and anybody's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from captioning.corpus import Sample
from captioning.errors import ConfigError

FIELDS = tuple(Sample.model_fields)
_REQUIRED = ("svg", "references")
_LISTS = ("references", "tags")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """Columns by field, and what holds for every sample."""

    columns: Mapping[str, str]  # field -> column; of references and tags several, with commas between
    constants: Mapping[str, str] = field(default_factory=dict)  # field -> text, where no column says it
    captions: Mapping[str, str] = field(
        default_factory=dict
    )  # caption columns to choose from -> their author
    unique: str | None = None  # a column whose value is wanted once: later rows are left out
    lenient: bool = False  # columns may be missing, but for those of the drawing and its references

    def with_columns(self, columns: Mapping[str, str], constants: Mapping[str, str]) -> Layout:
        """With other columns or constants in place of some; raises ConfigError for what cannot be meant."""
        for name in (*columns, *constants):
            if name not in FIELDS:
                raise ConfigError(f"a sample has no field '{name}'. Its fields: {', '.join(FIELDS)}.")
        changed = replace(
            self, columns={**self.columns, **columns}, constants={**self.constants, **constants}
        )
        missing = [name for name in _REQUIRED if name not in changed.columns]
        if missing:
            raise ConfigError(
                f"no column is named for {' and '.join(missing)}: add --column {missing[0]}=COLUMN"
            )
        return changed

    def with_captions(self, column: str) -> Layout:
        """With the references from that caption column, and their author where it is known."""
        if column not in self.captions:
            known = ", ".join(self.captions) or "none; name it by --column references=COLUMN"
            raise ConfigError(f"no caption column '{column}' to choose. Known here: {known}.")
        author = {"caption_author": self.captions[column]} if self.captions[column] else {}
        return self.with_columns({"references": column}, author)

    def column_names(self) -> list[str]:
        """All that are read, each once."""
        named = [name for columns in self.columns.values() for name in columns.split(",")]
        return list(dict.fromkeys([*named, *([self.unique] if self.unique else ())]))


SAME_NAMES = Layout({name: name for name in FIELDS}, lenient=True)
"""A corpus of ours, or a file whose columns are called like the fields."""

LAYOUTS: dict[str, Layout] = {
    "starvector/text2svg-stack": Layout(
        columns={"id": "Filename", "svg": "Svg"},
        captions={"caption_blip2": "BLIP-2", "caption_cogvlm": "CogVLM", "caption_llava": "LLaVA"},
    ),
    "OmniSVG/MMSVG-Icon": Layout(
        columns={"id": "id", "svg": "svg"},
        captions={"description": ""},  # by a model; which one its card does not say for each row
    ),
    "ServiceNow/VectorGym": Layout(
        columns={"id": "svg_id", "svg": "original_svg"},
        constants={"license": "Apache-2.0"},
        captions={"text_caption": "human annotators"},
        unique="svg_id",  # a drawing has one row for each edit of it
    ),
}


def layout_for(
    name: str,
    captions: str | None = None,
    columns: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
) -> Layout:
    """The layout of a known data set, or fields and columns of the same name, with what was asked for.

    Raises:
        ConfigError: a field, caption column or data set that is not known here.
    """
    columns, constants = columns or {}, constants or {}
    layout = LAYOUTS.get(name)
    if layout is None:
        if captions:
            raise ConfigError(f"'{name}' is no data set with known captions: {', '.join(LAYOUTS)}.")
        own = Layout({}) if columns else SAME_NAMES
        return own.with_columns(columns, constants)
    if "references" not in columns:
        layout = layout.with_captions(captions or next(iter(layout.captions)))
    return layout.with_columns(columns, constants)


class _BadValue(ValueError):
    """A cell that is no text."""


def sample_of(row: Row, layout: Layout, fallback_id: str) -> Sample | str:
    """The sample that a row makes, or the reason why it makes none."""
    values: dict[str, Any] = {"id": fallback_id, **layout.constants}
    for name, columns in layout.columns.items():
        found = [row[column] for column in columns.split(",") if row.get(column) is not None]
        try:
            value = _lines(found) if name in _LISTS else _text(found[0]) if found else ""
        except _BadValue as error:
            return f"{name}: {error}"
        if value:
            values[name] = value
    for name in _REQUIRED:
        if name not in values:
            return f"no {name}"
    try:
        return Sample.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{problem['loc'][0]}: {problem['msg']}"


def _lines(found: list[Any]) -> list[str]:
    """All texts of some columns, each a text or a list of texts, on one line each, and no text twice."""
    texts = [_text(value) for each in found for value in (each if isinstance(each, list) else [each])]
    lines = (" ".join(text.split()) for text in texts)  # a line break would count as another caption
    return list(dict.fromkeys(filter(None, lines)))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise _BadValue("bytes that are not UTF-8") from None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadValue(f"a {type(value).__name__} where text was expected")
    return str(value).strip()

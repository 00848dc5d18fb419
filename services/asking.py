"""What a request asks for, within what the service allows."""

from __future__ import annotations

import asyncio

from rendering import SvgCaptionError
from services import errors, watch
from services.captions import Sampling
from services.catalog import Catalog
from services.errors import ApiError
from services.schemas import CaptionOptions
from services.settings import Settings


def sampling_of(options: CaptionOptions, settings: Settings) -> Sampling:
    """The request's wishes within the service's limits.

    Raises:
        ApiError: a wish that cannot be met.
    """
    max_tokens = settings.max_tokens if options.max_tokens is None else options.max_tokens
    if max_tokens > settings.max_tokens_limit:
        raise _invalid("max_tokens", f"max_tokens is {max_tokens}, the limit is {settings.max_tokens_limit}.")
    if options.n > settings.max_captions:
        raise _invalid("n", f"n is {options.n}, the limit is {settings.max_captions}.")
    if options.n > 1 and options.temperature == 0:
        raise _invalid(
            "n", f"At temperature 0 all {options.n} captions would be the same. Raise temperature."
        )
    if options.revise and not settings.revises:
        raise _invalid(
            "revise", "revise needs an engine of the service's own; this one's model runs in a server."
        )
    return Sampling(options.n, max_tokens, options.temperature, options.seed, tuple(options.stop))


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(422, "invalid_request", message, param=param)


async def resolve(catalog: Catalog, name: str | None) -> str:
    """The id of the model that shall answer.

    Raises:
        ApiError: there is none of that name.
    """
    try:
        model = await asyncio.to_thread(catalog.resolve, name)
    except SvgCaptionError as error:
        raise errors.from_domain(error, "model") from None
    watch.current().model = model
    return model

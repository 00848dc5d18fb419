"""vLLM's completions API over an engine of ours, on a real port, and what can go wrong with such a server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from captioning.engine import Engine, Generation, GenerationRequest, Ticket
from captioning.errors import ModelNotFound, PromptTooLong
from rendering import SvgCaptionError

BASE = "the-base"  # what this server calls its base model
BASES: tuple[str, ...] = (BASE,)  # its names for it


@dataclass
class CompletionsServer:
    """Its state, for tests to look at and to change."""

    engine: Engine
    url: str = ""
    key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of /v1/completions
    first_answers: list[Response] = field(default_factory=list)  # given before it does as it should
    loads_adapters: bool = True
    breaks_after: int | None = None  # pieces, and without a goodbye
    loaded: dict[str, str] = field(default_factory=dict)  # our adapter ids by the server's names

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if self.first_answers:
            return self.first_answers.pop(0)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Unauthorized")
        try:
            ticket = self._submit(body)
        except ModelNotFound:
            return _error(404, f"The model `{body['model']}` does not exist.")
        except PromptTooLong as error:
            return _error(400, f"This model's maximum context length is passed: {error}")
        if body.get("stream"):
            return StreamingResponse(self._stream(ticket), media_type="text/event-stream")
        waiting = asyncio.ensure_future(asyncio.wrap_future(ticket._future))
        while not waiting.done():
            await asyncio.wait([waiting], timeout=0.02)
            if await request.is_disconnected():
                ticket.cancel()
                return Response()
        texts = waiting.result()
        return JSONResponse(_answer([_choice(index, text) for index, text in enumerate(texts)], texts))

    def _submit(self, body: dict[str, Any]) -> Ticket:
        prompt, model = body["prompt"], body["model"]
        if model != BASE and model not in self.loaded:
            raise ModelNotFound(model)
        if isinstance(prompt, str):
            prompt = self.engine.tokenizer(prompt)["input_ids"]
        request = GenerationRequest(
            prompt,
            None if model == BASE else self.loaded[model],
            body.get("max_tokens", 16),
            body.get("temperature", 1.0),
            body.get("seed"),
            body.get("n", 1),
            tuple(body.get("stop", ())),
        )
        return self.engine.submit(request, stream=bool(body.get("stream")))

    async def _stream(self, ticket: Ticket) -> AsyncIterator[str]:
        count = 0
        async for delta in ticket:
            yield _event(_answer([{"index": delta.index, "text": delta.text, "finish_reason": None}]))
            count += 1
            if count == self.breaks_after:
                raise ConnectionResetError
        texts = await ticket
        for index, text in enumerate(texts):
            yield _event(_answer([{**_choice(index, text), "text": ""}]))
        yield _event(_answer([], texts))
        yield "data: [DONE]\n\n"

    async def load(self, request: Request) -> Response:
        if not self.loads_adapters:
            return JSONResponse({"detail": "Not Found"}, 404)  # as of any path that is not there
        body = await request.json()
        try:
            self.loaded[body["lora_name"]] = self.engine.load_adapter(body["lora_path"]).adapter_id
        except SvgCaptionError as error:
            return _error(400, str(error))
        return PlainTextResponse(f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if name not in self.loaded:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        self.engine.unload_adapter(self.loaded.pop(name))
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def models(self) -> dict[str, Any]:
        size = self.engine.max_context_tokens
        bases = [{"id": name, "object": "model", "parent": None, "max_model_len": size} for name in BASES]
        adapters = [{"id": name, "object": "model", "parent": BASE} for name in self.loaded]
        return {"object": "list", "data": [*bases, *adapters]}


@contextmanager
def serving(server: CompletionsServer) -> Iterator[CompletionsServer]:
    """It listens on a free port of this machine inside the block."""
    app = FastAPI()
    app.add_api_route("/v1/completions", server.complete, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", server.models)
    app.add_api_route("/v1/load_lora_adapter", server.load, methods=["POST"], response_model=None)
    app.add_api_route("/v1/unload_lora_adapter", server.unload, methods=["POST"], response_model=None)
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ws="none")
    http = uvicorn.Server(config)
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    while not http.started:
        time.sleep(0.01)
    server.url = f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        http.should_exit = True
        thread.join()


def _choice(index: int, text: Generation) -> dict[str, Any]:
    return {"index": index, "text": text.text, "finish_reason": text.finish_reason, "logprobs": None}


def _answer(choices: list[dict[str, Any]], texts: list[Generation] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": "cmpl-1", "object": "text_completion", "model": "any", "choices": choices}
    if texts:
        completion = sum(text.completion_tokens for text in texts)
        answer["usage"] = {"prompt_tokens": texts[0].prompt_tokens, "completion_tokens": completion}
    return answer


def _event(answer: dict[str, Any]) -> str:
    return f"data: {json.dumps(answer)}\n\n"


def _error(status: int, message: str) -> JSONResponse:
    error = {"message": message, "type": "Error", "param": None, "code": status}
    return JSONResponse({"error": error}, status)

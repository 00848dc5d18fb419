"""A captioner on many workers, as Ray's actors with a model each: the one module here that knows Ray.

Actors get samples by the handful and give candidates one by one, as they are written. What an actor had under
way when it died, another does. They see the driver's paths: on a cluster, models and adapter lie on storage
that all nodes see, or come from the hub.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayError, RayTaskError, RuntimeEnvSetupError

from captioning.corpus import Sample
from evaluation.candidates import Candidate
from evaluation.captioners import Captioner
from evaluation.errors import Unavailable
from rendering import SvgCaptionError

_LOSSES = 4  # actors that die one after another, without a candidate in between
_SAMPLES_A_TASK = 64  # what is asked of an actor at a time
_OBJECT_STORE_BYTES = 200 * 1024 * 1024  # of a Ray of our own: samples and candidates go through it

_log = logging.getLogger(__name__)

Part = dict[str, Sample]
"""Samples that are asked of one actor, by id; who is written leaves."""


class ActorCaptioner:
    """`build` makes the captioner in each of `actors` workers of the Ray that runs; it must be picklable.

    An actor gets so many CPUs and GPUs, and with `packages` (pip's requirements) an environment of its own: a
    copy of this one, with them installed over it.
    """

    def __init__(
        self,
        build: Callable[[], Captioner],
        *,
        actors: int,
        cpus: float = 1.0,
        gpus: float = 0.0,
        packages: Sequence[str] = (),
        ends_at: float = math.inf,
    ) -> None:
        self._build, self._actors, self._ends_at = build, actors, ends_at
        self._needs = {"CPU": cpus, "GPU": gpus}
        environment = {"uv": {"packages": list(packages)}} if packages else None
        self._options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "runtime_env": environment}

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        """As they are written, until the time is up: not in order.

        Raises:
            Unavailable: no node has room for an actor, or actors die one after another. What was yielded
                before stands.
            SvgCaptionError: of building the captioner.
        """
        _check_room(self._needs)
        team = _Team(self._new_actor, self._actors)
        try:
            yield from team.caption(_parts(samples, self._actors), self._ends_at)
        finally:
            team.dismiss()

    def _new_actor(self) -> Any:
        return ray.remote(_Writer).options(**self._options).remote(self._build)


class _Writer:
    """An actor: one captioner, built before the first sample."""

    def __init__(self, build: Callable[[], Captioner]) -> None:
        self._build = build

    def prepare(self) -> None:
        self._captioner = self._build()

    def caption(self, samples: Sequence[Sample]) -> Iterator[Candidate]:
        yield from self._captioner.caption(samples)


class _Team:
    """Actors at work; those that died are replaced."""

    def __init__(self, new_actor: Callable[[], Any], size: int) -> None:
        self._new_actor, self._size = new_actor, size
        self._preparing: dict[Any, Any] = {}  # actors, by what `prepare` gave
        self._writing: dict[Any, tuple[Any, Part]] = {}  # actors and their parts, by streams of candidates
        self._idle: list[Any] = []
        self._losses = 0

    def caption(self, parts: deque[Part], ends_at: float) -> Iterator[Candidate]:
        while parts or self._writing:
            self._assign(parts)
            timeout = None if ends_at == math.inf else max(0.0, ends_at - time.monotonic())
            ready, _ = ray.wait([*self._writing, *self._preparing], timeout=timeout)
            if not ready:
                return  # the time is up
            try:
                if ready[0] in self._preparing:
                    self._welcome(ready[0])
                elif candidate := self._listen(ready[0]):
                    self._losses = 0
                    yield candidate
            except RayError as error:
                parts.extend(self._lose(ready[0], error))

    def dismiss(self) -> None:
        writing = (actor for actor, _ in self._writing.values())
        for actor in [*self._preparing.values(), *writing, *self._idle]:
            ray.kill(actor)

    def _assign(self, parts: deque[Part]) -> None:
        """Parts for who is idle, and new actors where there is work for them."""
        while parts and self._idle:
            actor, part = self._idle.pop(), parts.popleft()
            self._writing[actor.caption.remote(list(part.values()))] = actor, part
        room = self._size - len(self._preparing) - len(self._writing)
        for _ in range(min(room, len(parts) - len(self._preparing))):
            actor = self._new_actor()
            self._preparing[actor.prepare.remote()] = actor

    def _welcome(self, prepared: Any) -> None:
        ray.get(prepared)
        self._idle.append(self._preparing.pop(prepared))

    def _listen(self, stream: Any) -> Candidate | None:
        """The next candidate of a stream; None at its end."""
        actor, part = self._writing[stream]
        try:
            candidate: Candidate = ray.get(next(stream))
        except StopIteration:
            del self._writing[stream]
            self._idle.append(actor)
            return None
        del part[candidate.id]
        return candidate

    def _lose(self, event: Any, error: RayError) -> list[Part]:
        """What the actor leaves for another one.

        It comes after all others: should it be what kills actors, they are written by then.
        """
        if isinstance(error, RayTaskError):
            raise error.cause if isinstance(error.cause, SvgCaptionError) else error
        if isinstance(error, RuntimeEnvSetupError | ActorUnschedulableError):
            raise Unavailable(f"its actors cannot be started: {_last_line(error)}") from error
        self._losses += 1
        if self._losses == _LOSSES:
            raise Unavailable(
                f"{_LOSSES} of its actors died one after another: {_last_line(error)}"
            ) from error
        _log.warning("an actor died: %s", _last_line(error))
        in_work = event in self._writing
        actor, part = self._writing.pop(event) if in_work else (self._preparing.pop(event), {})
        ray.kill(actor)  # it may only be out of reach
        return [part] if part else []


def _parts(samples: Sequence[Sample], actors: int) -> deque[Part]:
    """So many parts that no actor is idle while another has much to do."""
    size = max(1, min(_SAMPLES_A_TASK, math.ceil(len(samples) / (2 * actors))))
    starts = range(0, len(samples), size)
    return deque({sample.id: sample for sample in samples[start : start + size]} for start in starts)


def _check_room(needs: dict[str, float]) -> None:
    """An actor that fits on no node would be waited for without an end."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in nodes):
        asked = " and ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount)
        there = "; ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
        raise Unavailable(f"each of its actors asks for {asked}, and Ray's nodes have no more than {there}")


@contextmanager
def running_ray() -> Iterator[None]:
    """The Ray that is there: the process's own, the cluster of RAY_ADDRESS, or else one of this machine.

    Raises:
        Unavailable: it does not answer, or does not start.
    """
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if not os.environ.get("RAY_ADDRESS"):
        options |= {
            "address": "local",
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _start(options)
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set one that exits at once
        yield
    finally:
        ray.shutdown()


def _start(options: dict[str, Any]) -> None:
    """Tried twice: Ray gives its own processes 30 s to start, which a busy machine may not manage."""
    for is_last in (False, True):
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises no narrower one
            if is_last:
                raise Unavailable(f"Ray cannot be reached or started: {_last_line(error)}") from error
            _log.warning("Ray did not start (%s); once more", error)
        else:
            return


def _last_line(error: BaseException) -> str:
    """Of the message: Ray nests tracebacks as text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__

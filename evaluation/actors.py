"""A captioner on many workers, as Ray's actors with a model each.

Actors get samples by the handful and give candidates one by one, as they are written. What an actor had under
way when it died, another does. They see the driver's paths: on a cluster, models and adapter lie on storage
that all nodes see, or come from the hub.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayError, RayTaskError, RuntimeEnvSetupError

from captioning.corpus import Sample
from captioning.running_ray import root_cause
from evaluation.candidates import Candidate
from evaluation.captioners import Captioner
from evaluation.errors import Unavailable
from rendering import SvgCaptionError

_LOSSES = 4  # actors that die one after another, without a candidate in between
_SAMPLES_A_TASK = 64  # what is asked of an actor at a time

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
            raise Unavailable(f"its actors cannot be started: {root_cause(error)}") from error
        self._losses += 1
        if self._losses == _LOSSES:
            raise Unavailable(
                f"{_LOSSES} of its actors died one after another: {root_cause(error)}"
            ) from error
        _log.warning("an actor died: %s", root_cause(error))
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

"""The adapters in memory, by id. What no request uses makes room for others, the longest unused first."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from captioning.adapters import Manifest
from captioning.errors import AdapterError, AdapterMemoryFull, ModelNotFound
from captioning.lora_bank import Lora


@dataclass(eq=False)
class Loaded:
    manifest: Manifest
    lora: Lora
    users: int = 0  # requests that wait for it or go through it


class AdapterShelf:
    """May be used by several threads. `max_bytes` None: no limit."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.loads = 0
        self.evictions = 0
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._loaded: dict[str, Loaded] = {}  # the last used at the end

    @property
    def manifests(self) -> dict[str, Manifest]:
        with self._lock:
            return {adapter_id: loaded.manifest for adapter_id, loaded in self._loaded.items()}

    @property
    def bytes(self) -> int:
        with self._lock:
            return self._bytes()

    def put(self, manifest: Manifest, lora: Lora) -> list[Lora]:
        """Add an adapter, or replace the one of its id; returns those that are gone.

        Raises:
            AdapterMemoryFull: it does not fit into the budget beside those that are in use.
            AdapterError: it is larger than the budget.
        """
        with self._lock:
            before = dict(self._loaded)
            gone = [self._loaded.pop(manifest.adapter_id, None)]
            idle = [adapter_id for adapter_id, loaded in self._loaded.items() if not loaded.users]
            while self._max_bytes is not None and self._bytes() + lora.bytes > self._max_bytes:
                if not idle:
                    held = self._bytes()
                    self._loaded = before
                    raise _no_room(manifest, lora, self._max_bytes, held)
                gone.append(self._loaded.pop(idle.pop(0)))
            self._loaded[manifest.adapter_id] = Loaded(manifest, lora)
            self.loads += 1
            self.evictions += len(gone) - 1  # the first had the same id, if any
            return [loaded.lora for loaded in gone if loaded]

    def remove(self, adapter_id: str) -> Lora:
        with self._lock:
            self._find(adapter_id)
            return self._loaded.pop(adapter_id).lora

    def take(self, adapter_id: str) -> Loaded:
        """The adapter, for one request more; it stays until as many were given back."""
        with self._lock:
            loaded = self._find(adapter_id)
            self._loaded[adapter_id] = self._loaded.pop(adapter_id)
            loaded.users += 1
            return loaded

    def give_back(self, loaded: Loaded) -> None:
        with self._lock:
            loaded.users -= 1

    def _find(self, adapter_id: str) -> Loaded:
        if loaded := self._loaded.get(adapter_id):
            return loaded
        available = ", ".join(self._loaded) or "none"
        raise ModelNotFound(f"No adapter '{adapter_id}'. Available: {available}.")

    def _bytes(self) -> int:
        return sum(loaded.lora.bytes for loaded in self._loaded.values())


def _no_room(manifest: Manifest, lora: Lora, budget: int, held: int) -> AdapterError:
    needs = f"adapter '{manifest.adapter_id}' needs {lora.bytes:,} bytes; the budget is {budget:,}"
    if lora.bytes > budget:
        return AdapterError(f"{needs}. Raise the budget, or retrain it with a smaller rank.")
    return AdapterMemoryFull(
        f"{needs} and adapters in use hold {held:,}. Try again later, or raise the budget."
    )

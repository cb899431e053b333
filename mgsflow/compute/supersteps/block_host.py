"""The blocks of one process: calls a method on each of them, and keeps the faces that they publish, by version."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.compute.supersteps.block_store import BlockStore
from mgsflow.compute.supersteps.checkpoint import read_block, write_block
from mgsflow.compute.supersteps.subdomain import Face, Faces, Factory, Subdomain, Topology
from mgsflow.errors import ComputeError

#: A face of a block anywhere: whose, and which.
Address: TypeAlias = tuple[Triple, Face]


class StaleFaces(ComputeError):  # noqa: N818
    """Faces of another version, or of another placement of the blocks, than those at hand were asked for."""


@dataclass(frozen=True)
class Call:
    """What one superstep does on every block.

    Attributes
    ----------
    method : str
        Name of the method.
    common : tuple
        Arguments that are the same for all blocks.
    each : mapping of block to tuple
        Arguments of single blocks, after the common ones.
    pull, publish : (str, int), optional
        Field and version of the faces that blocks are handed, and of those they return.
    """

    method: str
    common: tuple[Any, ...] = ()
    each: Mapping[Triple, tuple[Any, ...]] = field(default_factory=dict)
    pull: tuple[str, int] | None = None
    publish: tuple[str, int] | None = None


class BlockHost:
    """Some of the blocks, their store, and their published faces.

    Parameters
    ----------
    topology : Topology
    store : BlockStore
    threads : int
        Blocks that are worked on at once.
    """

    def __init__(self, topology: Topology, store: BlockStore, threads: int = 1) -> None:
        self.topology = topology
        self.store = store
        self.threads = threads
        self.blocks: dict[Triple, Subdomain] = {}
        self._published: dict[tuple[str, int], dict[Triple, Faces]] = {}
        self._stopped = threading.Event()
        self._backwards = False

    def make(self, factory: Factory, indices: Iterable[Triple]) -> None:
        """Make these blocks."""

        def make(index: Triple) -> Subdomain:
            return factory(index, self.store.arrays(index))

        self.blocks = self._each(list(indices), make)

    def step(self, call: Call, remote: Mapping[Address, np.ndarray]) -> dict[Triple, Any]:
        """Call a method on every block and return the results; `remote` holds the faces of blocks that are elsewhere.

        Raises
        ------
        StaleFaces
            If the version to be pulled is not the one at hand.
        """
        if call.pull is not None and call.pull not in self._published and self.blocks:
            raise StaleFaces(self._stale(call.pull))
        faces: dict[Triple, Faces] = {}

        def run(index: Triple) -> Any:
            arguments = call.common + call.each.get(index, ())
            if call.pull is not None:
                arguments = (self._handed(index, call.pull, remote), *arguments)
            answer = getattr(self.blocks[index], call.method)(*arguments)
            if call.publish is None:
                return answer
            result, faces[index] = answer
            return result

        # to and fro: what a bounded store still holds of the last blocks is used first
        order = sorted(self.blocks, reverse=self._backwards)
        self._backwards = not self._backwards
        results = self._each(order, run)
        if call.publish is not None:
            self._publish(call, faces)
        return results

    def faces(self, version: tuple[str, int], wanted: Iterable[Address]) -> list[np.ndarray]:
        """Return published faces.

        Raises
        ------
        StaleFaces
            If they are of another version.
        """
        published = self._published.get(version)
        if published is None:
            raise StaleFaces(self._stale(version))
        return [published[index][face] for index, face in wanted]

    def wanted(self) -> list[Address]:
        """Return the faces that the blocks here need of blocks that are elsewhere, in a fixed order."""
        links = (link for index in sorted(self.blocks) for link in self.topology.links(index).values())
        return list(dict.fromkeys(link for link in links if link[0] not in self.blocks))

    def face_bytes(self) -> int:
        """Return the bytes of all published faces."""
        kept = (faces for fields in list(self._published.values()) for faces in fields.values())
        return sum(getattr(face, "nbytes", 0) for faces in kept for face in faces.values())

    def save(self, folder: str | Path) -> dict[str, int]:
        """Write every block's part of a checkpoint, and return the size of each file."""

        def save(index: Triple) -> tuple[str, int]:
            return write_block(folder, index, self.blocks[index].save())

        return dict(self._each(sorted(self.blocks), save).values())

    def load(self, folder: str | Path) -> None:
        """Take up every block's part of a checkpoint."""

        def load(index: Triple) -> None:
            self.blocks[index].load(read_block(folder, index))

        self._each(sorted(self.blocks), load)

    def stop(self) -> None:
        """Start nothing more: a superstep that runs ends before its next block."""
        self._stopped.set()

    def close(self) -> None:
        """Drop blocks and arrays."""
        self.stop()
        self.blocks = {}
        self._published = {}
        self.store.close()

    def _each(self, indices: list[Triple], function: Any) -> dict[Triple, Any]:
        def run(index: Triple) -> Any:
            if self._stopped.is_set():
                raise StaleFaces("the blocks were placed anew meanwhile")
            with self.store.use(index):
                return function(index)

        if self.threads == 1 or len(indices) < 2:
            return {index: run(index) for index in indices}
        with ThreadPoolExecutor(self.threads, thread_name_prefix="mgsflow-blocks") as pool:
            futures = {index: pool.submit(run, index) for index in indices}
            try:
                return {index: future.result() for index, future in futures.items()}
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _handed(self, index: Triple, version: tuple[str, int], remote: Mapping[Address, np.ndarray]) -> Faces:
        here = self._published[version]
        links = self.topology.links(index).items()
        return {
            name: here[owner][face] if owner in self.blocks else remote[owner, face] for name, (owner, face) in links
        }

    def _publish(self, call: Call, faces: dict[Triple, Faces]) -> None:
        assert call.publish is not None
        name, version = call.publish
        for old in [key for key in self._published if key[0] == name]:
            # peers may still be reading what this very step pulled; nobody reads what is older
            if old != call.pull:
                del self._published[old]
        self._published[name, version] = faces

    def _stale(self, version: tuple[str, int]) -> str:
        kept = ", ".join(f"{n} {v}" for n, v in self._published) or "none"
        return f"faces {version[0]!r} of version {version[1]} are not there (at hand: {kept})"

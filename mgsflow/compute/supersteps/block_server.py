"""The worker's side of supersteps on a cluster: its blocks, and the faces that it serves to its peers.

Everything belongs to a *run* (one executor of one driver) and an *epoch* (one placement of the run's blocks). What
carries another epoch than the one at hand is refused: it comes from the past, or from a worker that was given up.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.protocol import to_serialize
from distributed.utils import sync

from mgsflow.blocks import Triple
from mgsflow.compute.compile_apart import compile_apart_on_worker
from mgsflow.compute.source import check_source
from mgsflow.compute.supersteps.block_host import Address, BlockHost, Call, StaleFaces
from mgsflow.compute.supersteps.block_store import StoreCounts, open_store
from mgsflow.compute.supersteps.subdomain import Factory, Topology
from mgsflow.errors import ComputeError

NAME = "mgsflow-blocks"

#: Mean bytes of a face below which all of one answer go as one buffer: many small ones cost more than a copy.
SMALL = 65536


class PeerLost(ComputeError):  # noqa: N818
    """A peer did not hand over its faces."""


class StaleEpoch(ComputeError):  # noqa: N818
    """The blocks of this epoch are not here."""


@dataclass(frozen=True)
class Placement:
    """Where the blocks of a run are.

    Attributes
    ----------
    run : str
        Name of the run, unique.
    epoch : int
        Which placement of it.
    owners : mapping of block to str
        Address of the worker that holds each block.
    lease : float
        Seconds without a call after which a worker drops the blocks: the driver must be gone.
    patience : float
        Seconds that a peer may take to hand over faces.
    source : str
        Digest of the source that every worker must run.
    """

    run: str
    epoch: int
    owners: Mapping[Triple, str]
    lease: float
    patience: float
    source: str


@dataclass
class Held:
    """A run's blocks on this worker."""

    placement: Placement
    host: BlockHost
    wanted: dict[str, list[Address]]
    touched: float = field(default_factory=time.monotonic)
    busy: int = 0


class BlockServer(WorkerPlugin):
    """Holds the blocks of a worker, and answers its peers.

    It is added by the first blocks that are placed on a worker, so that it needs nothing of the scheduler, and nothing
    of workers that will join later.
    """

    def setup(self, worker: Any) -> None:
        """Add the handler through which peers read faces."""
        self.worker = worker
        self.runs: dict[str, Held] = {}
        self._sweeper: asyncio.Task[None] | None = None
        worker.extensions[NAME] = self
        worker.handlers["mgsflow_faces"] = self.serve

    async def teardown(self, worker: Any) -> None:
        """Drop all blocks."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for held in self.runs.values():
            held.host.close()
        self.runs = {}

    async def serve(
        self, run: str, epoch: int, version: Sequence[Any], wanted: Sequence[tuple[Sequence[int], Any]]
    ) -> dict[str, Any]:
        """Return faces to a peer; a refusal is an answer, not an error."""
        try:
            held = self.find(run, epoch)
            faces = held.host.faces(_tuple(version), [(_tuple(index), _tuple(face)) for index, face in wanted])
        except (StaleFaces, StaleEpoch) as error:
            return {"refused": str(error)}
        if sum(face.nbytes for face in faces) < SMALL * len(faces):
            return {"faces": pickle.dumps(faces)}
        return {"faces": to_serialize(faces)}

    def find(self, run: str, epoch: int) -> Held:
        """Return a run's blocks, or raise `StaleEpoch`."""
        held = self.runs.get(run)
        if held is None or held.placement.epoch != epoch:
            here = "none" if held is None else f"epoch {held.placement.epoch}"
            raise StaleEpoch(f"blocks of epoch {epoch} are not on {self.worker.address} (there: {here})")
        held.touched = time.monotonic()
        return held

    def give_way(self, placement: Placement) -> None:
        """Drop the run's blocks of an older epoch, or raise `StaleEpoch` if those here are newer."""
        old = self.runs.get(placement.run)
        if old is not None and old.placement.epoch >= placement.epoch:
            raise StaleEpoch(f"epoch {placement.epoch} is past: {old.placement.epoch} is on {self.worker.address}")
        self.drop(placement.run)

    def put(self, held: Held) -> None:
        """Keep a run's new blocks."""
        self.give_way(held.placement)
        self.runs[held.placement.run] = held
        sync(self.worker.loop, self._start_sweeping, callback_timeout=held.placement.patience)

    def drop(self, run: str) -> None:
        """Drop a run's blocks."""
        held = self.runs.pop(run, None)
        if held is not None:
            held.host.close()

    async def pull(self, held: Held, version: tuple[str, int]) -> dict[Address, Any]:
        """Return the faces that the blocks here need, from one request to each peer."""
        answers = await asyncio.gather(*(self._ask(held, version, peer) for peer in held.wanted))
        return {face: array for answer in answers for face, array in answer}

    async def _ask(self, held: Held, version: tuple[str, int], peer: str) -> list[tuple[Address, Any]]:
        placement, wanted = held.placement, held.wanted[peer]
        try:
            answer = await asyncio.wait_for(
                self.worker.rpc(peer).mgsflow_faces(
                    run=placement.run, epoch=placement.epoch, version=version, wanted=wanted
                ),
                placement.patience,
            )
        except (OSError, TimeoutError) as error:
            raise PeerLost(f"{peer} did not hand over faces to {self.worker.address}: {error!r}") from error
        if not isinstance(answer, dict) or "faces" not in answer:  # a new worker at the address of a lost one
            refusal = answer.get("refused") if isinstance(answer, dict) else "it holds no blocks"
            raise StaleFaces(f"{peer}: {refusal}")
        faces = answer["faces"]
        return list(zip(wanted, pickle.loads(faces) if isinstance(faces, bytes) else faces))

    async def _start_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()  # it may sleep for a longer lease than that of the run that came in
        self._sweeper = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        while self.runs:
            lease = min(held.placement.lease for held in self.runs.values())
            await asyncio.sleep(lease / 4)
            now = time.monotonic()
            for run, held in list(self.runs.items()):
                if not held.busy and now - held.touched > held.placement.lease:
                    self.drop(run)


def make_blocks(
    placement: Placement,
    topology: Topology,
    factory: Factory,
    indices: Sequence[Triple],
    budget: int | None,
    directory: str | None,
) -> None:
    """Make blocks on this worker."""
    check_source(placement.source)
    compile_apart_on_worker()
    worker = distributed.get_worker()
    server = _server(worker)
    server.give_way(placement)  # before the new blocks take memory
    host = BlockHost(topology, open_store(budget, directory or worker.local_directory), worker.state.nthreads)
    wanted: dict[str, list[Address]] = {}
    try:
        host.make(factory, indices)
        for index, face in host.wanted():
            wanted.setdefault(placement.owners[index], []).append((index, face))
        server.put(Held(placement, host, wanted))
    except BaseException:
        host.close()
        raise


def step_blocks(run: str, epoch: int, call: Call) -> dict[Triple, Any]:
    """Do a superstep on the blocks of this worker."""
    server = _server(distributed.get_worker())
    held = server.find(run, epoch)
    held.busy += 1
    try:
        remote: dict[Address, Any] = {}
        if call.pull is not None and held.wanted:
            patience = held.placement.patience
            remote = sync(server.worker.loop, server.pull, held, call.pull, callback_timeout=2 * patience)
        return held.host.step(call, remote)
    finally:
        held.busy -= 1
        held.touched = time.monotonic()


def save_blocks(run: str, epoch: int, folder: str) -> dict[str, int]:
    """Write the part of a checkpoint that the blocks of this worker are."""
    return _server(distributed.get_worker()).find(run, epoch).host.save(folder)


def load_blocks(run: str, epoch: int, folder: str) -> None:
    """Take up a checkpoint in the blocks of this worker."""
    _server(distributed.get_worker()).find(run, epoch).host.load(folder)


def count_blocks(run: str, epoch: int) -> StoreCounts:
    """Return the bytes of this worker's blocks."""
    return _server(distributed.get_worker()).find(run, epoch).host.store.counts()


def drop_blocks(run: str) -> None:
    """Drop the blocks of a run."""
    _server(distributed.get_worker()).drop(run)


def _server(worker: Any) -> BlockServer:
    if NAME not in worker.extensions:
        sync(worker.loop, worker.plugin_add, plugin=BlockServer(), name=NAME, callback_timeout=60)
    server = worker.extensions[NAME]
    assert isinstance(server, BlockServer)
    return server


def _tuple(value: Any) -> Any:
    """Return tuples where the transport made lists of them."""
    return tuple(_tuple(v) for v in value) if isinstance(value, list | tuple) else value

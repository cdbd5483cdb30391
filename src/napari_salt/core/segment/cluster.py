"""Segmenting on a Dask cluster: the model goes to each worker once, slices go out, results come back.

Needs the extra ``cluster``. Workers need the same version of napari-salt, but no weights and no cache.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, Generic, TypeVar

import dask
import dask.array as da
import numpy as np
import torch
from dask.base import optimize
from distributed import (
    Client,
    Future,
    KilledWorker,
    Worker,
    WorkerPlugin,
    as_completed,
    futures_of,
    get_worker,
)
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from napari_salt.core.adapt.adapter import Adapter
from napari_salt.core.adapt.segmenter import Segmenter
from napari_salt.core.devices import resolve_device
from napari_salt.core.paint.preprocess import SliceReader, Window
from napari_salt.core.segment.stack import segmentation_events, wanted_slices, warn_of_unlikeness
from napari_salt.terms.config import SegmentConfig
from napari_salt.terms.errors import DeviceError, InputError
from napari_salt.terms.events import SliceResult
from napari_salt.terms.stack import StackLike

__all__ = ["cluster_results"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRIES = 3
RUN = 8
"""Slices of a task that smooths: it computes two more, their neighbours."""
IN_FLIGHT = 256
"""Tasks submitted at a time: they bound the scheduler's memory; an adaptive cluster still sees work."""


def cluster_results(
    client: Client,
    stack: StackLike,
    adapter: Adapter,
    config: SegmentConfig | None = None,
    *,
    pixel_size: float | None = None,
    keep: Callable[[SliceResult], T],
    finished: Collection[int] = (),
) -> Generator[T, None, None]:
    """Segment a stack on a cluster, yielding `keep`'s result of each slice in the order of completion.

    A task that fails, or whose worker dies, is repeated, up to `RETRIES` times. If workers announce the
    resource ``GPU``, only they are used, one task per unit.

    Parameters
    ----------
    client
        A synchronous one.
    stack, adapter, config, pixel_size
        See `segment.whole.segment`. Of a dask array (such as `io.read_stack` gives) the graph of a slice is
        sent, and workers read the data; of other arrays the slice itself, through the scheduler. The device
        is chosen on each worker.
    keep
        Called on the worker; its result is sent back. It may be called twice for a slice.
    finished
        Slices to leave out; the results of the others do not depend on it.

    Raises
    ------
    InputError
        If the stack cannot be used, or workers lack a package.
    AdapterError, BaseModelError
        See `Adapter.build`.
    DeviceError
        If a device is not available, workers died on the same slices, or the cluster is gone.
    """
    config = config or SegmentConfig()
    wanted = tuple(dict.fromkeys(wanted_slices(config, stack.shape[0])))
    reader = SliceReader(stack, adapter.preprocess, pixel_size)
    warn_of_unlikeness(adapter, reader)
    segmenter = adapter.build().merged()
    model = _Model(adapter, segmenter, config, pixel_size, reader.window, keep, len(wanted))
    smooth = config.smooth and not adapter.preprocess.independent
    work = (
        (_part_of(stack, needed[0], needed[-1] + 1, client), needed, given)
        for given, needed in _runs(wanted, finished, RUN if smooth else 1, beside=smooth)
    )
    with _one_line_errors(), _installed(model, client):
        options = {"retries": RETRIES, "resources": _resources(client), "pure": False}
        for done in _completed(
            client, (client.submit(_segment, model.name, *task, **options) for task in work)
        ):
            yield from done.result()


class _Model(WorkerPlugin, Generic[T]):
    """What a worker needs for any slice; Dask gives it to each worker once, also to those that come later."""

    def __init__(
        self,
        adapter: Adapter,
        segmenter: Segmenter,
        config: SegmentConfig,
        pixel_size: float | None,
        window: Window | None,
        keep: Callable[[SliceResult], T],
        job_slices: int,
    ) -> None:
        self.name = f"napari-salt-{uuid.uuid4().hex}"
        self._adapter = adapter
        self._segmenter = segmenter
        self._config = config
        self._pixel_size = pixel_size
        self._window = window
        self._keep = keep
        self._job_slices = job_slices

    def setup(self, worker: Worker) -> None:
        """Called by Dask on the worker."""
        self._threads = worker.state.nthreads
        self._one_at_a_time = threading.Lock()
        self._keeping = threading.Lock()
        self._ended = False

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (what Dask gives)
        """Called by Dask on the worker at the end: results of tasks still running are dropped."""
        with self._keeping:
            self._ended = True

    def segment(self, part: _Part, needed: tuple[int, ...], given: tuple[int, ...]) -> list[T]:
        """Segment the slices `needed` of a stack, and keep those that are to be `given`.

        Tasks of one worker run one at a time: torch uses all threads for one, and memory is needed for one.
        """
        with self._one_at_a_time:
            torch.set_num_threads(self._threads)
            events = segmentation_events(
                part,
                self._adapter,
                replace(self._config, slices=needed),
                pixel_size=self._pixel_size,
                segmenter=self._segmenter.to(resolve_device(self._config.device)),
                window=self._window,
                job_slices=self._job_slices,
            )
            return [self._kept(result) for result in events if result.index in given]

    def _kept(self, result: SliceResult) -> T:
        with self._keeping:
            if self._ended:
                raise RuntimeError("the job has ended; this slice is not needed any more")
            return self._keep(result)


@dataclass(frozen=True)
class _Part:
    """A stack of which a worker has only the slices from `first` on; a `StackLike`."""

    planes: StackLike
    first: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, index: int) -> Any:
        plane = self.planes[index - self.first]
        return plane.compute(scheduler="synchronous") if isinstance(plane, da.Array) else plane


def _part_of(stack: StackLike, first: int, stop: int, client: Client) -> _Part:
    planes = stack[first:stop]
    if not isinstance(planes, da.Array):
        planes = np.asarray(planes)
    elif futures_of(planes):  # persisted: a worker cannot compute it by itself
        planes = client.compute(planes).result()
    else:
        (planes,) = optimize(planes)
    return _Part(planes, first, tuple(stack.shape), np.dtype(stack.dtype))


def _runs(
    wanted: Sequence[int], finished: Collection[int], length: int, *, beside: bool
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Slices that a task gives, and those that it needs for that: with `beside`, their neighbours too."""
    there = set(wanted)
    missing = [index for index in wanted if index not in finished]
    for _, run in groupby(missing, lambda index: index // length):
        given = tuple(run)
        near = {index + step for index in given for step in (-1, 0, 1)} if beside else set(given)
        yield given, tuple(sorted(near & there))


def _segment(name: str, part: _Part, needed: tuple[int, ...], given: tuple[int, ...]) -> list[Any]:
    """The task, on a worker."""
    model: Any = get_worker().plugins[name]
    kept: list[Any] = model.segment(part, needed, given)
    return kept


def _resources(client: Client) -> dict[str, int] | None:
    """What a task asks of its worker."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return {"GPU": 1} if any(worker["resources"].get("GPU") for worker in workers) else None


@contextmanager
def _installed(model: _Model[T], client: Client) -> Iterator[None]:
    """Give `model` to all workers, once there is one, and take it back in the end."""
    if not client.nthreads():
        logger.warning("the Dask cluster has no workers yet; waiting for the first")
        client.wait_for_workers(1)
    client.register_plugin(model)
    try:
        yield
    finally:
        client.unregister_worker_plugin(model.name)


def _completed(client: Client, submitted: Iterator[Future[Any]]) -> Iterator[Future[Any]]:
    """Give tasks as they are done, and submit others in their place; cancel them if it ends early."""
    # A slice may exceed what Dask thinks a task should hold.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        pending = set(islice(submitted, IN_FLIGHT))
        running = as_completed(pending, loop=client.loop)  # by default Dask takes the newest client's loop
        try:
            for future in running:
                pending.remove(future)
                yield future
                for following in islice(submitted, 1):
                    pending.add(following)
                    running.add(following)
        finally:
            client.cancel(list(pending))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn a cluster's exceptions into errors that name the remedy."""
    try:
        yield
    except KilledWorker as error:
        raise DeviceError(
            f"workers of the Dask cluster died on the same slices, {error.last_worker.address} the last, "
            "perhaps for lack of memory: look at their logs, or give them more memory"
        ) from error
    except (CommClosedError, FutureCancelledError) as error:
        raise DeviceError("the Dask cluster is gone: start it again, and then this command") from error
    except ModuleNotFoundError as error:
        raise InputError(
            f"the workers of the Dask cluster lack {error.name}: start them in an environment with the same "
            "version of napari-salt"
        ) from error

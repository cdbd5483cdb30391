"""What the engine keeps in memory between requests: adapters, models, readers and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache

from napari_salt.engine import _requests as asked
from napari_salt.engine._link import Link

if TYPE_CHECKING:
    from napari_salt.core.adapt.adapter import Adapter
    from napari_salt.core.adapt.segmenter import Segmenter
    from napari_salt.core.paint.preprocess import SliceReader
    from napari_salt.core.segment.prompts import ImageEmbedding, PromptPredictor
    from napari_salt.terms.preprocess import Preprocess

__all__ = ["Kept"]

T = TypeVar("T")

KEPT_MODELS, KEPT_READERS, KEPT_EMBEDDINGS = 2, 4, 64


class Cache:
    """The last few results of a costly function, by key."""

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[Any, Any] = LRUCache(size)

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """The result for `key`; `make` is called if it is not kept."""
        if key not in self._entries:
            self._entries[key] = make()
        value: T = self._entries[key]
        return value


class Kept:
    """The last few of each; what is not there is made.

    Parameters
    ----------
    link
        Where adapters and slices come from.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._adapters, self._segmenters = Cache(KEPT_MODELS), Cache(KEPT_MODELS)
        self._readers = Cache(KEPT_READERS)
        self._predictors, self._embeddings = Cache(1), Cache(KEPT_EMBEDDINGS)

    def adapter(self, digest: str) -> Adapter:
        """The adapter whose file has this digest."""
        from napari_salt.core.adapt.adapter import Adapter

        return self._adapters.get(digest, lambda: Adapter.from_bytes(self._link.adapter_file(digest)))

    def segmenter(self, digest: str, device: str, strength: float = 1.0) -> Segmenter:
        """The base with the adapter; with `strength` 0, without its changes of the base."""
        from napari_salt.core.devices import resolve_device

        def make() -> Segmenter:
            adapter = self.adapter(digest) if strength in (0, 1) else self.rescaled(digest, strength)
            return adapter.build(resolve_device(device), adapted=strength > 0).merged()

        return self._segmenters.get((digest, device, strength), make)

    def rescaled(self, digest: str, strength: float) -> Adapter:
        """The adapter with another strength, as an adapter."""
        from napari_salt.core.adapt.mixing import mix

        return mix([self.adapter(digest)], [1.0], strength=strength)

    def reader(self, info: asked.StackInfo, preprocess: Preprocess, pixel_size: float | None) -> SliceReader:
        """Reads the stack's slices as the model wants them."""
        from napari_salt.core.paint.preprocess import SliceReader

        key = (info.key, repr(preprocess), pixel_size)
        return self._readers.get(key, lambda: SliceReader(self._link.stack(info), preprocess, pixel_size))

    def predictor(self, base: str, device: str) -> PromptPredictor:
        """The base as it is, for prompts."""
        from napari_salt.core.bases.load import load_base
        from napari_salt.core.devices import resolve_device
        from napari_salt.core.segment.prompts import PromptPredictor

        def make() -> PromptPredictor:
            return PromptPredictor(load_base(base, resolve_device(device)))

        return self._predictors.get((base, device), make)

    def embedding(self, request: asked.Ask) -> ImageEmbedding:
        """What the base's encoder makes of the slice that a prompt is about."""
        from napari_salt.terms.preprocess import Preprocess

        def make() -> ImageEmbedding:
            preprocess = Preprocess(channels=3 if len(request.image.shape) == 4 else 1)
            reader = self.reader(request.image, preprocess, None)
            return self.predictor(request.base, request.device).embed(reader.raw(request.index))

        return self._embeddings.get((request.image.key, request.index, request.base), make)

"""The report of a project: one adapter on many images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from numpy.typing import NDArray

from napari_salt import __version__
from napari_salt.results.html import keys, page, pairs, rows, text
from napari_salt.results.pictures import embedded, overlaid, seen
from napari_salt.results.report import learning, methods, settings_of
from napari_salt.results.table import Table
from napari_salt.terms.card import AdapterCard

__all__ = ["Case", "project_html"]

MOST_ROWS = 500


@dataclass(frozen=True)
class Case:
    """A slice of one of the images.

    Parameters
    ----------
    name
        Of the image.
    index
        Of the slice.
    image
        The slice, (Y, X) or (Y, X, 3); None if it cannot be read.
    labels
        Its segmentation, (Y, X).
    fault
        Why it cannot be read.
    """

    name: str
    index: int
    image: NDArray[Any] | None
    labels: NDArray[Any] | None
    fault: str = ""


def project_html(
    adapter: AdapterCard,
    cases: Sequence[Case],
    table: Table,
    count: int,
    failed: Mapping[str, str],
    segmenting: Mapping[str, Any],
) -> str:
    """Give the HTML of a report on many images.

    Parameters
    ----------
    adapter
        The adapter.
    cases
        Slices to show.
    table
        Of all images.
    count
        How many images were segmented.
    failed
        What was wrong with the others, by file.
    segmenting
        How they were segmented, by name.
    """
    title = adapter.name or ", ".join(info.name for info in adapter.shown_classes[:3])
    lines = list(table.rows())
    more = f"<p>The first {MOST_ROWS} of {len(lines)} rows.</p>" if len(lines) > MOST_ROWS else ""
    told = f"{methods(adapter, None)} The adapter was then applied to {count} images."
    used = {name.replace("_", " "): value for name, value in segmenting.items()}
    parts = [
        f"<h1>{text(title)}</h1><p>{text(adapter.description)}</p>",
        f"<h2>Methods</h2><p>{text(told)}</p>",
        f"<h2>Not segmented</h2>{pairs(failed)}" if failed else "",
        f"<h2>Images</h2>{''.join(map(_figure, cases, [adapter] * len(cases)))}",
        f"<p>{keys(adapter.shown_classes)}</p>",
        f"<h2>Volumes and counts</h2>{rows(lines[:MOST_ROWS])}{more}",
        learning(adapter, adapter.shown_classes),
        settings_of(adapter, None),
        f"<h2>Segmenting</h2>{pairs(used)}",
    ]
    made = datetime.now(UTC).isoformat(timespec="seconds")
    parts.append(f"<p><small>Written by napari-salt {text(__version__)}, {made}</small></p>")
    return page(f"{title}: napari-salt report", "\n".join(part for part in parts if part))


def _figure(case: Case, adapter: AdapterCard) -> str:
    if case.image is None or case.labels is None:
        return f"<figure><figcaption>{text(case.name)}: {text(case.fault)}</figcaption></figure>"
    picture = seen(case.image)
    colors = {info.value: info.color for info in adapter.shown_classes}
    shown = (picture, overlaid(picture, case.labels, colors))
    images = "".join(f'<img alt="{text(case.name)}" src="{embedded(each)}">' for each in shown)
    caption = f"{text(case.name)}, slice {case.index}"
    return f"<figure>{images}<figcaption>{caption}</figcaption></figure>"

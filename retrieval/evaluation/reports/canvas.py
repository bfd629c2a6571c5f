"""How plots look, and the way from a drawing to a PNG. matplotlib is imported when something is drawn."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL = "#1f5fbf"
INK, SOFT, LINE = "#1d2433", "#5b6475", "#e3e7ee"
_OTHERS = ("#d9822b", "#2f8f6b", "#a34a8f", "#8a7a3c", "#5b6475", "#c0504d", "#4aa3b8", "#7d6bb5")
_DPI = 140
_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#b9c1cf",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "text.color": INK,
    # names come from data: a dollar sign in one is a dollar sign
    "text.parse_math": False,
}


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each model and baseline, the same in every plot; the first is the model's."""
    palette = (MODEL, *_OTHERS)
    return {
        name: palette[place] if place == 0 else palette[1 + (place - 1) % len(_OTHERS)]
        for place, name in enumerate(names)
    }


class Canvas:
    """A figure with its plots; `png` once they are drawn."""

    def __init__(self, figure: Figure, axes: Sequence[Axes]) -> None:
        self.axes = axes
        self.png = b""
        self._figure = figure

    def close(self) -> None:
        """Turn the drawing into a PNG."""
        out = io.BytesIO()
        with warnings.catch_warnings():
            # names may be in a script that the font lacks; the page itself shows them
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            # without the version of matplotlib, the same findings give the same bytes
            self._figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
        self.png = out.getvalue()


@contextmanager
def canvas(width: float, height: float, columns: int = 1, ratios: Sequence[float] | None = None) -> Iterator[Canvas]:
    """A figure of so many inches with plots side by side, drawn when the block ends."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, columns, squeeze=False, width_ratios=ratios)
        made = Canvas(figure, list(np.ravel(axes)))
        yield made
        made.close()

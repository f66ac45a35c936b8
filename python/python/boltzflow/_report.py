"""A flow in a notebook: a page about it, and figures by matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

from ._errors import RecipeError

if TYPE_CHECKING:
    from ._flow import Flow

_FIGURES = ("ess", "loss", "energy", "log_weights")


@dataclass(frozen=True)
class Verdict:
    """What an evaluation means."""

    #: The main figures, each with ``label`` and ``value``.
    figures: List[Dict[str, str]]
    #: Why figures are marked (!).
    marks: List[str]
    #: What a person should know, the most important first.
    sentences: List[str]
    #: The verdict on the weights, and whether it is a warning.
    weights: Optional[Tuple[str, bool]]

    @property
    def is_warning(self) -> bool:
        """Whether the weights are not to be relied on."""
        return bool(self.marks) or (self.weights is not None and self.weights[1])

    def __str__(self) -> str:
        return "\n".join([*self.marks, *self.sentences])


def html(flow: "Flow") -> str:
    """ESS curve, figures and verdict; without anything from elsewhere."""
    title = f"{flow.target}: {flow.particles} particles in {flow.dimension} dimensions"
    parts = [f'<div style="max-width: 46em"><h4>{escape(title)}</h4>']
    verdict = flow.verdict
    parts.append(_curve(flow))
    if verdict is not None:
        rows = "".join(
            f'<tr><td style="text-align: left">{escape(figure["label"])}</td>'
            f'<td style="text-align: right">{escape(figure["value"])}</td></tr>'
            for figure in verdict.figures
        )
        parts.append(f"<table>{rows}</table>")
        colour = "#b02a1d" if verdict.is_warning else "inherit"
        for sentence in [*verdict.marks, *verdict.sentences]:
            parts.append(f'<p style="margin: 0.3em 0; color: {colour}">{escape(sentence)}</p>')
    else:
        parts.append("<p>There was no evaluation yet.</p>")
    return "".join(parts) + "</div>"


def _curve(flow: "Flow") -> str:
    """The effective sample sizes against the step, as SVG."""
    metrics = flow.metrics
    step = metrics["step"]
    width, height, left, bottom = 560.0, 200.0, 44.0, 34.0
    lines: List[str] = []
    labels: List[str] = []
    for name, label, colour in (
        ("reverse_ess", "reverse", "#1f6fb4"), ("forward_ess", "forward", "#c45a12")
    ):
        known = np.isfinite(metrics[name])
        if not known.any():
            continue
        x = left + (width - left - 90) * step[known] / max(step.max(), 1)
        y = 8 + (height - bottom - 8) * (1 - metrics[name][known])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        labels.append(
            f'<text x="{x[-1] + 6:.1f}" y="{y[-1] + 4 + 14 * len(labels):.1f}" fill="{colour}">'
            f"{label}</text>"
        )
    if not lines:
        return ""
    axes = "".join(
        f'<line x1="{left}" x2="{width - 90}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'
        f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{share} %'
        "</text>"
        for share in (0, 50, 100)
        for y in [8 + (height - bottom - 8) * (1 - share / 100)]
    )
    caption = (
        f'<text x="{(left + width - 90) / 2:.0f}" y="{height - 6}" text-anchor="middle" '
        f'fill="currentColor">effective sample size, to step {int(step.max())}</text>'
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'style="max-width: 100%" font-family="sans-serif" font-size="12">'
        f"<title>effective sample size against training steps</title>"
        f"{axes}{''.join(lines)}{''.join(labels)}{caption}</svg>"
    )


def plot(flow: "Flow", figure: str, ax: Optional[Any]) -> Any:
    """Draws one figure by matplotlib and returns its axes."""
    if figure not in _FIGURES:
        raise RecipeError(
            f"`figure` is {figure!r}: use one of {', '.join(map(repr, _FIGURES))}",
            "figure",
        )
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise RecipeError(
            "`plot` needs matplotlib, which is not installed: install it, or use "
            "`flow.figures()` for PNG and SVG",
            "plot",
        ) from None
    axes: Any = plt.subplots()[1] if ax is None else ax
    if figure in ("ess", "loss"):
        _plot_metrics(axes, flow, figure)
    else:
        _plot_distribution(axes, flow, figure)
    axes.set_title(flow.target)
    return axes


def _plot_metrics(ax: Any, flow: "Flow", figure: str) -> None:
    metrics = flow.metrics
    columns = ("reverse_ess", "forward_ess") if figure == "ess" else ("loss",)
    for name in columns:
        known = np.isfinite(metrics[name])
        if known.any():
            label = name.replace("_ess", "")
            ax.plot(metrics["step"][known], metrics[name][known], label=label)
    ax.set_xlabel("training step")
    ax.set_ylabel("effective sample size" if figure == "ess" else "loss")
    if figure == "ess":
        ax.set_ylim(0, 1)
        ax.legend()


def _plot_distribution(ax: Any, flow: "Flow", figure: str) -> None:
    from . import _samples

    drawn = _samples.Samples(*flow._flow.drawn_for_figures(0))
    assert drawn.energies is not None and drawn.log_weights is not None
    values = drawn.energies if figure == "energy" else drawn.log_weights
    known = np.isfinite(values)
    ax.hist(values[known], bins=60, density=True, histtype="step", label="flow")
    if figure == "energy":
        weights = drawn.weights[known]
        ax.hist(
            values[known], bins=60, density=True, weights=weights, alpha=0.4, label="reweighted"
        )
        ax.legend()
    ax.set_xlabel("energy U / kT" if figure == "energy" else "log weight")
    ax.set_ylabel("density")

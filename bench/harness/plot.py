"""From the figures of all rounds to plots: SVG by hand, readable on light and dark pages, and by those who cannot see it.

One panel a row of the table, one bar a contender: the median, with a whisker from the lowest to the highest round.
"""

import dataclasses
import math
import statistics
from xml.sax.saxutils import escape, quoteattr


@dataclasses.dataclass(frozen=True)
class Plot:
    name: str  # of the file: latest-NAME.svg
    title: str
    rows: tuple  # of (scenario, figure), as in the table


PLOTS = (
    Plot(
        "cpu",
        "CPU of the gateway",
        (("unary_0.3kb", "cpu_us"), ("unary_10kb", "cpu_us"), ("unary_100kb", "cpu_us"), ("sse", "cpu_us")),
    ),
    Plot("memory", "Memory of the gateway", (("memory", "idle_mb"), ("memory", "streams_mb"))),
    Plot(
        "latency",
        "Time that the gateway adds",
        (
            ("first_token", "added_p50_ms"),
            ("first_token", "added_p99_ms"),
            ("sse", "added_p50_ms"),
            ("sse", "added_p99_ms"),
        ),
    ),
)

# Told apart by people who see fewer colours too (Okabe and Ito); by place in the list of contenders.
_COLOURS = ("#7f7f7f", "#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#8c6d31", "#6a51a3")
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.page { fill: #ffffff; } .title { font-size: 18px; font-weight: 600; } .panel { font-weight: 600; }
.quiet { fill: #59636e; font-size: 12px; } .axis { stroke: #59636e; stroke-width: 1; }
.whisker { stroke: #1f2328; stroke-width: 1.5; fill: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .page { fill: #0d1117; } .quiet { fill: #9198a1; } .axis { stroke: #9198a1; }
  .whisker { stroke: #f0f6fc; }
}
"""
_WIDTH, _LEFT, _BARS = 760, 110, 430  # the rest is for figures
_BAR, _STEP, _PANEL_HEAD, _HEAD, _LEGEND = 16, 24, 34, 58, 50
_LOG_FROM = 30  # times as much as the least: then a bar of the least would not be seen


@dataclasses.dataclass(frozen=True)
class _Bar:
    contender: str
    low: float
    middle: float
    high: float


class _Scale:
    """From a figure to pixels: linear from zero, or logarithmic where contenders are worlds apart."""

    def __init__(self, bars):
        least = min(bar.low for bar in bars)
        self._top = max(1e-9, max(bar.high for bar in bars))
        self.logarithmic = least > 0 and self._top > _LOG_FROM * min(bar.middle for bar in bars)
        self._foot = 10 ** math.floor(math.log10(least)) if self.logarithmic else 0.0

    def at(self, value):
        if not self.logarithmic:
            return _BARS * max(0.0, value) / self._top
        value = max(value, self._foot)
        return _BARS * math.log(value / self._foot) / max(1e-9, math.log(self._top / self._foot))


def _bars(report, scenario, figure):
    bars = []
    for name in report.contenders:
        series = report.series(scenario, name, figure)
        if series:
            bars.append(_Bar(name, min(series), statistics.median(series), max(series)))
    return bars


def _text(x, y, text, style="", anchor="start"):
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind} text-anchor="{anchor}">{escape(text)}</text>'


def _figures(bar, row):
    low, middle, high = (f"{value:,.{row.digits}f}" for value in (bar.low, bar.middle, bar.high))
    return f"{middle} [{low} {high}]"


def _panel(top, row, bars, colours):
    """Lines of SVG for one row of the table, and where the next panel begins."""
    scale = _Scale(bars)
    unit = f"{row.unit}, logarithmic" if scale.logarithmic else row.unit
    lines = [_text(16, top + 16, f"{row.label.strip()} ({unit})", "panel")]
    y = top + _PANEL_HEAD
    for bar in bars:
        middle = y + _BAR / 2
        width, low, high = scale.at(bar.middle), _LEFT + scale.at(bar.low), _LEFT + scale.at(bar.high)
        says = f"{bar.contender}: {_figures(bar, row)} {row.unit}"
        lines += [
            _text(_LEFT - 10, middle + 4.5, bar.contender, anchor="end"),
            f'<rect x="{_LEFT}" y="{y}" width="{max(width, 1):.1f}" height="{_BAR}" fill="{colours[bar.contender]}">'
            f"<title>{escape(says)}</title></rect>",
            f'<path class="whisker" d="M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 4}v8"/>',
            _text(max(high, _LEFT + width) + 8, middle + 4.5, _figures(bar, row), "quiet"),
        ]
        y += _STEP
    lines.append(f'<path class="axis" d="M{_LEFT} {top + _PANEL_HEAD - 5}V{y - 2}"/>')
    return lines, y + 8


def _legend(top, names, colours):
    lines, x = [], 16
    for name in names:
        lines.append(f'<rect x="{x}" y="{top}" width="12" height="12" fill="{colours[name]}"/>')
        lines.append(_text(x + 17, top + 11, name))
        x += 17 + 9 * len(name) + 22
    how = "Bar: median of the rounds. Whisker and brackets: lowest and highest round. Less is better."
    return [*lines, _text(16, top + 34, how, "quiet")]


def draw(plot, report, rows):
    """The SVG as text, or None if no contender has a figure of it. `rows`: (scenario, figure) -> Row of the table."""
    panels = [(rows[key], _bars(report, *key)) for key in plot.rows if key in rows]
    panels = [(row, bars) for row, bars in panels if bars]
    if not panels:
        return None
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(report.contenders)}
    shown = [name for name in report.contenders if any(bar.contender == name for _, bars in panels for bar in bars)]
    body = [_text(16, 30, plot.title, "title")]
    body.append(_text(16, 48, f"{len(report.rounds)} round(s). {report.machine}"[:120], "quiet"))
    said, top = [], _HEAD
    for row, bars in panels:
        said.append(f"{row.label.strip()} in {row.unit}: " + "; ".join(f"{bar.contender} {_figures(bar, row)}" for bar in bars) + ".")
        lines, top = _panel(top, row, bars, colours)
        body += lines
    body += _legend(top, shown, colours)
    height = top + _LEGEND
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
            f'role="img" aria-labelledby="title desc">',
            f"<title id={quoteattr('title')}>{escape(plot.title)}</title>",
            f"<desc id={quoteattr('desc')}>{escape(' '.join(said))}</desc>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
            *body,
            "</svg>\n",
        ]
    )

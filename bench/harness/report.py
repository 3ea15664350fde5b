"""From the figures of all rounds to one table, in the terminal, in Markdown and as JSON, and to plots."""

import json
import statistics

from .contenders import YARDSTICK
from .plot import PLOTS, draw

# More than the harness itself and a quiet system need: about 1 % of a core.
_FOREIGN_PERCENT_MAX = 4


class Report:
    """Figures by scenario, contender and round, with what is needed to judge them."""

    def __init__(self, scenarios, contenders, machine):
        self._scenarios = scenarios
        self.contenders = contenders  # names, in column order
        self.machine = machine
        self.rounds = []  # of {scenario: {contender: {figure: value}}}
        self.faults = []
        self.remarks = []  # what a reader should know
        self.foreign_shares = {}

    def _value(self, run, scenario, contender, figure):
        return run.get(scenario, {}).get(contender, {}).get(figure)

    def series(self, scenario, contender, figure):
        values = (self._value(run, scenario, contender, figure) for run in self.rounds)
        return [value for value in values if value is not None]

    def _cell(self, scenario, contender, row):
        series = self.series(scenario, contender, row.figure)
        if not series:
            return "-"
        low, middle, high = (f"{value:,.{row.digits}f}" for value in (min(series), statistics.median(series), max(series)))
        return f"{middle} [{low} {high}]"

    def _ratio(self, scenario, contender, row):
        """Median over the rounds of the ratio within a round: what drifts from round to round cancels out."""
        pairs = [[self._value(run, scenario, name, row.figure) for name in (contender, YARDSTICK)] for run in self.rounds]
        ratios = [mine / theirs for mine, theirs in pairs if mine is not None and theirs]
        return f"{statistics.median(ratios):.2f}x" if ratios and row.ratio else "-"

    def table(self):
        """Aligned plain text: median [lowest highest] of the rounds."""
        others = [name for name in self.contenders if name not in (YARDSTICK, "direct")]
        compared = others if YARDSTICK in self.contenders else []
        lines = [["", "", *self.contenders, *(f"{name}/{YARDSTICK}" for name in compared)]]
        for scenario in self._scenarios:
            for row in scenario.rows:
                cells = [self._cell(scenario.name, name, row) for name in self.contenders]
                ratios = [self._ratio(scenario.name, name, row) for name in compared]
                lines.append([row.label, row.unit, *cells, *ratios])
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = []
        for line in lines:
            left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2])]
            right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:])]
            text.append("  ".join(left + right).rstrip())
        return "\n".join(text)

    def notes(self):
        """What a reader must know before believing the table."""
        lines = [f"Median [lowest highest] of {len(self.rounds)} round(s). {self.machine}"]
        lines += self.remarks
        busy = False
        for core, shares in self.foreign_shares.items():
            if not shares:
                continue
            middle, worst = 100 * statistics.median(shares), 100 * max(shares)
            lines.append(f"Others took {middle:.0f} % of the {core} core (median; {worst:.0f} % at worst).")
            busy = busy or middle > _FOREIGN_PERCENT_MAX
        if busy:
            lines.append("WARNING: the machine was busy. Ratios suffer less than figures; run again on a quiet one.")
        late = [
            figures["generator_late_p99_ms"]
            for run in self.rounds
            for figures in run.get("first_token", {}).values()
            if "generator_late_p99_ms" in figures
        ]
        if late and statistics.median(late) > 1:
            lines.append(f"WARNING: the load generator itself was late by {statistics.median(late):.1f} ms (p99).")
        lines += [f"FAULT: {fault}" for fault in self.faults]
        return "\n".join(lines)

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "latest.md").write_text(f"# Benchmark\n\n```\n{self.table()}\n```\n\n{self.notes()}\n")
        content = {
            "machine": self.machine,
            "contenders": self.contenders,
            "rounds": self.rounds,
            "faults": self.faults,
            "foreign_shares": self.foreign_shares,
        }
        (folder / "latest.json").write_text(json.dumps(content, indent=1) + "\n")
        for name, svg in self.plots().items():
            place = folder / f"latest-{name}.svg"
            if svg:
                place.write_text(svg, encoding="utf-8")
            else:
                place.unlink(missing_ok=True)  # of an earlier run, which had these figures

    def plots(self):
        """SVG by name; None where the run has no figure of it."""
        rows = {(scenario.name, row.figure): row for scenario in self._scenarios for row in scenario.rows}
        return {plot.name: draw(plot, self, rows) for plot in PLOTS}

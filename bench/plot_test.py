#!/usr/bin/env python3
"""Whether the plots are what they say: well-formed, every contender with its figures, whiskers from lowest to highest."""

import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness.plot import PLOTS  # noqa: E402
from harness.report import Report  # noqa: E402
from harness.scenarios import SCENARIOS  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
CONTENDERS = ["direct", "nginx", "haproxy", "parley", "a <slow> & large one"]


def report(scale=1.0, scenarios=None):
    """Three rounds; the last contender is worlds apart; `direct` has no figures of its own."""
    chosen = [SCENARIOS[name] for name in scenarios or SCENARIOS]
    made = Report(chosen, CONTENDERS, "2 cores of <a> machine & more")
    for factor in (1.0, 1.5, 0.5):
        figures = {}
        for scenario in chosen:
            values = {"nginx": 20.0, "haproxy": 25.0, "parley": 30.0, CONTENDERS[-1]: 30.0 * scale}
            figures[scenario.name] = {
                name: {row.figure: value * factor for row in scenario.rows} for name, value in values.items()
            }
            figures[scenario.name]["direct"] = {}
        made.rounds.append(figures)
    return made


class PlotTest(unittest.TestCase):
    def drawn(self, made):
        plots = made.plots()
        self.assertEqual(set(plots), {plot.name for plot in PLOTS})
        return {name: xml.fromstring(svg) for name, svg in plots.items() if svg}

    def test_every_contender_has_its_bar_in_every_panel(self):
        for made in (report(), report(scale=1000)):
            for plot in PLOTS:
                root = self.drawn(made)[plot.name]
                shown = [title.text for title in root.iter(SVG + "title")]
                for name in CONTENDERS[1:]:
                    bars = [text for text in shown if text.startswith(f"{name}: ")]
                    self.assertEqual(len(bars), len(plot.rows), (plot.name, name))
                    self.assertIn(name, root.findtext(SVG + "desc"))
                self.assertFalse([text for text in shown if text.startswith("direct")])

    def test_the_order_of_bars_and_whiskers_is_that_of_figures(self):
        for made, logarithmic in ((report(), False), (report(scale=1000), True)):
            root = self.drawn(made)["cpu"]
            rects = {}
            for rect in root.iter(SVG + "rect"):
                if (title := rect.find(SVG + "title")) is not None:
                    rects[title.text.split(":")[0]] = float(rect.get("width"))
            self.assertLess(rects["nginx"], rects["haproxy"])
            self.assertLess(rects["haproxy"], rects["parley"])
            self.assertLessEqual(rects["parley"], rects[CONTENDERS[-1]])
            for path in root.iter(SVG + "path"):
                if path.get("class") == "whisker":
                    low, high = (float(x) for x in re.match(r"M([\d.]+) \S+v8M\1 [\d.]+H([\d.]+)M", path.get("d")).groups())
                    self.assertLess(low, high)
                    self.assertLess(high, 600)
            self.assertEqual("logarithmic" in xml.tostring(root, encoding="unicode"), logarithmic)

    def test_units_title_legend_and_both_colour_schemes(self):
        for name, root in self.drawn(report()).items():
            text = xml.tostring(root, encoding="unicode")
            self.assertIn({"cpu": "(us)", "memory": "(MB)", "latency": "(ms)"}[name], text)
            self.assertIn("prefers-color-scheme: dark", text)
            self.assertIn("Whisker", text)
            self.assertEqual(root.get("role"), "img")
            self.assertTrue(root.findtext(SVG + "title"))

    def test_negative_and_missing_figures(self):
        made = report(scale=-1)
        self.assertEqual(set(self.drawn(made)), {plot.name for plot in PLOTS})
        only = report(scenarios=["memory"])
        self.assertEqual(set(self.drawn(only)), {"memory"})

    def test_written_beside_the_table(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            report().write(folder)
            self.assertEqual(sorted(path.name for path in folder.glob("*.svg")),
                             sorted(f"latest-{plot.name}.svg" for plot in PLOTS))  # fmt: skip
            report(scenarios=["memory"]).write(folder)
            self.assertEqual([path.name for path in folder.glob("*.svg")], ["latest-memory.svg"])


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Whether the gate can fail, and when it must not: verdicts on made-up counts, and a dump read by object and function."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import verdict  # noqa: E402
from counted import read_dump  # noqa: E402

BUDGET = {
    "built_with": {"clang-19": "1"},
    "libraries": {"libc6": "2.36"},
    "paths": {"unary": {"total": 1000, "own": 500}},
}
DUMP = """# callgrind format
version: 1
events: Ir

ob=(1) /bin/parley
fl=(1) ???
fn=(1) handle(request)
0 100
cob=(2) /lib/libc.so.6
cfn=(2) memcpy
calls=3 0
0 60
0 20
fn=(3) tick()
+3 5
cfn=(1)
calls=2 0
* 240

ob=(2)
fn=(2)
0 60
ob=(1)
fn=(1)
0 7
summary: 192
"""


class GateTest(unittest.TestCase):
    def judge(self, total, figure="total", own=500):
        (one,) = verdict.judge(BUDGET, {"unary": {"total": total, "own": own}}, figure, "build/instructions")
        return one

    def test_more_than_three_percent_above_fails_and_says_where_to_look(self):
        self.assertFalse(self.judge(1030).failed)
        one = self.judge(1031)
        self.assertTrue(one.failed)
        self.assertIn("callgrind_annotate build/instructions/unary.out", one.text)

    def test_far_below_is_a_note(self):
        self.assertNotIn("lowered", self.judge(971).text)
        one = self.judge(900)
        self.assertFalse(one.failed)
        self.assertIn("may be lowered", one.text)

    def test_no_row_is_lost(self):
        counts = {"another": {"total": 1, "own": 1}}
        self.assertEqual([one.failed for one in verdict.judge(BUDGET, counts, "total")], [True, True])

    def test_what_may_be_judged(self):
        def figure(built, libraries):
            return verdict.comparable(BUDGET, {"clang-19": built}, {"libc6": libraries})

        self.assertEqual(figure("1", "2.36"), ("total", ""))
        self.assertEqual(figure("1", "2.37")[0], "own")
        self.assertIsNone(figure("2", "2.36")[0])
        self.assertIn("clang-19 1 -> 2", figure("2", "2.36")[1])
        self.assertFalse(self.judge(9999, "own").failed)
        self.assertTrue(self.judge(1000, "own", own=516).failed)

    def test_a_dump_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dump"
            path.write_text(DUMP)
            counts = read_dump(path)
        self.assertEqual(counts.by_object, {"/bin/parley": 132, "/lib/libc.so.6": 60})
        self.assertEqual(counts.by_function, {"handle(request)": 127, "tick()": 5, "memcpy": 60})
        self.assertEqual(counts.calls, {"memcpy": 3, "handle(request)": 2})
        self.assertEqual(counts.all, 192)

    def test_the_budget_file(self):
        for name, budget in verdict.read().items():
            self.assertRegex(name, r"^[a-z]+-\d+$")
            self.assertEqual(verdict.comparable(budget, budget["built_with"], budget["libraries"]), ("total", ""))
            for figures in budget["paths"].values():
                self.assertLess(figures["own"], figures["total"])
                self.assertGreater(figures["own"], 0)


if __name__ == "__main__":
    unittest.main()

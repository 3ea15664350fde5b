"""One line per check, and the sum at the end."""

from __future__ import annotations

import math


class Report:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def title(self, text: str) -> None:
        print(f"\n== {text}", flush=True)

    def check(self, name: str, good: bool, told: object = "") -> bool:
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"  {'✓' if good else '✗'} {name}{f': {told}' if told != '' else ''}", flush=True)
        return good

    def note(self, text: str) -> None:
        """A figure that nothing is judged by."""
        print(f"    {text}", flush=True)

    def end(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def mb(number: float) -> str:
    return f"{number / 1e6:,.1f} MB"


def kb(number: float) -> str:
    return f"{number / 1e3:,.1f} KB"


def listed(words: list[str], most: int = 6) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")

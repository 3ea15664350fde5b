"""What is measured. A scenario loads one contender and returns figures; its rows say how they appear in the table.

To add one: a subclass of Scenario with rows and run() in one of these files, then a line in SCENARIOS.
"""

from .crowd import HeadOfLine, KeyFlood, Overload
from .machine import StartWithAgents, TwoCores
from .requests import FirstToken, Memory, ToolRound, Unary
from .streams import HeldStreams, Sse

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Memory(),
        StartWithAgents(100),
        Unary("0.3 KB", 300),
        Unary("10 KB", 10_240),
        Unary("100 KB", 102_400),
        TwoCores(),
        Sse(),
        FirstToken(),
        ToolRound("stdio"),
        ToolRound("http"),
        HeldStreams(8000, processes=1, interval_ms=250),
        HeldStreams(18_000, processes=2, interval_ms=1000),
        Overload(),
        Overload(requests_max=64),
        KeyFlood(),
        HeadOfLine(),
    )
}

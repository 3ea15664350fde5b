"""The benchmark harness behind bench/run: processes, contenders, scenarios, report. Standard library only."""

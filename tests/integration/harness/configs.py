"""agent_config.json in pieces."""

from __future__ import annotations


def demo_agent(agent_id: str = "demo", **more) -> dict:
    return {"agent_id": agent_id, "provider": "demo", "model": "demo", "allowed_regular_tools": [], **more}


def agent(agent_id: str, provider: str, **more) -> dict:
    return {"agent_id": agent_id, "provider": provider, "model": "gpt-x", "allowed_regular_tools": [], **more}


def config(*agents: dict, **providers: dict) -> dict:
    """A provider that names no `max_retries` has none here: a script's one failure is what the test wants to see."""
    told = {name: {"max_retries": 0, **entry} for name, entry in providers.items()}
    return {"version": "1", "providers": told, "agents": list(agents)}


def timeouts(scale: float = 1.0, **limits_ms: int) -> dict:
    """Small deadlines, so that tests of them are short."""
    limits = {"connect_ms": 400, "first_byte_ms": 400, "idle_ms": 400, "total_ms": 4000, **limits_ms}
    return {name: int(value * scale) for name, value in limits.items()}

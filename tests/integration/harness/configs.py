"""agent_config.json in pieces."""

from __future__ import annotations


def demo_agent(agent_id: str = "demo", **more) -> dict:
    return {"agent_id": agent_id, "provider": "demo", "model": "demo", "allowed_regular_tools": [], **more}


def agent(agent_id: str, provider: str, **more) -> dict:
    return {"agent_id": agent_id, "provider": provider, "model": "gpt-x", "allowed_regular_tools": [], **more}


def config(*agents: dict, **providers: dict) -> dict:
    return {"version": "1", "providers": providers, "agents": list(agents)}


def timeouts(scale: float = 1.0, **limits_ms: int) -> dict:
    """Small deadlines, so that tests of them are short."""
    limits = {"connect_ms": 400, "first_byte_ms": 400, "idle_ms": 400, "total_ms": 4000, **limits_ms}
    return {name: int(value * scale) for name, value in limits.items()}

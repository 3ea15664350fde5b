"""Fixtures of the integration tests. They need the binary ($PARLEY_BIN, default build/parley) and openssl."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from harness.certs import Authority
from harness.gateway import Gateway, binary
from harness.postgres import Postgres
from harness.upstream import FakeUpstream

_gateways: set[Gateway] = set()


def pytest_configure(config: pytest.Config) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384) if hard > 0 else 16384, hard))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not binary().exists() and any("test_harness" not in item.nodeid for item in items):
        pytest.exit(f"{binary()} does not exist: run `make build` first, or name a binary in PARLEY_BIN", returncode=3)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gateway in _gateways:
            report.sections.append((f"log of {gateway.folder.name}", gateway.tail))


@pytest.fixture(autouse=True)
def _every_gateway_survives():
    """Whatever a test did, the process must be there afterwards and no sanitizer may have spoken."""
    yield
    for gateway in list(_gateways):
        try:
            gateway.check_alive()
        except AssertionError:
            gateway.revive()
            raise


def _manager(folder: Path):
    made: list[Gateway] = []

    def make(config: object, *, start: bool = True, **options) -> Gateway:
        gateway = Gateway(folder / f"gateway{len(made)}", config, **options)
        made.append(gateway)
        if start:
            gateway.start()
        _gateways.add(gateway)
        return gateway

    def end() -> None:
        problems = []
        for gateway in made:
            _gateways.discard(gateway)
            try:
                gateway.stop()
            except AssertionError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)

    return make, end


@pytest.fixture
def start_gateway(tmp_path: Path):
    """start_gateway(config, env={}, keys=(), args=(), ...) -> Gateway, stopped and checked after the test."""
    make, end = _manager(tmp_path)
    yield make
    end()


@pytest.fixture(scope="module")
def start_module_gateway(tmp_path_factory: pytest.TempPathFactory):
    """The same, for a gateway that a whole file shares."""
    make, end = _manager(tmp_path_factory.mktemp("shared"))
    yield make
    end()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def postgres():
    """A server of its own, for the tests of a file."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_upstream():
    upstream = FakeUpstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def upstream(module_upstream: FakeUpstream):
    module_upstream.clear()
    yield module_upstream
    module_upstream.clear()


@pytest.fixture(scope="module")
def module_tls_upstream(authority: Authority):
    upstream = FakeUpstream(authority.valid.server_context())
    yield upstream
    upstream.stop()


@pytest.fixture
def tls_upstream(module_tls_upstream: FakeUpstream):
    module_tls_upstream.clear()
    yield module_tls_upstream
    module_tls_upstream.clear()

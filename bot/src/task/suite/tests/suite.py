import ctypes
import os
import signal
import sys
import time

import pytest


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    with open(os.environ["SUITE_LOG"], "a") as log:
        log.write("session up\n")
    yield 1
    with open(os.environ["SUITE_LOG"], "a") as log:
        log.write("session down\n")


@pytest.fixture(scope="module")
def module_thing():
    with open(os.environ["SUITE_LOG"], "a") as log:
        log.write("module up\n")
    yield 1
    with open(os.environ["SUITE_LOG"], "a") as log:
        log.write("module down\n")


@pytest.fixture
def broken():
    raise ValueError("no such thing")


@pytest.fixture
def breaks_afterwards():
    yield
    raise ValueError("cannot put it away")


def test_passes(once, module_thing):
    print("said by test_passes")


def test_fails(once):
    print("said by test_fails")
    assert 1 == 2, "one is two"


def test_skips():
    pytest.skip("not today")


@pytest.mark.xfail(reason="known")
def test_is_expected_to_fail():
    assert False


def test_needs_what_is_broken(broken):
    pass


def test_leaves_a_mess(breaks_afterwards):
    pass


@pytest.mark.parametrize("value", ["a b", "new\nline", "é[x]::y", "\udc80"])
def test_param(value):
    assert value


class TestClass:
    def test_method(self, once):
        pass


def test_aborts():
    os.abort()


def test_exits():
    os._exit(0)


def test_exits_politely():
    sys.exit(0)


def test_stops_the_session():
    pytest.exit("enough")


def test_is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_segfaults():
    ctypes.string_at(0)


def test_hangs():
    time.sleep(600)


def test_forks():
    if os.fork() == 0:
        raise RuntimeError("the child comes back")
    os.wait()


def test_passes_last(once, module_thing):
    pass

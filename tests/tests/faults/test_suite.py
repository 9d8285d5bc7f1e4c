# Each test passes, but for those whose names say otherwise, where FAULTS is set.
import os
import time

import pytest

FAULTS = "FAULTS" in os.environ


@pytest.mark.parametrize("n", range(6))
def test_steady(n):
    time.sleep(0.1)


def test_fails():
    assert not FAULTS


def test_aborts():
    if FAULTS:
        os.abort()


def test_exits():
    if FAULTS:
        os._exit(0)


def test_hangs():
    while FAULTS:
        time.sleep(1)


def test_waits():
    gate = os.environ["GATE"]
    with open(gate + ".new", "w") as file:
        file.write(os.getcwd())
    os.rename(gate + ".new", gate + ".open")
    while not os.path.exists(gate):
        time.sleep(0.01)

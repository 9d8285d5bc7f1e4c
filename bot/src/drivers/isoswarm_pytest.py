"""Runs the tests that a bot hands out one by one, in one pytest session, and tells it of each.

Loaded with `-p isoswarm_pytest`. ISOSWARM_PYTEST_LIST names a file for the list of the tests, a JSON object a line;
ISOSWARM_PYTEST_SOCKET the bot's socket: lines of JSON both ways. Without either it does nothing.
"""

import fcntl
import json
import os
import socket
import stat
import sys
import termios
import time

import pytest

# Programs that tests start must not take part.
_LIST = os.environ.pop("ISOSWARM_PYTEST_LIST", None)
_SOCKET = os.environ.pop("ISOSWARM_PYTEST_SOCKET", None)
_PROCESS = os.getpid()
_CHUNK = 65536


class _Channel:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        # The kernel takes no more than 107 bytes: by way of its directory every path is short.
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        self.socket.connect("/proc/self/fd/%d/%s" % (directory, os.path.basename(path)))
        os.close(directory)
        self.socket.settimeout(None)
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def tell(self, event, **facts):
        # A test has forked, and the child has come back here.
        if os.getpid() != _PROCESS:
            os._exit(70)
        line = json.dumps({"event": event, **facts}) + "\n"
        self.socket.sendall(line.encode("ascii"))

    def hear(self):
        line = self.lines.readline()
        return json.loads(line) if line else {}


# Connected before any test can replace what it needs.
_channel = _Channel(_SOCKET) if _SOCKET else None
_reports = []
_errors = []
_sleep = time.sleep
# Where tests print to whose output pytest does not capture, if it is a pipe.
_pipe = None


def _text(value):
    """Without what is no character: such cannot be told."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config):
    if _LIST or _channel:
        if getattr(pytest, "version_tuple", (0,)) < (7, 0):
            raise pytest.UsageError("to run tests one by one, pytest 7.0 or newer is needed")
        option = config.option
        # Which tests run, and where, is the bot's affair.
        option.maxfail = 0
        for name, value in (("numprocesses", None), ("dist", "no"), ("tx", []), ("maxprocesses", None)):
            if hasattr(option, name):
                setattr(option, name, value)
        if _LIST:
            option.collectonly = True
    yield


def pytest_collectreport(report):
    if report.failed:
        _errors.append({"error": _text(report.nodeid), "reason": _text(report.longrepr)[-4000:]})


def pytest_collection_finish(session):
    if not _LIST:
        return
    with open(_LIST, "w", encoding="ascii") as file:
        for fact in [_listed(item) for item in session.items] + _errors:
            file.write(json.dumps(fact) + "\n")


def _listed(item):
    path, line, _ = item.location
    group = item.nodeid.rsplit("::", 1)[0]
    if "[" in item.nodeid:
        group = item.nodeid.split("[", 1)[0].rsplit("::", 1)[0]
    marker = item.get_closest_marker("xdist_group")
    if marker is not None:
        name = marker.args[0] if marker.args else marker.kwargs.get("name", "default")
        group = "@" + _text(name)
    line = line + 1 if isinstance(line, int) else None
    return {"name": _text(item.nodeid), "group": _text(group), "file": _text(path), "line": line}


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if _LIST:
        return True
    if not _channel:
        return None
    if session.config.getoption("capture", "fd") == "no":
        _uncaptured()
    items = {_text(item.nodeid): item for item in session.items}
    former, order = None, _ask(items, "ready")
    while "run" in order:
        item = items[order["run"]]
        if former is not None:
            _clear(former, item)
        former, order = item, _run(item, items.get(order.get("next")), items) or _ask(items, "ready")
    if former is not None:
        _clear(former, None)
    _channel.tell("done")
    return True


def _uncaptured():
    global _pipe
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        _pipe = os.dup(1)
        _channel.tell("uncaptured")


def _ask(items, how):
    """What is to be done next, of what is there. `ready` waits for it, `ahead` is answered by what is known by now."""
    while True:
        _channel.tell(how)
        order = _channel.hear()
        if "run" not in order or order["run"] in items:
            return order
        _channel.tell("unknown", id=order["run"])


def _run(item, following, items):
    """Runs a test. What was asked for meanwhile comes back: what it shares with nothing is put away before its end is told."""
    del _reports[:]
    name = _text(item.nodeid)
    _channel.tell("start", id=name)
    if _pipe is not None:
        # What it prints comes by another way, and must not be there before its name is.
        _channel.tell("sync")
        _channel.hear()
    order, problem = None, None
    try:
        # Where nobody knows yet what comes next, what may be shared with it stays up.
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=_other(item, following) or item.parent)
    except (pytest.exit.Exception, KeyboardInterrupt) as error:
        problem = "the test has stopped the session: %r" % (error,)
        _phase("teardown")
    if following is None:
        order = _ask(items, "ahead")
        if "wait" in order:
            order, following = None, item.parent
        else:
            following = items.get(order.get("run"))
            _channel.tell("clear", id=name, all=following is None)
    _put_away(item, _other(item, following))
    item.session.shouldfail = False
    item.session.shouldstop = False
    _conclude(name, problem)
    return order


def _other(item, following):
    """A test that comes twice in a row shares nothing of its own with itself."""
    return item.parent if following is item else following


def _clear(former, following):
    """Puts away what stayed up after a test whose end was told and is not for the next one, which is not to blame for it."""
    up = list(former.session._setupstate.stack)
    if up == (following.listchain() if following else [])[: len(up)]:
        return
    del _reports[:]
    name = _text(former.nodeid)
    _channel.tell("clear", id=name, all=following is None)
    _put_away(former, following)
    problems = [_reason(report) for report in _reports if report.outcome == "failed"]
    _channel.tell("cleared", id=name, problem=_text("; ".join(problems))[:1000])
    former.session.shouldfail = False
    former.session.shouldstop = False


def _put_away(item, following):
    """Tears down what is up and not shared with `following`. Failures are told as those of the tear-down of `item`."""
    state = item.session._setupstate
    # Each failure has taken something away.
    for _ in range(len(state.stack) + 1):
        call = pytest.CallInfo.from_call(lambda: state.teardown_exact(following), when="teardown")
        if call.excinfo is None:
            return
        report = pytest.TestReport.from_item_and_call(item, call)
        item.ihook.pytest_runtest_logreport(report=report)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    _phase("setup")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    _phase("call")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    _phase("teardown")


def _phase(when):
    if _channel:
        _channel.tell("phase", when=when)


def pytest_runtest_logreport(report):
    if _channel:
        _reports.append(report)


def _conclude(name, problem):
    verdict, message, seconds, log = "passed", "", 0.0, []
    for report in _reports:
        if report.outcome not in ("passed", "failed", "skipped"):
            continue
        seconds += report.duration
        if report.outcome == "failed":
            verdict = "failed"
            message = message or _reason(report)
        elif report.outcome == "skipped" and verdict == "passed":
            verdict = "skipped"
            expected = getattr(report, "wasxfail", None)
            message = _skipped(report) if expected is None else "expected failure: " + expected
        if report.outcome == "failed":
            log.append(report.longreprtext + "\n")
    last = _reports[-1] if _reports else None
    for title, content in last.sections if last else ():
        log.append("--- %s ---\n%s\n" % (title, content))
    if problem is not None:
        verdict, message = "failed", problem
    elif not _reports:
        verdict, message = "failed", "pytest has not run it"
    text = _text("".join(log))
    _flush()
    for start in range(0, len(text), _CHUNK):
        _channel.tell("output", id=name, text=text[start : start + _CHUNK])
    _channel.tell("finish", id=name, verdict=verdict, message=_text(message)[:4000], seconds=seconds)


def _flush():
    """What a test has printed is with the bot before its end is."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    unread = bytearray(4)
    for _ in range(1000 if _pipe is not None else 0):
        fcntl.ioctl(_pipe, termios.FIONREAD, unread)
        if not any(unread):
            break
        _sleep(0.001)


def _reason(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = "%s:%s: %s" % (crash.path, crash.lineno, crash.message) if crash else report.longreprtext
    return reason if report.when == "call" else "in its %s: %s" % (report.when, reason)


def _skipped(report):
    where = report.longrepr
    return str(where[2]) if isinstance(where, tuple) and len(where) == 3 else str(where)

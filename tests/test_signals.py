"""The suite gives its children the signals of a foreground job, however it was started itself."""

import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import signal
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)]
print(handlers == [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL, signal.SIG_DFL],
      signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
SUITE = """
import os, signal, subprocess, sys
{before}
import tests.conftest
subprocess.run([sys.executable, "-c", {report!r}], check=True)
os.kill(os.getpid(), signal.SIGHUP)
print("still there")
"""


@pytest.mark.parametrize("shell", ["trap '' INT QUIT CHLD; exec \"$0\" \"$@\"", "nohup \"$0\" \"$@\" 2>&1 < /dev/null"])
@pytest.mark.parametrize("before", ["", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])"])
def test_what_a_shell_has_ignored_is_not_handed_down(repository: Path, shell: str, before: str) -> None:
    code = SUITE.format(before=before, report=REPORT)
    code = code if "nohup" in shell else code.replace("os.kill(os.getpid(), signal.SIGHUP)", "")
    done = subprocess.run(["sh", "-c", shell, sys.executable, "-c", code], cwd=repository, capture_output=True,
                          text=True, check=False)
    assert done.stdout.splitlines()[-2:] == ["True set()", "still there"], done.stderr

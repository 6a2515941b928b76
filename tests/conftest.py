"""What every test may use, and what none may: no network, no threads that fight over the cores."""

import os
import signal
from pathlib import Path

import pytest

# Before anything imports torch or huggingface_hub, which read them once; child processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["NO_COLOR"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for name in [name for name in os.environ if name.startswith("SPARKCLI_")]:
    del os.environ[name]



def uninherit_signals() -> None:
    """Has children start with the signals of a foreground job, also where the suite runs in a background job (whose
    shell ignores SIGINT) or under nohup (SIGHUP).

    What is ignored here stays so, but by a handler: unlike an ignored signal, a handled one is at its default again in
    a program that is started. SIGCHLD has to be at its default here, or nobody could wait for a child.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python itself ignores, here alone
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else lambda number, frame: None)


uninherit_signals()

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that is not part of the repository, beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: the folder ../shared/data does not exist beside this checkout")
    return folder

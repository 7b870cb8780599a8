"""A server with a difficult family: python family.py PIDS_FILE MODE.

It has a child, a grandchild in a session of its own whose parent has gone, and (MODE "stubborn")
all of them ignore SIGTERM.
"""

import os
import signal
import sys
import time
from pathlib import Path

FILE, MODE = Path(sys.argv[1]), sys.argv[2]


def settle(name):
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with FILE.open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    while True:
        time.sleep(0.05)
        complete = len(FILE.read_text().splitlines()) == 3
        if name == "server" and MODE == "leaves" and complete:
            os._exit(7)


if os.fork() == 0:
    settle("child")
middle = os.fork()
if middle == 0:
    if os.fork() == 0:
        os.setsid()
        settle("daemon")
    os._exit(0)
os.waitpid(middle, 0)
settle("server")

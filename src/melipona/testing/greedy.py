"""Programs that take more than a box may: for tests and campaigns of limits (T6, T7).

`GREEDY` is Python code by the reason that its turn must fail with; `FLOODS` are shell commands that write on the output
of the engine that runs them.
"""

from __future__ import annotations

GREEDY = {
    "out_of_memory": 'b = bytearray(600 << 20)\nb[::4096] = b"x" * len(b[::4096])',
    "process_limit": """
import os, signal, time
end = time.monotonic() + 3
failed = None
while time.monotonic() < end:
    try:
        if not os.fork(): signal.pause()
    except OSError as error: failed = error
raise failed""",
    "open_files_limit": 'import os\nwhile True: os.open("/", os.O_RDONLY)',
    "file_size_limit": """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("/ws/big", "wb") as f:
    while True: f.write(b"x" * (1 << 20))""",
    "no_space": 'with open("/tmp/big", "wb") as f:\n    while True: f.write(b"x" * (1 << 20))',
}

FLOODS = {
    "lines": "yes > /proc/$PPID/fd/1",
    "records": """yes '{"type":"text","text":"a flood of a gigabyte"}' > /proc/$PPID/fd/1""",
    "blocks": "while true; do head -c 8000000 /dev/zero; echo; done > /proc/$PPID/fd/1",
}

FORKS = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
"""Forks without end, in every process that it gets."""

DISK = """
for name in "abc":
    with open("/ws/" + name, "wb") as f: f.write(b"x" * (23 << 20))"""
"""Files that are each of a legal size, 69 MiB together."""

INODES = """for n in range(3000): open("/ws/%d" % n, "w").close()"""

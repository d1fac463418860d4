"""The example service as a process of its own, on a port that the system chooses."""
import os
import re
import subprocess
import threading

from python_support import PACKAGE, ROOT

PYTHON = ROOT / ".venv-optional/bin/python3"
START_SECONDS = 120


class ServiceProcess:
    """with ServiceProcess(export, index) as service: httpx.post(service.url + "/recommend", ...)"""

    def __init__(self, export, index=None, check_seconds=0.2):
        words = ["--export", export, *(["--index", index] if index else []), "--port", "0",
                 "--check-seconds", check_seconds]
        self.process = subprocess.Popen(
            [PYTHON, PACKAGE / "examples/service.py", *map(str, words)], text=True, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"})
        self.lines, self.url, self._started = [], None, threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._started.wait(START_SECONDS)
        if self.url is None:
            self.process.kill()
            raise AssertionError("the service did not start:\n" + "".join(self.lines))

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"running on (http://[\d.]+:\d+)", line):
                self.url = found[1]
                self._started.set()
        self._started.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self._reader.join(20)
        self.process.stderr.close()

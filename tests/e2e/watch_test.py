"""Watching a training: Prometheus (file and port), TensorBoard, the console. What is written is read by the
readers of those programs, where tests/optional.sh has installed them."""
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, metrics, run, same_weights

TOOLS = ROOT / ".venv-optional/bin/python3"
MONITORING = ROOT / "docs/monitoring"
with_tools = unittest.skipUnless(TOOLS.exists(), "no readers of these formats: run tests/optional.sh")


def read_by(script, *words, text=None):
    """The JSON that a script of tests/monitoring prints."""
    result = subprocess.run([TOOLS, ROOT / "tests/monitoring" / script, *words], input=text, text=True,
                            capture_output=True, timeout=120)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


def samples_of(text):
    """{name with labels but `run`: value} of a text in Prometheus' format."""
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r'(\w+)\{run="[^"]*"(?:,([^}]*))?\} (\S+)', line).groups()
            samples[name + (f"{{{labels}}}" if labels else "")] = float(value)
    return samples


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


class Watched(SmallRunTest):
    """One training with every outlet, asked over its port while it runs, then resumed from its middle."""
    STEPS = ["train.steps=300", "checkpoint.every_steps=100", "split.validation_percent=20", "validate.every_steps=100"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_directory = cls.directory / "watched"
        cls.file = cls.directory / "run.prom"
        cls.port = free_port()
        cls.outlets = [f"metrics.prometheus_file={cls.file}", f"metrics.prometheus_port={cls.port}"]
        cls.asked, cls.output = cls.train_and_ask()
        cls.first_text = cls.file.read_text()
        shutil.rmtree(cls.run_directory / "checkpoints/step-000000300")
        cls.resumed = run("train", *cls.words("watched", *cls.STEPS, *cls.outlets, "train.log_every=10")).stdout

    @classmethod
    def train_and_ask(cls):
        words = [BINARY, "train", *cls.words("watched", *cls.STEPS, *cls.outlets)]
        job = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        asked, deadline = [], time.monotonic() + 120
        while job.poll() is None and time.monotonic() < deadline and len(asked) < 20:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{cls.port}/metrics", timeout=5) as answer:
                    asked.append((answer.headers["Content-Type"], answer.read().decode()))
            except (urllib.error.URLError, ConnectionError):
                pass  # it does not listen yet, or no longer
            time.sleep(0.02)
        output = job.communicate(timeout=120)[0]
        if job.returncode != 0:
            raise AssertionError(output)
        return asked, output

    # ---- Prometheus

    def test_port_answers_while_the_training_runs(self):
        self.assertTrue(self.asked, "no answer during the whole training")
        kind, text = self.asked[-1]
        self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
        samples = samples_of(text)
        self.assertEqual(samples["pinnerformer_running"], 1)
        self.assertEqual(samples["pinnerformer_planned_steps"], 300)
        self.assertLess(abs(samples["pinnerformer_start_timestamp_seconds"] - time.time()), 600)

    def test_file_holds_what_metrics_jsonl_holds(self):
        last = metrics(self.run_directory)[-1]
        samples = samples_of(self.file.read_text())
        for name, value in {"step": 300, "loss_nats": last["loss"], "temperature": last["temperature"],
                            "learning_rate": last["learning_rate"], "gradient_norm": last["grad_norm"],
                            "users_per_second": last["users_per_second"], "step_seconds": last["step_ms"] / 1000,
                            "data_wait_seconds": last["data_wait_ms"] / 1000,
                            "comm_wait_seconds": last["comm_wait_ms"] / 1000,
                            "resident_memory_bytes": last["memory_mib"] * 2**20, "ranks": 1, "epoch": last["epoch"],
                            "checkpoint_step": 300, "validation_step": 300, "running": 0, "restarts_total": 1,
                            "validation_positives": last["validation"]["positives"]}.items():
            self.assertAlmostEqual(samples["pinnerformer_" + name], value, places=9, msg=name)
        for key in ("recall_at_10", "recall_at_50", "ndcg_at_10"):
            metric, cutoff = key.split("_at_")
            self.assertEqual(samples[f'pinnerformer_validation_{metric}_ratio{{cutoff="{cutoff}"}}'],
                             last["validation"][key])
        saved = self.run_directory / "checkpoints/step-000000300"
        self.assertLess(abs(samples["pinnerformer_checkpoint_timestamp_seconds"] - saved.stat().st_mtime), 5)
        size = sum(file.stat().st_size for file in saved.iterdir())
        self.assertLess(abs(samples["pinnerformer_checkpoint_bytes"] - size), 0.1 * size)
        self.assertEqual(samples_of(self.first_text)["pinnerformer_restarts_total"], 0)

    @with_tools
    def test_prometheus_parser_reads_every_metric(self):
        text = self.file.read_text()
        found = read_by("read_metrics.py", text=text)
        self.assertEqual(sum(len(samples) for *_, samples in found), len(samples_of(text)))
        for name, kind, help_text, samples in found:
            self.assertIn(kind, ("gauge", "counter"), name)
            self.assertRegex(help_text, r"^[A-Z0-9].*\.$", name)
            self.assertEqual({sample[1]["run"] for sample in samples}, {str(self.run_directory)}, name)

    def test_every_metric_of_dashboard_and_alerts_exists(self):
        known = {name.split("{")[0] for name in samples_of(self.file.read_text())}
        dashboard = json.loads((MONITORING / "grafana_dashboard.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        alerts = re.findall(r"^ +expr: (.*)$", (MONITORING / "alerts.yaml").read_text(), re.MULTILINE)
        self.assertGreater(len(queries), 10)
        self.assertGreater(len(alerts), 3)
        for query in queries + alerts:
            named = re.findall(r"pinnerformer_\w+", query)
            self.assertTrue(named, query)
            self.assertLessEqual(set(named), known, query)
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))

    def test_every_metric_is_documented(self):
        page = (ROOT / "docs/monitoring.md").read_text()
        documented = set(re.findall(r"`(pinnerformer_\w+)`", page))
        known = {name.split("{")[0] for name in samples_of(self.file.read_text())}
        self.assertEqual(known - documented, set())
        # These need a GPU and `metrics.peak_tflops`.
        self.assertEqual(documented - known, {"pinnerformer_gpu_memory_bytes", "pinnerformer_mfu_ratio"})

    # ---- TensorBoard

    @with_tools
    def test_tensorboard_reads_what_metrics_jsonl_holds_and_no_step_twice(self):
        events = read_by("read_events.py", self.run_directory / "tensorboard")
        records = metrics(self.run_directory)
        self.assertEqual([record["step"] for record in records], [*range(5, 205, 5), *range(210, 310, 10)])
        tags = {"train/loss": "loss", "train/temperature": "temperature", "train/learning_rate": "learning_rate",
                "train/gradient_norm": "grad_norm", "train/epoch": "epoch", "train/skipped_users": "skipped_users",
                "train/nonfinite_steps": "nonfinite_steps", "speed/users_per_second": "users_per_second",
                "speed/step_ms": "step_ms", "speed/data_wait_ms": "data_wait_ms", "speed/comm_wait_ms": "comm_wait_ms",
                "speed/save_stall_ms": "save_stall_ms", "speed/memory_mib": "memory_mib"}
        for tag, key in tags.items():
            self.assertEqual(events["scalars"].pop(tag), [[r["step"], float32(r[key])] for r in records], tag)
        for key in ("recall_at_10", "recall_at_50", "ndcg_at_10"):
            expected = [[r["step"], float32(r["validation"][key])] for r in records if "validation" in r]
            self.assertEqual([step for step, _ in expected], [100, 200, 300])
            self.assertEqual(events["scalars"].pop(f"validation/{key}"), expected)
        self.assertEqual(events["scalars"], {}, "a tag that nobody compares")
        texts = events["texts"]["configuration/text_summary"]
        self.assertEqual([step for step, _ in texts], [1, 201])
        self.assertIn("\n      log_every: 5\n", texts[0][1])
        self.assertIn("\n      log_every: 10\n", texts[1][1])

    def test_tensorboard_can_be_left_out(self):
        run("train", *self.words("no-events", "train.steps=2", "metrics.tensorboard=false"))
        self.assertFalse((self.directory / "no-events/tensorboard").exists())
        self.assertFalse((self.directory / "no-events/starts").exists())

    def test_projector_gets_a_sample_of_the_vector_file(self):
        import h5py
        import numpy as np
        out, place = self.directory / "sample.h5", self.run_directory / "tensorboard"
        run("embed", "--run", self.run_directory, "--out", out, "--projector", place, "--projector-rows", 50,
            "--projector-titles", ranks=2)
        named = dict(re.findall(r'(\w+_path): "(item_\w+.tsv)"', (place / "projector_config.pbtxt").read_text()))
        self.assertEqual(named, {"tensor_path": "item_vectors.tsv", "metadata_path": "item_labels.tsv"})
        with h5py.File(out) as file:
            for name, heading in (("item", ["id\ttitle"]), ("user", [])):
                vectors = np.loadtxt(place / f"{name}_vectors.tsv", delimiter="\t", dtype=np.float32)
                labels = (place / f"{name}_labels.tsv").read_text().splitlines()
                self.assertEqual(labels[:len(heading)], heading)
                labels = [label.split("\t")[0] for label in labels[len(heading):]]
                ids = [str(id) for id in (file[name]["id"].asstr() if file[name]["id"].dtype == object else file[name]["id"])[:]]
                self.assertEqual((len(vectors), len(set(labels))), (50, 50))
                np.testing.assert_allclose(vectors, file[name]["vector"][:][[ids.index(label) for label in labels]], rtol=1e-6)
        run("embed", "--run", self.run_directory, "--out", out, "--projector", place, "--projector-rows", 0, expect=64)

    # ---- Console

    def test_lines_have_at_most_a_hundred_columns(self):
        lines = [line for line in self.output.splitlines() if line.startswith("step ")]
        self.assertEqual(len(lines), 60)
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertRegex(lines[-1], r"^step 300/300  loss \d+\.\d+  left 0:00:00  \d+ users/s  data \d+%  comm \d+%  grad ")
        self.assertNotIn("\r", self.output)

    def test_the_end_names_the_best_checkpoint_and_commands_that_work(self):
        best = max((r for r in metrics(self.run_directory) if "validation" in r),
                   key=lambda r: r["validation"]["recall_at_10"])
        self.assertRegex(self.resumed, r"(?m)^done: 300 of 300 steps, 100 of them now in 0:0\d:\d\d$")
        self.assertIn(f"best validation: R@10 {best['validation']['recall_at_10']:.4f} at step {best['step']}, "
                      f"{self.run_directory}/checkpoints/step-{best['step']:09d}\n", self.resumed)
        commands = re.findall(r"(?m)^(?:next:| +) *pinnerformer (.*)$", self.resumed)
        self.assertEqual([command.split()[0] for command in commands], ["evaluate", "embed"])
        for command in commands:
            run(*command.split())
        self.assertTrue((self.run_directory / "vectors.h5").exists())

    def test_progress_bar_on_a_terminal_alone(self):
        reader, writer = pty.openpty()
        words = [BINARY, "train", *self.words("bar", "train.steps=400", "train.log_every=100")]
        job = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=writer, text=True)
        os.close(writer)
        shown = b""
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:  # the other end is closed
                break
            shown += part
        output = job.communicate(timeout=60)[0]
        os.close(reader)
        self.assertEqual(job.returncode, 0, output)
        self.assertRegex(shown.decode(), r"\r\x1b\[K\[#*-+\] +\d+ %  step \d+/400  left \d:\d\d:\d\d")
        self.assertTrue(shown.endswith(b"\r\x1b[K"), "the bar is erased at the end")
        self.assertNotIn("\x1b", output)

    # ---- Nothing of it touches the training, and bad input

    def test_the_model_is_the_same_to_the_last_bit(self):
        steps = ["train.steps=20", "checkpoint.every_steps=20"]
        run("train", *self.words("plain", *steps, "metrics.tensorboard=false"), ranks=2)
        run("train", *self.words("shown", *steps, f"metrics.prometheus_file={self.directory}/shown.prom",
                                 f"metrics.prometheus_port={free_port()}"), ranks=2)
        self.assertTrue(same_weights(self.directory / "plain", self.directory / "shown", 20))

    def test_a_signal_ends_the_training_also_while_somebody_asks_the_port(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            port, name = free_port(), f"asked-{number}"
            words = self.words(name, "train.steps=100000", f"metrics.prometheus_port={port}")
            job = subprocess.Popen([BINARY, "train", *words], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
            self.addCleanup(job.kill)
            silent = self.connect(port, job)
            self.addCleanup(silent.close)
            while not (self.directory / name / "metrics.jsonl").exists() and job.poll() is None:
                time.sleep(0.02)
            job.send_signal(number)
            output = "".join(job.communicate(timeout=60))
            self.assertEqual(job.returncode, 85, output)
            self.assertTrue(list((self.directory / name / "checkpoints").glob("step-*/MANIFEST.json")), output)
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)

    def connect(self, port, job):
        """A client that sends half a request and waits."""
        deadline = time.monotonic() + 60
        while job.poll() is None and time.monotonic() < deadline:
            try:
                client = socket.create_connection(("127.0.0.1", port), timeout=5)
                client.sendall(b"GET /metr")
                return client
            except ConnectionRefusedError:
                time.sleep(0.02)
        raise AssertionError("the port never listened")

    def test_a_port_in_use_is_a_warning(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            shown = run("train", *self.words("port", "train.steps=5", f"metrics.prometheus_port={port}"))
        self.assertEqual(shown.stdout.count("warning: metrics.prometheus_port: cannot listen on 127.0.0.1 port "
                                            f"{port}: Address already in use; the training goes on"), 1)
        self.assertIn("done: 5 of 5 steps", shown.stdout)

    def test_what_is_refused(self):
        (self.directory / "folder.prom").mkdir()
        for word, told in {f"metrics.prometheus_file={self.directory}/folder.prom": "found a directory",
                           f"metrics.prometheus_file={self.directory}/none/run.prom": "there is no directory",
                           "metrics.prometheus_port=70000": "a whole number from 0 to 65535",
                           "metrics.prometheus_address=localhost": "such as 127.0.0.1"}.items():
            for ranks in (0, 2) if "none" in word else (0,):
                refused = run("train", *self.words("refused", word), ranks=ranks, expect=78)
                self.assertIn(word.split("=")[0], refused.stderr)
                self.assertIn(told, refused.stderr)
        self.assertFalse((self.directory / "refused").exists())


if __name__ == "__main__":
    unittest.main()

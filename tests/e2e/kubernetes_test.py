"""The manifests of launch/kubernetes against Kubernetes' published schemas, and what their pods run:
restart.sh and the script of the Indexed Job, with the real program."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

from support import BINARY, ENVIRONMENT, ROOT, SmallRunTest, metrics

OPTIONAL = ROOT / f".venv-optional/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
MANIFESTS = ROOT / "launch/kubernetes"
RESTART = MANIFESTS / "restart.sh"
FINAL = [64, 65, 66, 70, 71, 74, 78]  # docs/operations.md: a restart would repeat them
AGAIN = [75, 85]


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sys.path.append(str(OPTIONAL))
        cls.addClassCleanup(sys.path.remove, str(OPTIONAL))
        try:
            import jsonschema
            import kubernetes_validate
            import yaml
        except ImportError as error:
            raise unittest.SkipTest(f"{error}: tests/optional.sh installs it") from error
        cls.validate = kubernetes_validate.validate
        cls.validate_schema = jsonschema.validate
        cls.documents = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in MANIFESTS.glob("*.yaml")}

    def published(self, document):
        type(self).validate(document, "1.37", strict=True)

    def replicas(self):
        job, = self.documents["mpijob"]
        return job["spec"]["mpiReplicaSpecs"]

    def pods(self):
        """Every pod that a manifest would make."""
        job = self.documents["indexed_job"][1]
        return [job["spec"]["template"]["spec"], *(replica["template"]["spec"] for replica in self.replicas().values())]

    def test_all_documents_are_valid(self):
        self.assertEqual(sorted(self.documents), ["indexed_job", "mpijob", "storage"])
        for name in ("indexed_job", "storage"):
            for document in self.documents[name]:
                self.published(document)
        type(self).validate_schema(self.documents["mpijob"][0], json.loads((ROOT / "tests/kubernetes/mpijob.schema.json").read_text()))
        for role, replica in self.replicas().items():
            # The operator gives a launcher's and a worker's pod the restart policy of the replica.
            spec = {**replica["template"]["spec"], "restartPolicy": replica["restartPolicy"]}
            self.published({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role.lower()}, "spec": spec})

    def test_exit_codes_are_those_of_the_documentation(self):
        job = self.documents["indexed_job"][1]["spec"]
        codes = {rule["action"]: rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"]
                 if "onExitCodes" in rule}
        self.assertEqual(codes, {"Ignore": AGAIN, "FailJob": FINAL})
        table = (ROOT / "docs/operations.md").read_text()
        for code in FINAL + AGAIN:
            self.assertRegex(table, rf"\| {code} \|")
        self.assertIn(f"0 | {' | '.join(map(str, FINAL))})", RESTART.read_text())

    def test_pods_run_without_rights_and_see_the_storage(self):
        version = re.search(r"project\(pinnerformer VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
        claim = self.documents["storage"][0]["metadata"]["name"]
        for pod in self.pods():
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            self.assertEqual(volumes["storage"]["persistentVolumeClaim"]["claimName"], claim)
            for container in pod["containers"]:
                self.assertEqual(container["image"], f"pinnerformer:{version}")
                for mount in container["volumeMounts"]:
                    self.assertIn(mount["name"], volumes)

    def test_ranks_start_where_doctor_has_passed(self):
        worker, job = self.replicas()["Worker"]["template"]["spec"], self.documents["indexed_job"][1]["spec"]["template"]["spec"]
        for pod in (worker, job):
            self.assertEqual(pod["containers"][0]["startupProbe"]["exec"]["command"][:2], ["pinnerformer", "doctor"])
        self.assertEqual(self.documents["mpijob"][0]["spec"]["launcherCreationPolicy"], "WaitForWorkersReady")

    def test_the_jobs_numbers_agree(self):
        job = self.documents["indexed_job"][1]["spec"]
        container = job["template"]["spec"]["containers"][0]
        values = {entry["name"]: entry["value"] for entry in container["env"]}
        self.assertEqual(values["PODS"], str(job["completions"]))
        self.assertEqual(job["parallelism"], job["completions"])
        self.assertEqual(values["RANKS_PER_POD"], container["resources"]["limits"]["nvidia.com/gpu"])

    def test_script_of_the_indexed_job_trains_in_one_pod(self):
        if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True).returncode != 0:
            self.skipTest("needs root and namespaces")
        script, = self.documents["indexed_job"][1]["spec"]["template"]["spec"]["containers"][0]["args"]
        OnePod(self, script).trains()


class OnePod:
    """A pod as namespaces: its host name, the storage at /storage, the image's programs on PATH."""

    def __init__(self, test, script):
        self.test, self.script = test, script
        SmallRunTest.setUpClass.__func__(SmallRunTest)
        test.addCleanup(SmallRunTest.doClassCleanups)
        self.directory = SmallRunTest.directory
        (self.directory / "hosts").write_text("127.0.0.1 localhost pinnerformer-0 pinnerformer-0.pinnerformer\n")
        words = SmallRunTest.words("unused", "train.steps=20")
        tree = {}
        for word in words:
            key, _, value = word.partition("=")
            section, _, name = key.partition(".")
            tree.setdefault(section, []).append(f"  {name}: {'[save]' if key == 'positives.actions' else value}")
        (self.directory / "config.yaml").write_text("".join(f"{section}:\n" + "\n".join(lines) + "\n"
                                                            for section, lines in tree.items()))
        programs = self.directory / "bin"
        programs.mkdir()
        (programs / "pinnerformer").symlink_to(BINARY)
        (programs / "pinnerformer-restart").symlink_to(RESTART)
        self.path = f"{programs}:{os.environ['PATH']}"

    def trains(self):
        inside = ('hostname pinnerformer-0; mount --bind "$0/hosts" /etc/hosts; mkdir -p "$0/root"; '
                  'mount -t tmpfs none /mnt; mkdir -p /mnt/storage; mount --bind "$0" /mnt/storage; '
                  'exec bash -euc "$1"')
        script = self.script.replace("/storage", "/mnt/storage")
        done = subprocess.run(["unshare", "--mount", "--uts", "bash", "-c", inside, self.directory, script], text=True,
                              capture_output=True, timeout=120, cwd="/",
                              env={**ENVIRONMENT, "PATH": self.path, "JOB_COMPLETION_INDEX": "0", "PODS": "1",
                                   "RANKS_PER_POD": "2"})
        self.test.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        last = metrics(self.directory / "runs/main")[-1]
        self.test.assertEqual((last["step"], last["world_size"]), (20, 2))


class Restart(SmallRunTest):
    """restart.sh around commands that end with given codes, and around a training."""

    def restart(self, command, *options, run_directory=None):
        directory = run_directory or tempfile.mkdtemp(dir=self.directory)
        done = subprocess.run([RESTART, *options, directory, "bash", "-c", command, directory], text=True, capture_output=True,
                              env=ENVIRONMENT, timeout=60)
        return done, len((Path(directory) / "starts").read_text().split())

    def test_lost_ranks_and_stops_are_started_again(self):
        # Ends with 75, 85, 137, each time with a new checkpoint, then with 0.
        command = ('echo x >>"$0/starts"; n=$(wc -l <"$0/starts"); mkdir -p "$0/checkpoints/step-00000000$n"; '
                   'codes=(75 85 137 0); exit ${codes[n - 1]}')
        done, starts = self.restart(command)
        self.assertEqual((done.returncode, starts), (0, 4), done.stderr)

    def test_what_would_repeat_itself_is_not(self):
        for code in FINAL:
            done, starts = self.restart(f'echo x >>"$0/starts"; exit {code}')
            self.assertEqual((done.returncode, starts), (code, 1))

    def test_three_starts_without_a_checkpoint_are_enough(self):
        done, starts = self.restart('echo x >>"$0/starts"; exit 75')
        self.assertEqual((done.returncode, starts), (1, 3))
        self.assertIn("three starts in a row", done.stderr)

    def test_once_leaves_the_restart_to_others(self):
        done, starts = self.restart('echo x >>"$0/starts"; exit 85', "--once")
        self.assertEqual((done.returncode, starts), (85, 1))

    def test_launcher_that_waits_for_a_lost_host_is_ended(self):
        # What mpirun says, and that it then stays.
        command = ('echo x >>"$0/starts"; echo "a non-zero exit code. Per user-direction, the job has been aborted." >&2; '
                   'exec sleep 300')
        began = time.monotonic()
        with unittest.mock.patch.dict(ENVIRONMENT, GRACE="1"):
            done, starts = self.restart(command)
        self.assertEqual((done.returncode, starts), (1, 3), done.stderr)
        self.assertIn("exit code 137: started again", done.stderr)
        self.assertIn("Per user-direction", done.stderr, "what the launcher says is passed on")
        self.assertLess(time.monotonic() - began, 30)

    def test_end_of_a_pod_saves(self):
        words = self.words("ended", "train.steps=1000000")
        pod = subprocess.Popen([RESTART, self.directory / "ended", "mpirun", "--oversubscribe", "-n", "2", BINARY, "train", *words],
                               env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(pod.kill)
        log = self.directory / "ended/metrics.jsonl"
        deadline = time.monotonic() + 60
        while not log.exists() or log.stat().st_size == 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        pod.send_signal(signal.SIGTERM)
        output, _ = pod.communicate(timeout=60)
        self.assertEqual(pod.returncode, 85, output)
        self.assertIn("asked to stop", output)
        self.assertTrue(list((self.directory / "ended/checkpoints").glob("step-*")))


if __name__ == "__main__":
    unittest.main()

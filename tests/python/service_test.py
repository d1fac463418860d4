"""The example service with a real client: the answers of `recommend`, refusals, a new export under load."""
import json
import threading
import time
import unittest

from export_support import ExportedRunTest
from python_support import need
from service_process import ServiceProcess
from support import run

import pinnerformer

SECONDS = 60
DEEP = 100_000  # brackets
PAUSE = 0.02     # seconds between two requests of a client under load


class Service(ExportedRunTest):
    @classmethod
    def setUpClass(cls):
        need("fastapi", "uvicorn", "httpx", "hnswlib")
        super().setUpClass()
        import httpx
        cls.client = httpx.Client(timeout=SECONDS)
        cls.addClassCleanup(cls.client.close)
        cls.served = cls.directory / "served"  # the export that a test replaces
        run("export", "--run", cls.run_directory, "--out", cls.served)
        cls.exact = cls.enterClassContext(ServiceProcess(cls.export))
        cls.index_file = cls.index()
        cls.indexed = cls.enterClassContext(ServiceProcess(cls.served, cls.index_file))

    def ask(self, service, body, expect=200):
        answer = self.client.post(service.url + "/recommend", content=body if isinstance(body, bytes) else json.dumps(body))
        self.assertEqual(answer.status_code, expect, f"{body!r:.200}\n{answer.text:.500}\n{''.join(service.lines[-30:])}")
        return answer.json()

    def recommended(self, users, *more):
        told = self.directory / "recommend.json"
        run("recommend", "--run", self.run_directory, "--users", ",".join(map(str, users)), "--items", 10,
            "--json", told, *more)
        return [answer["recommended"] for answer in json.loads(told.read_text())]

    def require_equal(self, found, told):
        self.assertEqual([str(one["item"]) for one in found], [one["item"] for one in told])
        for one, other in zip(found, told):
            self.assertAlmostEqual(one["similarity"], other["similarity"], places=4)

    def test_1_answers_are_those_of_recommend(self):
        users = self.users(12)
        for more, repeats in (((), False), (("--repeats",), True)):
            for (_, events), told in zip(users, self.recommended([user for user, _ in users], *more)):
                for service in (self.exact, self.indexed):  # of 300 items the index finds all of the ten nearest
                    answer = self.ask(service, {"events": events, "items": 10, "repeats": repeats})
                    self.require_equal(answer["recommended"], told)
        self.assertEqual(self.client.get(self.exact.url + "/health").json()["search"], "exact")
        self.assertEqual(self.client.get(self.indexed.url + "/health").json()["search"], "index")

    def test_2_malformed_and_oversized_requests_are_refused(self):
        (_, events), = self.users(1)
        event = events[0]
        for body in (b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"[" * DEEP, b'{"events":' + b"[" * DEEP,
                     {"events": []}, {"events": [{}]}, {"events": [None]}, {"events": events, "items": 0},
                     {"events": events, "items": 10 ** 6}, {"events": events, "items": "10"},
                     {"events": events, "more": 1}, {"events": [{**event, "time": event["time"] * 1000}]},
                     {"events": [{**event, "time": float("nan")}]}, {"events": [{**event, "time": 1e308}]},
                     {"events": [{**event, "time": 10 ** 400}]}, {"events": [{**event, "item": 1.5}]},
                     {"events": [{**event, "duration": -5}]}, {"events": [{**event, "item": 10 ** 9}]},
                     {"events": [event] * 10_001}):
            self.ask(self.exact, body, expect=422)
        self.ask(self.exact, b" " * (1 << 20) + b"{}", expect=413)
        self.assertEqual(self.client.get(self.exact.url + "/recommend").status_code, 405)
        self.assertEqual(self.client.get(self.exact.url + "/nothing").status_code, 404)
        answer = self.ask(self.exact, {"events": [event, {**event, "item": 10 ** 9}]})
        self.assertEqual(answer["ignored"], {"item": 1, "action": 0, "surface": 0})
        self.assertNotIn("Traceback", "".join(self.exact.lines))

    def test_3_a_new_export_is_served_without_a_failed_request(self):
        (_, events), = self.users(1)
        seen = [event["item"] for event in events]
        newer, older = map(pinnerformer.Export, (self.export, self.older))
        expected = {(one.version.model, *(best.id for best in one.items.nearest(
            one.user_vectors([events]).vectors[0], 10, leave_out=seen))) for one in (newer, older)}
        answers, failures, done = set(), [], threading.Event()

        def client():
            while not done.wait(PAUSE):
                try:
                    answer = self.ask(self.indexed, {"events": events, "items": 10})
                    answers.add((answer["model_version"], *(one["item"] for one in answer["recommended"])))
                except Exception as error:  # any failure is one too many
                    failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for step, export in (("30", older), ("60", newer)):
                run("export", "--run", self.run_directory, "--checkpoint", step, "--out", self.served, "--overwrite")
                self.wait_for("model_version", export.version.model)
                self.wait_for("search", "exact")  # the index is that of the model before
                run("index", self.served / "items.h5", "--out", self.index_file, "--least-recall", 0)
                self.wait_for("search", "index")
        finally:
            done.set()
            for thread in threads:
                thread.join(SECONDS)
        self.assertEqual(failures, [])
        self.assertEqual(answers, expected)  # whole: vectors, items and version of one model

    def wait_for(self, name, value):
        for _ in range(SECONDS * 10):
            if self.client.get(self.indexed.url + "/health").json()[name] == value:
                return
            time.sleep(0.1)
        self.fail(f"{name} is not {value}\n{''.join(self.indexed.lines)}")

    def test_4_a_broken_export_is_not_served(self):
        (_, events), = self.users(1)
        before = self.ask(self.indexed, {"events": events})
        (self.served / "export.json").write_text("{")
        for _ in range(SECONDS * 10):
            if any("export.json: expected JSON" in line for line in self.indexed.lines):
                break
            time.sleep(0.1)
        self.assertEqual(self.ask(self.indexed, {"events": events}), before)
        self.assertIn("still serving model", "".join(self.indexed.lines))


if __name__ == "__main__":
    unittest.main()

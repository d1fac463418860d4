"""report: the page in a real browser, its figures against the files they come from, missing and damaged parts."""
import html.parser
import json
import re
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from support import ROOT, SmallRunTest, metrics, run

USAGE, DATA, NO_INPUT = 64, 65, 66
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECTIONS = ["overview", "curves", "time", "plan", "evaluation", "frequency", "coverage", "segments", "examples",
            "configuration", "machine", "problems"]
EVIL = '</td><img src=x onerror="alert(1)"><script>alert(2)</script> & "title"'


class Page(html.parser.HTMLParser):
    """Of each section: its text, its numbers <data value>, and its tables as rows of (text, numbers) cells."""

    def __init__(self, source):
        super().__init__()
        self.sections, self.tags, self.loaded = {}, set(), []
        self.section = self.cell = None
        self.hidden = 0
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.loaded += [values[name] for name in ("src", "href") if name in values]
        if tag == "section":
            self.section = self.sections[values["id"]] = {"text": "", "numbers": [], "rows": []}
        if self.section is None:
            return
        if tag == "tr":
            self.section["rows"].append([])
        if tag in ("td", "th"):
            self.cell = {"text": "", "numbers": []}
            self.section["rows"][-1].append(self.cell)
        if tag == "data":
            number = float(values["value"])
            self.section["numbers"].append(number)
            if self.cell is not None:
                self.cell["numbers"].append(number)
        if tag == "small":
            self.handle_data(" ")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None
        if tag == "section":
            self.section = None

    def handle_data(self, text):
        if self.section is not None:
            self.section["text"] += text
        if self.cell is not None:
            self.cell["text"] += text


def browse(page, *options):
    """What headless Chromium says of a page; fails where its console has a message."""
    with tempfile.TemporaryDirectory() as profile:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
                   "--enable-logging=stderr", *options, page.resolve().as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode != 0 or "CONSOLE" in result.stderr:
        raise AssertionError(f"{' '.join(command)}\nexit code {result.returncode}\n{result.stderr}")
    return result.stdout


def first_pixel(png):
    """Red, green and blue of the top left corner. The filters of PNG leave the first pixel as it is."""
    data, at, pixels = png.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            pixels += data[at + 8:at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(pixels)[1:4])


def luminance(color):
    parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= .04045 else ((part + .055) / 1.055) ** 2.4 for part in parts)
    return .2126 * red + .7152 * green + .0722 * blue


def contrast(first, second):
    """As WCAG 2 defines it: 1 to 21."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + .05) / (low + .05)


class Report(SmallRunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one, cls.two = cls.directory / "one", cls.directory / "two"
        validation = ["split.validation_percent=10", "validate.every_steps=20"]
        run("train", *cls.words("one", "train.steps=40", *validation))
        run("train", *cls.words("two", "train.steps=40", "model.hidden=24", *validation))
        cls.evaluation = cls.one / "evaluate.json"
        run("evaluate", "--run", cls.one, "--by", "activity,popularity,novelty", "--json", cls.evaluation,
            "evaluate.frequency=once,daily,realtime", "evaluate.baselines=popularity,mean_of_last", "evaluate.bootstrap=60")
        cls.users = cls.directory / "users.json"
        run("recommend", "--run", cls.one, "--evaluation-users", 2, "--json", cls.users)
        examples = json.loads(cls.users.read_text())
        examples[0]["recommended"][0]["title"] = EVIL
        cls.users.write_text(json.dumps(examples))
        cls.plan = cls.one / "plan.json"
        run("plan", "--config", cls.one / "config.yaml", "--ranks", 1, "--gpu", "cpu", "--json", cls.plan)
        cls.page = cls.directory / "report.html"
        cls.summary = cls.directory / "summary.json"
        run("report", cls.one, cls.two, "--out", cls.page, "--recommendations", cls.users, "--json", cls.summary)

    def read(self, *words):
        """The page of a report with other words."""
        page = self.directory / "other.html"
        run("report", *words, "--out", page)
        return Page(page.read_text())

    def row(self, section, *beginning):
        """The cells of the one row of a section that begins with these texts."""
        rows = [row for row in section["rows"] if [cell["text"] for cell in row[:len(beginning)]] == list(beginning)]
        self.assertEqual(len(rows), 1, f"rows that begin with {beginning}")
        return rows[0]

    def check_figures(self, page):
        self.assertEqual(list(page.sections), SECTIONS)
        self.assertFalse(page.tags & {"script", "img"}, "text of a file became an element")
        records, evaluation = metrics(self.one), json.loads(self.evaluation.read_text())
        overview = self.row(page.sections["overview"], "one")
        best = max(record["validation"]["recall_at_10"] for record in records if "validation" in record)
        self.assertEqual(overview[1]["numbers"], [40, 40])
        self.assertEqual(overview[2]["numbers"], [records[-1]["loss"]])
        self.assertEqual(overview[3]["numbers"][0], best)
        self.assertEqual(overview[4]["numbers"], [records[-1]["temperature"]])
        self.check_time(page, records)
        self.check_plan(page, records)
        self.check_evaluation(page, evaluation)
        self.check_segments(page, evaluation)
        for user in json.loads(self.users.read_text()):
            self.assertIn(f"User {user['user']}", page.sections["examples"]["text"])
            self.assertTrue({item["similarity"] for item in user["recommended"]} <= set(page.sections["examples"]["numbers"]))
        self.assertIn(EVIL, page.sections["examples"]["text"])
        self.assertEqual([cell["text"] for cell in self.row(page.sections["configuration"], "model.hidden")],
                         ["model.hidden", "16", "24"])
        machine = json.loads((self.one / "machine.json").read_text())
        self.assertEqual(machine["ranks"], 1)
        shown = [[cell["text"] for cell in row] for row in page.sections["machine"]["rows"]]
        for name, value in machine.items():
            self.assertEqual(shown.count([name, str(value)]), 2, name)  # both runs were trained here

    def check_time(self, page, records):
        parts, before = [0, 0, 0, 0], 0
        for record in records:
            steps, before = record["step"] - before, record["step"]
            waits = [record["data_wait_ms"], record["comm_wait_ms"]]
            for i, part in enumerate([record["step_ms"] - sum(waits), *waits]):
                parts[i] += steps * part
            parts[3] += record["save_stall_ms"]
        shown = [row for row in page.sections["time"]["rows"] if row[0]["text"] == "one"][0][2:]
        for cell, part in zip(shown, parts):
            self.assertAlmostEqual(cell["numbers"][0], 100 * part / sum(parts), places=6)

    def check_plan(self, page, records):
        plan, section = json.loads(self.plan.read_text()), page.sections["plan"]
        self.assertIn("Planned for 1 rank(s) of 'cpu'", section["text"])
        median = sorted(record["step_ms"] for record in records)[len(records) // 2]
        most = max(record["memory_mib"] for record in records)
        for what, planned, measured in (("step, ms", plan["step_ms"], median),
                                        ("memory of rank 0, MiB", plan["memory_bytes"] / 2**20, most)):
            cells = self.row(section, what)
            for cell, wanted in zip(cells[1:], (planned, measured, measured / planned)):
                self.assertAlmostEqual(cell["numbers"][0] / wanted, 1, places=9, msg=what)
        for part in plan["memory"] + plan["step"]:
            if part["value"] > 0:  # a bar with its formula beside the pointer
                self.assertIn(part["part"][:29], section["text"])
                self.assertIn(part["formula"], section["text"])
        self.assertEqual(section["text"].count("planned together"), 2)
        for row in plan["scaling"]:
            if row["possible"]:
                self.assertIn(f"planned: {row['step_ms']:.4f}", section["text"])
        self.assertIn(f"measured: {median:.4f}", section["text"])

    def check_evaluation(self, page, evaluation):
        keys = ["recall@10", "recall@50", "recall@10_per_user", "ndcg@10", "interest_entropy@50", "p90_coverage@10"]
        for result in evaluation["results"]:
            cells = self.row(page.sections["evaluation"], result["method"], result["frequency"])
            for key, cell in zip(keys, cells[2:]):
                self.assertEqual(cell["numbers"], [] if result[key] is None else [result[key]], key)
            low, high = result["interval"]["recall@10"]
            self.assertIn(f"{low:.4f} to {high:.4f}", cells[2]["text"])
            if "difference" in result:
                self.assertEqual(cells[8]["numbers"], [result["difference"]["recall@10"]["value"]])
                verdict = {"holds": "is better", "does not hold": "is worse", "cannot be told": "cannot be told"}
                self.assertIn(verdict[result["difference"]["recall@10"]["reference_is_better"]], cells[8]["text"])
        for frequency in ("once", "daily", "realtime"):
            self.assertIn(frequency, page.sections["frequency"]["text"])

    def check_segments(self, page, evaluation):
        self.assertEqual([part["by"] for part in evaluation["by"]], ["activity", "popularity", "novelty"])
        rows = iter([row for row in page.sections["segments"]["rows"] if row[1]["text"] != "users"])
        for part in evaluation["by"]:
            self.assertEqual(sum(segment["positives"] for segment in part["segments"]), evaluation["positives"])
            for segment in part["segments"]:
                cells = next(rows)
                self.assertEqual(cells[0]["text"], segment["segment"])
                self.assertEqual(cells[1]["numbers"] + cells[2]["numbers"], [segment["users"], segment["positives"]])
                self.assertEqual(cells[3]["numbers"], [segment["results"][0]["recall@10"]])
        self.assertIsNone(next(rows, None))

    def test_figures_are_those_of_the_files(self):
        page = Page(self.page.read_text())
        self.check_figures(page)
        self.assertEqual([target for target in page.loaded if not target.startswith(("#", "data:,"))], [], "it loads something")
        summary = json.loads(self.summary.read_text())
        self.assertEqual([entry["step"] for entry in summary["runs"]], [40, 40])
        self.assertEqual(summary["evaluations"], [str(self.evaluation)])
        self.assertEqual(summary["example_users"], 2)

    @unittest.skipUnless(CHROMIUM, "no browser: apt-get install chromium")
    def test_a_browser_shows_the_same_without_a_message(self):
        self.check_figures(Page(browse(self.page, "--dump-dom")))

    @unittest.skipUnless(CHROMIUM, "no browser: apt-get install chromium")
    def test_it_is_dark_or_light_as_the_reader_prefers_and_can_be_printed(self):
        corners = []
        for scheme in ("0", "1"):  # dark, light
            picture = self.directory / f"{scheme}.png"
            browse(self.page, f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1280,900",
                   f"--screenshot={picture}")
            corners.append(first_pixel(picture))
        self.assertLess(max(corners[0]), 64)
        self.assertGreater(min(corners[1]), 224)
        document = self.directory / "report.pdf"
        browse(self.page, f"--print-to-pdf={document}")
        self.assertEqual(document.read_bytes()[:5], b"%PDF-")

    def test_colours_can_be_told_from_their_ground(self):
        style = (ROOT / "launch/report/page.css").read_text()
        blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            colors = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
            for ground in ("page", "card"):
                for name in ("text", "quiet", "link"):
                    self.assertGreaterEqual(contrast(colors[name], colors[ground]), 4.5, f"{name} on {ground}")
                for name in [f"s{i}" for i in range(8)] + [f"t{i}" for i in range(4)]:
                    self.assertGreaterEqual(contrast(colors[name], colors[ground]), 3, f"{name} on {ground}")
            for name in [f"t{i}" for i in range(4)]:
                self.assertGreaterEqual(contrast(colors["on-share"], colors[name]), 3, f"text on {name}")

    def test_missing_parts_say_what_makes_them(self):
        page = self.read(self.two)
        for section, command in (("plan", "pinnerformer plan --config"), ("evaluation", "pinnerformer evaluate --run"), ("segments", "--by activity"),
                                 ("frequency", "evaluate.frequency=once,daily,realtime"),
                                 ("examples", "pinnerformer recommend --run")):
            self.assertIn(command, page.sections[section]["text"], section)
        self.assertIn("Everything was read.", page.sections["problems"]["text"])
        named = self.read(self.two, "--evaluation", self.evaluation)
        self.assertIn("popularity", named.sections["evaluation"]["text"])

    def test_damage_in_a_run_is_named_and_the_rest_is_shown(self):
        damaged = self.directory / "damaged"
        shutil.copytree(self.one, damaged, ignore=shutil.ignore_patterns("checkpoints"))
        lines = (damaged / "metrics.jsonl").read_text().splitlines()
        lines[2] = lines[2][:40]
        (damaged / "metrics.jsonl").write_text("\n".join(lines) + "\n" + lines[-1][:25])
        (damaged / "config.yaml").write_text("model: [1, 2\n")
        (damaged / "plan.json").write_text('{"step_ms": 1, "scaling": [], "machine": 7}')
        (damaged / "evaluate.json").write_text('{"protocol": "windows", "results": [{"method": 5}]}')
        problems = self.read(damaged).sections["problems"]["text"]
        self.assertIn("metrics.jsonl, line 3 is no record of a step", problems)
        self.assertIn("results[0].method should be a text", problems)
        self.assertIn("plan.json: machine should be a text", problems)
        self.assertIn("config.yaml is missing or cannot be read", problems)

    def test_an_evaluation_is_shown_once_and_another_run_is_told(self):
        summary = self.directory / "once.json"
        page = self.directory / "once.html"
        both = run("report", self.one, "--evaluation", self.evaluation, "--out", page, "--json", summary)
        self.assertEqual(json.loads(summary.read_text())["evaluations"], [str(self.evaluation)])
        self.assertNotIn("note:", both.stderr)
        other = run("report", self.two, "--evaluation", self.evaluation, "--out", page)
        self.assertIn(f"is about the run {self.one}, which is none of those on this page", other.stderr)

    def test_bad_words_are_refused_and_write_nothing(self):
        page = self.directory / "none.html"
        empty = self.directory / "empty"
        empty.mkdir(exist_ok=True)
        broken = self.directory / "broken.json"
        broken.write_text('{"results": [')
        for words, code, message in (
                ((empty,), NO_INPUT, "is no run: it has no metrics.jsonl"),
                ((self.one, "--evaluation", broken), DATA, "broken.json is not JSON"),
                ((self.one, "--evaluation", self.users), DATA, "is no evaluation: expected what"),
                ((self.one, "--recommendations", self.evaluation), DATA, "is no list of users"),
                ((self.one, "--recommendations", empty / "none.json"), NO_INPUT, "none.json")):
            self.assertIn(message, run("report", *words, "--out", page, expect=code).stderr)
        refused = run("report", self.one, "--out", self.directory / "page.txt", expect=USAGE)
        self.assertIn("give it the ending .html", refused.stderr)
        unknown = run("evaluate", "--run", self.one, "--by", "activty", expect=USAGE)
        self.assertIn("did you mean 'activity'", unknown.stderr)
        self.assertFalse(page.exists())
        self.assertFalse((self.directory / "page.txt").exists())


if __name__ == "__main__":
    unittest.main()

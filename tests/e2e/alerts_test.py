"""The example alerts for Prometheus: its own tool reads them, and each fires when it should and not before."""
import shutil
import subprocess
import unittest

from support import ROOT

PROMTOOL = shutil.which("promtool")
ALERTS = ROOT / "docs/monitoring/alerts.yaml"
EXPECTED = ROOT / "tests/monitoring/alerts_test.yaml"


@unittest.skipUnless(PROMTOOL, "no promtool: apt-get install prometheus")
class Alerts(unittest.TestCase):
    def promtool(self, *words):
        result = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def test_promtool_accepts_every_rule(self):
        rules = ALERTS.read_text().count("- alert:")
        self.assertGreater(rules, 3)
        self.assertIn(f"{rules} rules found", self.promtool("check", "rules", ALERTS))

    def test_every_alert_fires_when_it_should_and_not_before(self):
        expected = EXPECTED.read_text()
        for line in ALERTS.read_text().splitlines():
            if "- alert:" in line:
                name = line.split(":")[1].strip()
                self.assertIn(f"{{alertname: {name}, eval_time:", expected, "no moment at which it is silent")
                self.assertIn(f"- alertname: {name}\n", expected, "no moment at which it fires")
        self.promtool("test", "rules", EXPECTED)


if __name__ == "__main__":
    unittest.main()

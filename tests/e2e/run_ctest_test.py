"""tests/run_ctest.py on a folder of small tests: who gets a second try, and what is reported."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAILS_ONCE = "test -e {name} || ! touch {name}"


class RunCtest(unittest.TestCase):
    def ctest(self, **scripts):
        with tempfile.TemporaryDirectory() as directory:
            lines = []
            for name, script in scripts.items():
                lines.append(f'add_test({name} sh -c "{script.format(name=name)}")\n'
                             f"set_tests_properties({name} PROPERTIES SKIP_RETURN_CODE 77)\n")
            pathlib.Path(directory, "CTestTestfile.cmake").write_text("".join(lines))
            ctest = shutil.which("ctest", path=ROOT / ".venv/bin")
            return subprocess.run([ROOT / "tests/run_ctest.py", ctest, directory], text=True,
                                  capture_output=True, timeout=60, check=False)

    def test_all_pass(self):
        result = self.ctest(a="true", b="true")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertNotIn("Needed", result.stdout)
        self.assertNotIn("Skipped", result.stdout)

    def test_two_that_fail_once_are_named_and_pass(self):
        result = self.ctest(a=FAILS_ONCE, b="true", c=FAILS_ONCE)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("Needed a second try:\n  a\n  c\n", result.stdout)

    def test_three_that_fail_once_fail_the_run(self):
        result = self.ctest(a=FAILS_ONCE, b=FAILS_ONCE, c=FAILS_ONCE)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("without a second try:\n  a\n  b\n  c\n", result.stdout)

    def test_one_that_always_fails_fails_the_run(self):
        result = self.ctest(a="false", b="true")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Needed a second try:\n  a\n", result.stdout)

    def test_skipped_tests_are_named_with_their_reason(self):
        result = self.ctest(a="echo skipped: Foo.Bar: no GPU; exit 77", b="echo skipped: Baz: no network")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("Skipped:\n  Baz: no network\n  Foo.Bar: no GPU\n", result.stdout)

    def test_no_tests_at_all_fail_the_run(self):
        self.assertNotEqual(self.ctest().returncode, 0)


if __name__ == "__main__":
    unittest.main()

// What the main() functions of the test programs share.
#pragma once

namespace pinnerformer {

// Takes what CTest passes beside GoogleTest's own options: `--file=tests/unit/foo_test.cc` selects
// the tests of that file, exactly. Exits with 64 for other words and for a file without tests.
// Call it after InitGoogleTest().
void select_tests(int argc, char** argv);

// Runs the selected tests. 0: passed; 1: failed; 77, which CTest shows as "Skipped": every test
// skipped itself. Prints "skipped: NAME: REASON" for each that did.
[[nodiscard]] int run_selected_tests();

}  // namespace pinnerformer

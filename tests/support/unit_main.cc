// main() of the unit tier.
#include <gtest/gtest.h>

#include "tests/support/run_tests.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  pinnerformer::select_tests(argc, argv);
  return pinnerformer::run_selected_tests();
}

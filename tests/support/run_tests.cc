#include "tests/support/run_tests.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>

namespace pinnerformer {
namespace {

constexpr int kFailed = 1, kWrongArguments = 64, kSkipped = 77;

void for_each_test(const std::function<void(const testing::TestInfo&)>& visit) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int s = 0; s < all.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *all.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) visit(*suite.GetTestInfo(t));
  }
}

std::string name_of(const testing::TestInfo& test) {
  return std::string(test.test_suite_name()) + "." + test.name();
}

void select_file(const std::string& file) {
  std::string filter;
  for_each_test([&](const testing::TestInfo& test) {
    if (std::string_view(test.file()).ends_with(file)) filter += name_of(test) + ":";
  });
  if (filter.empty()) {
    std::cerr << "--file=" << file << ": this program holds no test of that file\n";
    std::exit(kWrongArguments);
  }
  testing::GTEST_FLAG(filter) = filter;
}

void print_skipped(const testing::TestInfo& test) {
  if (!test.result()->Skipped()) return;
  std::cout << "skipped: " << name_of(test) << ": ";
  for (int i = 0; i < test.result()->total_part_count(); ++i) {
    const testing::TestPartResult& part = test.result()->GetTestPartResult(i);
    if (part.skipped()) std::cout << part.message();
  }
  std::cout << std::endl;
}

}  // namespace

void select_tests(int argc, char** argv) {
  constexpr std::string_view kFile = "--file=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with(kFile)) {
      std::cerr << "unknown option " << word << ": expected --file=PATH or one of GoogleTest's\n";
      std::exit(kWrongArguments);
    }
    select_file(std::string(word.substr(kFile.size())));
  }
}

int run_selected_tests() {
  if (RUN_ALL_TESTS() != 0) return kFailed;
  for_each_test(print_skipped);
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  return all.skipped_test_count() > 0 && all.successful_test_count() == 0 ? kSkipped : 0;
}

}  // namespace pinnerformer

// Which host names are refused before MPI starts.
#include "comm/host_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(HostName, OfThisHostIsKnown) { EXPECT_NE(host_name(), ""); }

TEST(HostName, MpiTakesFortyNineCharactersBeforeADigit) {
  EXPECT_EQ(host_name_fault("node7"), "");
  EXPECT_EQ(host_name_fault(std::string(49, 'h')), "");
  EXPECT_EQ(host_name_fault(std::string(49, 'h') + "1" + std::string(13, 'h')), "");
  EXPECT_EQ(host_name_fault(std::string(30, 'h') + "." + std::string(32, 'd')), "");
  EXPECT_EQ(host_name_fault(""), "");
  EXPECT_THAT(host_name_fault(std::string(50, 'h')), testing::HasSubstr("has 50 characters"));
  EXPECT_THAT(host_name_fault(std::string(63, 'h')), testing::HasSubstr("shorter name"));
  EXPECT_NE(host_name_fault(std::string(60, 'h') + "1ab"), "");
}

}  // namespace
}  // namespace pinnerformer

// Text of unknown origin on its way to a terminal.
#include "dataloader/base/printable.h"

#include <gtest/gtest.h>

namespace pinnerformer {
namespace {

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("two\nlines\t\x7f"), "two\\x0alines\\x09\\x7f");
  EXPECT_EQ(printable(std::string_view("nul\0", 4)), "nul\\x00");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // C1: CSI
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "abc"),
            "\\xe2\\x80\\xae"
            "abc");  // right to left
}

TEST(Printable, KeepsLettersOfAllLanguages) {
  const std::string text = "Z\xc3\xbcrich \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x98\x80";
  EXPECT_EQ(printable(text), text);
  EXPECT_TRUE(is_utf8(text));
}

TEST(Printable, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("caf\xe9!"), "caf\\xe9!");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // not the shortest form
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  for (const char* text : {"caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\x80"})
    EXPECT_FALSE(is_utf8(text));
}

TEST(Printable, CutsLongTextAndKeepsTheLinesOfMessages) {
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable_lines("one\n\ttwo\x1b"), "one\n\ttwo\\x1b");
  EXPECT_EQ(printable_lines(std::string(500, 'a')), std::string(500, 'a'));
}

}  // namespace
}  // namespace pinnerformer

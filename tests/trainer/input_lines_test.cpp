#include "trainer/input_lines.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace isogrid {
namespace {

class InputLinesTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe(ends_.data()), 0); }
  void TearDown() override {
    ::close(ends_[0]);
    close_input();
  }
  void type(std::string_view text) {
    ASSERT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void close_input() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  std::array<int, 2> ends_{-1, -1};
};

TEST_F(InputLinesTest, ComeOneByOneAndTheLastNeedsNoNewline) {
  InputLines lines(ends_[0]);
  type("one\r\n\ntwo\nthr");
  type("ee");
  close_input();
  std::string line;
  for (const char* expected : {"one", "", "two", "three"}) {
    ASSERT_EQ(lines.next(line), InputLines::Event::line);
    EXPECT_EQ(line, expected);
  }
  EXPECT_EQ(lines.next(line), InputLines::Event::end);
  EXPECT_EQ(lines.next(line), InputLines::Event::end);
}

TEST_F(InputLinesTest, AWakingEndsTheWaitAndTheInputGoesOn) {
  std::array<int, 2> waker{};
  ASSERT_EQ(::pipe2(waker.data(), O_NONBLOCK), 0);
  InputLines lines(ends_[0], waker[0]);
  std::string line;
  ASSERT_EQ(::write(waker[1], "!!", 2), 2);
  EXPECT_EQ(lines.next(line), InputLines::Event::woken);
  type("half ");
  ASSERT_EQ(::write(waker[1], "!", 1), 1);
  lines.forget_wakings();
  type("a line\n");
  EXPECT_EQ(lines.next(line), InputLines::Event::line);
  EXPECT_EQ(line, "half a line");
  ::close(waker[0]);
  ::close(waker[1]);
}

}  // namespace
}  // namespace isogrid

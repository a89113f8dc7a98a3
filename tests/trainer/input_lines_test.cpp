#include "trainer/input_lines.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <thread>

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

TEST_F(InputLinesTest, ASignalInterruptsAWaitAndTheInputGoesOn) {
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &action, &before);
  InputLines lines(ends_[0]);
  const pthread_t reader = ::pthread_self();
  bool stop = false;
  std::thread interrupter([&] {
    // Again and again: a signal that comes before the wait would be missed.
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
      ::pthread_kill(reader, SIGUSR1);
      ::usleep(1000);
    }
  });
  std::string line;
  EXPECT_EQ(lines.next(line), InputLines::Event::interrupted);
  __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
  interrupter.join();
  type("still here\n");
  EXPECT_EQ(lines.next(line), InputLines::Event::line);
  EXPECT_EQ(line, "still here");
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace isogrid

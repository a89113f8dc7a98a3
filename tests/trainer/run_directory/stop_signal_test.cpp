#include "trainer/run_directory/stop_signal.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace isogrid {
namespace {

constexpr int kAlive = 17;

/// What `action` ends with in a process of its own: its value, or minus the signal.
int outcome(const std::function<int()>& action) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(action());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void wait_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(StopSignal, TheFirstOneOnlyAsks) {
  for (const int number : {SIGTERM, SIGINT, SIGUSR1})
    EXPECT_EQ(outcome([&] {
                const StopSignal stop;
                if (StopSignal::requested()) return 1;
                ::raise(number);
                return StopSignal::signal_number() == number ? kAlive : 2;
              }),
              kAlive);
}

TEST(StopSignal, ASecondOneEndsTheProcessAtOnce) {
  for (const int number : {SIGTERM, SIGINT})
    EXPECT_EQ(outcome([&] {
                const StopSignal stop;
                ::raise(SIGTERM);
                wait_ms(120);
                ::raise(number);
                return kAlive;
              }),
              -number);
}

TEST(StopSignal, TheSameRequestPassedOnTwiceIsOne) {
  EXPECT_EQ(outcome([] {
              const StopSignal stop;
              ::raise(SIGINT);
              ::raise(SIGTERM);
              return StopSignal::signal_number() == SIGINT ? kAlive : 1;
            }),
            kAlive);
}

TEST(StopSignal, AWarningAheadIsNotASecondOne) {
  EXPECT_EQ(outcome([] {
              const StopSignal stop;
              ::raise(SIGUSR1);
              wait_ms(120);
              ::raise(SIGUSR1);
              ::raise(SIGTERM);
              return StopSignal::signal_number() == SIGUSR1 ? kAlive : 1;
            }),
            kAlive);
}

TEST(StopSignal, ChildrenDieAsUsual) {
  EXPECT_EQ(outcome([] {
              const StopSignal stop;
              return outcome([] { return ::raise(SIGTERM); }) == -SIGTERM ? kAlive : 1;
            }),
            kAlive);
}

TEST(StopSignal, ARequestOutlivesWhatItCameIn) {
  EXPECT_EQ(outcome([] {
              const StopSignal stop;
              {
                const StopSignal inner;
                ::raise(SIGTERM);
              }
              ::raise(SIGTERM);  // still held
              return StopSignal::requested() ? kAlive : 1;
            }),
            kAlive);
}

TEST(StopSignal, AfterItsLifeSignalsDoWhatTheyDid) {
  EXPECT_EQ(outcome([] {
              { const StopSignal stop; }
              ::raise(SIGTERM);
              return kAlive;
            }),
            -SIGTERM);
}

}  // namespace
}  // namespace isogrid

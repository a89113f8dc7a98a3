#include "trainer/run_directory/stop_signal.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <mutex>

#include <pthread.h>
#include <unistd.h>

namespace isogrid {
namespace {

constexpr std::array<int, 3> kSignals{SIGTERM, SIGINT, SIGUSR1};
constexpr int64_t kSameRequest = 100'000'000;  // nanoseconds

// A handler may touch lock-free atomics only.
std::atomic<int> first_signal{0};
std::atomic<int64_t> first_end{0};  // when the first SIGTERM or SIGINT came; 0 = none yet
std::atomic<int> depth{0};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

std::array<struct sigaction, kSignals.size()> actions_before{};

int64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void end_by(int number) {
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(number, &usual, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(number);
  ::_exit(128 + number);  // process 1 of a container is not ended by its own signal
}

void on_signal(int number) {
  const int error = errno;  // of whatever was interrupted
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
  if (number != SIGUSR1) {
    const int64_t time = now();
    int64_t first = 0;
    if (!first_end.compare_exchange_strong(first, time) && time - first >= kSameRequest)
      end_by(number);
  }
  errno = error;
}

void usual_handlers() {
  if (depth == 0) return;
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  for (const int number : kSignals) ::sigaction(number, &usual, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  if (depth++ > 0) return;
  // exec() resets handlers by itself; a child that was only forked must not save checkpoints.
  static std::once_flag once;
  std::call_once(once, [] { ::pthread_atfork(nullptr, nullptr, usual_handlers); });
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i)
    ::sigaction(kSignals[i], &action, &actions_before[i]);
}

StopSignal::~StopSignal() {
  if (--depth > 0) return;
  for (size_t i = 0; i < kSignals.size(); ++i)
    ::sigaction(kSignals[i], &actions_before[i], nullptr);
}

int StopSignal::signal_number() { return first_signal; }

const char* StopSignal::signal_name() {
  switch (signal_number()) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "no signal";
  }
}

}  // namespace isogrid

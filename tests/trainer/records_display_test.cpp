#include <gtest/gtest.h>

#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "core/log.h"
#include "tests/core/temporary_directory.h"
#include "trainer/records/training_display.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

StepRecord some_step(int64_t step) {
  StepRecord record;
  record.step = step;
  record.total_steps = 114;
  record.loss = 1.23456;
  record.learning_rate = 1.9e-4;
  record.grad_norm = 0.871;
  record.tokens_per_second = 1234;
  record.share_of_roof = 0.61;
  record.seconds = static_cast<double>(step);
  return record;
}

/// Everything a display writes into a file instead of a terminal.
class FileStream {
 public:
  FileStream() : stream_(std::fopen((folder_ / "out").c_str(), "w")) {}
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;
  ~FileStream() { std::fclose(stream_); }
  std::FILE* get() const { return stream_; }
  std::string text() const {
    std::fflush(stream_);
    return file_content(folder_ / "out");
  }

 private:
  TemporaryDirectory folder_;
  std::FILE* stream_;
};

TEST(ProgressBar, ShowsEverythingWhereThereIsRoom) {
  const FileStream file;
  EXPECT_EQ(progress_bar(file.get(), some_step(57), 125, 140, /*unicode=*/false),
            "step  57/114  ==================-------------------   50 %  loss 1.2346  "
            "lr 1.90e-04  grad 0.871  1.2 K tok/s  61 % of roof  2 min 05 s left");
}

TEST(ProgressBar, NeverIsWiderThanTheTerminal) {
  const FileStream file;
  for (size_t width = 1; width < 160; ++width)
    for (const bool unicode : {false, true})
      EXPECT_LE(columns_of(progress_bar(file.get(), some_step(57), 1e6, width, unicode)), width);
}

TEST(ProgressBar, DropsWhatMattersLeastFirst) {
  const FileStream file;
  EXPECT_EQ(progress_bar(file.get(), some_step(57), 125, 60, false),
            "step  57/114  loss 1.2346  1.2 K tok/s  2 min 05 s left");
  EXPECT_EQ(progress_bar(file.get(), some_step(57), 125, 26, false), "step  57/114  loss 1.2346");
  EXPECT_EQ(progress_bar(file.get(), some_step(57), 125, 12, false), "loss 1.2346");
  EXPECT_EQ(progress_bar(file.get(), some_step(57), 125, 6, false), "loss 1");
}

TEST(ProgressBar, TakesWhateverNumbersCome) {
  const FileStream file;
  StepRecord record;
  record.loss = record.grad_norm = record.tokens_per_second = std::nan("");
  EXPECT_NE(progress_bar(file.get(), record, HUGE_VAL, 120, true).find("loss nan"),
            std::string::npos);
}

TEST(StartTable, AlignsLabelsAndWrapsLongValues) {
  const FileStream file;
  EXPECT_EQ(start_table(file.get(), "run",
                        {{"model", "Qwen3"}, {"schedule", "one two three four five six"}}, 36),
            "run\n"
            "  model     Qwen3\n"
            "  schedule  one two three four five\n"
            "            six\n");
}

TEST(TrainingDisplay, WritesPlainLinesForLoggedStepsIntoAFile) {
  const FileStream file;
  {
    TrainingDisplay display(file.get());
    display.table("run", {{"model", "Qwen3"}});
    display.begin(0);
    for (int64_t step = 1; step <= 20; ++step) display.step(some_step(step), step % 10 == 0);
    display.evaluation({.step = 20, .total_steps = 114, .loss = 1, .perplexity = 2.718281828});
  }
  const std::string text = file.text();
  EXPECT_EQ(text,
            "run\n  model  Qwen3\n"
            "step   1/114    0 %  loss 1.2346  lr 1.90e-04  grad 0.871  1.2 K tok/s  61 % of roof"
            "  1 min 53 s left\n"
            "step  10/114    8 %  loss 1.2346  lr 1.90e-04  grad 0.871  1.2 K tok/s  61 % of roof"
            "  1 min 44 s left\n"
            "step  20/114   17 %  loss 1.2346  lr 1.90e-04  grad 0.871  1.2 K tok/s  61 % of roof"
            "  1 min 34 s left\n"
            "step 20/114  evaluation: loss 1.0000, perplexity 2.718 (0.0 s)\n");
}

/// A terminal that nobody looks at, 100 columns wide.
class PseudoTerminal {
 public:
  PseudoTerminal() {
    int slave = -1;
    winsize size{};
    size.ws_col = 100;
    if (openpty(&master_, &slave, nullptr, nullptr, &size) == 0) stream_ = fdopen(slave, "w");
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;
  ~PseudoTerminal() {
    std::fclose(stream_);
    close(master_);
  }
  std::FILE* get() const { return stream_; }
  /// What came since the last call.
  std::string text() const {
    std::array<char, 4096> bytes{};
    const ssize_t count = read(master_, bytes.data(), bytes.size());
    return {bytes.data(), static_cast<size_t>(std::max<ssize_t>(count, 0))};
  }

 private:
  int master_ = -1;
  std::FILE* stream_ = nullptr;
};

TEST(TrainingDisplay, DrawsOverItselfOnATerminalAndMakesRoomForMessages) {
  setenv("NO_COLOR", "1", 1);
  setenv("LC_ALL", "C", 1);
  const PseudoTerminal terminal;
  ASSERT_NE(terminal.get(), nullptr);
  TrainingDisplay display(terminal.get());
  display.begin(0);
  display.step(some_step(57), /*logged=*/false);
  const std::string bar = terminal.text();
  EXPECT_EQ(bar.find("\r\033[Kstep  57/114  ===="), 0u) << bar;
  EXPECT_EQ(bar.find('\n'), std::string::npos);
  EXPECT_LT(columns_of(bar.substr(4)), 100u);
  testing::internal::CaptureStderr();
  log_warning("something");
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(terminal.text(), "\r\033[K");
  display.step(some_step(58), /*logged=*/true);
  EXPECT_EQ(terminal.text().find("\r\033[Kstep  58/114"), 0u);
  display.note("a line");
  EXPECT_EQ(terminal.text(), "\r\033[Ka line\r\n");
  unsetenv("NO_COLOR");
  unsetenv("LC_ALL");
}

TEST(TrainingDisplay, CanBeFollowedByAnother) {
  { const TrainingDisplay first; }
  const TrainingDisplay second;
  testing::internal::CaptureStderr();
  log_info("heard");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "heard\n");
}

}  // namespace
}  // namespace isogrid

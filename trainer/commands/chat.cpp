#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/log.h"
#include "data/templates/text.h"
#include "trainer/chat_session.h"
#include "trainer/commands/commands.h"
#include "trainer/input_lines.h"
#include "trainer/open_model.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

volatile std::sig_atomic_t chat_interrupts = 0;
int chat_waker = -1;

void note_interrupt(int) {
  const int saved = errno;
  chat_interrupts = chat_interrupts + 1;
  // A full pipe wakes as well as one more byte would.
  [[maybe_unused]] const ssize_t written = ::write(chat_waker, "!", 1);
  errno = saved;
}

/// Counts Ctrl-C instead of ending the program, for as long as it lives.
class InterruptGuard {
 public:
  InterruptGuard() {
    if (::pipe2(pipe_.data(), O_NONBLOCK | O_CLOEXEC) != 0) {
      fail(ExitCode::io, "a pipe for Ctrl-C: ", std::strerror(errno));
    }
    chat_waker = pipe_[1];
    struct sigaction action {};
    action.sa_handler = note_interrupt;
    action.sa_flags = SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &before_);
  }
  ~InterruptGuard() {
    ::sigaction(SIGINT, &before_, nullptr);
    ::close(pipe_[0]);
    ::close(pipe_[1]);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  int waker() const { return pipe_[0]; }

 private:
  std::array<int, 2> pipe_{-1, -1};
  struct sigaction before_ {};
};

constexpr std::string_view kChatHelp =
    "/reset            start a new conversation\n"
    "/system TEXT      start a new one under this system text; without TEXT the template's own\n"
    "/think on|off     whether a reasoning model thinks before it answers\n"
    "/help             this list\n"
    "/exit             leave; so does Ctrl-D. Ctrl-C stops an answer\n";

class ChatLoop {
 public:
  ChatLoop(ChatSession& session, int waker)
      : session_(session),
        lines_(STDIN_FILENO, waker),
        is_live_(is_terminal(stdin) && is_terminal(stdout)) {}

  void run() {
    if (is_live_) say_dim("/help lists what you can type; Ctrl-D leaves\n");
    bool warned = false;
    for (std::string line; is_open_;) {
      show_prompt();
      const InputLines::Event event = lines_.next(line);
      if (event == InputLines::Event::end) break;
      if (event == InputLines::Event::woken) {
        std::fputs("\n", stdout);
        if (warned) break;
        warned = true;
        say_dim("Ctrl-C again, or Ctrl-D, leaves\n");
        continue;
      }
      warned = false;
      take(line);
    }
    if (is_live_ && is_open_) std::fputs("\n", stdout);
  }

 private:
  void show_prompt() const {
    if (!is_live_) return;
    std::fputs(inked(stdout, Ink::green, "> ").c_str(), stdout);
    std::fflush(stdout);
  }
  static void say_dim(std::string_view text) {
    std::fputs(inked(stderr, Ink::dim, text).c_str(), stderr);
  }

  void take(std::string_view line) {
    const std::string_view words = trim(line);
    if (words.empty()) return;
    if (words.front() == '/' && line.front() == '/') return command(words);
    answer(std::string(words));
  }

  void command(std::string_view words) {
    const size_t blank = std::min(words.find(' '), words.size());
    const std::string_view name = words.substr(0, blank);
    const std::string_view rest = trim(words.substr(blank));
    if (name == "/exit" || name == "/quit") {
      is_open_ = false;
    } else if (name == "/reset") {
      session_.reset();
      say_dim("a new conversation\n");
    } else if (name == "/system") {
      session_.set_system(std::string(rest));
      say_dim("a new conversation\n");
    } else if (name == "/think" && (rest == "on" || rest == "off")) {
      session_.set_thinking(rest == "on");
      if (session_.plan().layout->thinking == Thinking::none) {
        say_dim(concat("the template ", session_.plan().layout->name, " knows no thinking\n"));
      }
    } else {
      if (name != "/help")
        say_dim(concat(words,
                       ": not known. A question that starts with / is "
                       "typed with a blank before it\n"));
      std::fputs(inked(stderr, Ink::plain, kChatHelp).c_str(), stderr);
    }
  }

  void answer(std::string question) {
    const auto interrupts_before = chat_interrupts;
    const auto show = [&](const std::string& text) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
      return chat_interrupts == interrupts_before;
    };
    try {
      const ChatSession::Reply reply = session_.say(std::move(question), show);
      std::fputs("\n", stdout);
      std::fflush(stdout);
      report(reply);
      lines_.forget_wakings();  // they were meant for the answer
    } catch (const Error& error) {
      if (error.code() != ExitCode::usage) throw;
      log_warning(error.what());
    }
  }

  void report(const ChatSession::Reply& reply) const {
    if (reply.cut_short) {
      log_info(concat("the answer reached ", reply.tokens,
                      " tokens; --max_new_tokens allows longer ones"));
    }
    const double speed = reply.decode_seconds > 0 && reply.tokens > 1
                             ? static_cast<double>(reply.tokens - 1) / reply.decode_seconds
                             : 0;
    log_debug(concat(reply.read_tokens, " tokens read, ", reply.tokens, " written, ",
                     static_cast<int64_t>(speed + 0.5), " tokens/s"));
  }

  ChatSession& session_;
  InputLines lines_;
  bool is_live_;
  bool is_open_ = true;
};

}  // namespace

int run_chat(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const std::string path = model_folder_path(config);
  const ModelFolder folder = open_model_folder(path);
  const ChatTemplate& layout = template_for_chat(config, folder);
  const Tokenizer tokenizer = Tokenizer::load(path);
  AnswerPlan plan = plan_answers(config, folder, tokenizer, &layout);
  const OpenedModel opened = open_model(config);
  ChatSession session(opened.model, tokenizer, std::move(plan));
  const InterruptGuard guard;
  ChatLoop(session, guard.waker()).run();
  return 0;
}

}  // namespace isogrid

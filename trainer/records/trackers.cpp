#include "trainer/records/trackers.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/io_writer.h"
#include "core/json.h"
#include "core/log.h"

extern char** environ;

namespace isogrid {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostQueued = size_t{4} << 20;
constexpr auto kStartPatience = std::chrono::seconds(60);

std::string python_program() {
  const char* chosen = std::getenv("ISOGRID_PYTHON");
  return chosen != nullptr && *chosen != '\0' ? chosen : "python3";
}

/// Attributes and actions of posix_spawn, freed together.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

/// Starts the bridge with `channel` as its standard input. Its own process group, so that the
/// Ctrl-C which asks the trainer for a checkpoint does not end it; ordinary signals; nothing else
/// of ours open. Returns 0 or an errno.
int start_python(const std::string& python, int channel, const std::string& log, pid_t* child) {
  SpawnPlan plan;
  posix_spawn_file_actions_adddup2(&plan.actions, channel, 0);
  posix_spawn_file_actions_addopen(&plan.actions, 1, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0666);
  posix_spawn_file_actions_adddup2(&plan.actions, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
  sigset_t none, ordinary;
  sigemptyset(&none);
  sigemptyset(&ordinary);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2})
    sigaddset(&ordinary, signal);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &ordinary);
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  posix_spawnattr_setflags(&plan.attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string program = python, option = "-c", script = tracker_script();
  char* arguments[] = {program.data(), option.data(), script.data(), nullptr};
  return posix_spawnp(child, program.c_str(), &plan.actions, &plan.attributes, arguments, environ);
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

/// JSON has no NaN, and trackers mostly no use for it.
void add_finite(Json& values, const char* name, double value) {
  if (std::isfinite(value)) values[name] = value;
}

}  // namespace

/// The other process, the socket to it, and what it has not taken yet.
struct Trackers::Bridge {
  pid_t process = -1;
  FileDescriptor channel;
  std::string log;
  std::string outgoing, incoming;
  bool is_starting = true;  // what goes wrong now is told before training, and ends it
  bool is_dropping = false, is_ready = false, is_finished = false, is_gone = false;

  Bridge(const std::vector<std::string>& trackers, const std::string& folder) {
    log = (std::filesystem::path(folder) / "tracker.log").string();
    make_directories(folder);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      fail(ExitCode::io, "report_to: no socket for the trackers: ", std::strerror(errno));
    channel = FileDescriptor(ends[0]);
    const FileDescriptor theirs(ends[1]);
    const int cause = start_python(python_program(), theirs.get(), log, &process);
    if (cause == 0) return;
    fail(
        ExitCode::configuration, "report_to: ", joined_names(trackers), " needs Python, and '",
        python_program(), "' cannot be started (", std::strerror(cause),
        "); put python3 on the PATH, name another in ISOGRID_PYTHON, or leave it out of report_to");
  }

  ~Bridge() {
    if (process > 0) waitpid(process, nullptr, WNOHANG);
  }

  /// Gives the socket what it takes without waiting.
  void push() {
    while (!outgoing.empty() && !is_gone) {
      const ssize_t count =
          ::send(channel.get(), outgoing.data(), outgoing.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0)
        outgoing.erase(0, static_cast<size_t>(count));
      else if (errno == EINTR)
        continue;
      else if (errno == EAGAIN || errno == EWOULDBLOCK)
        return;
      else
        is_gone = true;
    }
  }

  /// Reads what was said, without waiting.
  void pull() {
    char piece[4096];
    while (!is_gone) {
      const ssize_t count = ::recv(channel.get(), piece, sizeof piece, MSG_DONTWAIT);
      if (count > 0) {
        incoming.append(piece, static_cast<size_t>(count));
        continue;
      }
      if (count < 0 && errno == EINTR) continue;
      is_gone = count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
      break;
    }
    for (size_t end; (end = incoming.find('\n')) != std::string::npos;) {
      const std::string line = incoming.substr(0, end);
      incoming.erase(0, end + 1);
      hear(parse_json(line, "the tracker bridge"));
    }
  }

  void hear(const Json& message) {
    const JsonFields fields(message, "the tracker bridge");
    if (fields.has("missing")) {
      const std::string names = joined_names(fields.strings("missing"));
      trouble(concat("the Python package ", names, " is not installed for ",
                     fields.string("python"), "; install it (pip install ", names,
                     "), name another Python in ISOGRID_PYTHON, or leave it out of report_to"));
    }
    if (fields.has("failed"))
      trouble(concat(fields.string("failed"), ": ", fields.string("why"),
                     is_starting ? "; mend that, or leave it out of report_to" : "", " (", log,
                     " holds all it said)"));
    if (fields.has("started"))
      log_info(concat("reports to ", fields.string("started"), " ", fields.string("version"), ": ",
                      fields.string("where")));
    is_ready = is_ready || fields.has("ready");
    is_finished = is_finished || fields.has("finished");
  }

  void trouble(const std::string& what) const {
    if (is_starting) fail(ExitCode::configuration, "report_to: ", what);
    log_warning(concat("report_to: ", what, "; training goes on without it"));
  }

  /// Talks until `done`, the bridge's end, a signal or the deadline.
  template <typename Done>
  void talk(Clock::duration patience, Done done) {
    const Clock::time_point deadline = Clock::now() + patience;
    for (;;) {
      push();
      pull();
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (done() || is_gone || left <= 0) return;
      pollfd waiting{channel.get(), static_cast<short>(POLLIN | (outgoing.empty() ? 0 : POLLOUT)),
                     0};
      if (poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left, 1000))) < 0) return;
    }
  }
};

std::vector<std::string> trackers_in(const std::vector<std::string>& report_to) {
  const std::vector<std::string> bridged = {"wandb", "trackio", "mlflow"};
  std::vector<std::string> found;
  for (const std::string& name : bridged)
    if (std::find(report_to.begin(), report_to.end(), name) != report_to.end() ||
        std::find(report_to.begin(), report_to.end(), "all") != report_to.end())
      found.push_back(name);
  return found;
}

Json without_credentials(const Json& config) {
  const auto is_credential = [](std::string_view key) {
    return key == "token" || key.ends_with("_token") || key == "use_auth_token" ||
           key.ends_with("_key") || key.find("secret") != std::string_view::npos ||
           key.find("password") != std::string_view::npos;
  };
  Json kept = Json::object();
  for (const auto& [key, value] : config.items())
    if (!is_credential(key)) kept[key] = value;
  return kept;
}

Trackers::Trackers(const TrackingConfig& settings, const TrackerRun& run) {
  const std::vector<std::string> trackers = trackers_in(settings.report_to);
  if (trackers.empty()) return;
  const auto& asked = settings.report_to;
  const bool whatever_is_there = std::find(asked.begin(), asked.end(), "all") != asked.end();
  const std::string folder = (std::filesystem::path(run.output_dir) / "logs").string();
  try {
    bridge_ = std::make_unique<Bridge>(trackers, folder);
  } catch (const Error&) {
    if (!whatever_is_there) throw;
    log_info("report_to: all: there is no Python, so there are no trackers");
    return;
  }
  send({{"do", "start"},
        {"trackers", trackers},
        {"optional", whatever_is_there},
        {"project", or_null(settings.project)},
        {"experiment", or_null(settings.experiment_name)},
        {"run_name", settings.run_name.value_or(run.default_name)},
        {"run_id", run.run_id},
        {"space", or_null(settings.trackio_space_id)},
        {"folder", folder},
        {"config", without_credentials(run.config ? *run.config : Json::object())}});
  if (!bridge_) return;
  bridge_->talk(kStartPatience, [this] { return bridge_->is_ready; });
  if (bridge_->is_gone && !bridge_->is_ready)
    fail(ExitCode::configuration, "report_to: the process for ", joined_names(trackers),
         " ended before it was ready; ", bridge_->log, " holds what it said");
  if (!bridge_->is_ready)
    log_warning(concat("report_to: ", joined_names(trackers),
                       " needs long to start; training does not wait for it"));
  bridge_->is_starting = false;
}

Trackers::~Trackers() = default;

void Trackers::send(const Json& message) {
  if (!bridge_) return;
  const std::string line = message.dump() + "\n";
  if (bridge_->outgoing.size() + line.size() <= kMostQueued) {
    bridge_->outgoing += line;
  } else if (!bridge_->is_dropping) {
    bridge_->is_dropping = true;
    log_warning("report_to: the trackers take nothing; figures are left out until they do");
  }
  bridge_->push();
  if (bridge_->is_starting) return;  // the constructor listens
  bridge_->pull();
  if (!bridge_->is_gone) return;
  log_warning(concat("report_to: the process of the trackers ended; training goes on without it (",
                     bridge_->log, " holds what it said)"));
  bridge_.reset();
}

void Trackers::step(const StepRecord& record) {
  Json values = Json::object();
  add_finite(values, "train/loss", record.loss);
  add_finite(values, "train/grad_norm", record.grad_norm);
  add_finite(values, "train/learning_rate", record.learning_rate);
  add_finite(values, "train/epoch", record.epoch);
  add_finite(values, "train/tokens", static_cast<double>(record.tokens));
  add_finite(values, "train/tokens_per_second", record.tokens_per_second);
  if (record.share_of_roof) add_finite(values, "train/share_of_roof", *record.share_of_roof);
  if (record.loss_scale) add_finite(values, "train/loss_scale", *record.loss_scale);
  send({{"do", "log"}, {"step", record.step}, {"values", values}});
}

void Trackers::evaluation(const EvalRecord& record) {
  Json values = Json::object();
  add_finite(values, "eval/loss", record.loss);
  add_finite(values, "eval/perplexity", record.perplexity);
  if (record.label_loss) add_finite(values, "eval/label_loss", *record.label_loss);
  if (record.agreement) add_finite(values, "eval/top1_agreement", *record.agreement);
  add_finite(values, "eval/runtime", record.eval_seconds);
  send({{"do", "log"}, {"step", record.step}, {"values", values}});
}

void Trackers::figures(int64_t step, const Json& values) {
  send({{"do", "log"}, {"step", step}, {"values", values}});
}

void Trackers::finish(bool succeeded, double seconds) {
  send({{"do", "finish"}, {"ok", succeeded}});
  if (!bridge_) return;
  const auto patience = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(std::clamp(seconds, 0.0, 3600.0)));
  bridge_->talk(patience, [this] { return bridge_->is_finished; });
  if (!bridge_->is_finished)
    log_warning(concat("report_to: the trackers have not finished",
                       bridge_->is_gone ? "" : " in time; they go on in the background", " (",
                       bridge_->log, " holds what they say)"));
  bridge_.reset();
}

}  // namespace isogrid

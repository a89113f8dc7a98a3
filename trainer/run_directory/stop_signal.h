#pragma once

namespace isogrid {

/// While it lives, SIGTERM, SIGINT and SIGUSR1 (Slurm's early warning) ask for a committed
/// checkpoint and exit code 75 instead of ending the process. They may nest, within one thread; a
/// request is never forgotten.
///
/// A second SIGTERM or SIGINT ends the process at once by that signal (a shell shows 128 + its
/// number); what is on the disk is whole at every moment, so that does no harm. One that comes
/// within a tenth of a second counts as the first, passed on by a launcher as well; one after
/// SIGUSR1 is the first. Children do not inherit the handlers.
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  /// To be looked at in every loop that may last: steps, evaluation, reading data, saving.
  static bool requested() { return signal_number() != 0; }
  static int signal_number();  // the first signal that came; 0 = none
  static const char* signal_name();
};

}  // namespace isogrid

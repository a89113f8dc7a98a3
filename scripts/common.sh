# Sourced by the scripts beside it: where things are, and how the scripts talk.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
ISOGRID_HOME=${ISOGRID_HOME:-~/.cache/isogrid}
export ISOGRID_HOME

# The toolkit's folder is often not on the PATH of the shell that builds.
for cuda in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
  if ! command -v nvcc >/dev/null && [ -n "$cuda" ] && [ -x "$cuda/bin/nvcc" ]; then
    PATH=$PATH:$cuda/bin
  fi
done

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold="" plain=""; fi
step_name="" step_start=0

# step "Building" prints a heading; the next step, or done_steps, closes it with the time it took.
step() {
  close_step
  step_name=$1 step_start=$SECONDS
  printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}
close_step() {
  [ -z "$step_name" ] || printf '   %s: %d s\n' "$step_name" $((SECONDS - step_start))
  step_name=""
}

die() {
  printf '%s\n' "$@" >&2
  exit 1
}

# help FILE prints the comment at the top of a script.
help() { sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$1"; }

# Processes at a time: one a core, as long as each finds the 1.5 GiB that a large file needs.
jobs() {
  local memory_kib by_memory cores
  memory_kib=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
  by_memory=$((memory_kib / 1572864))
  cores=$(nproc)
  echo $((by_memory < 1 ? 1 : by_memory < cores ? by_memory : cores))
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# configure_and_build PRESET [TARGET...]
configure_and_build() {
  local preset=$1 target targets=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  # Quiet while all is well; the whole of it when it is not.
  local log
  log=$(mktemp)
  if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "The configuration of preset $preset failed."
  fi
  grep -A4 'Warning' "$log" || true
  rm -f "$log"
  cmake --build --preset "$preset" -j "$(jobs)" "${targets[@]}"
}

#!/usr/bin/env bash
# Runs a training command, kills it (SIGKILL) once its first checkpoint is committed,
# starts the same command again and lets it end; fails if the run did not resume.
#   kill_and_resume.sh WORKDIR COMMAND...
set -euo pipefail
workdir=$1
shift

committed() { find "$workdir/checkpoints" -maxdepth 1 -regex '.*/[0-9]+' 2>/dev/null || true; }

setsid "$@" &
leader=$!
for _ in $(seq 3600); do  # on a busy machine compiling alone takes minutes
  # Orbax writes beside the final name and renames: digits alone are a whole one.
  if [ -n "$(committed)" ]; then break; fi
  if ! kill -0 "$leader" 2>/dev/null; then
    echo "kill_and_resume: the run ended before its first checkpoint" >&2
    exit 1
  fi
  sleep 0.5
done
if [ -z "$(committed)" ]; then
  echo "kill_and_resume: no checkpoint within half an hour" >&2
  exit 1
fi
kill -KILL -- "-$leader"
wait "$leader" 2>/dev/null || true

"$@" | tee "$workdir/resumed.log"
grep -qi "resum" "$workdir/resumed.log"

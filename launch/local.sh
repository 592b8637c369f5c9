#!/usr/bin/env bash
# Starts one training as several processes on this machine, which find each other
# through jax.distributed. If one of them fails, the others are ended.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/local.sh [--processes=N] [--devices=M | --gpus=M] [--port=P] [--dry-run]
                       -- FLAGS OF mmjax.train

  --processes=N  how many processes (default 2)
  --devices=M    virtual CPU devices of each process
  --gpus=M       GPUs of each process: process i gets number i*M and the next ones
  --port=P       where process 0 listens on 127.0.0.1 (default: one that is free)
  --dry-run      print the commands and exit

The interpreter is $PYTHON, or else the python on the path. Example:

  launch/local.sh --processes=2 --devices=4 -- \
    --config=configs/quickstart.py --workdir=/tmp/run
TEXT
}

fail() {
  echo "launch/local.sh: error: $1" >&2
  exit 2
}

# Dies unless the flag $1 has a positive whole number, $2.
number() {
  [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || fail "$1=$2: must be a positive whole number"
}

# Prints the arguments as one line that a shell reads back as the same words.
quoted() {
  local word line=""
  for word in "$@"; do
    if [[ ! $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then
      word="'${word//\'/\'\\\'\'}'"
    fi
    line+="$word "
  done
  echo "${line% }"
}

processes=2 devices="" gpus="" port="" dry_run=0
while (($#)); do
  case $1 in
    --processes=*) processes=${1#*=} && number --processes "$processes" ;;
    --devices=*) devices=${1#*=} && number --devices "$devices" ;;
    --gpus=*) gpus=${1#*=} && number --gpus "$gpus" ;;
    --port=*) port=${1#*=} && number --port "$port" ;;
    --dry-run) dry_run=1 ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "$1: not a flag of this script (those of mmjax.train go after --)" ;;
  esac
  shift
done
(($#)) || fail "no flags of mmjax.train after --, such as --config=..., --workdir=..."
[[ -z $devices || -z $gpus ]] || fail "--devices and --gpus: give one of them"
python=${PYTHON:-$(command -v python || command -v python3 || true)}
[[ -n $python ]] || fail "no python on the path; set PYTHON"
if [[ -z $port ]]; then
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])') || fail "PYTHON=$python doesn't run"
fi

# Sets `command` to the words that start process $1.
set_command() {
  local i first=$(($1 * ${gpus:-0})) list=""
  command=(env PYTHONUNBUFFERED=1)
  if [[ -n $devices ]]; then
    command+=(JAX_PLATFORMS=cpu)
    command+=("XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$devices")
  elif [[ -n $gpus ]]; then
    for ((i = first; i < first + gpus; i++)); do list+=",$i"; done
    command+=("CUDA_VISIBLE_DEVICES=${list#,}")
  fi
  command+=("$python" -m mmjax.train "--coordinator=127.0.0.1:$port")
  command+=("--processes=$processes" "--process_id=$1" "${arguments[@]}")
}

arguments=("$@")
if ((dry_run)); then
  for ((i = 0; i < processes; i++)); do
    set_command "$i"
    quoted "${command[@]}"
  done
  exit 0
fi

scratch=$(mktemp -d)
mkfifo "$scratch/ended"
exec 3<>"$scratch/ended" # each process writes its number and its exit status
groups=()

# Ends all processes: asks them, and after $1 seconds insists.
stop_all() {
  local group end=$((SECONDS + $1)) left=1
  for group in ${groups[@]+"${groups[@]}"}; do
    kill -TERM -- "-$group" 2>/dev/null || true
  done
  while ((left && SECONDS < end)); do
    left=0
    for group in ${groups[@]+"${groups[@]}"}; do
      if kill -0 -- "-$group" 2>/dev/null; then left=1; fi
    done
    ((left)) && sleep 0.1
  done
  for group in ${groups[@]+"${groups[@]}"}; do
    kill -KILL -- "-$group" 2>/dev/null || true
  done
}

# Training answers SIGTERM with a checkpoint, which may take a while.
interrupted() {
  trap '' INT TERM
  echo "launch/local.sh: ending $processes processes" >&2
  stop_all 120
  exit "$1"
}

trap 'rm -rf "$scratch"' EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# Runs process $1 to its end, each line of its output after its number.
run() {
  local line status=0
  "${command[@]}" 2>&1 </dev/null | {
    trap '' INT TERM # what the program says when it is asked to end is shown as well
    while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
  } || status=$?
  echo "$1 $status" >&3
}

set -m # every process gets a group of its own, so that it ends with its children
for ((i = 0; i < processes; i++)); do
  set_command "$i"
  (trap - INT TERM EXIT && run "$i") &
  groups+=($!)
done
set +m

for ((ended = 0; ended < processes; ended++)); do
  read -r who status <&3
  if ((status)); then
    echo "launch/local.sh: process $who ended with status $status; ending the others" >&2
    trap '' INT TERM
    stop_all 10
    exit "$status"
  fi
done

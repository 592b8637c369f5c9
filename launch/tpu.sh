#!/usr/bin/env bash
# Starts one training on every worker of a Cloud TPU slice, through gcloud. What each
# worker does: fetch the code, install it, and run mmjax.train in the background.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/tpu.sh --name=NAME --zone=ZONE [FLAGS] -- FLAGS OF mmjax.train
       launch/tpu.sh --name=NAME --zone=ZONE [FLAGS] --log | --stop

  --name=NAME       the TPU VM, as `gcloud compute tpus tpu-vm list` shows it
  --zone=ZONE       its zone
  --project=ID      its project (default: gcloud's)
  --repo=URL        fetch the code from there (default: send this clone's HEAD)
  --ref=REF         branch, tag or commit of --repo (default: main)
  --folder=NAME     the code's folder in the home of the workers (default: mmjax)
  --internal-ip     reach the workers through their internal addresses
  --log             follow the output of worker 0
  --stop            end the training on all workers; it saves a checkpoint first
  --dry-run         print the commands and exit

The same command started again goes on from the last checkpoint. Workers share nothing:
the data and --workdir must be on storage that all of them have mounted. Example:

  launch/tpu.sh --name=pod --zone=us-east5-a -- --config=configs/mm1_3b.py \
    --config.data.root=/mnt/data --workdir=/mnt/runs/3b
TEXT
}

fail() {
  echo "launch/tpu.sh: error: $1" >&2
  exit 2
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

name="" zone="" project="" repo="" ref="" folder=mmjax action=start dry_run=0 internal=0
while (($#)); do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --repo=*) repo=${1#*=} ;;
    --ref=*) ref=${1#*=} ;;
    --folder=*) folder=${1#*=} ;;
    --internal-ip) internal=1 ;;
    --log) action=log ;;
    --stop) action=stop ;;
    --dry-run) dry_run=1 ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "$1: not a flag of this script (those of mmjax.train go after --)" ;;
  esac
  shift
done
[[ -n $name ]] || fail "--name is missing: the TPU VM"
[[ -n $zone ]] || fail "--zone is missing: the zone of $name"
[[ $folder =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] ||
  fail "--folder=$folder: must be a plain name, of letters, digits and _ . -"
[[ -z $ref || -n $repo ]] || fail "--ref=$ref: needs --repo"
if [[ $action == start ]]; then
  (($#)) || fail "no flags of mmjax.train after --, such as --config=..., --workdir=..."
else
  (($# == 0)) || fail "$1: --$action takes no flags of mmjax.train"
fi
((dry_run)) || command -v gcloud >/dev/null ||
  fail "gcloud is not installed; see https://cloud.google.com/sdk/docs/install"

reach=("--zone=$zone")
[[ -z $project ]] || reach+=("--project=$project")
((internal == 0)) || reach+=(--internal-ip)

# Runs a command here, or prints it.
do_or_print() {
  if ((dry_run)); then quoted "$@"; else "$@"; fi
}

# Runs a line of shell, $2, on worker $1 (a number or all).
on_worker() {
  do_or_print gcloud compute tpus tpu-vm ssh "$name" "${reach[@]}" "--worker=$1" \
    "--command=$2"
}

if [[ $action == log ]]; then
  on_worker 0 "tail -n 50 -F $folder/train.log"
  exit
elif [[ $action == stop ]]; then
  on_worker all "pkill -TERM -F $folder/train.pid -f mmjax.train"
  exit
fi

source=$repo
if [[ -z $repo ]]; then
  ref=HEAD source="../$folder.bundle"
  here=$(cd "$(dirname "$0")/.." && pwd)
  if ! git -C "$here" diff --quiet HEAD; then
    echo "launch/tpu.sh: note: changes that are not committed are not sent" >&2
  fi
  bundle=$(mktemp -d)/$folder.bundle
  trap 'rm -rf "${bundle%/*}"' EXIT
  do_or_print git -C "$here" bundle create --quiet "$bundle" HEAD
  do_or_print gcloud compute tpus tpu-vm scp "$bundle" "$name:$folder.bundle" \
    "${reach[@]}" --worker=all
fi

# The TPU images have Python 3.10, which is too old; uv brings its own.
on_worker all "set -e
if [ -e $folder/train.pid ] && pgrep -F $folder/train.pid -f mmjax.train >/dev/null 2>&1; then
  echo 'a training is running here; end it with --stop' >&2; exit 1
fi
command -v ~/.local/bin/uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
git init -q -b main $folder && cd $folder
git fetch -q $(quoted "$source" "${ref:-main}") && git checkout -q --force FETCH_HEAD
[ -x .venv/bin/python ] || ~/.local/bin/uv venv -q --python=3.12 .venv
~/.local/bin/uv pip install -q --python=.venv -c constraints.txt -e '.[tpu]'"

on_worker all "cd $folder && { setsid .venv/bin/python -m mmjax.train \
--coordinator=auto $(quoted "$@") >train.log 2>&1 </dev/null & echo \$! >train.pid; }"

((dry_run)) || echo "started; follow it with: launch/tpu.sh $(quoted "--name=$name" \
  "${reach[@]}") --log"

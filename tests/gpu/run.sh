#!/usr/bin/env bash
# Everything that wants a GPU, the most important first, within eight minutes and without a network.
#
#     tests/gpu/run.sh [--small]                results go to $OUT, by default tests/gpu/out
#
# pack.sh comes before, on a machine with a network. A part that fails or runs out of time does not end the rest.
# With --small all parts run in minutes on a CPU, which shows whether they work, and measures nothing.
# $OUT/gpu.json belongs into tests/benchmarks/results.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/out}
mkdir -p "$out"
exec > >(tee "$out/gpu.log") 2>&1

site=$(mktemp --directory)
trap 'rm -rf "$site"' EXIT
python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" \
    "$here"/pack/wheels/*.whl || exit
tar -xzf "$here/pack/data.tgz" -C "$site" || exit
export NAPARI_SALT_TEST_DATA=$site
export PYTHONPATH=$here/../../src:$site:$here/../benchmarks:$here/.. PYTHONUNBUFFERED=1
export NAPARI_SALT_CACHE=$site/cache

device=cuda patience=1
[[ ${1:-} == --small ]] && device=cpu patience=8
export NAPARI_SALT_TEST_DEVICE=$device

note() { # NAME HOW_IT_ENDED
    python3 - "$out/gpu.json" "$@" <<'PY'
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
known = json.loads(path.read_text()) if path.exists() else {}
known.setdefault("ended", {})[sys.argv[2]] = sys.argv[3]
path.write_text(json.dumps(known, indent=1) + "\n")
PY
}

part() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 began=$SECONDS
    shift 2
    echo "== $name"
    timeout $((seconds * patience)) "$@" && state=passed || state="failed ($?)"
    echo "== $name: $state after $((SECONDS - began)) s"
    note "$name" "$state after $((SECONDS - began)) s"
}

measure() { # NAME SECONDS
    part "$1" "$2" python3 "$here/measure.py" "$1" "$out/gpu.json" "$device" "${@:3}"
}

part tests 110 python3 -m pytest -q -c /dev/null --rootdir "$here/../.." -p no:cacheprovider --durations 5 \
    "$here"
measure machine 20
measure learning 90
measure segmenting 100
measure steps 110
measure defaults 50
cat "$out/gpu.json"

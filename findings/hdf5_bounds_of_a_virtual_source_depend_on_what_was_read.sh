#!/usr/bin/env bash
# A virtual data set whose source is selected whole: whether its selection has bounds depends on what was read before.
#
# Beamline master files map detector files into one volume. To tell which voxels come from no file, a reader goes through
# `Dataset.virtual_sources()` and adds up the boxes. Guess before the run: a source that is selected whole has the bounds
# (0, 0, 0) to (n - 1, ...) of its data set, as a source of which a part is selected has those of the part.
# Seen (h5py 3.16.0, HDF5 2.0.0): the part has its bounds always. The whole has them if voxels were read before the sources
# were first asked for; asked for first, it raises ValueError "Invalid pointer", also after reading, as long as the file is
# open. The extent of a source is not in the master file, reading opens the source and fills it in, and the list of sources
# is kept as it was at the first question.
# What to do: ask `get_select_type()` first, and take the box of the destination (`vspace`) where it is `SEL_ALL`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet h5py==3.16.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import h5py
import numpy as np

voxels = np.arange(24).reshape(2, 3, 4)
with h5py.File("part.h5", "w") as file:
    file["d"] = voxels


def bounds(name, selection):
    layout = h5py.VirtualLayout(voxels.shape, voxels.dtype)
    source = h5py.VirtualSource("part.h5", "d", shape=voxels.shape)
    layout[selection] = source if selection is Ellipsis else source[selection]
    with h5py.File(name, "w") as file:
        file.create_virtual_dataset("v", layout)
    with h5py.File(name) as file:
        asked_first = said(file["v"])
    with h5py.File(name) as file:
        data = file["v"]
        assert (data[selection] == voxels[selection]).all()  # what is mapped is read
        return asked_first, said(data)


def said(data):
    try:
        return data.virtual_sources()[0].src_space.get_select_bounds()
    except ValueError as error:
        return f"ValueError: {error}"


print(h5py.__version__, h5py.version.hdf5_version)
part, whole = bounds("part_of_it.h5", np.s_[:1]), bounds("all_of_it.h5", Ellipsis)
print("part, asked first, and after reading:", *part)
print("whole, asked first, and after reading:", *whole)
assert part == (((0, 0, 0), (0, 2, 3)),) * 2, part
assert "Invalid pointer" in str(whole[0]), whole
assert whole[1] == ((0, 0, 0), (1, 2, 3)), whole
print("as stated")
PY

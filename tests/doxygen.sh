#!/bin/sh
# Makes the reference and fails if doxygen has anything to say: doxygen.sh DOXYGEN SOURCE_FOLDER OUTPUT_FOLDER
set -eu
mkdir -p "$3"
cd "$2"
said=$({ cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = $3"; } | "$1" - 2>&1) || { echo "$said"; exit 1; }
[ -z "$said" ] || { echo "$said"; exit 1; }
[ -s "$3/html/index.html" ]

#!/usr/bin/env bash
# Installs hebb into a fresh prefix, moves the prefix, and builds and runs a user's project against it with the
# build tree out of sight.   run.sh static|shared SOURCE_DIR BUILD_DIR
set -euo pipefail

if [[ ${1:-} != --hidden ]]; then
  kind=$1 source=$2 build=$3
  work=$(mktemp -d "${TMPDIR:-/tmp}/hebb-install-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  "${CMAKE:-cmake}" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
  mv "$work/first" "$work/prefix"
  cp -r "$source/tests/install" "$work/user"

  # Nothing that is installed may know where it was built.
  if grep -rlIF -e "$build" -e "$source" -e "$work/first" "$work/prefix"; then
    echo "install test: the files above name the build tree, the sources or the first prefix" >&2
    exit 1
  fi
  if [[ $kind == static ]]; then  # this run may not fall back on the other library
    rm "$work/prefix"/lib*/libhebb.so* 2>/dev/null || rm "$work/prefix"/lib/*/libhebb.so*
  else
    rm "$work/prefix"/lib*/libhebb.a 2>/dev/null || rm "$work/prefix"/lib/*/libhebb.a
  fi

  # A mount over the sources (which hold the build tree) hides them from this process alone, where that is allowed.
  hide=(unshare --mount --map-root-user)
  if "${hide[@]}" mount -t tmpfs none "$build" 2>/dev/null; then
    script=$work/user/run.sh
    "${hide[@]}" bash -c 'mount -t tmpfs none "$1" && mount -t tmpfs none "$2/hebb" && shift 2 && exec "$@"' \
      hide "$build" "$source" bash "$script" --hidden "$kind" "$work"
  else
    echo "install test: mounting is not allowed here; the build tree is only checked to be unused"
    bash "$work/user/run.sh" --hidden "$kind" "$work"
  fi
  if grep -rlF -e "$build" -e "$source" "$work/user/build/build.ninja" "$work/user/build/compile_commands.json"; then
    echo "install test: the user's build names the build tree or the sources" >&2
    exit 1
  fi
  exit 0
fi

kind=$2 work=$3
cd "$work/user"
"${CMAKE:-cmake}" -G Ninja -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" -DKIND="$kind"
"${CMAKE:-cmake}" --build build
./build/user

loads_hebb=$(readelf -d build/user | grep -c 'NEEDED.*libhebb' || true)
if [[ $kind == shared && $loads_hebb == 0 ]] || [[ $kind == static && $loads_hebb != 0 ]]; then
  echo "install test: the program is not linked with the $kind library" >&2
  exit 1
fi

if [[ $kind == shared ]]; then
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name hebb.pc)")
  # shellcheck disable=SC2046  # the words are options
  "${CXX:-g++}" -std=c++20 main.cpp $(pkg-config --cflags --libs hebb) -o by_pkg_config
  LD_LIBRARY_PATH=$(pkg-config --variable=libdir hebb) ./by_pkg_config
fi
"$work/prefix/bin/hebb" --version

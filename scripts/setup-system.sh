#!/usr/bin/env bash
# Installs the Debian packages that the build needs: as root or through sudo, or else names them and stops.
# Usage: setup-system.sh [--tests]   (--tests adds the browser that checks the report page)
set -euo pipefail
packages=(libopenblas-dev libhdf5-dev pkg-config)
[ "${1:-}" = --tests ] && packages+=(chromium-headless-shell)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "system packages: all there (${packages[*]})"
  exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo)
else
  echo "system packages: please install: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 2
fi
echo "system packages: installing ${missing[*]} (up to a minute)"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >/dev/null
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

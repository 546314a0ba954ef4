#!/usr/bin/env bash
# Fetches the photographs among Debian's wallpapers, which the training sets lift to spectra, into a folder.
#   datasets/photographs.sh photographs && cassi scene lift photographs --size 512 -o photographs.h5
# Licences: mate-backgrounds GPL-2+, lomiri-wallpapers CC-BY-4.0, CC-BY-SA-4.0 and CC0, plasma-workspace-wallpapers
# GPL-2+ and LGPL-3 (each package's copyright file says which picture has which).
set -euo pipefail
out=$(realpath -m "${1:?usage: photographs.sh FOLDER}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
(
    cd "$work"
    apt-get download -qq mate-backgrounds lomiri-wallpapers-16.04 plasma-workspace-wallpapers
    for package in *.deb; do dpkg-deb -x "$package" .; done
)
pictures=$work/usr/share
# Drawn pictures stay behind.
for picture in "$pictures"/backgrounds/*.jpg "$pictures"/backgrounds/mate/nature/*.jpg; do
    case $(basename "$picture") in
        Fossa_* | Infinite-Sea_* | Painting-Colors_* | analogpattern_* | umang_*) ;;
        *) cp "$picture" "$out" ;;
    esac
done
for name in BytheWater ColorfulCups EveningGlow FallenLeaf OneStandsOut; do
    cp "$pictures/wallpapers/$name/contents/images/2560x1600.jpg" "$out/$name.jpg"
done
echo "$(find "$out" -name '*.jpg' | wc -l) photographs in $out"

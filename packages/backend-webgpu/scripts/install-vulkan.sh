#!/bin/sh
# Installs a software Vulkan driver (Mesa llvmpipe) that Dawn accepts, for machines without a GPU.
#
# Debian 12 ships Mesa 22.3, which Dawn refuses (it lacks shaderUniform*ArrayDynamicIndexing); bookworm-backports has
# Mesa 25. Run as root. Idempotent: does nothing when a new enough driver is there. Exit status 0 when the driver is
# usable, 3 when it could not be installed (no network, no root, not Debian); tests then count as skipped.
set -u

minimum=23
icd=/usr/share/vulkan/icd.d/lvp_icd.json

say() { printf 'install-vulkan: %s\n' "$*"; }
give_up() { say "$*"; say 'WebGPU tests will be skipped, with this as the reason.'; exit 3; }

mesa_major() {
  dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null | sed 's/^[0-9]*://' | cut -d. -f1
}
# The loader is needed beside the driver: Dawn opens libvulkan.so.1.
driver_ready() {
  major=$(mesa_major)
  [ "${major:-0}" -ge "$minimum" ] && ls "${icd%.json}"*.json >/dev/null 2>&1 && dpkg-query -W libvulkan1 >/dev/null 2>&1
}

if driver_ready; then
  say "Mesa $(mesa_major) is installed already"
  exit 0
fi
command -v apt-get >/dev/null 2>&1 || give_up 'apt-get not found; install Mesa 23 or newer with llvmpipe (lavapipe) by hand'
[ "$(id -u)" -eq 0 ] || give_up 'not root; run this script as root'
. /etc/os-release

target=
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
  target=bookworm-backports
  if ! grep -rqs "$target" /etc/apt/sources.list /etc/apt/sources.list.d; then
    # The mirror that this machine uses already, so that a private mirror keeps working.
    mirror=$(sed -n -e 's/^URIs: *//p' -e 's/^deb \(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' \
      /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -v security | head -n 1)
    [ -n "$mirror" ] || give_up 'apt has no Debian mirror; add bookworm-backports to its sources'
    cat > /etc/apt/sources.list.d/bookworm-backports.sources <<SOURCES
Types: deb
URIs: $mirror
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  fi
fi

lock='-o DPkg::Lock::Timeout=600'
apt-get $lock -q update || say 'apt-get update failed; trying with the lists at hand'
DEBIAN_FRONTEND=noninteractive apt-get $lock -q -y --no-install-recommends ${target:+-t "$target"} \
  install mesa-vulkan-drivers libvulkan1 || give_up 'apt-get could not install mesa-vulkan-drivers'
driver_ready || give_up "Mesa $(mesa_major) is too old; version $minimum or newer is needed"
say "Mesa $(mesa_major) installed"

#!/bin/sh
# install_packages.sh LOCK: make /opt/venv of the wheels of a lock, without what no program reads.
set -eu

python -m venv /opt/venv
# Wheels alone: nothing is compiled, and each file must have a hash of the lock.
/opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
  --only-binary :all: --require-hashes -r "$1"
packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

printf '%s\n' /opt/orchestration_project /opt/orchestration_project/demo >"$packages/orchestration_project.pth"
printf '#!/bin/sh\nexec /opt/venv/bin/python -P -m orchestration_project "$@"\n' >/opt/venv/bin/orchestrate
chmod 0755 /opt/venv/bin/orchestrate
/opt/venv/bin/python deploy/sbom.py >/opt/venv/sbom.spdx.json
/opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools

# The packages' own tests, what C programs include, maps of the UI's scripts, and the part of pyarrow
# that calls Flight servers, which nothing here imports.
find "$packages" -type d \( -name tests -o -name include \) -prune -exec rm -r {} +
find "$packages" -type f \( -name '*.map' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.a' \
  -o -name 'libarrow_flight.so*' \) -delete
# Symbols for debuggers; libraries in *.libs were patched, and are left as they are.
find "$packages" -type f -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

# Every target does its own set-up: on a fresh Debian 12 with python3 and make, `make demo` and `make test` are enough.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := tests/interop
STORES := tests/interop/stores
WORKERS ?= 4
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# mkfs.fat lives where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin

# One word for each thing that must be there: command=package. A command that exists counts, wherever it came from.
NEEDED := ffmpeg=ffmpeg curl=curl openssl=openssl
TESTED := mkfs.fat=dosfstools mcopy=mtools fusefat=fusefat fusermount=fuse b3sum=b3sum strace=strace gcc=gcc xxd=xxd
# Only tests with peers of other authors want these; without them those tests are skipped, and say so.
WANTED := node=nodejs npm=npm umockdev-run=umockdev go=golang-go chromium=chromium rclone=rclone \
    dbus-daemon=dbus gdbus=libglib2.0-bin gpsd=gpsd gpsfake=gpsd-clients mbpoll=mbpoll socat=socat \
    mosquitto=mosquitto mosquitto_pub=mosquitto-clients beanstalkd=beanstalkd \
    exiftool=libimage-exiftool-perl dfu-suffix=dfu-util mkimage=u-boot-tools dtc=device-tree-compiler rauc=rauc \
    mksquashfs=squashfs-tools mender-artifact=mender-artifact memcached=memcached \
    promtool=prometheus pki=strongswan-pki linux.uml=user-mode-linux modprobe=kmod \
    pdftotext=poppler-utils weasyprint=weasyprint sshd=openssh-server sftp=openssh-client smbd=samba smbclient=smbclient \
    busybox=busybox-static
# What only `make faults` wants: file systems of other stations' disks.
FAULTS_NEED := mkfs.xfs=xfsprogs mkfs.btrfs=btrfs-progs
GSTREAMER := python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
STRONGSWAN := /usr/lib/ipsec/plugins/libstrongswan-openssl.so
GO_NOTES := /usr/share/gocode/src/golang.org/x/mod/sumdb
DBUS_MOCK := /usr/lib/python3/dist-packages/dbusmock

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: system install ## the main job, shown once on real input (FAULTS=1: with pulled plugs and killed processes)
	@$(BIN)/evidock demo $(if $(filter-out 0,$(FAULTS)),--faults)

# WORKERS processes share the files of tests (0: one process, in order): two more than the two cores there are, for tests wait for
# a third of their time. The long files come first (tests/conftest.py), or one process would be left alone with them. One
# that dies ends the run: with a second one in its place pytest-xdist waits for ever.
# Where CI is set, pytest writes out and compares in full what it else cuts short: of two films that differ, for hours.
# Where no byte code may be written, each of a thousand processes would compile everything anew.
.PHONY: test
test: system install peers lint ## every check: style, types, imports, tests (PYTEST_ARGS="..." for pytest)
	@env -u CI -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
	    --max-worker-restart 0 $(PYTEST_ARGS)

.PHONY: lint
lint: install ## style, format, types and imports, without the tests
	@$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: faults
faults: system install peers ## the fault lab: kills, cuts, failed calls, liars; writes docs/fault-report.md (60 min, SEED=1; FAULTS_ARGS="--only kills")
	@$(DEBIAN)
	bring $$(absent $(FAULTS_NEED)) || echo "The faults on xfs and btrfs will be skipped." >&2
	$(BIN)/python -m tests.faults.collect $(if $(SEED),--seed $(SEED)) $(FAULTS_ARGS)

# atheris is not in the lock: only this target wants it, and it brings a compiler's library of 35 MB.
.fuzz/lib:
	@$(BIN)/pip install -qq --only-binary :all: --target $@ atheris==3.0.0

.PHONY: fuzz
fuzz: install .fuzz/lib ## every parser against made-up bytes, COUNT inputs each (100000), SECONDS_EACH at most (600), PARSERS="..."
	@PYTHONPATH=.fuzz/lib nice -n 19 $(BIN)/python -m tests.formats.fuzz $(PARSERS) \
	    --count $(or $(COUNT),100000) --seconds $(or $(SECONDS_EACH),600)

.PHONY: quality
quality: install ## judge the drivers by their tests, and write docs/devices.md anew from specs and marks
	@$(BIN)/python -m agent.testing.quality tests
	sed -i '/^<!-- evidock spec list --markdown -->$$/q' docs/devices.md
	$(BIN)/evidock spec list --markdown >>docs/devices.md

.PHONY: enotes
enotes: system install peers ## tablets killed and cut at every step, weeks offline and thousands of notes at once (4 min)
	@env -u CI EVIDOCK_ENOTES_LONG=1 $(BIN)/pytest -o faulthandler_timeout=0 tests/drivers/enotes $(PYTEST_ARGS)

.PHONY: screen
screen: system install peers ## the dock's screen before sixty real cameras, and its picture in the README, taken anew
	@env -u CI EVIDOCK_SCREEN_LONG=1 $(BIN)/pytest tests/screen $(PYTEST_ARGS)
	$(BIN)/python -m tests.screen.shoot docs/screen.png >/dev/null
	ls -l docs/screen.png

.PHONY: alpr
alpr: system install peers ## number plate cameras at length: every maker, every fault on every wire (EVIDOCK_ALPR_PEERS names peers)
	@env -u CI EVIDOCK_ALPR_LONG=1 $(BIN)/pytest tests/drivers/alpr tests/conformance/test_alpr.py $(PYTEST_ARGS)
.PHONY: rooms
rooms: system install peers ## interview rooms at length: shares that hang, uploads that are cut, cameras that go away (2 min)
	@env -u CI EVIDOCK_ROOMS_LONG=1 $(BIN)/pytest tests/drivers/interview_room $(PYTEST_ARGS)

.PHONY: car
car: system install peers ## the car at length: every log, every wire, power that goes (3 min; EVIDOCK_SAMPLES names real logs)
	@env -u CI EVIDOCK_CAR_LONG=1 $(BIN)/pytest tests/drivers/in_car tests/drivers/gopro_http tests/power \
	    tests/conformance/test_in_car.py $(PYTEST_ARGS)

.PHONY: stores
stores: system install peers ## object stores at length: the whole suite of uplinks for each way of signing and sealing (3 min)
	@env -u CI EVIDOCK_STORES_LONG=1 $(BIN)/pytest tests/uplinks $(PYTEST_ARGS)

.PHONY: soak
soak: system install ## five number plate cameras for ten minutes, 5,000,000 plates, DEMS and broker away half the time (30 min)
	@env -u CI EVIDOCK_HOTLISTS_LONG=1 $(BIN)/pytest tests/drivers/hotlist $(PYTEST_ARGS)
	nice $(BIN)/python -m benchmarks.alpr $(SOAK_ARGS)

.PHONY: bench
bench: system install peers ## Evidock beside its peers, into docs/benchmarks.md, in 25 minutes (BENCH_ARGS="...": docs/benchmarks.md)
	@$(BIN)/python -m benchmarks.suite $(BENCH_ARGS)

.PHONY: fleet
fleet: system install peers ## a thousand stations come back, ten thousand report to one mosquitto (8 min; FLEET_ARGS="...")
	@$(BIN)/python -m benchmarks.fleet reconnect
	$(BIN)/python -m benchmarks.fleet telemetry --stations 10000 $(FLEET_ARGS)
	$(BIN)/python -m benchmarks.fleet telemetry --stations 10000 --tls $(FLEET_ARGS)

.PHONY: deb
deb: install ## dist/: Debian package, wheel, source archive, bill of materials and sums; the same bytes each time
	@$(BIN)/python -m package

# EVIDOCK_FIELD_ROOT names a Debian root that is there already.
.PHONY: field
field: install ## the Debian package in a fresh Debian: installed, used by its people, killed, upgraded, removed, purged (root, 5 min)
	@$(DEBIAN)
	bring $$(absent debootstrap=debootstrap systemd-nspawn=systemd-container)
	EVIDOCK_FIELD=1 $(BIN)/pytest -o faulthandler_timeout=0 tests/installed $(PYTEST_ARGS)

.PHONY: stick
stick: install ## cameras as USB sticks with FAT and exFAT, and a TPM, in a virtual Debian with its own kernel (root, 5 min)
	@$(DEBIAN)
	bring $$(absent debootstrap=debootstrap qemu-system-x86_64=qemu-system-x86 swtpm=swtpm busybox=busybox-static cpio=cpio \
	    modprobe=kmod mkfs.exfat=exfatprogs mkfs.fat=dosfstools mcopy=mtools ffmpeg=ffmpeg)
	EVIDOCK_STICK=1 $(BIN)/pytest -o faulthandler_timeout=0 tests/installed/stick $(PYTEST_ARGS)

.PHONY: install
install: $(VENV)/.installed ## the environment .venv, exactly as locked (PYTHON=... chooses the interpreter)
	@:

# The packages of the lock and the project itself have a stamp each: a changed entry point downloads nothing.
$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(BIN)/pip install -qq --no-index --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.locked: requirements.lock
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	    echo "Evidock needs Python 3.11 or later. Name one: make PYTHON=python3.11 install" >&2
	    exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(MAKE) --no-print-directory system; fi
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --clear $(VENV); fi
	echo "Installing the locked packages into $(VENV) ..."
	$(BIN)/python -m pip install -qq --require-hashes --requirement requirements.lock
	touch $@

# Packages that are missing, by name; sudo is asked where needed.
define DEBIAN
absent() { for pair in "$$@"; do command -v "$${pair%=*}" >/dev/null || echo "$${pair#*=}"; done; }
as_root() { if [ "$$(id -u)" = 0 ]; then env "$$@"; else sudo env "$$@"; fi; }
apt() { as_root DEBIAN_FRONTEND=noninteractive apt-get -qq "$$@" >/dev/null; }
bring() {
    if [ -z "$$*" ]; then return 0; fi
    if ! command -v apt-get >/dev/null || ! { [ "$$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
        echo "Missing here, and this user cannot install them: $$*" >&2
        return 1
    fi
    echo "Installing from Debian: $$*"
    apt update && apt install --yes --no-install-recommends $$*
}
endef

.PHONY: system
system: ## Debian packages that the product and its demonstration need
	@$(DEBIAN)
	missing=$$(absent $(NEEDED))
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="python3-venv $$missing"
	bring $$missing

.PHONY: peers
peers: ## what the tests need beside them, programs of other authors included
	@$(DEBIAN)
	bring $$(absent $(TESTED))
	wanted=$$(absent $(WANTED))
	if [ ! -e $(STRONGSWAN) ]; then wanted="$$wanted libstrongswan-standard-plugins"; fi
	if [ ! -d $(GO_NOTES) ]; then wanted="$$wanted golang-golang-x-mod-dev"; fi
	if [ ! -d $(DBUS_MOCK) ]; then wanted="$$wanted python3-dbusmock"; fi
	if ! /usr/bin/python3 -c "import gi; gi.require_version('GstRtspServer', '1.0')" 2>/dev/null; then wanted="$$wanted $(GSTREAMER)"; fi
	bring $$wanted || echo "The tests that want them will be skipped: $$wanted" >&2
	if ! command -v npm >/dev/null; then
	    echo "npm is not here: the interop tests with @tus/server and tus-js-client will be skipped." >&2
	elif [ ! $(PEERS)/node_modules/.package-lock.json -nt $(PEERS)/package-lock.json ]; then
	    echo "Installing the interop peers into $(PEERS)/node_modules ..."
	    (cd $(PEERS) && npm ci --silent --ignore-scripts && touch node_modules/.package-lock.json)
	fi
	if [ ! $(STORES)/.installed -nt $(STORES).lock ]; then
	    echo "Installing object stores of other authors into $(STORES) ..."
	    $(PYTHON) -m venv --clear $(STORES)
	    $(STORES)/bin/pip install -qq --only-binary :all: --require-hashes --requirement $(STORES).lock \
	        && touch $(STORES)/.installed || echo "The tests with Swift and moto will be skipped." >&2
	fi

.PHONY: lock
lock: install ## write requirements.lock anew from pyproject.toml (UPGRADE=1: with the newest versions)
	@$(BIN)/uv pip compile pyproject.toml --extra testing --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-config --quiet --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
	    --output-file requirements.lock >/dev/null
	$(BIN)/uv pip compile $(STORES).in --universal --python-version 3.11 --generate-hashes --no-config --quiet \
	    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file $(STORES).lock >/dev/null
	if grep -nE '://|-r /' requirements.lock $(STORES).lock; then
	    echo "A lock names a download address or a path of this machine: it must name versions and hashes only." >&2
	    exit 1
	fi

.PHONY: clean
clean: ## remove what make and the tools made, the environment too
	@rm -rf $(VENV) build dist .fuzz .faults $(PEERS)/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find agent drivers firmware_specs tests -type d -name __pycache__ -prune -exec rm -rf {} +

"""A virtual machine with Debian's own kernel, USB ports and a TPM: what a container and most test machines have not.

QEMU emulates it in software: no /dev/kvm, no module and no network of this machine is needed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["NEEDED", "Machine", "make_disk", "make_start", "missing"]

NEEDED: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "swtpm": "swtpm",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "modprobe": "kmod",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkfs.exfat": "exfatprogs",
    "mcopy": "mtools",
    "apt-get": "apt",
}
"""Programs, and the Debian package of each."""

WITHIN: Final = 900.0
"""Seconds for what takes half a minute on a machine that has nothing else to do."""

_BOOT: Final = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_MODULES: Final = (
    *("xhci_pci", "usb-storage", "sd_mod", "usbserial", "ftdi_sio", "tpm_tis", "loop"),
    *("vfat", "exfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8"),
)
_INIT: Final = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /mods/order); do $b insmod /mods/$m; done
while [ ! -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /newroot || $b poweroff -f
exec $b switch_root /newroot /lib/systemd/systemd
"""


def _run(*words: str | Path, **more: Any) -> str:  # noqa: ANN401 - handed through
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
    return done.stdout


def _kernel(out: Path) -> str:
    """Debian's kernel, unpacked below `out` and not installed; its version."""
    if not (out / "kernel/lib/modules").is_dir():
        out.mkdir(parents=True, exist_ok=True)
        found = re.search(r"Depends: (linux-image-[0-9]\S*)", _run("apt-cache", "depends", "linux-image-amd64"))
        assert found, "apt knows no linux-image-amd64"
        _run("apt-get", "download", found[1], cwd=out)
        (archive,) = out.glob("linux-image-*.deb")
        _run("dpkg-deb", "--extract", archive, out / "kernel")
        archive.unlink()
    (version,) = (path.name for path in (out / "kernel/lib/modules").iterdir())
    _run("depmod", "--basedir", out / "kernel", version)
    return version


def _files(out: Path, version: str, *modules: str) -> list[str]:
    """The files of these modules and of those that they need, in the order in which they are loaded."""
    found: dict[str, None] = {}
    for module in modules:
        told = _run("modprobe", "--dirname", out / "kernel", "--set-version", version, "--show-depends", module)
        found |= {line.split()[1]: None for line in told.splitlines() if line.startswith("insmod")}
    return list(found)


def make_start(out: Path, scratch: Path) -> tuple[Path, Path]:
    """Kernel, and the small system that mounts the disk and hands over to it."""
    version = _kernel(out)
    root = scratch / "initrd"
    for name in ("bin", "mods", "proc", "sys", "dev", "newroot"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    files = _files(out, version, *_BOOT)
    for file in files:
        shutil.copy(file, root / "mods")
    (root / "mods/order").write_text("".join(f"{file.rpartition('/')[2]}\n" for file in files))
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    archive = scratch / "initrd.img"
    _run("sh", "-c", f"find . | cpio --quiet -o -H newc | gzip -1 > {archive}", cwd=root)
    (kernel,) = (out / "kernel/boot").glob("vmlinuz-*")
    return kernel, archive


def make_disk(debian: Path, package: Path, files: Path, out: Path, disk: Path) -> None:
    """A disk with a Debian, the package installed, what `files` holds at its root, and modules for that kernel."""
    root = disk.with_suffix(".root")
    _run("cp", "-a", debian, root)
    shutil.copy(package, root / "evidock.deb")
    _run("chroot", root, "dpkg", "-i", "/evidock.deb")
    (root / "evidock.deb").unlink()
    version = _kernel(out)
    modules = root / "lib/modules" / version
    for file in _files(out, version, *_MODULES):
        target = modules / file.partition(f"/lib/modules/{version}/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for path in (out / "kernel/lib/modules" / version).glob("modules.[bo]*"):
        shutil.copy(path, modules)
    _run("depmod", "--basedir", root, version)
    _run("cp", "-a", "--remove-destination", f"{files}/.", root)
    with disk.open("wb") as file:
        file.truncate(8 << 30)  # sparse: a station keeps 2 GiB free
    _run("mkfs.ext4", "-q", "-F", "-d", root, disk)
    shutil.rmtree(root)


class Machine:
    """The machine, from its start until it switches itself off. What it says on its serial line is `text`."""

    def __init__(self, kernel: Path, start: Path, disk: Path, tpm: Path, folder: Path) -> None:
        self._words = (kernel, start, disk)
        self._tpm, self._folder = tpm, folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        kernel, start, disk = self._words
        self._folder.mkdir(parents=True)
        self._tpm.mkdir(exist_ok=True)
        with ExitStack() as stack:
            chip = self._folder / "tpm"  # absolute, and short enough for a socket's name
            self._started(
                stack,
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._tpm}"),
                *("--ctrl", f"type=unixio,path={chip}", "--terminate"),
                log="swtpm.log",
            )
            while not chip.exists():
                time.sleep(0.05)
            self.process = self._started(
                stack,
                *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
                *("-m", "1024", "-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"),
                *("-kernel", kernel, "-initrd", start),
                *("-append", "console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=0 lab"),
                *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
                *("-device", "qemu-xhci,id=xhci,addr=0x10"),
                *("-chardev", f"socket,id=chip,path={chip}", "-tpmdev", "emulator,id=tpm,chardev=chip"),
                *("-device", "tpm-tis,tpmdev=tpm", "-qmp", f"unix:{self._folder}/qmp,server=on,wait=off"),
                log="console",
            )
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX))
            while True:
                try:
                    self._socket.connect(str(self._folder / "qmp"))
                    break
                except OSError:
                    assert self.process.poll() is None, self.text
                    time.sleep(0.1)
            self._answers = stack.enter_context(self._socket.makefile("rw"))
            self._answers.readline()
            self.order("qmp_capabilities")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _started(self, stack: ExitStack, *words: str | Path, log: str) -> subprocess.Popen[bytes]:
        out = stack.enter_context((self._folder / log).open("wb"))
        process = subprocess.Popen(
            list(map(str, words)), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    @property
    def text(self) -> str:
        """Everything that it has said."""
        said = (self._folder / "console").read_text(errors="replace").replace("\r", "")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)

    def order(self, command: str, **arguments: object) -> None:
        """One order to QEMU."""
        self._answers.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._answers.flush()
        while "return" not in (answer := json.loads(self._answers.readline())):
            assert "error" not in answer, answer

    def wait_for(self, word: str) -> None:
        """Until it says this."""
        until = time.monotonic() + WITHIN
        while f"NOW {word}\n" not in self.text:
            ended = self.process.poll() is not None
            assert not ended or f"NOW {word}\n" in self.text, f"it ended before {word!r}:\n{self.text[-6000:]}"
            assert time.monotonic() < until, f"{word!r} did not come:\n{self.text[-6000:]}"
            time.sleep(0.1)

    def plug_in(self, image: Path, *, serial: str, port: int, slow: int = 0) -> None:
        """A stick with this image into that port; `slow`: bytes a second that it reads."""
        self.order("blockdev-add", **{"driver": "file", "node-name": f"file{port}", "filename": str(image)})
        self.order("blockdev-add", **{"driver": "raw", "node-name": f"raw{port}", "file": f"file{port}"})
        node = f"raw{port}"
        if slow:
            limits = {"bps-read": slow}
            self.order("object-add", **{"qom-type": "throttle-group", "id": f"group{port}", "limits": limits})
            told = {"driver": "throttle", "node-name": f"slow{port}", "throttle-group": f"group{port}", "file": node}
            self.order("blockdev-add", **told)
            node = f"slow{port}"
        self.order(
            "device_add",
            driver="usb-storage",
            id=f"stick{port}",
            drive=node,
            serial=serial,
            port=str(port),
            bus="xhci.0",
            removable=True,
        )

    def pull_out(self, port: int, *, slow: bool = False) -> None:
        """Pull it out, without a word before."""
        self.order("device_del", id=f"stick{port}")
        self._gone(f"slow{port}" if slow else f"raw{port}")
        if slow:
            self.order("object-del", id=f"group{port}")
            self._gone(f"raw{port}")
        self._gone(f"file{port}")

    def _gone(self, node: str) -> None:
        until = time.monotonic() + WITHIN
        while True:
            try:
                self.order("blockdev-del", **{"node-name": node})
            except AssertionError:
                assert time.monotonic() < until
                time.sleep(0.2)  # the device is still on its way out
            else:
                return

    def ended(self) -> str:
        """Until it has switched itself off; all that it said."""
        self.process.wait(WITHIN)
        return self.text


def missing() -> list[str]:
    """Debian packages of programs that are not here."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]

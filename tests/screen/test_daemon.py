"""The screen of the real daemon: cameras come and go, the daemon is killed and comes back, and nobody is misled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from agent.testing.dems import EmulatedDems
from agent.testing.ports import free_port
from agent.testing.process import DaemonProcess, tus
from drivers.body_worn.usb_volume.emulator import VolumeEmulator
from tests.screen.test_screen import opened, word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from playwright.async_api import BrowserContext

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.interop]

SAFE = "Safe to take"


def bay(folder: Path, number: int) -> tuple[VolumeEmulator, Mapping[str, Any]]:
    """A camera, pulled, and the table of its bay."""
    name = f"bay-{number:02d}"
    camera = VolumeEmulator(folder / "dock" / name, serial=f"BWC-{number:04d}")
    for clip in range(2):
        camera.add(os.urandom(100_000) + bytes([clip]))
    table = {
        "use": "body_worn.usb_volume",
        "name": name,
        "mount": str(folder / "dock" / name),
        "must_be_mountpoint": False,
        "device": {"id": f"bwc-{number}"},
        "settle": 0.2,
        "rescan": 0.2 if number == 1 else 2.0,
    }
    return camera, table


@pytest.mark.slow
async def test_the_daemon_is_killed_while_the_page_is_open(browser: BrowserContext, tmp_path: Path) -> None:
    (tmp_path / "dock").mkdir()
    camera, table = bay(tmp_path, 1)
    port = free_port()
    async with DaemonProcess(tmp_path, drivers=[table], status={"port": port}) as daemon:
        await daemon.ready()
        async with opened(browser, f"http://127.0.0.1:{port}/") as page:
            told = word(page, "bay-01")
            await expect(told).to_have_text("Free")
            camera.plug()
            await expect(told).to_have_text(SAFE)
            await expect(page.locator(".tile .line")).to_contain_text("2, held 2, 0 unexplained")
            daemon.kill()
            await daemon.wait()
            await expect(page.locator("#mark")).to_be_visible()
            await expect(page.locator("#lost strong")).to_have_text("Connection lost", timeout=15_000)
            await expect(told).to_have_text("Not known")
            assert await page.locator(f"text={SAFE}").count() == 0
            camera.add(b"recorded while nobody looked")
            await daemon.start()
            await daemon.ready()
            await expect(told).to_have_text(SAFE, timeout=15_000)
            await expect(page.locator(".tile .line")).to_contain_text("3, held 3, 0 unexplained")
            await expect(page.locator("#lost")).to_be_empty()
            camera.pull()
            await expect(told).to_have_text("Free")
        await daemon.stop()
        await daemon.verify([])
        assert len(camera.captures()) == 3


@pytest.mark.slow
@pytest.mark.skipif("EVIDOCK_SCREEN_LONG" not in os.environ, reason="sixty real cameras: make screen")
async def test_sixty_cameras_at_once(browser: BrowserContext, tmp_path: Path) -> None:
    (tmp_path / "dock").mkdir()
    bays = [bay(tmp_path, number) for number in range(1, 61)]
    port = free_port()
    async with DaemonProcess(tmp_path, drivers=[table for _, table in bays], status={"port": port}) as daemon:
        await daemon.ready()
        async with opened(browser, f"http://127.0.0.1:{port}/", 1920, 1080) as page:
            await expect(page.locator(".tile[data-state=empty]")).to_have_count(60)
            for camera, _ in bays:
                camera.plug()
            await expect(page.locator(".tile[data-state=safe]")).to_have_count(60, timeout=60_000)
            for camera, _ in bays[::2]:
                camera.pull()
            await expect(page.locator(".tile[data-state=empty]")).to_have_count(30, timeout=60_000)
        await daemon.stop()
        await daemon.verify([])
        assert all(len(camera.captures()) == 2 for camera, _ in bays)


async def test_a_camera_is_not_to_be_removed_while_it_forgets(browser: BrowserContext, tmp_path: Path) -> None:
    (tmp_path / "dock").mkdir()
    camera, table = bay(tmp_path, 1)
    port = free_port()
    async with EmulatedDems(tmp_path / "dems") as dems:
        uplink = tus(dems.url, dems.receipt_vkey)
        policy = {"device": "release"}
        async with DaemonProcess(
            tmp_path, drivers=[table], uplink=uplink, policy=policy, status={"port": port}
        ) as daemon:
            await daemon.ready()
            async with opened(browser, f"http://127.0.0.1:{port}/") as page:
                await expect(word(page, "bay-01")).to_have_text("Free")
                await page.evaluate(
                    """() => {
                      window.seen = [];
                      const word = document.querySelector(".word");
                      new MutationObserver(() => window.seen.push(word.textContent)).observe(word, {childList: true});
                    }"""
                )
                camera.plug()
                await expect(page.locator(".tile .line")).to_contain_text("lists 0, held 0", timeout=20_000)
                await expect(word(page, "bay-01")).to_have_text(SAFE)
                seen = await page.evaluate("window.seen")
                assert "Do not remove" in seen, seen
                assert seen[-1] == SAFE
            await daemon.stop()
            await daemon.verify([])
        assert camera.captures() == {}

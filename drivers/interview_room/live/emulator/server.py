"""Runs under Debian's own Python: GStreamer's RTSP server with a test picture. It imports nothing of ours."""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103, E402, T201

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

VIDEO = (
    "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=10/1 ! queue ! "
    "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={key} ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1"
)
SOUND = (
    "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! queue ! alawenc ! queue ! rtppcmapay name=pay1 pt=8"
)


def factory(sound, key):
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {VIDEO.format(key=key)} {SOUND if sound else ''} )")
    made.set_shared(True)
    return made


def guarded(server, media, user, password):
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(2)  # digest
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "recorder")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    rights = "recorder, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    media.add_role_from_structure(Gst.Structure.from_string(rights)[0])


def main():
    Gst.init(None)
    if sys.argv[1] == "--check":
        missing = [
            name for name in ("x264enc", "rtph264pay", "alawenc", "audiotestsrc") if not Gst.ElementFactory.find(name)
        ]
        if missing:
            sys.exit(f"GStreamer lacks {', '.join(missing)}")
        return
    port, sound, key, *login = sys.argv[1:]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    media = factory(sound == "sound", key)
    if login:
        guarded(server, media, *login)
    server.get_mount_points().add_factory("/live", media)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()

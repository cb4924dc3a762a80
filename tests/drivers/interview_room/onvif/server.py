"""Runs under Debian's own Python: GStreamer's ONVIF RTSP server, which replays a film. It imports nothing of ours."""

# mypy: ignore-errors
# ruff: noqa: ANN201, E402, T201

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer


def main():
    Gst.init(None)
    port, film, *login = sys.argv[1:]
    server = GstRtspServer.RTSPOnvifServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    media = GstRtspServer.RTSPOnvifMediaFactory.new()
    media.set_media_gtype(GstRtspServer.RTSPOnvifMedia.__gtype__)
    media.set_replay_support(True)
    media.set_launch(
        f"( filesrc location={film} ! qtdemux name=d d.video_0 ! h264parse ! queue ! rtph264pay config-interval=-1 ! "
        "rtponviftimestamp name=pay0 ntp-offset=0 set-t-bit=true set-e-bit=true )"
    )
    if login:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(2)  # digest
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "recorder")
        auth.add_digest(*login, token)
        server.set_auth(auth)
        rights = "recorder, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        media.add_role_from_structure(Gst.Structure.from_string(rights)[0])
    server.get_mount_points().add_factory("/rec", media)
    plain = GstRtspServer.RTSPMediaFactory.new()  # a server without the feature answers 551
    plain.set_launch("( videotestsrc is-live=true ! x264enc ! rtph264pay name=pay0 )")
    server.get_mount_points().add_factory("/plain", plain)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()

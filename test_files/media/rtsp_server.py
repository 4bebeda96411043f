#!/usr/bin/python3
"""A camera of the network: GStreamer's RTSP server with a moving test card in H.264.

Run with Debian's own Python, which knows GStreamer:
/usr/bin/python3 rtsp_server.py PORT [USER PASSWORD].
Prints its address once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

# A green ball on black, so that nobody takes it for the slate.
PICTURE = (
    "( videotestsrc is-live=true pattern=ball foreground-color=0xff00ff00 ! "
    "video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! "
    "rtph264pay name=pay0 pt=96 )"
)


def main() -> None:
    port, *account = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(PICTURE)
    factory.set_shared(True)
    if account:
        user, password = account
        ask_for(server, factory, user, password)
    server.get_mount_points().add_factory("/camera", factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on 127.0.0.1:{port}")
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}/camera", flush=True)
    GLib.MainLoop().run()


def ask_for(server, factory, user: str, password: str) -> None:
    """Lets nobody see the picture without this name and password."""
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.new_from_string(
            "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
        )
    )


if __name__ == "__main__":
    main()

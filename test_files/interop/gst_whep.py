"""A WHEP player made of GStreamer's webrtcbin, run with Debian's own Python (`python3-gi`).

    gst_whep.py URL FRAMES       the token in HALYARD_TOKEN

Plays until so many pictures are decoded, leaves, and prints one JSON line about what it saw.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SECONDS = 60


class Player:
    """One session: GStreamer's threads for the media, the main loop for everything else."""

    def __init__(self, url: str, token: str, frames: int):
        self.url, self.token, self.wanted = url, token, frames
        self.seen = 0
        self.session = None
        self.size = None
        self.error = None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new(None)
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        caps = "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96"
        caps += ",packetization-mode=(string)1"
        self.webrtc.emit(
            "add-transceiver",
            GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY,
            Gst.Caps.from_string(caps),
        )
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def run(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        promise = Gst.Promise.new_with_change_func(self.on_offer, None)
        self.webrtc.emit("create-offer", None, promise)
        GLib.timeout_add_seconds(SECONDS, self.fail, f"not done within {SECONDS} s")
        self.loop.run()
        if self.session:
            self.ask("DELETE", self.session)
        self.pipeline.set_state(Gst.State.NULL)

    def fail(self, words: str) -> bool:
        self.error = self.error or words
        self.loop.quit()
        return False

    def on_error(self, _bus, message) -> None:
        self.fail(str(message.parse_error()[0]))

    def on_offer(self, promise, _) -> None:
        # The offer lives in the reply, which has to outlive it.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self.webrtc.emit("set-local-description", offer, None)

    def on_gathering(self, webrtc, _) -> None:
        state = webrtc.get_property("ice-gathering-state")
        if state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self) -> bool:
        if self.session:
            return False
        offer = self.webrtc.get_property("local-description").sdp.as_text()
        try:
            answer = self.ask("POST", self.url, offer)
        except urllib.error.HTTPError as error:
            return self.fail(f"{error.code}: {error.read().decode()}")
        self.session = urljoin(self.url, answer.headers["Location"])
        _, sdp = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", described, None)
        return False

    def ask(self, method: str, url: str, body: str | None = None):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/sdp"
        data = None if body is None else body.encode()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        return urllib.request.urlopen(request, timeout=SECONDS)

    def on_pad(self, _webrtc, pad) -> None:
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        description = "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink sync=false"
        decoding = Gst.parse_bin_from_description(description, True)
        sink = decoding.get_by_name("sink")
        sink.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.on_picture)
        self.pipeline.add(decoding)
        decoding.sync_state_with_parent()
        pad.link(decoding.get_static_pad("sink"))

    def on_picture(self, pad, _info) -> Gst.PadProbeReturn:
        caps = pad.get_current_caps().get_structure(0)
        self.size = [caps.get_int("width")[1], caps.get_int("height")[1]]
        self.seen += 1
        if self.seen == self.wanted:
            GLib.idle_add(self.loop.quit)
        return Gst.PadProbeReturn.OK


def main() -> int:
    Gst.init(None)
    url, frames = sys.argv[1], int(sys.argv[2])
    player = Player(url, os.environ["HALYARD_TOKEN"], frames)
    player.run()
    print(json.dumps({"pictures": player.seen, "size": player.size, "error": player.error}))
    return 0 if player.error is None else 1


if __name__ == "__main__":
    sys.exit(main())

// The encoders that people already run, as the README and docs/running.md start them, with a small
// moving test card in the place of a camera.

export const WIDTH = 640;
export const HEIGHT = 360;

/**
 * @param {number} port where the worker listens
 * @returns {Record<string, [command: string, ...args: string[]]>}
 */
export function encoders(port) {
  return {
    'gst-launch-1.0': [
      'gst-launch-1.0',
      '--quiet',
      ...['videotestsrc', 'is-live=true', 'pattern=ball', '!'],
      ...[`video/x-raw,format=YUY2,width=${WIDTH},height=${HEIGHT},framerate=30/1`, '!'],
      ...['videoconvert', '!', 'video/x-raw,format=I420', '!'],
      ...['x264enc', 'tune=zerolatency', 'key-int-max=60', '!'],
      ...['rtph264pay', 'config-interval=-1', '!'],
      ...['udpsink', 'host=127.0.0.1', `port=${port}`],
    ],
    ffmpeg: [
      'ffmpeg',
      ...['-hide_banner', '-loglevel', 'warning', '-nostdin', '-re'],
      ...['-f', 'lavfi', '-i', `testsrc2=size=${WIDTH}x${HEIGHT}:rate=30`],
      ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p'],
      ...['-g', '60', '-f', 'rtp', `rtp://127.0.0.1:${port}?pkt_size=1200`],
    ],
  };
}

/**
 * The same in VP8, for `rtp:PORT,codec=vp8`.
 *
 * @param {number} port
 * @returns {Record<string, [command: string, ...args: string[]]>}
 */
export function vp8Encoders(port) {
  return {
    'gst-launch-1.0': [
      'gst-launch-1.0',
      '--quiet',
      ...['videotestsrc', 'is-live=true', 'pattern=ball', '!'],
      ...[`video/x-raw,format=I420,width=${WIDTH},height=${HEIGHT},framerate=30/1`, '!'],
      ...['vp8enc', 'deadline=1', 'cpu-used=8', 'keyframe-max-dist=60', '!', 'rtpvp8pay', '!'],
      ...['udpsink', 'host=127.0.0.1', `port=${port}`],
    ],
    ffmpeg: [
      'ffmpeg',
      ...['-hide_banner', '-loglevel', 'warning', '-nostdin', '-re'],
      ...['-f', 'lavfi', '-i', `testsrc2=size=${WIDTH}x${HEIGHT}:rate=30`],
      ...['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '1M'],
      ...['-g', '60', '-f', 'rtp', `rtp://127.0.0.1:${port}?pkt_size=1200`],
    ],
  };
}

// The encoders that people already run, as they start them, with a small moving test card.

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
      ...[`video/x-raw,width=${WIDTH},height=${HEIGHT},framerate=30/1`, '!'],
      ...['x264enc', 'tune=zerolatency', 'speed-preset=ultrafast', 'key-int-max=30', 'bitrate=1500', '!'],
      ...['rtph264pay', 'config-interval=-1', 'mtu=1200', '!'],
      ...['udpsink', 'host=127.0.0.1', `port=${port}`],
    ],
    ffmpeg: [
      'ffmpeg',
      ...['-hide_banner', '-loglevel', 'warning', '-nostdin', '-re'],
      ...['-f', 'lavfi', '-i', `testsrc2=size=${WIDTH}x${HEIGHT}:rate=30`],
      ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p'],
      ...['-g', '30', '-b:v', '1500k', '-f', 'rtp', `rtp://127.0.0.1:${port}?pkt_size=1200`],
    ],
  };
}

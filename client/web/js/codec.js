/**
 * The order in which this page asks for video codecs: H.264 that may span packets
 * (`packetization-mode=1`), the constrained baseline profile first, because that is what workers
 * encode; everything else follows as the browser had it.
 *
 * @template {{mimeType: string, sdpFmtpLine?: string}} Codec
 * @param {Codec[]} codecs
 * @returns {Codec[]}
 */
export function preferH264(codecs) {
  return [...codecs].sort((a, b) => rank(a) - rank(b));
}

/** @param {{mimeType: string, sdpFmtpLine?: string}} codec */
function rank({ mimeType, sdpFmtpLine = '' }) {
  if (mimeType.toLowerCase() !== 'video/h264' || !/packetization-mode=1/.test(sdpFmtpLine)) return 2;
  return /profile-level-id=42e0/i.test(sdpFmtpLine) ? 0 : 1;
}

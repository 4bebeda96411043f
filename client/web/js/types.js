/**
 * The shapes of what goes over the wire, for the type checker. The Rust crate `halyard-protocol`
 * is where they are defined; what comes in is still checked where it is used.
 *
 * @typedef {'viewer' | 'operator' | 'admin'} Access
 * @typedef {'control' | 'bulk' | 'state' | 'drive'} Lane
 *
 * @typedef {object} PeerInfo One peer, seen by another.
 * @property {string} peer_id
 * @property {'worker' | 'client' | 'peer'} role
 * @property {Access} access
 * @property {{ tags?: string[] }} [metadata]
 *
 * @typedef {object} Registered The broker's answer to `register`.
 * @property {string} room_id
 * @property {string} peer_id
 * @property {RTCIceServer[]} ice_servers
 * @property {Access} [role]
 * @property {PeerInfo[]} peers
 * @property {string} [resume_token]
 * @property {boolean} resumed
 * @property {number} [expires_at] seconds since 1970
 *
 * @typedef {object} Hello The worker's greeting.
 * @property {string} [agent]
 * @property {Access} [your_access]
 * @property {VideoInfo[]} video
 * @property {ActionSpec[]} commands
 * @property {DriveLimits} [drive]
 * @property {FilesInfo} [files]
 * @property {string[]} [capabilities]
 *
 * @typedef {object} VideoInfo
 * @property {string} name
 * @property {string} codec
 * @property {boolean} [strip] whether the latency strip is burned into the picture
 *
 * @typedef {object} ActionSpec
 * @property {string} name
 * @property {string} help
 * @property {Access} access
 *
 * @typedef {object} DriveLimits
 * @property {number} max_linear metres a second
 * @property {number} [max_reverse] metres a second backwards, where that is another
 * @property {number} max_angular radians a second
 * @property {number} watchdog_ms
 * @property {number} [max_picture_age_ms]
 *
 * @typedef {object} FilesInfo
 * @property {boolean} readable
 * @property {boolean} writable
 * @property {string} [hint] why not, and how to allow it
 *
 * @typedef {object} Lease Who drives.
 * @property {string | null} holder peer id
 * @property {number} number grows with every change
 * @property {boolean} you
 *
 * @typedef {object} Estop
 * @property {boolean} latched
 * @property {string | null} by peer id
 *
 * @typedef {object} Notice
 * @property {'info' | 'warning' | 'error'} severity
 * @property {string} code
 * @property {string} message
 * @property {string} [track] the picture that it is about
 *
 * @typedef {object} Entry One file or folder.
 * @property {string} name
 * @property {'file' | 'directory'} kind
 * @property {number} size bytes
 * @property {number} modified_ms milliseconds since 1970
 *
 * @typedef {object} PathStats how the machine sees the way to this page; it may say less
 * @property {number} [estimate] bits a second that the way is believed to carry
 * @property {number} [target] bits a second that the encoder aims at
 * @property {string} [rendition] the one that is shown, where there are several
 * @property {number} [scale] the share of its full width and height that the picture has
 * @property {number} [repaired] packets sent again
 *
 * @typedef {object} JobInfo A job as the worker lists it.
 * @property {string} job its id
 * @property {string} template
 * @property {string} state
 * @property {number} created_ms
 * @property {number} [started_ms]
 * @property {number} [ended_ms]
 * @property {string} [reason]
 * @property {string} [after]
 * @property {string} folder
 * @property {number} [epoch] epochs that are done
 * @property {number} [epochs] epochs that were asked for
 * @property {string[]} [gpus]
 *
 * @typedef {{n: number, at_ms: number, kind: string} & Record<string, unknown>} JobEvent
 *
 * @typedef {object} Telemetry SI units; a machine may say less, or more.
 * @property {number} [time_ms]
 * @property {{x: number, y: number, heading: number}} [pose]
 * @property {number} [speed]
 * @property {number} [angular_speed]
 * @property {number} [battery] 0 to 1
 * @property {number} [distance_to_goal]
 * @property {unknown} [host] the worker's computer, twice a second
 * @property {number} [stamp] ms since the machine's program started
 * @property {string | null} [stopped] the rule by which nothing moves
 *
 * @typedef {object} Problem Something that people have to know: what happened, and what to do.
 * @property {string} title
 * @property {string} text
 * @property {string} [code]
 */

export {};

# shellcheck shell=bash
# Brings what the stages need, and only what is missing.
#
# Debian packages come with apt, as root or through sudo. Python and Node packages are pinned in
# requirements.txt and package-lock.json and stay inside test_files/.env.

readonly NODE_AT_LEAST=20.19   # what ESLint 10 asks for

install_for() { # STAGE…
    heading "install"
    install_debian_packages "$@"
    install_rust_components "$@"
    if needs python "$@" || ! node_is_new_enough; then install_python_packages; fi
    if needs node "$@"; then install_node_packages; fi
    # The shell remembers where it found a command: python3 may have been the system's until now.
    hash -r
    say "everything needed is here"
}

# What each stage needs beside Rust.
needs() { # THING STAGE…
    local thing=$1 stage
    shift
    for stage in "$@"; do
        case $thing:$stage in
            node:web-check | node:web-unit | node:browser | node:rtp | node:media) return 0 ;;
            python:lint | python:programs | python:openapi | python:aiortc | python:rust | python:doc | python:build) return 0 ;;
            chromium:browser | chromium:rtp | chromium:media) return 0 ;;
            encoders:rtp | encoders:media | encoders:rust | encoders:aiortc) return 0 ;;
            backends:rust) return 0 ;;
            turn:rust | turn:programs) return 0 ;;
            rtsp:media) return 0 ;;
            webrtcbin:aiortc) return 0 ;;
            compilers:clippy | compilers:doc | compilers:rust | compilers:build) return 0 ;;
            shellcheck:lint | network:aiortc) return 0 ;;
        esac
    done
    return 1
}

install_debian_packages() { # STAGE…
    local packages=()
    missing() { ! command -v "$1" >/dev/null 2>&1; }
    missing_daemon() { missing "$1" && [[ ! -x /usr/sbin/$1 ]]; }
    if needs compilers "$@"; then
        missing c++ && packages+=(g++)
        missing nasm && packages+=(nasm)
        # The worker's feature `gstreamer`.
        missing pkg-config && packages+=(pkg-config)
        has_library gstreamer-video-1.0 || packages+=(libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev)
    fi
    if needs chromium "$@"; then
        missing chromium && packages+=(chromium)
        has_fonts || packages+=(fonts-dejavu-core)
    fi
    if needs encoders "$@"; then
        missing ffmpeg && packages+=(ffmpeg)
        missing gst-launch-1.0 && packages+=(gstreamer1.0-tools)
        has_gst_element videotestsrc || packages+=(gstreamer1.0-plugins-base)
        has_gst_element rtph264pay || packages+=(gstreamer1.0-plugins-good)
        has_gst_element h264parse || packages+=(gstreamer1.0-plugins-bad)
        has_gst_element x264enc || packages+=(gstreamer1.0-plugins-ugly)
        has_gst_element avdec_h264 || packages+=(gstreamer1.0-libav)
    fi
    if needs rtsp "$@"; then
        has_rtsp_server || packages+=(gir1.2-gst-rtsp-server-1.0 python3-gi)
    fi
    if needs webrtcbin "$@"; then
        # Its version is 0.1, which --exists takes for too old.
        gst-inspect-1.0 nicesink >/dev/null 2>&1 || packages+=(gstreamer1.0-nice)
        has_webrtcbin || packages+=(gir1.2-gst-plugins-bad-1.0 python3-gi)
    fi
    if needs backends "$@"; then
        missing_daemon nats-server && packages+=(nats-server)
    fi
    if needs turn "$@"; then
        missing_daemon turnserver && packages+=(coturn)
    fi
    if needs shellcheck "$@"; then missing shellcheck && packages+=(shellcheck); fi
    if needs network "$@"; then missing ip && packages+=(iproute2); fi
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)

    if ((${#packages[@]} == 0)); then
        say "Debian packages: nothing is missing"
        return
    fi
    say "Debian packages: installing ${packages[*]}"
    local become=()
    if ((EUID != 0)); then
        sudo -n true 2>/dev/null ||
            die "these packages are missing: ${packages[*]}. Install them as root: apt-get install ${packages[*]}"
        become=(sudo -n)
    fi
    "${become[@]}" apt-get update -q
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}"
}

install_rust_components() { # STAGE…
    local components=()
    if is_in format "$@" && ! cargo fmt --version >/dev/null 2>&1; then components+=(rustfmt); fi
    if is_in clippy "$@" && ! cargo clippy --version >/dev/null 2>&1; then components+=(clippy); fi
    if ((${#components[@]})); then
        say "Rust components: installing ${components[*]}"
        rustup component add "${components[@]}"
    fi
}

has_gst_element() { gst-inspect-1.0 --exists "$1" 2>/dev/null; }

has_library() { pkg-config --exists "$1" 2>/dev/null; }

# Debian's own Python, whatever stands first in PATH.
has_rtsp_server() {
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null
}

has_webrtcbin() {
    /usr/bin/python3 -c 'import gi; gi.require_version("GstWebRTC", "1.0")' 2>/dev/null
}

has_fonts() { compgen -G '/usr/share/fonts/truetype/*/*.ttf' >/dev/null; }

node_is_new_enough() {
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 &&
        printf '%s\n%s\n' "$NODE_AT_LEAST" "$(node --version | tr -d v)" | sort --check=quiet --version-sort
}

install_python_packages() {
    local venv=$ENVIRONMENT/venv stamp=$ENVIRONMENT/python.stamp files=("$HERE/requirements.txt")
    # Debian 12 has Node 18; the tests need a newer one, which PyPI carries as a wheel.
    if [[ -x $venv/bin/node ]] || ! node_is_new_enough; then files+=("$HERE/requirements-node.txt"); fi
    if [[ -x $venv/bin/python ]] && cat "${files[@]}" | cmp -s - "$stamp"; then
        say "Python packages: nothing is missing"
        return
    fi
    say "Python packages: installing ${files[*]##*/} into test_files/.env/venv"
    mkdir -p "$ENVIRONMENT"
    python3 -m venv "$venv"
    local file
    for file in "${files[@]}"; do
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$file"
    done
    cat "${files[@]}" >"$stamp"
}

install_node_packages() {
    local stamp=$ENVIRONMENT/node.stamp
    node_is_new_enough || die "Node $NODE_AT_LEAST or newer is needed and was not installed"
    if [[ -d $ENVIRONMENT/node_modules ]] && cmp -s "$HERE/package-lock.json" "$stamp"; then
        say "npm packages: nothing is missing"
    else
        say "npm packages: installing package-lock.json into test_files/.env/node_modules"
        mkdir -p "$ENVIRONMENT"
        cp "$HERE/package.json" "$HERE/package-lock.json" "$ENVIRONMENT/"
        npm ci --prefix "$ENVIRONMENT" --no-audit --no-fund --loglevel=error
        cp "$HERE/package-lock.json" "$stamp"
    fi
    # ES modules are looked up beside and above the file that imports them, both in client/web and here.
    ln -sfn test_files/.env/node_modules "$ROOT/node_modules"
}

# aiortc offers no loopback candidate, so the machine needs any other address.
readonly DUMMY_LINK=halyard-test0
dummy_added=no

ensure_network_address() {
    if [[ -n $(ip -4 -o address show scope global up) ]]; then return 0; fi
    if ((EUID == 0)) && ip link add "$DUMMY_LINK" type dummy &&
        ip address add 10.213.0.1/24 dev "$DUMMY_LINK" && ip link set "$DUMMY_LINK" up; then
        dummy_added=yes
        say "this machine has only a loopback address: added 10.213.0.1 on $DUMMY_LINK for the tests"
        return 0
    fi
    complain "aiortc needs a network address besides 127.0.0.1, this machine has none; as root:" \
        "ip link add $DUMMY_LINK type dummy && ip address add 10.213.0.1/24 dev $DUMMY_LINK && ip link set $DUMMY_LINK up"
    return 1
}

undo_network() {
    if [[ $dummy_added == yes ]]; then
        ip link del "$DUMMY_LINK"
        dummy_added=no
    fi
}

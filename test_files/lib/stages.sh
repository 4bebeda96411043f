# shellcheck shell=bash
# The stages: what each runs, and how its tests are counted.
#
# A stage is a function stage_NAME. It counts with `check` (one command, one test) or `count_junit`
# (a test runner's own report). A stage that counts nothing has failed.

STAGES=(format lint web-check clippy doc rust doctest web-unit build programs openapi browser aiortc rtp media)

declare -A ABOUT=(
    [format]="cargo fmt: the Rust code is formatted"
    [lint]="shell, Python, Dockerfiles and workflows are clean"
    [web-check]="the page's modules pass tsc --checkJs and ESLint"
    [clippy]="no warning in any crate, tests included"
    [doc]="cargo doc without a warning; the documents' own links lead somewhere"
    [rust]="unit, property and end-to-end tests of the workspace"
    [doctest]="the examples in the documentation"
    [web-unit]="unit tests of the page's modules under Node"
    [build]="the three programs, for the stages that follow"
    [programs]="the command line against worker and server; 1 GiB resumed after SIGKILL"
    [openapi]="generated calls of the REST interface are answered as its description says"
    [browser]="Chromium joins, drives, watches, sends and fetches files"
    [aiortc]="Python aiortc joins, receives video, exchanges 64 MiB; aiortc and GStreamer play WHEP; MJPEG"
    [rtp]="gst-launch and ffmpeg push H.264, watched in Chromium"
    [media]="GStreamer's pipelines, films and RTSP, watched in Chromium; a camera goes and comes back"
)

# Everything that can be built in. The published images have the same.
FEATURES=(--features "halyard-server/aws,halyard-server/otlp,halyard-worker/gstreamer")

total_passed=0 total_failed=0
declare -a summary=()

is_stage() { is_in "$1" "${STAGES[@]}"; }

list_stages() {
    local stage
    for stage in "${STAGES[@]}"; do printf '%-10s %s\n' "$stage" "${ABOUT[$stage]}"; done
}

run_stage() { # STAGE
    local stage=$1 began=$SECONDS
    passed=0 failed=0
    heading "$stage: ${ABOUT[$stage]}"
    mkdir -p "$OUT/$stage"
    "stage_${stage//-/_}" || ((failed += failed == 0))
    if ((passed + failed == 0)); then
        complain "$stage: nothing was tested"
        failed=1
    fi
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
    local took=$((SECONDS - began))
    summary+=("$(printf '%-10s %6d %6d %5d:%02d' "$stage" "$passed" "$failed" $((took / 60)) $((took % 60)))")
    say "-- $stage: $passed passed, $failed failed, ${took} s"
}

print_summary() {
    heading "summary"
    printf '%-10s %6s %6s %8s\n' stage passed failed min:s
    printf '%s\n' "${summary[@]}"
    local colour=$green
    ((total_failed == 0)) || colour=$red
    printf '\n%stook %d:%02d, reports are in test_files/out%s\n' "$colour" $((SECONDS / 60)) $((SECONDS % 60)) "$plain"
    printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
}

# --- counting ---

check() { # WHAT COMMAND… : one test, passed when the command is
    local what=$1
    shift
    if "$@"; then
        say "ok: $what"
        passed=$((passed + 1))
    else
        complain "FAILED: $what ($*)"
        failed=$((failed + 1))
    fi
}

count_junit() { # EXIT_STATUS REPORT…
    local status=$1 good bad skipped
    shift
    if ! [[ -s $1 ]] || ! read -r good bad skipped < <(python3 "$HERE/lib/count_junit.py" "$@"); then
        complain "the test runner left no report ($*)"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    if ((skipped > 0)); then
        complain "$skipped tests were skipped: that counts as failed"
        failed=$((failed + skipped))
    fi
    # A runner that fails without a failed test (it was killed, a file did not load) has failed too.
    if ((status != 0 && bad + skipped == 0)); then
        complain "the test runner ended with status $status"
        failed=$((failed + 1))
    fi
}

count_libtest() { # EXIT_STATUS LOG : sums the "test result:" lines of cargo test
    local status=$1 log=$2 good bad ignored
    read -r good bad ignored < <(awk '/^test result:/ {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) good += $(i-1); if ($i ~ /^failed/) bad += $(i-1); if ($i ~ /^ignored/) ignored += $(i-1)
        } } END { print good+0, bad+0, ignored+0 }' "$log")
    passed=$((passed + good)) failed=$((failed + bad))
    if ((ignored > 0)); then say "$ignored tests print measurements and are run by name only"; fi
    if ((status != 0 && bad == 0)); then failed=$((failed + 1)); fi
}

run_node_tests() { # STAGE TIMEOUT_MS FILE…
    local stage=$1 timeout=$2 report=$OUT/$1/junit.xml status=0
    shift 2
    rm -f "$report"
    node --test --test-concurrency=1 --test-timeout="$timeout" \
        --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=junit --test-reporter-destination="$report" "$@" || status=$?
    count_junit "$status" "$report"
}

run_pytest() { # STAGE FOLDER
    local stage=$1 folder=$2 report=$OUT/$1/junit.xml status=0
    rm -f "$report"
    python3 -m pytest "$folder" --junitxml="$report" || status=$?
    count_junit "$status" "$report"
}

need_programs() {
    local program
    for program in halyard halyard-server halyard-worker; do
        if [[ ! -x $TESTS_BIN_DIR/$program ]]; then
            complain "$TESTS_BIN_DIR/$program is missing; run the stage build first"
            return 1
        fi
    done
}

# --- the stages ---

stage_format() {
    check "the Rust code is formatted" cargo fmt --all --check
}

stage_lint() {
    check "shell scripts" shellcheck --external-sources --check-sourced test_files/run .ci/run
    check "Python, rules" ruff check --quiet test_files
    check "Python, format" ruff format --quiet --check test_files
    check "example drivers, rules" ruff check --quiet --config test_files/ruff.toml docs/drivers
    check "example drivers, arithmetic" python3 docs/drivers/serial_board.py --check
    check "Dockerfiles" hadolint Dockerfile.server Dockerfile.worker
    check "workflows, schema" check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
    check "workflows, security" zizmor --offline --quiet --no-progress .github
    check "CloudFormation template" cfn-lint docs/aws/halyard.yaml
    check "dependabot" check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
}

stage_web_check() {
    check "types of the page's modules" tsc --project client/web/jsconfig.json
    check "types of the browser tests" tsc --project test_files/jsconfig.json
    check "rules for the page" env --chdir=client/web eslint --max-warnings 0 .
    check "rules for the browser tests" env --chdir=test_files eslint --max-warnings 0 .
}

stage_clippy() {
    check "clippy" cargo clippy --workspace --all-targets "${FEATURES[@]}" --quiet -- --deny warnings
}

stage_doc() {
    check "cargo doc" env RUSTDOCFLAGS="--deny warnings" cargo doc --workspace "${FEATURES[@]}" --no-deps --document-private-items --quiet
    check "links in the documents" python3 test_files/lib/check_links.py
}

stage_rust() {
    local status=0
    if cargo nextest --version >/dev/null 2>&1; then
        local report=$ROOT/target/nextest/default/junit.xml # nextest keeps it there, wherever it builds
        rm -f "$report"
        cargo nextest run --workspace "${FEATURES[@]}" || status=$?
        count_junit "$status" "$report"
        say "the tests that nextest calls skipped print measurements and are run by name:"
        cargo nextest list --workspace "${FEATURES[@]}" --run-ignored only 2>/dev/null || true
    else
        local log=$OUT/rust/cargo-test.log
        say "cargo-nextest is not installed: cargo test instead"
        cargo test --workspace "${FEATURES[@]}" --lib --bins --tests 2>&1 | tee "$log" || status=$?
        count_libtest "$status" "$log"
    fi
}

stage_doctest() {
    local status=0 log=$OUT/doctest/cargo-test.log
    cargo test --workspace "${FEATURES[@]}" --doc 2>&1 | tee "$log" || status=$?
    if ((status == 0)); then passed=$((passed + 1)); fi # that the crates' documentation compiles
    count_libtest "$status" "$log"
}

stage_web_unit() {
    run_node_tests web-unit 60000 client/web/test/*.test.js
}

stage_build() {
    # With --tests the features of the dependencies are the same as in the stage rust, and nothing
    # is compiled twice.
    check "halyard, halyard-server and halyard-worker" cargo build --workspace "${FEATURES[@]}" --bins --tests
}

stage_programs() {
    need_programs || return 1
    run_pytest programs test_files/programs
}

stage_openapi() {
    need_programs || return 1
    run_pytest openapi test_files/openapi
}

stage_browser() {
    need_programs || return 1
    run_node_tests browser 180000 test_files/browser/*.test.js
}

stage_aiortc() {
    need_programs || return 1
    ensure_network_address || return 1
    run_pytest aiortc test_files/interop
}

stage_rtp() {
    need_programs || return 1
    run_node_tests rtp 180000 test_files/rtp/*.test.js
}

stage_media() {
    need_programs || return 1
    run_node_tests media 240000 test_files/media/*.test.js
}

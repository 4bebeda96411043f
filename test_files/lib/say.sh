# shellcheck shell=bash
# Words to the person who watches: colour only on a terminal.

if [[ -t 1 ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' red='' green='' plain=''
fi

say() { printf '%s\n' "$*"; }
heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
complain() { printf '%s%s%s\n' "$red" "$*" "$plain" >&2; }
die() { complain "test_files/run: $*"; exit 2; }

is_in() { # WORD LIST…
    local word=$1 other
    shift
    for other in "$@"; do [[ $other == "$word" ]] && return 0; done
    return 1
}

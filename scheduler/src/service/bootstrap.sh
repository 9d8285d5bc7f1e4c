#!/bin/sh
# Starts an Isoswarm bot: fetches its program from the CAS, checks it and runs it.
#
#     curl -fsS @SCHEDULER@/bootstrap | sh -s -- [FLAG OF bot]...
#
# It goes to ISOSWARM_HOME, or ~/.local/share/isoswarm. Exit codes: 2 nothing fits this host, 1 it cannot be fetched.
set -eu

scheduler='@SCHEDULER@'
cas='@CAS@'

fail() {
    code=$1
    shift
    echo "bootstrap: $*" >&2
    exit "$code"
}

main() {
    platform=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
    case $platform in
@PLATFORMS@
    *) fail 2 "the scheduler names no bot program for $platform: add it to bot_program" ;;
    esac

    home=${ISOSWARM_HOME:-${HOME:?set ISOSWARM_HOME or HOME}/.local/share/isoswarm}
    mkdir -p "$home"
    bot=$home/bot-$hash
    if ! is_whole "$bot"; then
        part=$bot.$$
        trap 'rm -f "$part"' EXIT
        trap 'exit 1' HUP INT TERM
        fetch "$cas/cas/sha256/$hash" "$part" || fail 1 "cannot fetch $cas/cas/sha256/$hash"
        is_whole "$part" || fail 1 "what $cas sent is not the program that the scheduler names"
        chmod 755 "$part"
        mv -f "$part" "$bot"
        trap - EXIT HUP INT TERM
    fi
    # stdin is this script.
    exec "$bot" --scheduler "$scheduler" --cas "$cas" "$@" </dev/null
}

fetch() {
    if command -v curl >/dev/null; then
        curl -fsS --retry 3 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1"
    else
        fail 2 "neither curl nor wget is here: install one"
    fi
}

# Whether a file is the program: size first, then its hash.
is_whole() {
    [ -f "$1" ] && [ "$(wc -c <"$1" | tr -d ' ')" = "$size" ] || return 1
    if command -v sha256sum >/dev/null; then
        sum=$(sha256sum "$1")
    elif command -v shasum >/dev/null; then
        sum=$(shasum -a 256 "$1")
    else
        fail 2 "neither sha256sum nor shasum is here: install one"
    fi
    [ "${sum%% *}" = "$hash" ]
}

# Only now, so that a script that arrives in part does nothing.
main "$@"

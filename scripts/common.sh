# Shared by the scripts in this folder: sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# What the module itself needs: compiler, libraries, nginx and its headers, and the authorities that webhooks to https
# trust (libcurl only recommends them).
# shellcheck disable=SC2034 # used by those who source this
build_packages=(g++ cmake ninja-build pkg-config nginx nginx-dev libssl-dev libsqlite3-dev librabbitmq-dev
    libjansson-dev libpcre2-dev libcurl4-openssl-dev zlib1g-dev ca-certificates)

installed()
{
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# need PACKAGE...: installs those that are missing. "COMMAND=PACKAGE" asks for a command rather than a package,
# for programs that people also install from elsewhere (node, say).
need()
{
    local item missing=()
    for item in "$@"; do
        if [[ $item == *=* ]]; then
            command -v "${item%%=*}" >/dev/null || missing+=("${item#*=}")
        else
            installed "$item" || missing+=("$item")
        fi
    done
    ((${#missing[@]} == 0)) && return
    [[ $(id -u) == 0 ]] || die "not installed: ${missing[*]} (run as root, or: apt-get install ${missing[*]})"
    printf 'installing %s\n' "${missing[*]}"
    install_quietly "${missing[@]}" || die "apt-get could not install: ${missing[*]}"
}

# want PACKAGE...: the same for those that not every Debian has: says which cannot be had, and goes on.
want()
{
    local item missing=()
    for item in "$@"; do
        installed "$item" || missing+=("$item")
    done
    ((${#missing[@]} == 0)) && return
    if [[ $(id -u) == 0 ]]; then
        printf 'installing %s\n' "${missing[*]}"
        install_quietly "${missing[@]}" 2>/dev/null && return
        for item in "${missing[@]}"; do
            install_quietly "$item" 2>/dev/null || true
        done
    fi
    for item in "${missing[@]}"; do
        installed "$item" || printf 'NOT INSTALLED, tests are skipped: %s\n' "$item"
    done
}

# apt would start nginx and RabbitMQ as services and so take ports 80 and 5672. policy-rc.d is Debian's way to say
# no; what was there before is put back. A subshell, so that the trap is its own.
install_quietly()
(
    policy=/usr/sbin/policy-rc.d
    log=$(mktemp)
    # Called by the trap.
    # shellcheck disable=SC2317,SC2329
    restore()
    {
        rm -f "$log" "$policy"
        [[ ! -e $policy.realtime ]] || mv "$policy.realtime" "$policy"
    }
    trap restore EXIT
    trap 'exit 1' INT TERM
    [[ ! -e $policy ]] || mv "$policy" "$policy.realtime"
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"

    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        exit 1
    fi
)

# build DIRECTORY TARGET...: configures and builds there: ngx_http_realtime_module, or realtime, the tool.
build()
{
    local directory=$1 options=(-DREALTIME_PCH=ON)
    shift
    [[ " $* " != *' realtime '* ]] || options+=(-DREALTIME_CLI=ON)
    configure "$directory" "${options[@]}"
    ninja -C "$directory" "$@"
}

configure()
{
    local directory=$1
    shift
    cmake -S "$root" -B "$directory" -G Ninja "$@" >"$directory.log" 2>&1 || {
        tail -n 20 "$directory.log" >&2
        die "cmake failed, see $directory.log"
    }
    rm -f "$directory.log"
}

# Of builds for AddressSanitizer and UBSan. Optimising takes most of the compiler's time with them.
# shellcheck disable=SC2034 # used by those who source this
asan_options=(-DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O0 -g1' -DREALTIME_SANITIZE='address,undefined')

listening()
{
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

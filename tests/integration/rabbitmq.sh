#!/bin/bash
# A private RabbitMQ for tests: Debian's rabbitmq-server on free loopback ports, with a data directory, node name, epmd
# and configuration of its own, so that several run side by side and none meets the system's.
#
# The ports are assigned by name, through a nameref or read, which shellcheck does not see.
# shellcheck disable=SC2034,SC2154
set -euo pipefail

usage() {
    cat <<'END'
Usage: rabbitmq.sh COMMAND DIR [ARG...]

  start DIR    starts a broker whose data lives in DIR (made if missing) and waits until it accepts connections;
               prints its AMQP port. In a DIR that was used before, the same ports and data are used again.
  stop DIR     stops it (and its epmd), by the ids that `start` noted; DIR is left
  kill DIR     SIGKILL: as a crash; `start` brings it back
  pause DIR    SIGSTOP
  resume DIR   SIGCONT
  port DIR     prints the AMQP port
  log DIR      prints the broker's log
  ctl DIR ...  rabbitmqctl on it, e.g. `ctl DIR list_queues name messages`
  run COMMAND  not with a DIR: starts one, runs COMMAND with RABBITMQ_AMQP_PORT and RABBITMQ_DIR set, stops and
               removes it, and exits as COMMAND did

User guest, password guest, virtual host "/". If root, the broker runs as user rabbitmq. A file DIR/extra.conf, if there
before the start, is added to its configuration (rabbitmq.conf's syntax).
END
}

die() {
    echo "rabbitmq.sh: $*" >&2
    exit 1
}

readonly LIB=/usr/lib/rabbitmq/bin
readonly START_SECONDS=90 STOP_SECONDS=20

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port that nobody listens on; each call of one start gets a range of its own.
free_port() {
    local base=$1 try port
    for try in $(seq 1 200); do
        port=$((base + RANDOM % 2500))
        if ! listening "$port"; then
            echo "$port"
            return
        fi
    done
    die "no free port from $base on"
}

# Runs a command as the broker's user with the broker's environment; exec, so that $! is the command itself.
as_broker() {
    local drop=()
    if [ "$(id -u)" = 0 ]; then
        drop=(setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups)
    fi
    cd "$dir/home"
    exec "${drop[@]}" env -i PATH="$PATH" LANG=C.UTF-8 HOME="$dir/home" \
        ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP=/dev/null \
        RABBITMQ_NODENAME="rt$amqp_port@localhost" RABBITMQ_CONF_ENV_FILE="$dir/env.conf" \
        RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" \
        RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_GENERATED_CONFIG_DIR="$dir/data" \
        RABBITMQ_DIST_PORT="$dist_port" RABBITMQ_PID_FILE="$dir/data/pid" RUNNING_UNDER_SYSTEMD=true \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none" \
        "$@"
}

write_settings() {
    mkdir -p "$dir/home" "$dir/data" "$dir/log"
    : >"$dir/env.conf"
    echo '[].' >"$dir/plugins"
    {
        echo "listeners.tcp.1 = 127.0.0.1:$amqp_port"
        echo "loopback_users = none"
        echo "disk_free_limit.absolute = 50MB"
        echo "log.file = broker.log"
        echo "log.file.level = info"
        if [ -f "$dir/extra.conf" ]; then cat "$dir/extra.conf"; fi
    } >"$dir/rabbitmq.conf"
    if [ "$(id -u)" = 0 ]; then
        chmod 755 "$dir"
        chown -R rabbitmq:rabbitmq "$dir/home" "$dir/data" "$dir/log" "$dir/plugins"
    fi
}

load() {
    [ -f "$dir/ports" ] || die "nothing was started in $dir"
    # shellcheck source=/dev/null
    . "$dir/ports"
}

pid_of() { cat "$dir/$1.pid" 2>/dev/null || true; }

# Asked ten times a second, hence without other processes: they took a fifth of the time of a start.
alive() {
    local pid stat
    { read -r pid <"$dir/$1.pid"; } 2>/dev/null || return 1
    # The third field, after the program's name in brackets. A zombie does not count: whoever started it has not
    # collected it yet.
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null && [[ ${stat##*) } != [ZX]* ]]
}

signal() {
    local pid
    pid=$(pid_of "$1")
    [ -z "$pid" ] || kill -s "$2" "$pid" 2>/dev/null || true
}

wait_gone() {
    local deadline=$((SECONDS + $2))
    while alive "$1"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

end_process() {
    signal "$1" CONT
    signal "$1" TERM
    wait_gone "$1" "$STOP_SECONDS" || signal "$1" KILL
    wait_gone "$1" 5 || die "$1 does not end"
    rm -f "$dir/$1.pid"
}

start_epmd() {
    if ! alive epmd; then
        (as_broker epmd -port "$epmd_port" -address 127.0.0.1) </dev/null >/dev/null 2>&1 &
        echo $! >"$dir/epmd.pid"
    fi
}

start() {
    [ -x "$LIB/rabbitmq-server" ] || die "rabbitmq-server is not installed"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    if [ ! -f "$dir/ports" ]; then
        echo "amqp_port=$(free_port 20000) dist_port=$(free_port 22500) epmd_port=$(free_port 25000)" >"$dir/ports"
    fi
    load
    ! alive broker || die "already running in $dir"
    write_settings
    start_epmd
    (as_broker "$LIB/rabbitmq-server") </dev/null >"$dir/log/startup" 2>&1 &
    echo $! >"$dir/broker.pid"
    local deadline=$((SECONDS + START_SECONDS))
    until listening "$amqp_port"; do
        if ! alive broker || [ $SECONDS -ge $deadline ]; then
            tail -n 40 "$dir/log/startup" >&2
            stop
            die "RabbitMQ did not start"
        fi
        sleep 0.1
    done
    echo "$amqp_port"
}

stop() {
    end_process broker
    end_process epmd
}

run() {
    dir=$(mktemp -d "${TMPDIR:-/tmp}/rt-rabbitmq.XXXXXX")
    trap 'stop || true; rm -rf "$dir"' EXIT
    start >/dev/null
    export RABBITMQ_AMQP_PORT=$amqp_port RABBITMQ_DIR=$dir
    "$@"
}

case "${1:-}" in
-h | --help)
    usage
    exit
    ;;
run)
    shift
    run "$@"
    exit
    ;;
esac
[ $# -ge 2 ] || {
    usage >&2
    exit 2
}
command=$1 dir=$2
shift 2
[ "$command" = start ] || { dir=$(cd "$dir" && pwd) && load; }
case "$command" in
start) start ;;
stop) stop ;;
kill)
    signal broker KILL
    wait_gone broker 10 || die "it does not die"
    ;;
pause) signal broker STOP ;;
resume) signal broker CONT ;;
port) echo "$amqp_port" ;;
log) cat "$dir/log/broker.log" ;;
ctl) as_broker "$LIB/rabbitmqctl" "$@" ;;
*)
    usage >&2
    exit 2
    ;;
esac

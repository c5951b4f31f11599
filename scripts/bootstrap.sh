# Sourced by ./mel and ./test: brings .venv up to date from the lock files, and says so only when there is something to do.
# POSIX sh. The caller sets `root` (the repository) and then calls `bootstrap LEVEL`.
# A level is a lock file; each holds the one before it: runtime, claude (the Claude Code command line), dev (./test).

say() { printf 'Melipona: %s\n' "$*" >&2; }

give_up() {
    say "$*"
    exit 1
}

lock_of() {
    case $1 in
        runtime) echo requirements.lock ;;
        *) echo "requirements-$1.lock" ;;
    esac
}

rank_of() {
    case $1 in
        dev) echo 3 ;;
        claude) echo 2 ;;
        runtime) echo 1 ;;
        *) echo 0 ;;
    esac
}

# What the environment must match: the locks, the project file, and where the clone lies (scripts name their interpreter).
wanted_key() {
    { cat requirements.lock requirements-claude.lock requirements-dev.lock pyproject.toml && printf '%s' "$root"; } | cksum
}

# Reads .venv/.melipona into `have_level` and `have_key`; an environment that is missing or broken has neither.
read_stamp() {
    have_level='' have_key=''
    [ -r "$root/.venv/.melipona" ] && [ -x "$root/.venv/bin/python" ] || return 0
    { read -r have_level && read -r have_key; } <"$root/.venv/.melipona" || have_level=''
}

up_to_date() {
    read_stamp
    [ "$(rank_of "$have_level")" -ge "$(rank_of "$1")" ] && [ "$have_key" = "$key" ]
}

# The first Python on PATH that is new enough, as the path of the interpreter itself (not of a shim).
find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        python=$("$name" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null) || continue
        [ -n "$python" ] && return 0
    done
    give_up "Python 3.11 or newer is needed and none is on PATH. On Debian and Ubuntu: sudo apt-get install python3"
}

# uv from PATH, else a private one in .mel/uv: by a virtual environment, else by pip alone, else after apt-get as root.
find_uv() {
    for uv in "$(command -v uv 2>/dev/null)" "$root/.mel/uv/bin/uv"; do
        [ -n "$uv" ] && "$uv" --version >/dev/null 2>&1 && return 0
    done
    uv=$root/.mel/uv/bin/uv
    say "installing uv into .mel/uv"
    uv_by_venv || uv_by_pip && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing the system package python3-venv with apt-get (uv is set up in a virtual environment)"
        DEBIAN_FRONTEND=noninteractive apt-get update >>"$log" 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv >>"$log" 2>&1 || true
        [ -x /usr/bin/python3 ] && python_for_uv=/usr/bin/python3
        uv_by_venv && return 0
    fi
    show_log
    give_up "uv could not be set up. Type this, then run the command again: sudo apt-get install python3-venv"
}

uv_by_venv() {
    rm -rf "$root/.mel/uv"
    "${python_for_uv:-$python}" -m venv "$root/.mel/uv" >>"$log" 2>&1 &&
        "$root/.mel/uv/bin/python" -m pip install --disable-pip-version-check --require-hashes --only-binary :all: \
            -r requirements-uv.lock >>"$log" 2>&1 &&
        "$uv" --version >/dev/null 2>&1
}

uv_by_pip() {
    rm -rf "$root/.mel/uv"
    "$python" -m pip install --disable-pip-version-check --require-hashes --only-binary :all: --target "$root/.mel/uv" \
        -r requirements-uv.lock >>"$log" 2>&1 &&
        "$uv" --version >/dev/null 2>&1
}

show_log() {
    [ -s "$log" ] && tail -n 20 "$log" >&2
}

# A home that cannot be written gets its caches here; a mirror that pip knows is told to uv; certificates are the system's.
prepare_surroundings() {
    cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
    if ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
        export UV_CACHE_DIR="${UV_CACHE_DIR:-$root/.mel/cache/uv}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$root/.mel/cache/pip}"
    fi
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
    fi
    if [ -s /etc/ssl/certs/ca-certificates.crt ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
    fi
    export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE
}

install() {
    lock=$(lock_of "$1")
    if ! "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        rm -rf "$root/.venv"
        "$uv" venv --quiet --no-project --python "$python" "$root/.venv" >>"$log" 2>&1 || return 1
    fi
    rm -f "$root/.venv/.melipona"
    "$uv" pip install --quiet --python "$root/.venv/bin/python" --require-hashes --only-binary :all: --compile-bytecode \
        -r "$lock" >>"$log" 2>&1 &&
        "$uv" pip install --quiet --python "$root/.venv/bin/python" --no-deps --no-build-isolation \
            --reinstall-package melipona -e "$root" >>"$log" 2>&1 &&
        "$root/.venv/bin/python" -m compileall -q "$root/src" >>"$log" 2>&1 &&
        printf '%s\n%s\n' "$1" "$key" >"$root/.venv/.melipona.new" &&
        mv "$root/.venv/.melipona.new" "$root/.venv/.melipona"
}

# Under the lock: whoever waited looks again, and usually finds the work done.
install_alone() {
    up_to_date "$1" && return 0
    level=$1
    [ "$(rank_of "$have_level")" -gt "$(rank_of "$level")" ] && level=$have_level
    began=$(date +%s)
    log=$root/.mel/install.log
    : >"$log"
    say "installing the $(lock_of "$level") packages into .venv (first run, or they changed)"
    prepare_surroundings
    find_python
    find_uv
    if ! install "$level"; then
        show_log
        give_up "the packages could not be installed; the reason stands above and in $log"
    fi
    say "installed in $(($(date +%s) - began)) s"
}

bootstrap() {
    here=$PWD
    cd -- "$root" || exit 1
    key=$(wanted_key)
    if ! up_to_date "$1"; then
        mkdir -p .mel 2>/dev/null && [ -w .mel ] ||
            give_up "$root cannot be written, and the packages are installed there. Clone it where $(id -un) can write."
        if command -v flock >/dev/null 2>&1; then
            (
                flock -n 9 || { say "waiting for another installation to end" && flock 9; }
                install_alone "$1"
            ) 9>.mel/lock || exit 1
        else
            (install_alone "$1") || exit 1
        fi
    fi
    cd -- "$here" || exit 1
}

# Sourced by ./mel and ./test: builds the dashboard of web/ into the package when that is missing or old.
# POSIX sh. The caller sets `root` and has sourced bootstrap.sh. It never keeps a command from running: without Node, or
# when the build fails, one line says so, and everything but the page works.

node_is_new_enough() {
    command -v npm >/dev/null 2>&1 &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
            >/dev/null 2>&1
}

# What the page is made of.
page_key() {
    (cd -- "$root/web" && find . -name node_modules -prune -o -name tests -prune -o -type f -print | LC_ALL=C sort | xargs cat | cksum)
}

page_is_built() {
    [ -r "$built/.melipona" ] && [ "$(cat "$built/.melipona")" = "$page_is" ]
}

# Packages for the build alone; those of a developer, with the tests' ones, are left as they are.
page_packages() {
    [ -d node_modules/vite ] && [ node_modules/.package-lock.json -nt package-lock.json ] && return 0
    npm ci --omit=dev --no-audit --no-fund --loglevel=error
}

build_page_alone() {
    page_is_built && return 0
    if ! node_is_new_enough; then
        say "the page is not built: that needs Node 20.19 or newer with npm. Everything else works without it."
        return 0
    fi
    began=$(date +%s)
    say "building the page (first run, or it changed)"
    prepare_surroundings
    [ -w "${cache:-/nonexistent}" ] || export npm_config_cache="$root/.mel/cache/npm"
    if (cd -- "$root/web" && page_packages && npm run --silent build) >"$root/.mel/page.log" 2>&1; then
        printf '%s\n' "$page_is" >"$built/.melipona"
        say "built in $(($(date +%s) - began)) s"
    else
        say "the page could not be built; the reason stands in $root/.mel/page.log. Everything else works without it."
    fi
}

build_page() {
    [ -d "$root/web" ] || return 0
    built=$root/src/melipona/api/page
    page_is=$(page_key)
    page_is_built && return 0
    mkdir -p "$root/.mel" 2>/dev/null && [ -w "$root/.mel" ] || return 0
    if command -v flock >/dev/null 2>&1; then
        (flock 9 && build_page_alone) 9>"$root/.mel/page.lock"
    else
        (build_page_alone)
    fi
    return 0
}

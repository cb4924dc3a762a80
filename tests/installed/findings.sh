# Sourced by what runs inside a Debian as root: each line of its output is one finding.
#   ok WHAT                 as it must be
#   NO WHAT: DETAIL         not so
state=/var/lib/evidock

is() { # is WHAT COMMAND...: the command succeeds
    local what=$1; shift
    local said; if said=$("$@" 2>&1); then echo "ok $what"; else echo "NO $what: $(echo "$said" | tail -n 3 | tr '\n' ' ')"; fi
}
not() { local what=$1; shift; if "$@" >/dev/null 2>&1; then echo "NO $what: it succeeded"; else echo "ok $what"; fi; }
until_() { # until_ WHAT COMMAND...: within $PATIENCE seconds, else 20
    local what=$1 n=0; shift
    while [ $n -lt $((${PATIENCE:-20} * 5)) ]; do if "$@" >/dev/null 2>&1; then echo "ok $what"; return; fi; sleep 0.2; n=$((n + 1)); done
    echo "NO $what: not within ${PATIENCE:-20} s"; journalctl -n 12 --no-pager -o cat
}
has() { grep -qF -- "$2" <<<"$1"; }
status() { evidock status --json; }
standing() { [ "$(status | python3 -c "import json,sys; print(json.load(sys.stdin)['tally']['$1']['captures'])")" = "$2" ]; }
main() { systemctl show -p MainPID --value evidock; }

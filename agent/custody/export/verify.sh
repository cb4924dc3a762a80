#!/bin/sh
# Checks the bag that it lies in, or the one named, with sh, openssl (3.0 or later) and xxd; nothing of Evidock.
# Lines begin with OK, FAILED or MISSING. Exit code: 0 all is OK, 1 something FAILED, 2 no bag, or not to be read, 3 something is only MISSING.
LC_ALL=C; export LC_ALL; unset CDPATH; case $0 in */*) D=${0%/*}/ ;; *) D=. ;; esac; case ${1:-$D} in /*) D=${1:-$D} ;; *) D=./${1:-$D} ;; esac
cd "$D" && T=$(mktemp -d) || exit 2; trap 'rm -rf "$T"' EXIT; text=$T/text code=0
seen() { tr -c '\n -~' '?'; }; ok() { printf 'OK      %s\n' "$*" | seen; } # nothing that a file says may steer the terminal
failed() { printf 'FAILED  %s\n' "$*" | seen; code=1; }; missing() { printf 'MISSING %s\n' "$*" | seen; [ $code = 1 ] || code=3; }
sha256() { openssl dgst -sha256 -r; }; hex() { xxd -p | tr -d '\n'; }; unhex() { printf %s "$1" | xxd -r -p; }; unbase64() { printf %s "$1" | openssl base64 -d -A; }
sums() { # MANIFEST BITS FIND...: the manifest is, byte for byte, what would be written now: nothing changed, lost or added
    manifest=$1 bits=$2; shift 2; find "$@" ! -type d | sort > "$T/files"; : > "$T/sums"; [ ! -s "$T/files" ] ||
        tr '\n' '\0' < "$T/files" | xargs -0 openssl dgst "-sha$bits" -r | sed 's, \*\(\./\)*,  ,' > "$T/sums"
    cmp -s "$T/sums" "$manifest" && { ok "$manifest: $(grep -c . "$manifest") files"; return; }; failed "$manifest: < is here, > is listed"
    # No diff(1), which each system's writes otherwise: of what is both here and listed, neither line is told.
    { sed 's/^/< /' "$T/sums"; sed 's/^/> /' "$manifest" 2> /dev/null; } | sort -k 3 -k 2,2 | uniq -u -f 1 | seen
}
seconds() { # `Nov 29 13:24:19 2026 GMT` as seconds since 1970: date(1) reads it in some systems only
    IFS=' :' read -r month d hour minute second y rest || return; m=JanFebMarAprMayJunJulAugSepOctNovDec m=${m%%"$month"*} m=$(((${#m} / 3 + 10) % 12)) y=$((y - m / 10))
    d=$((365 * y + y / 4 - y / 100 + y / 400 + (306 * m + 5) / 10 + d - 719469)); echo $((((d * 24 + ${hour#0}) * 60 + ${minute#0}) * 60 + ${second#0}))
}
signed() { # NOTE ROLE: in $by who of keys/ROLE-*.pem signed, in $text what; 1 when one of them signed wrongly, 2 when nobody did
    by=; blank=$(grep -n '^$' "$1" | tail -n 1 | cut -d : -f 1); [ -n "$blank" ] || return 1; head -n $((blank - 1)) "$1" > "$text"; tail -n +$((blank + 1)) "$1" > "$T/lines"
    while read -r dash name value; do unbase64 "$value" > "$T/value"; id=$(head -c 4 "$T/value" | hex); key=keys/$2-$id.pem
        [ "$dash $value" = "— $(openssl base64 -A < "$T/value")" ] || return 1; [ -f "$key" ] || continue
        public=$(openssl pkey -pubin -in "$key" -outform DER | hex); kind=02 at=5 time=; cp "$text" "$T/message"
        [ ${#public} != 88 ] || kind=01 public=${public#????????????????????????} # of Ed25519: the last 32 bytes
        if [ "$2" = witness ]; then time=$(tail -c +5 "$T/value" | head -c 8 | hex); [ ${#time} = 16 ] || return 1; kind=04 at=13 time=$((0x$time))
            { printf 'cosignature/v1\ntime %d\n' "$time"; cat "$text"; } > "$T/message"; fi
        [ "$2" = root ] && list=keys/root.vkey || list=keys/vkeys # the files' names say roles, these lists say whose keys
        grep -qsxF "$name+$id+$(unhex "$kind$public" | openssl base64 -A)" "$list" || return 1
        tail -c +$at "$T/value" > "$T/signature"; by="$by $name${time:+ (at $(date -ud "@$time" +%FT%TZ 2> /dev/null || date -ur $time +%FT%TZ 2> /dev/null || echo $time))}"
        openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$T/message" -sigfile "$T/signature" > /dev/null 2>&1 || return 1
    done < "$T/lines"; [ -n "$by" ] || return 2
}
note() { signed "$1" "$2"; case $? in 0) ok "$3$by" ;; 2) "$4" "$3 nobody known" ;; *) failed "$3$by: WRONG" ;; esac; }
proof() { # ENTRY INDEX: the hashes of its proof lead from the entry to the root of the checkpoint (RFC 9162 section 2.1.3.2)
    case $2 in 0 | [1-9]*) ;; *) return 1 ;; esac; case $2 in *[!0-9]*) return 1 ;; esac
    fn=$2 sn=$((size - 1)) h=$({ printf '\000'; cat "$1.json"; } | sha256); [ "$fn" -le $sn ] || return 1
    printf 'c2sp.org/tlog-proof@v1\nindex %d\n' "$fn" > "$T/proof"; [ "custody/$(printf %06d "$fn")" = "$1" ] || return 1
    for p in $(sed '1,/^index /d;/^$/,$d' "$1.tlog-proof"); do
        [ $sn -gt 0 ] || return 1; p=$(unbase64 "$p" | hex); { unhex "$p" | openssl base64 -A; echo; } >> "$T/proof"; left=$((fn & 1)); [ "$fn" != $sn ] || left=1
        if [ $left = 1 ]; then h=$(unhex "01$p${h%% *}" | sha256); else h=$(unhex "01${h%% *}$p" | sha256); fi
        while [ $left = 1 ] && [ $((fn & 1)) = 0 ] && [ "$fn" != 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
        fn=$((fn >> 1)) sn=$((sn >> 1)); done; { echo; cat custody/checkpoint; } >> "$T/proof"; cmp -s "$T/proof" "$1.tlog-proof" && [ $sn = 0 ] && [ "${h%% *}" = "$root" ]; }
odd=$(find . ! -type d ! -type f -o -name '*[!A-Za-z0-9._-]*' 2> /dev/null) || { failed "a folder in it cannot be read"; exit 2; }
[ -z "$odd" ] || { failed "a link, or a name that no export gives"; exit 1; }
for b in 256 512; do sums manifest-sha$b.txt $b data; sums tagmanifest-sha$b.txt $b . ! -path './data/*' ! -path './tagmanifest-sha???.txt'; done
if [ -f policy.note ]; then note policy.note root "policy: signed by" failed; ! grep -q '^compromised ' policy.note || missing "policy: it marks a key, see there"; fi
if [ -f custody/checkpoint ]; then note custody/checkpoint witness "checkpoint: cosigned by" missing
    note custody/checkpoint log "checkpoint: signed by" failed; origin=$(head -n 1 "$text") size=$(sed -n 2p "$text")
    root=$(unbase64 "$(sed -n 3p "$text")" | hex); case "$by " in *" $origin "*) ;; *) failed "checkpoint: of another log" ;; esac
    case $size in '' | 0* | *[!0-9]*) size=0 ;; esac; else missing "checkpoint: none is here"; fi
for n in custody/[0-9]*.json; do n=${n%.json}; if [ ! -f "$n.tlog-proof" ]; then
        if [ "${n#custody/}" -lt "${size:-0}" ] 2> /dev/null; then failed "$n: its proof is not here"; else missing "$n: no proof"; fi; elif
    proof "$n" "$(sed -n 's/^index //p' "$n.tlog-proof")"; then ok "$n: stands in the log"; else failed "$n: the proof fails"; fi; done
for q in custody/[0-9]*.checkpoint; do [ -f "$q" ] || continue; h=$(sha256 < "$q"); if grep -qs "\"sha256\":\"${h%% *}\".*\"event\":\"anchor.cosigned\"" "${q%checkpoint}json" &&
    signed "$q" log && [ -z "${by##* "$origin"}" ] && signed "$q" witness; then ok "$q: quoted by its entry, after$by"; else failed "$q: does not fit"; fi; done
for f in data/*; do [ -f "$f" ] || continue; id=${f#data/} id=${id%%.*} h=$(sha256 < "$f")
    if grep -q "\"sha256\":\"${h%% *}\"},\"name\":\"$id\"}\]}\$" custody/[0-9]*.json; then ok "$f: as its entry says"
    else failed "$f: no entry says so"; fi; grep -qsx "capture $id" custody/receipts/*.note || missing "$f: no receipt"; done
value() { sed -n "s/^$1 //p" "$text"; }; for r in custody/receipts/*.note; do [ -f "$r" ] || continue; i=$(sed -n "s|^log $origin ||p" "$r"); i=$(printf %06d "$i" 2> /dev/null)
    if signed "$r" receipts && [ "${by#* "$origin"}" = "$by" ] && [ "$r" = "custody/receipts/$i.note" ] && grep -q "\"length\":$(value length)[,}].*\"sha256\":\"$(value \
        sha256)\"},\"name\":\"$(value capture)\"}\]}\$" "custody/$i.json"; then ok "$r: stored by$by at $(value stored_at)"; else failed "$r: does not fit"; fi; done
for t in custody/*.tsr; do [ -f "$t" ] || continue; at=$(openssl ts -reply -in "$t" -text 2> /dev/null | # certificates may run out after it was made
        sed -n 's/^Time stamp: \(.*:[0-9]*\)[.0-9]* /\1 /p' | seconds)
    if openssl ts -verify ${at:+-attime "$at"} -data custody/checkpoint -in "$t" -CAfile keys/tsa.pem > /dev/null 2>&1
    then ok "$t: time stamp"; else failed "$t: time stamp"; fi; done; exit $code

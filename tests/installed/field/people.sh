# Sourced by inside.sh while one capture stands receipted: what members of the group may do, by name, and nobody else.

useradd stranger; useradd visitor; useradd technician; usermod --append --groups evidock technician
useradd --gid evidock chief # the group is their own, and no supplementary one
useradd colleague; usermod --append --groups evidock colleague
# In more groups than 1024 bytes hold, as where a directory gives them.
for n in $(seq 300); do echo "team$n:x:$((30000 + n)):colleague"; done >> /etc/group

as() { local who=$1; shift; setpriv --reuid "$who" --regid "$(id -g "$who")" --init-groups "$@"; }
refused() { local who=$1 code said; shift; said=$(as "$who" "$@" 2>&1); code=$?; has "$said" "only root and members of the group evidock" && [ $code = 3 ]; }
did() { # did WHO COMMAND: an entry of the log says so
    as technician evidock capture history "$id" --json | python3 -c '
import json, sys
who, command = sys.argv[1:]
said = [one["predicate"] for one in json.load(sys.stdin)["story"]]
sys.exit(not any(one["actor"] == who and one.get("command") == command for one in said))' "user:$1($(id -u "$1"))" "$2"
}

id=$(evidock capture list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["captures"][0]["id"])')

# -- looks
for words in status "device list" "capture list" "capture show $id" "journal tail" "journal verify" "spool room" "identity show" "config show"; do
    is "a technician may look: $words" as technician evidock $words
done
not "a stranger may not" as stranger evidock status
not "a technician may not enter the state folder" as technician ls $state
not "a technician may not look into volumes" as technician ls /run/evidock-media
chown evidock: /etc/evidock/dems-ca.pem; chmod 600 /etc/evidock/dems-ca.pem
said=$(as technician evidock config show 2>&1 >/dev/null); code=$?
is "of a file that is closed to them the settings are shown" test $code = 0
is "and it is said which one it is" has "$said" "/etc/evidock/dems-ca.pem could not be looked into"

# -- acts
for who in technician chief colleague; do
    is "$who holds a capture" as $who evidock capture hold "$id" --why field
    is "by name" did $who hold
    is "and lifts that" as $who evidock capture hold "$id" --lift --why field
    is "by name" did $who "lift hold"
done
is "a technician puts a capture first" as technician evidock capture prioritise "$id" --why field
is "by name" did technician "prioritise first"
is "has it sent again" as technician evidock capture retry "$id" --why field
is "by name" did technician retry
until_ "which then is receipted" standing receipted 1
# Of a camera that is to come: what is assigned of one with captures makes captures of its own, which are counted later.
is "says whose a camera is" as technician evidock device assign usb:lab:7 --new --officer 4471 --why field
is "and that it is nobody's" as technician evidock device unassign usb:lab:7 --new --why field
is "tries the whole way" as technician evidock drill --length "4 KiB"
said=$(as technician evidock capture export "$id" --to /tmp/bag --why field 2>&1); code=$?
is "but takes no evidence along" test $code = 3 -a ! -e /tmp/bag
is "and is told who can" has "$said" "as root"
not "nor deletes, nor says whom to believe" as technician evidock custody trust --write

# -- whoever can open the socket, and is no member
install -m 0644 /etc/evidock/agent.toml /tmp/visitor.toml
chmod o+rx /run/evidock; chmod o+rw /run/evidock/control.sock
is "a visitor to whom the socket was opened may look" as visitor evidock --config /tmp/visitor.toml status
is "and not hold" refused visitor evidock --config /tmp/visitor.toml capture hold "$id" --why field
is "nor send again" refused visitor evidock --config /tmp/visitor.toml capture retry "$id" --why field
is "nor assign" refused visitor evidock --config /tmp/visitor.toml device assign usb:lab:2 --officer 1 --why field
is "nor drill" refused visitor evidock --config /tmp/visitor.toml drill --length "4 KiB"
is "nor change the log's key" refused visitor evidock --config /tmp/visitor.toml custody rotate --why field
is "a technician still may" as technician evidock --config /tmp/visitor.toml capture hold "$id" --lift --why field
not "the visitor did nothing" did visitor hold
chmod o= /run/evidock /run/evidock/control.sock
rm -f /tmp/visitor.toml

#!/bin/bash
# Runs inside the container as root, with systemd as process 1.
set -u
exec 2>&1
lab=/lab
. $lab/findings.sh

# -- installed ---------------------------------------------------------------------------------------------------------
is "dpkg installs it" dpkg -i $lab/evidock.deb
is "its files are as packed" test -z "$(dpkg --verify evidock)"
is "the user is there" id evidock
is "its rights are those of nobody else" test "$(stat -c %U:%G:%a /etc/evidock)" = root:evidock:750
is "volumes have a place" test "$(stat -c %U:%G:%a /run/evidock-media)" = root:evidock-media:750
is "the unit is enabled" systemctl is-enabled evidock
not "it does not run before it is set up" systemctl is-active evidock
is "the program runs" evidock version
is "the units verify" systemd-analyze verify --man=no evidock.service evidock-clock.service

# -- set up ------------------------------------------------------------------------------------------------------------
is "init" evidock init --name dock-7 --agency example.org --dems "$(cat $lab/url)" --bays 1
is "the configuration is closed to others" test "$(stat -c %U:%G:%a /etc/evidock/agent.toml)" = root:evidock:640
is "the state folder is the agent's" test "$(stat -c %U:%G:%a $state)" = evidock:evidock:700
is "the key is the agent's" test "$(stat -c %U:%a $state/keys/log.key)" = evidock:600
install -m 0644 $lab/ca.pem /etc/evidock/dems-ca.pem
sed -i -e "s|^receipt_keys = .*|receipt_keys = [\"$(cat $lab/vkey)\"]\nca_file = \"/etc/evidock/dems-ca.pem\"|" \
    -e 's|^device = "keep"|device = "release"|' \
    -e 's|^mount = .*|&\ndevice = { id = "usb:lab:1" }\nsettle = 0\nrescan = 1|' /etc/evidock/agent.toml
printf '\n[[driver]]\nuse = "body_worn.usb_volume"\nname = "folder-1"\nmount = "/srv/bay"\nmust_be_mountpoint = false\ndevice = { id = "usb:lab:2" }\nsettle = 0\nrescan = 1\n' >> /etc/evidock/agent.toml
said=$(evidock check)
is "check passes" test $? -eq 0 -o $? -eq 4
has "$said" problem && echo "NO check: $said"

# -- runs --------------------------------------------------------------------------------------------------------------
is "starts" systemctl start evidock
until_ "is ready" systemctl is-active evidock
systemctl is-active --quiet evidock || exit
is "answers" evidock status
is "runs as its user" test "$(stat -c %U /proc/$(main))" = evidock
is "has no capabilities" grep -q 'CapEff:.0000000000000000' /proc/$(main)/status
is "the clock's word is there" test -s /run/evidock-clock/word
nsenter -t "$(main)" -m -- sh -c 'touch /usr/x || touch /etc/x || touch /srv/x' 2>/dev/null && echo "NO the agent can write elsewhere" || echo "ok the agent can write nowhere else"

# -- takes, is killed, returns -----------------------------------------------------------------------------------------
mkdir -p /srv/bay; mount -t tmpfs bay /srv/bay; mkdir -p /srv/bay/DCIM/100MEDIA
head -c 300000 /dev/urandom > /srv/bay/DCIM/100MEDIA/CLIP0001.MP4
until_ "a capture reaches the DEMS" standing receipted 1
. $lab/people.sh
before=$(main)
kill -9 "$before"
until_ "killed, it returns" sh -c "systemctl is-active evidock && [ \$(systemctl show -p MainPID --value evidock) != $before ]"
until_ "and has what it had" standing receipted 1
mkdir -p /etc/systemd/system/evidock.service.d
printf '[Service]\nWatchdogSec=8\n' > /etc/systemd/system/evidock.service.d/lab.conf
systemctl daemon-reload; systemctl restart evidock; until_ "restarted for the watchdog" systemctl is-active evidock
before=$(main); began=$(systemctl show -p NRestarts --value evidock)
kill -STOP "$before"
until_ "hung, it is ended and returns" sh -c "[ \$(systemctl show -p NRestarts --value evidock) -gt $began ] && systemctl is-active evidock && evidock status"
journalctl -u evidock --no-pager -o cat | grep -q 'Watchdog timeout' && echo "ok by the watchdog" || echo "NO by the watchdog: no word of it"

# -- a volume: read-only for the agent, let go by the release unit -------------------------------------------------------
sed -e '/^BindsTo=dev-/d' -e 's|^ExecStart=.*|ExecStart=/bin/sh /lab/volume.sh|' /usr/lib/systemd/system/evidock-mount@.service > /etc/systemd/system/evidock-mount@.service
mkdir -p /etc/systemd/system/evidock-mount@.service.d
# What a FAT volume does by its mount options, the stand-in does by hand.
printf '[Service]\nCapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_FSETID\n' > /etc/systemd/system/evidock-mount@.service.d/lab.conf
mkdir -p /dev/evidock/volume; touch /dev/evidock/volume/bay1
is "whom to believe is named" evidock custody trust --write
systemctl daemon-reload; systemctl restart evidock; until_ "restarted for the volume" systemctl is-active evidock
is "a volume is mounted" systemctl start evidock-mount@bay1
systemctl is-active --quiet evidock-mount@bay1 || journalctl -u evidock-mount@bay1 -n 8 --no-pager -o cat
until_ "its release socket listens" systemctl is-active evidock-release@bay1.socket
not "the agent cannot write to it" nsenter -t "$(main)" -m -S "$(id -u evidock)" -G "$(id -g evidock)" touch /run/evidock-media/bay1/x
until_ "what was on it is released" standing released 1
is "it is gone from the volume" test ! -e /run/evidock-media/bay1/DCIM/100MEDIA/CLIP0002.MP4
journalctl -u evidock-release@bay1 --no-pager -o cat | grep -q Started && echo "ok by the release unit" || echo "NO by the release unit: $(journalctl -u 'evidock-release@bay1' --no-pager -o cat | tail -n 5 | tr '\n' ' ')"
until_ "the volume is read-only again" sh -c "grep ' /run/evidock-media/bay1 ' /proc/self/mountinfo | grep -q ' ro,.* ro'"
is "the release program saw no state" test "$(systemctl show -p Result --value evidock-release@bay1)" = success
is "unmounted" systemctl stop evidock-mount@bay1
not "nothing is left of the place" test -e /run/evidock-media/bay1

# -- reload ------------------------------------------------------------------------------------------------------------
before=$(main)
printf '\n[[driver]]\nuse = "nonsense"\nname = "x"\n' >> /etc/evidock/agent.toml
systemctl reload evidock; sleep 2
is "a wrong configuration changes nothing" test "$(main)" = "$before"
is "and is told" grep -qF "driver[2].use" <(status; journalctl -u evidock --no-pager -o cat)
sed -i -e '/^use = "nonsense"/,$d' /etc/evidock/agent.toml; sed -i '$d' /etc/evidock/agent.toml
systemctl reload evidock; sleep 2
is "a good one is taken by the same process" test "$(main)" = "$before"

# -- udev: what becomes of a camera and of a serial adapter, by the rules as they are installed ---------------------------
rules=/etc/udev/rules.d/69-evidock-bays.rules
# Made-up devices stand in: a disk of this machine that says it holds FAT, and its first terminal.
disk=$(ls /sys/block | grep -v -e loop -e zram | head -n 1)
cp $rules /tmp/rules
printf 'SUBSYSTEM=="block", KERNEL=="%s", ENV{EVIDOCK_BAY}="bay7", ENV{ID_FS_USAGE}="filesystem", ENV{ID_FS_TYPE}="vfat", ENV{ID_PATH}="x:0"\n' "$disk" >> $rules
printf 'SUBSYSTEM=="tty", KERNEL=="tty1", ENV{EVIDOCK_BAY}="lane1"\n' >> $rules
seen() { udevadm test --action="$1" "$2" 2>&1; }
said=$(seen add /sys/block/$disk)
is "a camera's volume has the name of its bay" has "$said" "evidock/volume/bay7"
is "and is mounted by its unit" has "$said" "evidock-mount@bay7.service"
is "and a desktop leaves it alone" has "$said" "UDISKS_IGNORE=1"
said=$(seen add /sys/class/tty/tty1)
is "a serial line has the name of its bay" has "$said" "evidock/serial/lane1"
sed -i -e '/vfat/s/"vfat"/"ext4"/' $rules
said=$(seen add /sys/block/$disk)
is "what holds no camera's file system is not mounted" test -z "$(grep evidock-mount@ <<<"$said")"
is "and a desktop leaves it alone all the same" has "$said" "UDISKS_IGNORE=1"
cp /tmp/rules $rules
said=$(seen add /sys/block/$disk)
is "other disks are left alone" test -z "$(grep -e evidock/volume -e UDISKS_IGNORE <<<"$said")"

# -- drop-ins: a car, and serial lines -----------------------------------------------------------------------------------
drop=/usr/share/evidock/drop-ins
mkdir -p /etc/systemd/system/evidock.service.d
for name in in-car serial hotlists; do cp $drop/$name.conf /etc/systemd/system/evidock.service.d/; done
is "the drop-ins are there" test -e /etc/systemd/system/evidock.service.d/in-car.conf -a -e /etc/systemd/system/evidock.service.d/serial.conf
systemctl daemon-reload; systemctl restart evidock
until_ "it runs in a car, with serial lines" evidock status
is "before others when the processor is short" test "$(cut -d " " -f 19 /proc/$(main)/stat)" = -5
is "with little memory" test "$(systemctl show -p MemoryMax --value evidock)" = 536870912
is "and a quick end" test "$(systemctl show -p TimeoutStopUSec --value evidock)" = 15s
has "$(systemctl show -p DeviceAllow --value evidock)" "char-ttyUSB" && echo "ok serial adapters are let in" || echo "NO serial adapters are let in"
is "it stops in time" sh -c 'began=$(date +%s); systemctl stop evidock && [ $(($(date +%s) - began)) -lt 15 ]'
for name in in-car serial hotlists; do rm -f /etc/systemd/system/evidock.service.d/$name.conf; done
systemctl daemon-reload; systemctl start evidock; until_ "and without them again" evidock status

# -- a second station on this machine, its key in a sealed credential -------------------------------------------------------
north="evidock --config /etc/evidock/north.toml"
is "init of a second station, its key sealed" $north init --name north --agency example.org --dems "$(cat $lab/url)" --bays 1 --seal host
not "the key lies nowhere in the clear" test -e /var/lib/evidock-north/keys/log.key
key=$($north identity show --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["vkey"])')
is "whom to believe is named by the sealed key" grep -qF "$key" /etc/evidock/releaser-north.json
sed -i -e "s|^receipt_keys = .*|receipt_keys = [\"$(cat $lab/vkey)\"]\nca_file = \"/etc/evidock/dems-ca.pem\"|" \
    -e 's|^mount = .*|mount = "/srv/north"\nmust_be_mountpoint = false\ndevice = { id = "usb:lab:9" }\nsettle = 0\nrescan = 1|' /etc/evidock/north.toml
mkdir -p /srv/north /etc/credstore.encrypted; mount -t tmpfs north /srv/north; mkdir -p /srv/north/DCIM/100MEDIA; head -c 1000 /dev/urandom > /srv/north/DCIM/100MEDIA/CLIP0001.MP4
chmod -R a+rX /srv/north
systemctl start evidock@north
until_ "it runs beside the first" systemctl is-active evidock@north
is "and the first goes on" systemctl is-active evidock
is "with the key out of the credential" test -s /run/credentials/evidock@north.service/log.key -a ! -e /var/lib/evidock-north/keys/log.key
north_has() { [ "$($north status --json | python3 -c "import json,sys; print(json.load(sys.stdin)['tally']['receipted']['captures'])")" = 1 ]; }
until_ "what it takes reaches the DEMS" north_has
is "its log has its own name" sh -c "$north custody head 2>/dev/null | grep -q north || $north status --json | grep -q /north/"
not "a technician may not read the sealed key's folder" setpriv --reuid technician --regid technician --init-groups cat /run/credentials/evidock@north.service/log.key
is "a next key is sealed" $north identity seal host --next
systemctl restart evidock@north; until_ "it starts with two keys" $north status
is "the log's key is changed" $north custody rotate --why field
is "whom to believe is told of both" $north custody trust --write
is "and the change is ended" $north custody rotate --why field --finish
mv /etc/credstore.encrypted/evidock-north.log.key.next /etc/credstore.encrypted/evidock-north.log.key
systemctl restart evidock@north; until_ "it starts with the other key" $north status
is "which is another" test "$key" != "$($north identity show --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["vkey"])')"
is "a token is sealed by hand" sh -c 'printf lab-token | systemd-creds encrypt --name=dems.token - /etc/credstore.encrypted/evidock-north.dems.token'
sed -i -e 's|^# token_file = .*|token_file = "/run/credentials/evidock@north.service/dems.token"|' /etc/evidock/north.toml
is "and named in the configuration" grep -q '^token_file' /etc/evidock/north.toml
systemctl restart evidock@north; until_ "it starts with the token" $north status
said=$($north check)
is "check takes its access list for no open door" test -z "$(grep -e 'others may read' -e 'systemd hands it' <<<"$said")"
is "it stops by itself" systemctl stop evidock@north
said=$($north check)
is "stopped, check says that systemd hands it to the service" has "$said" "systemd hands it to the service alone"
is "and takes that for no fault" test -z "$(grep '^problem *config' <<<"$said")"
mv /etc/credstore.encrypted/evidock-north.log.key /tmp/sealed
install -d -o evidock -g evidock -m 0700 /var/lib/evidock-north/keys
setpriv --reuid evidock --regid evidock --clear-groups sh -c 'umask 077; cat > /var/lib/evidock-north/keys/log.key' < <(systemd-creds decrypt --name= /tmp/sealed -)
is "a key that lay in the clear is sealed" $north identity seal host
not "and shredded" test -e /var/lib/evidock-north/keys/log.key
systemctl start evidock@north; until_ "it starts with it" $north status
systemctl stop evidock@north
umount /srv/north; rm -rf /etc/evidock/north.toml /etc/evidock/releaser-north.json /var/lib/evidock-north /etc/credstore.encrypted/evidock-north.log.key /etc/credstore.encrypted/evidock-north.dems.token

# -- upgraded, downgraded, removed, purged -----------------------------------------------------------------------------
is "the journal is whole" evidock journal verify
is "upgrade" dpkg -i $lab/newer.deb
until_ "the service runs after it" evidock status
is "the newer version runs" grep -q 9.0.0 <(dpkg -s evidock)
cp $state/journal.db* /tmp/
schema=$(/opt/evidock/bin/python3 -I -c 'import apsw; print(apsw.Connection("/tmp/journal.db").pragma("user_version"))')
is "the journal was migrated" test "$schema" = 9999
until_ "and has what it had before" standing released 1
said=$(dpkg -i $lab/evidock.deb 2>&1)
is "a downgrade is refused" has "$said" "was written by a newer version"
is "and the newer one goes on" grep -q 9.0.0 <(dpkg -s evidock)
until_ "its service too" evidock status
kill -9 "$(main)"; systemctl stop evidock
said=$(dpkg -i $lab/evidock.deb 2>&1)
is "a downgrade is refused after a kill as well" has "$said" "was written by a newer version"
is "nothing of it is half installed" test "$(dpkg-query -W -f '${Status} ${Version}' evidock)" = "install ok installed 9.0.0"
before=$(sha256sum /etc/evidock/agent.toml $state/keys/log.key)
is "remove" dpkg -r evidock
not "it does not run any more" systemctl is-active evidock
is "configuration and keys stay" test "$before" = "$(sha256sum /etc/evidock/agent.toml $state/keys/log.key)"
said=$(dpkg -P evidock 2>&1)
is "purge says where the evidence lies" has "$said" "$state is left as it is"
is "and leaves it" test -s $state/journal.db -a -n "$(ls $state/spool/kept)"
is "with keys and user" test "$before" = "$(sha256sum /etc/evidock/agent.toml $state/keys/log.key)" -a -n "$(id -u evidock)"
is "installed again" dpkg -i $lab/newer.deb
until_ "it goes on where it was" standing released 1
systemctl stop evidock
rm -rf $state
is "purge without evidence" dpkg -P evidock
not "leaves nothing" test -e $state -o -e /etc/evidock -o -e /opt/evidock
echo "end"

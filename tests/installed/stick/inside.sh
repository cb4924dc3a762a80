#!/bin/bash
# Runs inside the virtual machine as root, twice: the second time after it was switched off and on. Its output is the serial
# line; a line "NOW ..." asks whoever started the machine to do something with a plug.
set -u
exec 2>&1
lab=/lab PATIENCE=400
. $lab/findings.sh
rules=/etc/udev/rules.d/69-evidock-bays.rules
mounted() { grep -q " /run/evidock-media/$1 " /proc/self/mountinfo; }
no() { ! "$@"; }
options() { sed -n "s|.* /run/evidock-media/$1 \([^ ]*\) .*|\1|p" /proc/self/mountinfo; }
path_of() { udevadm info --query=property --name="$1" | sed -n 's/^ID_PATH=//p'; }
of_film() { evidock capture list --json | python3 -c "
import json, sys
for one in json.load(sys.stdin)['captures']:
    if one['key'].endswith('$1'): print(one['$2']); break"; }
total() { python3 - "$1" <<'P'
import json, subprocess, sys
tally = json.loads(subprocess.run(["evidock", "status", "--json"], capture_output=True).stdout)["tally"]
sys.exit(tally["released"]["captures"] != int(sys.argv[1]))
P
}
trap 'echo "NOW END"; sync' EXIT

systemd-run --quiet --unit=dems --property=StandardOutput=file:/run/dems.json evidock dems serve --port 8443 /srv/dems
until_ "a DEMS is here" grep -q url /run/dems.json

if [ -e /lab/second ]; then
    # -- switched off and on again, with a camera in its bay ------------------------------------------------------------
    until_ "started by itself, its key out of the TPM" evidock status
    not "the key lies nowhere in the clear" test -e $state/keys/log.key
    until_ "the camera that was there when it started is mounted" mounted bay1
    until_ "and what was on it is released" total "$(($(cat /lab/second) + 1))"
    is "the log is whole" evidock journal verify
    exit
fi

of_dems() { python3 -c "import json; print(json.loads(open('/run/dems.json').readline())['$1'])"; }

# -- the key of the log: made inside the TPM's seal ---------------------------------------------------------------------
is "this machine has a TPM" test -c /dev/tpmrm0
said=$(evidock init --name dock-7 --agency example.org --dems "$(of_dems url)" --bays 2 --seal tpm2)
is "init seals the key of the log by the TPM" test $? -eq 0
echo "$said"
not "it lies nowhere in the clear" test -e $state/keys/log.key
key=$(sed -n 's/^Key: *//p' <<<"$said")
shown=$(evidock identity show)
is "root can see whose it is" has "$shown" "$key"
is "whom to believe is named" grep -qF "$key" /etc/evidock/releaser.json
not "the agent's user cannot open it" setpriv --reuid evidock --regid evidock --clear-groups systemd-creds decrypt --name=log.key /etc/credstore.encrypted/evidock.log.key -

cp "$(of_dems ca_file)" /etc/evidock/dems-ca.pem; chmod 0644 /etc/evidock/dems-ca.pem
sed -i -e "s|^receipt_keys = .*|receipt_keys = [\"$(of_dems receipt_vkey)\"]\nca_file = \"/etc/evidock/dems-ca.pem\"|" \
    -e 's|^device = "keep"|device = "release"|' -e 's|^mount = .*|&\nsettle = 1\nrescan = 1|' /etc/evidock/agent.toml
is "whom to believe is named anew, with no daemon" evidock custody trust --write
is "still the same key" grep -qF "$key" /etc/evidock/releaser.json
said=$(evidock check 2>/dev/null); code=$?
is "check passes" test $code -eq 0 -o $code -eq 4
grep problem <<<"$said"
is "the service starts" systemctl start evidock
until_ "and answers" evidock status
is "with the key that was sealed" has "$(evidock status --json)" "$key"

# -- ports get their names --------------------------------------------------------------------------------------------
echo "NOW STRANGERS"
until_ "two sticks are seen" test -b /dev/sda -a -b /dev/sdb
udevadm settle; sleep 3
is "what is plugged into ports without a name is left alone" no grep -q evidock-media/ /proc/self/mountinfo
for disk in sda sdb; do [ "$(blkid -p -s TYPE -o value /dev/$disk)" = exfat ] && big=$disk || small=$disk; done
# What a technician does, by docs/install.md: asks for the path of a port, and writes it down.
is "their paths tell their ports" test "$(path_of /dev/$small)" = pci-0000:00:10.0-usb-0:1:1.0-scsi-0:0:0:0 -a "$(path_of /dev/$big)" = pci-0000:00:10.0-usb-0:2:1.0-scsi-0:0:0:0
printf 'SUBSYSTEM=="block", ENV{ID_PATH}=="%s-*", ENV{EVIDOCK_BAY}="bay1"\n' "$(path_of /dev/$small | sed 's/-scsi.*//')" >> $rules
printf 'SUBSYSTEM=="block", ENV{ID_PATH}=="%s-*", ENV{EVIDOCK_BAY}="bay2"\n' "$(path_of /dev/$big | sed 's/-scsi.*//')" >> $rules
mkdir /run/card; mount -t exfat /dev/$big /run/card && mkdir -p /run/card/DCIM/100EXFAT && cp /lab/film.mp4 /run/card/DCIM/100EXFAT/EXF_0001.MP4 && umount /run/card
udevadm control --reload
echo "NOW PULL STRANGERS"
until_ "they are gone" test ! -e /dev/sda -a ! -e /dev/sdb

# what an eye on the mount sees of it, many times a second
(while :; do
    now=$(options bay1 | cut -d, -f1); [ "$now" = "${last-}" ] || { echo "${now:-gone}"; last=$now; }
    sleep 0.02
done) > /run/seen &
watcher=$!

# -- a camera with FAT in the first bay, one with exFAT in the second -----------------------------------------------------
echo "NOW CAMERAS"
until_ "the first is mounted under its bay's name" mounted bay1
is "so that it can do no harm" test "$(options bay1)" = ro,nosuid,nodev,noexec,relatime,nosymfollow -o "$(options bay1)" = ro,nosuid,nodev,noexec,nosymfollow,relatime
is "by its unit" systemctl is-active evidock-mount@bay1
is "a desktop leaves it alone" has "$(udevadm info --query=property --name=/dev/evidock/volume/bay1)" UDISKS_IGNORE=1
not "the agent cannot write to it" nsenter -t "$(main)" -m -S "$(id -u evidock)" -G "$(getent group evidock-media | cut -d: -f3)" touch /run/evidock-media/bay1/x
not "nor a stranger look into it" setpriv --reuid nobody --regid nogroup --clear-groups ls /run/evidock-media/bay1
until_ "the second is mounted too" mounted bay2
until_ "what is on both is released" total 4
is "the device is known by its serial number" has "$(evidock device list)" SN-BWC-0001
echo "began $(of_film BWC_0001.MP4 began_at)"
not "films are gone from the card" test -e /run/evidock-media/bay1/DCIM/100BWCAM/BWC_0001.MP4
is "what is not the camera's is still there" test -s /run/evidock-media/bay1/README.TXT
not "and from the other" test -e /run/evidock-media/bay2/DCIM/100EXFAT/EXF_0001.MP4
until_ "the first is read-only again" sh -c "grep ' /run/evidock-media/bay1 ' /proc/self/mountinfo | grep -q ' ro,'"
is "it was writable while it was released, and at no other time" test "$(grep -v gone /run/seen | tr '\n' ' ' | sed 's/\(ro rw \)\+ro /well/')" = well
is "by the program that may delete" has "$(journalctl -u evidock-release@bay1 --no-pager -o cat)" Started
echo "NOW PULL CAMERAS"
until_ "unmounted when it is pulled out" no mounted bay1
until_ "its unit ends" no systemctl is-active --quiet evidock-mount@bay1
until_ "its place is gone" test ! -e /run/evidock-media/bay1
is "nothing failed" test -z "$(systemctl list-units --failed --plain --no-legend 'evidock*')"
systemctl list-units --failed --plain --no-legend 'evidock*'
kill $watcher

# -- pulled out in the middle of a copy -----------------------------------------------------------------------------------
echo "NOW SLOW"
until_ "a long film is being copied" sh -c "[ -n \"\$(find $state/spool/stage -size +2M)\" ]"
echo "NOW PULL SLOW"
until_ "pulled out in the middle, it is unmounted" no mounted bay1
until_ "the agent noticed" sh -c "journalctl -u evidock EVIDOCK_EVENT=volume_gone --no-pager -o cat | grep -q ."
part=$(find $state/spool/stage -size +2M -printf '%s\n' | head -n 1)
is "what was copied by then is kept" test "${part:-0}" -gt 2000000
echo "NOW AGAIN"
until_ "plugged in again, it is released" total 5
echo "long $(of_film LONG0001.MP4 sha256)"
is "from where it was" sh -c "! journalctl -u evidock EVIDOCK_EVENT=taken_from_the_beginning --no-pager -o cat | grep -q ."

# -- a serial line has the name of its bay ----------------------------------------------------------------------------------
echo "NOW LINE"
until_ "a serial adapter is seen" test -c /dev/ttyUSB0
udevadm settle
printf 'SUBSYSTEM=="tty", ENV{ID_PATH}=="%s*", ENV{EVIDOCK_BAY}="lane1"\n' "$(path_of /dev/ttyUSB0)" >> $rules
udevadm control --reload; udevadm trigger --action=add --settle /dev/ttyUSB0
until_ "its line has the name of its bay" test /dev/evidock/serial/lane1 -ef /dev/ttyUSB0
is "and belongs to dialout" test "$(stat -c %G /dev/ttyUSB0)" = dialout

is "the log is whole" evidock journal verify
evidock status --json | python3 -c "import json, sys; print(json.load(sys.stdin)['tally']['released']['captures'])" > /lab/second

# -- a machine without this TPM -------------------------------------------------------------------------------------------
chip=$(readlink -f /sys/class/tpm/tpm0/device)
echo "${chip##*/}" > "$(readlink -f "$chip/driver")/unbind"
not "without this TPM nobody opens the key" systemd-creds decrypt --name=log.key /etc/credstore.encrypted/evidock.log.key -
systemctl stop evidock
said=$(evidock custody trust 2>&1)
is "and the command line says so" has "$said" "systemd-creds decrypt"
timeout 60 systemctl start evidock
not "nor does the service start" systemctl is-active --quiet evidock
is "and no other key is made" test ! -e $state/keys/log.key

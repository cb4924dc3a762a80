#!/bin/bash
# The first process of a machine (see machine.py): makes device mapper and loopback work, does the job, switches it off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt PYTHONDONTWRITEBYTECODE=1
export DM_DISABLE_UDEV=1     # there is no udevd here that dmsetup could wait for
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t devtmpfs dev /dev 2>/dev/null   # without it no /dev/mapper
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
cp "$EVIDOCK_JOB" /run/job   # it lies in the host's /tmp, which the next line covers
mount -t tmpfs tmp /tmp
mount -t tmpfs mnt /mnt
. /run/job
mkdir -p /mnt/out
for folder in "${HOSTS[@]}"; do   # what of the host's the lines above covered, as a checkout below /tmp
  [ -d "$folder" ] || { mkdir -p "$folder" && mount -r -t hostfs -o "$folder" host "$folder"; }
done
[ -z "$EVIDOCK_OUT" ] || mount -t hostfs -o "$EVIDOCK_OUT" out /mnt/out
mkdir -p /run/kernel/lib/modules
ln -s "$EVIDOCK_UML_PREFIX/usr/lib/uml/modules/$(uname -r)" "/run/kernel/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec modprobe -d /run/kernel "$@"\n' >/run/kernel/modprobe
chmod +x /run/kernel/modprobe
echo /run/kernel/modprobe >/proc/sys/kernel/modprobe   # and whatever the kernel asks for by itself
/run/kernel/modprobe -a ${EVIDOCK_MODULES//,/ } || echo "not all modules are here"   # each program costs a tenth of a second
ip link set lo up
cd "$EVIDOCK_ROOT"
"${JOB[@]}"
echo "
JOB-ENDED $?"
sync
echo o >/proc/sysrq-trigger
sleep 10

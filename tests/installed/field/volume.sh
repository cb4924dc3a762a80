#!/bin/sh
# In the place of a camera's volume, where the kernel of the machine knows no FAT: owned and mounted as one would be.
set -eu
place=/run/evidock-media/bay1
mkdir -p -m 0755 $place /dev/evidock/volume
mount -t tmpfs -o "nosuid,nodev,noexec,uid=$(id -u evidock-release),gid=$(getent group evidock-media | cut -d: -f3),mode=0750" bay1 $place
mkdir -p $place/DCIM/100MEDIA
head -c 200000 /dev/urandom > $place/DCIM/100MEDIA/CLIP0002.MP4
chown -R evidock-release:evidock-media $place/DCIM
chmod -R u=rwX,g=rX,o= $place/DCIM
mount -o remount,ro,nosuid,nodev,noexec,nosymfollow $place

#!/bin/sh
# Takes a person's work along when a VM goes back to an earlier state of its disks. Run by root in
# a guest with a data disk, with nothing but a shell and GNU tar.
#
#   sh -s mark ID   note what is there now
#   sh -s save ID   write what has changed since to standard output: an incremental archive of tar
#
# The archive also says what has been deleted and moved since.
set -eu
export LC_ALL=C
state=/data/state
notes=/data/updates
# Without a data disk there is nothing to tell apart: all goes back with the root.
[ -d "$state" ] || { [ "$1" = mark ] && exit 0 || exit 3; }
umask 077
mkdir -p "$notes"
cd "$state"
set -- "$1" "$notes/$2"
# Homes and checkouts: what people write. What services write goes back with the services.
work=
for path in home srv/git srv/about/checkout; do
    if [ -d "$path" ]; then work="$work $path"; fi
done
archive() { # the numbers of devices are others after a boot
    # shellcheck disable=SC2086
    tar --create --acls --xattrs --no-check-device --listed-incremental="$1" --file="$2" $work
}
case $1 in
    mark)
        # Of those before, the last three: a VM that goes back further takes nothing along.
        ls -t "$notes" | tail -n +4 | while IFS= read -r old; do rm -f "$notes/$old"; done
        rm -f "$2"
        archive "$2" /dev/null 2>/dev/null || [ $? -eq 1 ] # 1: a file changed meanwhile
        ;;
    save)
        [ -s "$2" ] || exit 4
        cp "$2" "$2.now" # tar would write the present state into it
        archive "$2.now" - || [ $? -eq 1 ]
        rm -f "$2.now"
        ;;
    *) exit 2 ;;
esac

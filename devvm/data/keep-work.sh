#!/bin/sh
# Takes a person's work along when a VM goes back to an earlier state of its disks. Run by root in
# a guest with a data disk, with nothing but a shell and GNU tar.
#
#   sh -s mark ID CHECKOUT...   note what is there now
#   sh -s save ID CHECKOUT...   write what has changed since to standard output: an incremental
#                               archive of tar
#
# What people write is in homes, in /srv/git and in the checkouts, which are absolute paths.
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
command=$1 note=$notes/$2
shift 2
# What services write goes back with the services.
count=$#
for path in /home /srv/git "$@"; do
    if [ -d "./$path" ]; then set -- "$@" "${path#/}"; fi
done
shift "$count"
archive() { # LISTING OUTPUT PATH...
    listing=$1 output=$2
    shift 2
    # the numbers of devices are others after a boot
    tar --create --acls --xattrs --no-check-device --listed-incremental="$listing" \
        --file="$output" "$@"
}
case $command in
    mark)
        # Of those before, the last three: a VM that goes back further takes nothing along.
        ls -t "$notes" | tail -n +4 | while IFS= read -r old; do rm -f "$notes/$old"; done
        rm -f "$note"
        archive "$note" /dev/null "$@" 2>/dev/null || [ $? -eq 1 ] # 1: a file changed meanwhile
        ;;
    save)
        [ -s "$note" ] || exit 4
        cp "$note" "$note.now" # tar would write the present state into it
        archive "$note.now" - "$@" || [ $? -eq 1 ]
        rm -f "$note.now"
        ;;
    *) exit 2 ;;
esac

#!/bin/sh
# Who is logged in to this machine, telling them what is about to happen to it, and their answers.
# Run by root in a guest, with nothing but a shell, coreutils and findutils.
#
# sh -s sessions        prints for each terminal that somebody is logged in on: session, login,
#                       terminal, seconds since a key was pressed there; with tabs in between
# sh -s tell LINE...    writes the lines to all of them; prints for each that took them: told,
#                       terminal
# sh -s ask LINE...     the same, and removes earlier answers first
# sh -s answer          prints what people answered: now, later or nothing
# sh -s clear           removes the answers
#
# An answer is a file in the home of somebody who can log in: update-now or update-later. Of one
# person the newer one counts, of several people the one who says later.
set -u
export LC_ALL=C
dev=${PEOPLE_DEV:-/dev}

# Those in utmp, and pseudo-terminals of people's accounts that are not: an editor's, some of tmux.
terminals() {
    {
        who ${PEOPLE_UTMP:+"$PEOPLE_UTMP"} 2>/dev/null | while read -r _ line _; do
            printf '%s\n' "$line"
        done
        for path in "$dev"/pts/[0-9]*; do
            uid=$(stat -Lc %u "$path" 2>/dev/null) || continue
            [ "$uid" -ge 1000 ] && [ "$uid" -lt 60000 ] && printf '%s\n' "${path#"$dev/"}"
        done
    } | sort -u | while IFS= read -r line; do
        case $line in *[!A-Za-z0-9/]*) continue ;; esac # an X display
        [ -c "$dev/$line" ] && printf '%s\n' "$line"
    done
}

sessions() {
    now=$(date +%s)
    terminals | while IFS= read -r line; do
        facts=$(stat -Lc '%X %U' "$dev/$line" 2>/dev/null) || continue
        idle=$((now - ${facts%% *}))
        [ "$idle" -ge 0 ] || idle=0
        printf 'session\t%s\t%s\t%s\n' "${facts#* }" "$line" "$idle"
    done
}

# With a bell, and from the first column on whatever the terminal shows. One that is stopped
# (Ctrl-S) or hangs does not stop us.
tell() {
    text=$(
        printf '\a\r\n'
        printf '%s\r\n' "$@"
    )
    terminals | while IFS= read -r line; do
        printf '%s\n' "$text" | timeout 5 dd of="$dev/$line" oflag=nonblock,noctty conv=notrunc \
            bs=4096 iflag=fullblock status=none 2>/dev/null && printf 'told\t%s\n' "$line"
    done
}

homes() {
    if [ -n "${PEOPLE_PASSWD:-}" ]; then cat "$PEOPLE_PASSWD"; else getent passwd; fi |
        while IFS=: read -r _ _ _ _ _ home shell; do
            case $shell in */nologin | */false | */sync) continue ;; esac
            [ -d "$home" ] && printf '%s\n' "$home"
        done | sort -u
}

clear_answers() {
    homes | while IFS= read -r home; do
        rm -f "$home/update-now" "$home/update-later" 2>/dev/null
    done
}

answer() {
    homes | while IFS= read -r home; do
        now=$home/update-now later=$home/update-later
        if [ -f "$later" ] && [ -z "$(find "$now" -newer "$later" 2>/dev/null)" ]; then
            echo later
        elif [ -f "$now" ]; then
            echo now
        fi
    done | sort | head -n 1
}

verb=$1
shift
case $verb in
    sessions) sessions ;;
    tell) tell "$@" ;;
    ask) clear_answers && tell "$@" ;;
    answer) answer ;;
    clear) clear_answers ;;
    *)
        echo "there is no $verb" >&2
        exit 2
        ;;
esac
exit 0

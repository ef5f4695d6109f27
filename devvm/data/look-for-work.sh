#!/bin/sh
# Looks for work that is on this machine and perhaps nowhere else. Run by root in a guest, with
# nothing but a shell and findutils; git where there is one. Changes nothing.
#
# sh -s LIMIT <look-for-work.sh
#
# Prints, with tabs in between, for each git checkout: repo, its path, files that are not committed,
# commits that no remote has, stashes, whether it is on the data disk; and for each file of the
# root, at most LIMIT, that was changed after the machine was finished: file, its path.
set -u
export LC_ALL=C GIT_OPTIONAL_LOCKS=0
top=/data/state
[ -d "$top" ] || top=
kept() { case $1 in "$top"/*) echo yes ;; *) echo no ;; esac; }
git_in() {
    git -c safe.directory='*' -c core.fsmonitor=false -c core.hooksPath=/dev/null \
        -C "$@" 2>/dev/null
}
# Bind mounts are other file systems to find: the data disk is looked at where it is whole.
for start in / ${top:+"$top"}; do
    find "$start" -xdev \( -path /proc -o -path /sys -o -path /var/lib/docker \) -prune -o \
        -name .git -prune -print 2>/dev/null
done | sort -u | while IFS= read -r dot; do
    repo=${dot%/.git}
    changes=$(git_in "$repo" status --porcelain | wc -l)
    commits=$(git_in "$repo" log --branches HEAD --not --remotes --oneline | wc -l)
    stashes=$(git_in "$repo" stash list | wc -l)
    printf 'repo\t%s\t%s\t%s\t%s\t%s\n' "${repo#"$top"}" "$changes" "$commits" "$stashes" \
        "$(kept "$repo")"
done
stamp=/etc/devvm/stamp.json
[ -e "$stamp" ] || { printf 'nostamp\n'; exit 0; }
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \
    -o -path /data -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/systemd \
    -o -path /var/lib/dhcp -o -path /var/lib/chrony -o -path /var/lib/private -o -path /var/backups \
    -o -path /var/lib/apt/lists -o -path /var/lib/vagrant/.ansible -o -path /lost+found \
    -o -name __pycache__ -o -name .git \) -prune -o \
    -type f -cnewer "$stamp" ! -path /etc/resolv.conf ! -path /etc/machine-id ! -path /etc/mtab \
    ! -path '/etc/ssh/ssh_host_*' ! -path /etc/hostname ! -path "$stamp" \
    ! -path '/etc/chrony/*' ! -path '/var/lib/vagrant/.ssh/*' \
    -printf 'file\t%p\n' 2>/dev/null | head -n "$1"
exit 0

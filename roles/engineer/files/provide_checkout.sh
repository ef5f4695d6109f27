#!/bin/sh
# provide_checkout.sh LOGIN REPOSITORY BRANCH
#
# Clone the site into /srv/about/checkout, for LOGIN to work in. Without a REPOSITORY, make one in
# /srv/git from the deployed code and clone that.
#
# What a person may have worked on is never touched: with a .git, nothing is done; without one, the
# directory must be empty, or hold nothing but what this script itself left there when it was
# interrupted (.clone is there). The checkout becomes one by its last step, a rename.
set -eu
umask 022

login=$1 repository=$2 branch=$3
checkout=/srv/about/checkout
origin=/srv/git/about.git
partial=$checkout/.clone

as_engineer() {
    runuser -u "$login" -- "$@"
}

# Publish the deployed code as the only commit of a bare repository.
provide_origin() {
    [ ! -e "$origin" ] || return 0
    rm -rf "$origin.new"
    install -d -o root -g root -m 0755 "$(dirname "$origin")"
    install -d -o "$login" -g "$login" -m 0755 "$origin.new"
    as_engineer git init --quiet --bare --initial-branch="$branch" "$origin.new"
    work="--git-dir=$origin.new --work-tree=/srv/about/app/"
    # shellcheck disable=SC2086 # two options, no spaces in them
    as_engineer git $work -c core.bare=false -C /srv/about/app/ add --all
    # shellcheck disable=SC2086
    as_engineer git $work -c core.bare=false -c user.name=About -c user.email=about@localhost \
        commit --quiet --message "The site as it was deployed"
    rm -f "$origin.new/index"
    mv "$origin.new" "$origin"
}

[ ! -e "$checkout/.git" ] || exit 0
if [ -d "$checkout" ] && [ ! -e "$partial" ] &&
    [ -n "$(find "$checkout" -mindepth 1 -maxdepth 1 ! -name lost+found)" ]; then
    echo "$checkout is not a git checkout and not empty. Nothing in it was touched:" \
        "move its contents elsewhere, then try again." >&2
    exit 1
fi

install -d -o root -g root -m 0755 "$(dirname "$checkout")"
install -d -o "$login" -g "$login" -m 0755 "$checkout"
if [ -z "$repository" ]; then
    provide_origin
    repository=$origin
fi
rm -rf "$partial"
cd "$checkout"
as_engineer git clone --quiet --no-checkout --branch "$branch" "$repository" "$partial"
as_engineer git --git-dir="$partial/.git" --work-tree="$checkout" reset --quiet --hard
mv "$partial/.git" "$checkout/.git"
rmdir "$partial"

home=$(getent passwd "$login" | cut -d: -f6)
if [ ! -e "$home/about" ] && [ ! -L "$home/about" ]; then
    as_engineer ln -s "$checkout" "$home/about"
fi

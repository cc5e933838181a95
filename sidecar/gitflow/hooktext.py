"""The hooks of a task's work tree, as text: what may be pushed from there, and never hiding a hook that was there.

Pure. One folder serves all work trees of a repository: each says in its own git configuration which branch and base are
its. git asks only one folder for hooks, so each of ours runs the one of that name that the repository has.
"""

#: Hooks that git runs in a work tree; each needs a forwarder, since ``core.hooksPath`` hides the repository's own.
FORWARDED = (
    "applypatch-msg pre-applypatch post-applypatch pre-commit pre-merge-commit prepare-commit-msg commit-msg "
    "post-commit pre-rebase post-checkout post-merge post-rewrite pre-auto-gc"
).split()
PRE_PUSH = "pre-push"

#: Variables by which `agentcom-git submit` tells the hook what it has just made sure of.
BASE_SEEN = "AGENTCOM_GIT_BASE_SEEN"
LEASE = "AGENTCOM_GIT_LEASE"

_THEIRS = """\
hooks=$(git config --local --type=path core.hooksPath) ||
    hooks=$(git config --global --type=path core.hooksPath) ||
    hooks=$(git config --system --type=path core.hooksPath) ||
    hooks=$(git rev-parse --path-format=absolute --git-common-dir)/hooks
"""

FORWARDER = f"""#!/bin/sh
# Written by `agentcom-git start-task`. Runs the repository's own hook of this name, if there is one.
name=${{0##*/}}
{_THEIRS}[ -x "$hooks/$name" ] || exit 0
exec "$hooks/$name" "$@"
"""

PUSHED = f"""#!/bin/sh
# Written by `agentcom-git start-task`. Refuses to push anything but this task's branch, on the newest base, then runs
# the repository's own pre-push hook, if there is one.
say() {{ printf 'agentcom-git: %s\\n' "$1" >&2; }}
branch=$(git config agentcom-git.branch)
base=$(git config agentcom-git.base)
pushed=$(cat)
refused=0
while read -r from new to old; do
    [ -n "$to" ] || continue
    if [ "$to" = "refs/heads/$base" ]; then
        say "$base is the base and is not pushed to from here: 'agentcom-git submit' asks for it to be merged"
        refused=1
    elif [ "$to" != "refs/heads/$branch" ]; then
        say "$to is not this task's branch, which is $branch: 'agentcom-git submit' pushes the right one"
        refused=1
    else
        case $new in
        *[!0]*) ;;
        *)
            say "$branch is not deleted from here: 'agentcom-git prune --remote' does it once it is merged"
            refused=1
            continue
            ;;
        esac
        case $old in
        *[!0]*)
            if [ "${{{LEASE}:-}}" != "$old" ] && ! git merge-base --is-ancestor "$old" "$new" 2>/dev/null; then
                say "this would overwrite $branch on the remote: 'agentcom-git submit' replaces only what it pushed"
                refused=1
            fi
            ;;
        esac
        seen=${{{BASE_SEEN}:-}}
        if [ -z "$seen" ]; then
            seen=$(git ls-remote "$1" "refs/heads/$base" | cut -f 1)
            [ -n "$seen" ] || seen=$(git rev-parse -q --verify "refs/remotes/$1/$base")
        fi
        if [ -n "$seen" ] && ! git merge-base --is-ancestor "$seen" "$new" 2>/dev/null; then
            say "$base has moved on since this branch was made: 'agentcom-git submit --rebase', or 'agentcom-git sync'"
            refused=1
        fi
    fi
done <<END
$pushed
END
[ "$refused" -eq 0 ] || exit 1
{_THEIRS}[ -x "$hooks/{PRE_PUSH}" ] || exit 0
printf '%s\\n' "$pushed" | "$hooks/{PRE_PUSH}" "$@"
"""


def texts() -> dict[str, str]:
    """Return every hook's text by its name."""
    return {**dict.fromkeys(FORWARDED, FORWARDER), PRE_PUSH: PUSHED}

"""The scripts of bash, zsh and fish, written from the levels of `completion_tree`.

Each finds the level first: the longest path of commands in the words before the cursor.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from edge_agent.cli.completion_tree import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_agent.cli.completion_tree import Level, Option


def _bash(levels: Sequence[Level]) -> str:
    """For bash 4 and later; without the package bash-completion, too."""
    return f"""\
# bash completion of edge-agent, printed by `edge-agent completion bash`.
_edge_agent() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} at="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at ${{COMP_WORDS[i]}}" in
        {_alternatives(levels)}) at="$at ${{COMP_WORDS[i]}}" ;;
        esac
    done
    COMPREPLY=()
    compopt +o default 2>/dev/null
    case "$at:$before" in
{_lines(_bash_values(levels), 4)}
    esac
    case "$at" in
{_lines(_bash_levels(levels), 4)}
    esac
}}
complete -F _edge_agent edge-agent
"""


def _alternatives(levels: Iterable[Level]) -> str:
    return " | ".join(f'" {one.path}"' for one in levels if one.path)


def _bash_values(levels: Iterable[Level]) -> Iterator[str]:
    """The value after an option: choices, files, or nothing to propose."""
    for level in levels:
        for option in filter(lambda one: one.takes, level.options):
            pattern = " | ".join(f'"{_at(level)}:{name}"' for name in option.names)
            yield f"{pattern}) {_bash_value(option)} return ;;"


def _bash_value(option: Option) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(option.choices))} -- "$word"));'
    if option.is_file:
        return "compopt -o filenames 2>/dev/null; " + 'COMPREPLY=($(compgen -f -- "$word"));'
    return ""


def _bash_levels(levels: Iterable[Level]) -> Iterator[str]:
    for level in levels:
        options = shlex.quote(" ".join(names_of(level)))
        words = shlex.quote(" ".join(word for word, _ in level.words))
        files = 'compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$word"));'
        yield (
            f'"{_at(level)}") if [[ $word == -* ]]; then'
            f' COMPREPLY=($(compgen -W {options} -- "$word")); else'
            f' COMPREPLY=($(compgen -W {words} -- "$word")); {files if level.files else ""} fi ;;'
        )


def _zsh(levels: Sequence[Level]) -> str:
    """For zsh with compinit; as a file `_edge-agent` in $fpath, or sourced."""
    return f"""\
#compdef edge-agent
# zsh completion of edge-agent, printed by `edge-agent completion zsh`.
_edge_agent() {{
    local at="" i
    local -a found
    for ((i = 2; i < CURRENT; i++)); do
        case "$at $words[i]" in
        ({_alternatives(levels)}) at="$at $words[i]" ;;
        esac
    done
    case "$at:$words[CURRENT-1]" in
{_lines(_zsh_values(levels), 4)}
    esac
    case "$at" in
{_lines(_zsh_levels(levels), 4)}
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _edge_agent "$@"
else
    compdef _edge_agent edge-agent
fi
"""


def _zsh_values(levels: Iterable[Level]) -> Iterator[str]:
    for level in levels:
        for option in filter(lambda one: one.takes, level.options):
            pattern = " | ".join(f'"{_at(level)}:{name}"' for name in option.names)
            does = "_files; " if option.is_file else ""
            if option.choices:
                does = f"found=({shlex.join(option.choices)}); _describe value found; "
            yield f"({pattern}) {does}return ;;"


def _zsh_levels(levels: Iterable[Level]) -> Iterator[str]:
    for level in levels:
        options = _described((name, one.text) for one in level.options for name in one.names)
        words = _described(level.words)
        files = " _files;" if level.files else ""
        yield (
            f'("{_at(level)}") if [[ $words[CURRENT] == -* ]]; then found=({options});'
            f" _describe option found; else found=({words});"
            f" (( $#found )) && _describe argument found;{files} fi ;;"
        )


def _described(words: Iterable[tuple[str, str]]) -> str:
    """Words of `_describe`: `name:text`; a colon of the name would end it."""
    return shlex.join(
        f"{word.replace(':', chr(92) + ':')}:{text}" if text else word for word, text in words
    )


def _fish(levels: Sequence[Level]) -> str:
    """For fish 3 and later."""
    return f"""\
# fish completion of edge-agent, printed by `edge-agent completion fish`.
function __edge_agent_at
    set -l at ""
    for word in (commandline -opc)[2..-1]
        switch "$at $word"
            case {" ".join(f'" {one.path}"' for one in levels if one.path)}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
complete -c edge-agent -f
{_lines(_fish_levels(levels), 0)}
"""


def _fish_levels(levels: Iterable[Level]) -> Iterator[str]:
    for level in levels:
        at = f"""complete -c edge-agent -n '__edge_agent_at "{_at(level)}"'"""
        for word, text in level.words:
            yield f"{at} -a {_fish_text(word)}{_fish_about(text)}"
        if level.files:
            yield f"{at} -F"
        for option in level.options:
            yield f"{at} {_fish_names(option)}{_fish_value(option)}{_fish_about(option.text)}"


def _fish_names(option: Option) -> str:
    return " ".join(
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    )


def _fish_value(option: Option) -> str:
    if option.choices:
        return f" -x -a {_fish_text(' '.join(option.choices))}"
    return (" -r -F" if option.is_file else " -x") if option.takes else ""


def _fish_about(text: str) -> str:
    return f" -d {_fish_text(text)}" if text else ""


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _at(level: Level) -> str:
    return f" {level.path}" if level.path else ""


def _lines(lines: Iterable[str], indent: int) -> str:
    return "\n".join(" " * indent + line for line in lines)


SCRIPTS: Final[dict[str, Callable[[Sequence[Level]], str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}

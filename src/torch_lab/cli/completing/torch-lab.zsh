#compdef train infer lab torch-lab
# Completion of train, infer, lab and torch-lab for zsh.
_torch_lab() {
    local lab=lab line value about program=${(Q)words[1]}
    local -a done done_about more more_about
    # The lab beside the command: that of a virtual environment which is not activated, perhaps.
    program=${program/#\~\//$HOME/}
    [[ $program == */* && -x ${program:h}/lab ]] && lab=${program:h}/lab
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        about=${line#*$'\t'}
        if [[ $value == *[=/] || $value == *_v ]]; then
            more+=("$value")
            more_about+=("$value${about:+  -- $about}")
        else
            done+=("$value")
            done_about+=("$value${about:+  -- $about}")
        fi
    done < <("$lab" completion zsh --words "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    # -V: the newest run comes first; -l: one a line, with what there is to say of it.
    (( $#done )) && compadd -l -V torch-lab -d done_about -a done
    (( $#more )) && compadd -l -S '' -V torch-lab-more -d more_about -a more
    (( $#done + $#more ))
}
if [[ $funcstack[1] == _torch_lab ]]; then
    _torch_lab "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _torch_lab train infer lab torch-lab
fi

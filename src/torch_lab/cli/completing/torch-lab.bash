# Completion of train, infer, lab and torch-lab for bash (3.2 and newer).
_torch_lab() {
    # The lab beside the command: that of a virtual environment which is not activated, perhaps.
    local lab=lab reply program=${1//[\\\"\']/}
    program=${program/#~\//$HOME/}
    case $program in */*) [ -x "${program%/*}/lab" ] && lab=${program%/*}/lab ;; esac
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("$reply")
    done < <("$lab" completion bash --words "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
# The newest run comes first: nosort, where bash knows it (4.4).
complete -o nospace -o nosort -F _torch_lab train infer lab torch-lab 2>/dev/null ||
    complete -o nospace -F _torch_lab train infer lab torch-lab

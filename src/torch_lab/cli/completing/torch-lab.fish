# Completion of train, infer, lab and torch-lab for fish (3.0 and newer).
function __torch_lab
    # The lab beside the command: that of a virtual environment which is not activated, perhaps.
    set -l said (commandline -opc)
    set -l lab lab
    if string match -q '*/*' -- $said[1]
        set -l beside (string replace -r '[^/]*$' '' -- $said[1])lab
        set beside (string replace -r '^~/' "$HOME/" -- $beside)
        test -x $beside; and set lab $beside
    end
    $lab completion fish --words (commandline -cp) 2>/dev/null
end
for program in train infer lab torch-lab
    # -k: the newest run comes first; -f: files only where a file is meant.
    complete -c $program -k -f -a '(__torch_lab)'
end

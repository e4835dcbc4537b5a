#compdef NAME
# zsh completion of NAME, which answers itself what may come next.
# For this shell: source <(NAME completion zsh)

_NAME() {
    local line kinds
    local -a answers
    for line in "${(@f)$("${words[1]}" __complete zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
        '') ;;
        :folders)
            compset -P '--*='
            _files -/
            ;;
        :files*)
            compset -P '--*='
            kinds=${line#:files}
            if [[ -z $kinds ]]; then
                _files
            else
                _files -g "(#i)*.(${${kinds# }// /|})"
            fi
            ;;
        *)
            answers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
            ;;
        esac
    done
    (( $#answers )) && _describe NAME answers
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _NAME "$@"
else
    compdef _NAME NAME
fi

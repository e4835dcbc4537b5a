# bash completion of NAME, which answers itself what may come next.
# For this shell: source <(NAME completion bash)

_NAME() {
    local cur=${COMP_WORDS[COMP_CWORD]} line word extensions
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :folders)
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "${cur#[=:]}")
            ;;
        :files*)
            compopt -o filenames 2>/dev/null
            extensions=" ${line#:files} "
            while IFS= read -r word; do
                # A folder may have what is wanted in it.
                if [[ $extensions == "  " || $extensions == *" ${word##*.} "* || -d ${word/#\~/$HOME} ]]; then
                    COMPREPLY+=("$word")
                fi
            done < <(compgen -f -- "${cur#[=:]}")
            ;;
        *)
            COMPREPLY+=("${line%%$'\t'*}")
            ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _NAME NAME
